"""Pushing a target: every gateway is asked, gets the blocks that it asks for, and says what became of it."""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from attwin_converter.fleet import Fleet, Gateway
from attwin_converter.repository import Published, Repository

_ASK_AGAIN_S = 20.0
"""A request that nobody has answered may have been lost with a connection."""
_LOOK_S = 0.1
_GOOD = "committed"
_BUSY_AGAIN_S = 10.0


@dataclass(slots=True, kw_only=True)
class Pushed:
    """How a push to a gateway goes.

    Attributes:
        gateway: Its id.
        state: What it said last; ``asked`` before.
        reason: Why it ended, or what it waits for.
        detail: What the gateway has measured.
        is_final: Whether nothing more comes.
        sent: How much of the file it has asked for [bytes].
        asked_s: When it is asked again where it does not answer, by the monotonic clock.
        time_ms: When it said so, by its clock.
    """

    gateway: str
    state: str = "asked"
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    is_final: bool = False
    sent: int = 0
    asked_s: float = 0.0
    time_ms: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the target serves there for good."""
        return self.state == _GOOD

    def as_dict(self) -> dict[str, object]:
        """Return it as plain JSON."""
        return {
            "gateway": self.gateway,
            "state": self.state,
            "reason": self.reason,
            "detail": self.detail,
            "final": self.is_final,
        }


Told = Callable[[Pushed], None]
"""Is told of each change."""


def push(
    fleet: Fleet,
    repository: Repository,
    target: Published,
    gateways: Sequence[Gateway],
    told: Told,
    *,
    seconds: float,
    source: str = "",
) -> list[Pushed]:
    """Push a target to gateways, and return what became of it on each; one without a final state did not end in time.

    Args:
        fleet: The connection.
        repository: Where the target and its metadata are.
        target: What to push.
        gateways: To whom.
        told: Is told of each change.
        seconds: How long to wait for the verdict of all.
        source: An https:// folder with the targets, where the gateways are to fetch from there.
    """
    fleet.offer(target.sha256, repository.body(target))
    transaction = f"{target.name}-{target.version}-{secrets.token_hex(4)}"
    found = {gateway.id: Pushed(gateway=gateway.id) for gateway in gateways}
    known = {gateway.id: gateway for gateway in gateways}
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s and not all(one.is_final for one in found.values()):
        for one in found.values():
            if not one.is_final and one.state in ("asked", "busy") and time.monotonic() >= one.asked_s:
                one.asked_s = time.monotonic() + (_ASK_AGAIN_S if one.state == "asked" else _BUSY_AGAIN_S)
                # who is busy answers a transaction once; the next try is another one
                asked = transaction if one.state == "asked" else f"{transaction}-{secrets.token_hex(2)}"
                request = {
                    "transaction": asked,
                    "expires_ms": int((time.time() + seconds) * 1000),
                    "target": target.path,
                    "metadata": repository.metadata_after(known[one.gateway].root_version),
                    "source": source,
                }
                fleet.ask(one.gateway, "update", request)
        for gateway, verb, answer in fleet.take_answers():
            one_found = found.get(gateway)
            if verb == "update" and one_found and str(answer.get("transaction", "")).startswith(transaction):
                _take(one_found, answer)
                told(one_found)
        for one in _moved(found.values(), fleet, target):
            told(one)
        time.sleep(_LOOK_S)
    return list(found.values())


def _take(one: Pushed, answer: dict[str, Any]) -> None:
    """Take an answer; what a gateway sends again after a broken connection may be older than what is known."""
    time_ms = answer.get("time_ms")
    if not isinstance(time_ms, int) or time_ms < one.time_ms:
        return
    one.time_ms = time_ms
    one.state, one.reason = str(answer.get("state")), str(answer.get("reason", ""))
    detail = answer.get("detail", {})
    one.detail = detail if isinstance(detail, dict) else {}
    one.is_final = bool(answer.get("final")) and one.state != "busy"


def _moved(found: Iterable[Pushed], fleet: Fleet, target: Published) -> list[Pushed]:
    """Return those that have asked for more of the file."""
    moved = []
    for one in found:
        sent = fleet.sent(one.gateway, target.sha256)
        if sent != one.sent:
            one.sent = sent
            moved.append(one)
    return moved


def line_of(one: Pushed, size: int) -> str:
    """Return a line that tells how a push goes."""
    part = f" {one.sent / max(1, size):.0%}" if one.state == "fetching" else ""
    why = f": {one.reason}" if one.reason else ""
    measured = ""
    if one.state == "tested" and "self_test" in one.detail:
        measured = " " + json.dumps(one.detail["self_test"])
    return f"{one.gateway} {one.state}{part}{why}{measured}"
