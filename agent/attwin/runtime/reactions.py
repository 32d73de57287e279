"""The reaction stage: an alert that is told goes to the site too, in its order, and is tried again where that fails.

What is to be done is a row that becomes durable with the alert, so a kill forgets none of it. Each reaction does one
thing at a time, apart from the others: one that hangs does not hold up its neighbours, and never the loop.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from attwin.core.audit import SITE
from attwin.core.reactions import Reaction
from attwin.ports import AlertChange, Clock, Counts, Doing, Reacted, ReactionDraft, Reactor, Store

_FIRST_RETRY_MS = 1_000
_LATEST_RETRY_MS = 60_000

log = logging.getLogger("attwin")


@dataclass(slots=True, kw_only=True)
class _Queue:
    """What waits for one reaction.

    Attributes:
        reaction: Which.
        doing: What is being done, None where nothing is.
        not_before_ms: When the next try may be, by the monotonic clock.
        after: The number of the last one that is finished.
        has_more: Whether the store may hold more.
    """

    reaction: Reaction
    doing: Doing | None = None
    not_before_ms: int = 0
    after: int = 0
    has_more: bool = True


class Reactions:
    """All reactions."""

    def __init__(self, reactions: Sequence[Reaction], store: Store, reactor: Reactor, clock: Clock) -> None:
        self._queues = [_Queue(reaction=reaction) for reaction in reactions]
        self._store, self._reactor, self._clock = store, reactor, clock

    def drafts(self, changes: Sequence[AlertChange]) -> list[ReactionDraft]:
        """Return what is to be done about alerts that changed and are told."""
        found = []
        for change in changes:
            facts = change.after
            if not facts.announced:
                continue
            for queue in self._queues:
                if queue.reaction.concerns(facts.rule, facts.severity):
                    queue.has_more = True
                    body = json.dumps(change.as_told())
                    found.append(ReactionDraft(name=queue.reaction.name, alert=facts.alert, body=body))
        return found

    def counts(self, drafts: Sequence[ReactionDraft], done: Sequence[Reacted]) -> Counts:
        """Return what the audit counts of them."""
        counts: dict[tuple[str, str, str], int] = {}
        for draft in drafts:
            key = (SITE, "queued", draft.name)
            counts[key] = counts.get(key, 0) + 1
        for one in done:
            if one.outcome != "waiting":
                key = (SITE, one.outcome, one.name)
                counts[key] = counts.get(key, 0) + 1
        return counts

    def step(self) -> list[Reacted]:
        """Begin what is due, and return what has come to an end, well or not. Never blocks."""
        now = self._clock.monotonic_ms()
        ended = dict(self._reactor.take_done())
        found = [
            self._ended(queue, queue.doing, ended[queue.doing.number], now)
            for queue in self._queues
            if queue.doing and queue.doing.number in ended
        ]
        for queue in self._queues:
            if queue.doing is None and queue.has_more and now >= queue.not_before_ms:
                expired = self._begin(queue)
                found += expired
        return found

    def _ended(self, queue: _Queue, doing: Doing, problem: str, now: int) -> Reacted:
        queue.doing = None
        name, tries = queue.reaction.name, doing.tries + 1
        if not problem:
            queue.after = doing.number
            return Reacted(number=doing.number, name=name, outcome="done", tries=tries, problem="")
        if tries > queue.reaction.retries:
            queue.after = doing.number
            log.error("reaction=%s state=failed tries=%d problem=%r", name, tries, problem)
            return Reacted(number=doing.number, name=name, outcome="failed", tries=tries, problem=problem)
        queue.not_before_ms = now + min(_LATEST_RETRY_MS, _FIRST_RETRY_MS * 2 ** (tries - 1))
        log.warning("reaction=%s state=waiting tries=%d problem=%r", name, tries, problem)
        return Reacted(number=doing.number, name=name, outcome="waiting", tries=tries, problem=problem)

    def _begin(self, queue: _Queue) -> list[Reacted]:
        """Begin the next of a queue; return those before it that are too old."""
        expired: list[Reacted] = []
        while True:
            doing = self._store.next_reaction(queue.reaction.name, queue.after)
            if doing is None:
                queue.has_more = False
                return expired
            if self._clock.now_ms() - doing.created_ms <= queue.reaction.within_ms:
                break
            queue.after = doing.number
            expired.append(
                Reacted(
                    number=doing.number,
                    name=queue.reaction.name,
                    outcome="expired",
                    tries=doing.tries,
                    problem=doing.problem,
                )
            )
        if self._reactor.start(queue.reaction, doing):
            queue.doing = doing
        else:
            queue.not_before_ms = self._clock.monotonic_ms() + _FIRST_RETRY_MS
        return expired
