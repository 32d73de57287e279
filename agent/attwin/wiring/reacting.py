"""Reactions as the configuration describes them, and trying one out."""

import json
import time

from attwin.adapters.reactor import act
from attwin.core.alerts import ACTIVE, AlertFacts
from attwin.core.errors import DataError
from attwin.core.reactions import Reaction
from attwin.ports import AlertChange
from attwin.settings.model import Settings


def reactions_of(settings: Settings) -> list[Reaction]:
    """Return the configured reactions."""
    return [
        Reaction(
            name=given.name,
            rules=frozenset(given.rules),
            severity=given.severity,
            topic=given.topic,
            retain=given.retain,
            command=tuple(given.command),
            url=given.webhook.url if given.webhook else "",
            token=given.webhook.token.reveal if given.webhook and given.webhook.token else "",
            timeout_ms=given.timeout,
            retries=given.retries,
            within_ms=given.within,
        )
        for given in settings.reactions
    ]


def try_out(settings: Settings, name: str) -> str:
    """Run a command, or post to a web server, as for an alert called ``test``; return what went wrong, or nothing.

    Raises:
        DataError: There is no such reaction, or it is a topic, which the running agent publishes.
    """
    known = {reaction.name: reaction for reaction in reactions_of(settings)}
    if name not in known:
        raise DataError(f"no reaction `{name}`; the configuration has {', '.join(known) or 'none'}")
    if known[name].topic:
        raise DataError(f"`{name}` is a topic of the broker: publish to it with any client")
    now_ms = time.time_ns() // 1_000_000
    facts = AlertFacts(
        alert=0,
        rule="test",
        entity="test",
        severity="info",
        subject="test",
        state=ACTIVE,
        value=1.0,
        threshold=0.0,
        since_ms=now_ms,
        time_ms=now_ms,
        opened_ms=now_ms,
    )
    event = AlertChange(before=None, after=facts).as_told()
    return act(known[name], event, json.dumps(event))
