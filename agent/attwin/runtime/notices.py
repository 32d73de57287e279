"""What the agent says in its log: what changes, and examples of what comes in floods."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attwin.core.types import Reject
from attwin.ports import CONNECTING, AlertChange, Clock
from attwin.runtime.twin import Twin

_SAID_EVERY_MS = 10_000

log = logging.getLogger("attwin")


class Notices:
    """Says each thing once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[str, str] = {}
        self._rejects: dict[str, tuple[int, int]] = {}
        self._empty: dict[str, tuple[int, int]] = {}

    def link(self, name: str, problem: str) -> None:
        """Say when the state of a link changes, not at every try."""
        if self._links.get(name, CONNECTING) == problem:
            return
        self._links[name] = problem
        if problem:
            log.warning("link=%s state=down problem=%r", name, problem)
        else:
            log.info("link=%s state=up", name)

    def rejects(self, rejects: Sequence[Reject]) -> None:
        """Say what was rejected: one line a reason, at most every 10 s, with an example."""
        now = self._clock.monotonic_ms()
        for reject in rejects:
            count, next_ms = self._rejects.get(reject.reason, (0, 0))
            count += 1
            if now >= next_ms:
                log.warning(
                    "rejected=%d reason=%s topic=%r detail=%r", count, reject.reason, reject.topic[:80], reject.detail
                )
                count, next_ms = 0, now + _SAID_EVERY_MS
            self._rejects[reject.reason] = (count, next_ms)

    def empty(self, found: Sequence[tuple[str, str, int]]) -> None:
        """Say which messages held no reading: one line a source, at most every 10 s, with the topic of one.

        Args:
            found: Source, topic, and how many.
        """
        now = self._clock.monotonic_ms() if found else 0
        for source, topic, more in found:
            count, next_ms = self._empty.get(source, (0, 0))
            count += more
            if now >= next_ms:
                log.warning(
                    "empty=%d source=%r topic=%r detail='holds nothing that the source asks for; was a field renamed?'",
                    count,
                    source,
                    topic[:80],
                )
                count, next_ms = 0, now + _SAID_EVERY_MS
            self._empty[source] = (count, next_ms)

    def alerts(self, changes: Sequence[AlertChange]) -> None:
        """Say which alerts have changed."""
        for change in changes:
            facts = change.after
            log.info("alert=%s rule=%s entity=%s value=%.4g", facts.state, facts.rule, facts.entity, facts.value)

    def stale(self, twin: Twin, entities: NDArray[np.int32]) -> None:
        """Say which metrics of entities are stale now."""
        for entity in np.unique(entities).tolist():
            log.warning(
                "entity=%s state=stale metrics=%s",
                twin.catalogue.entity_ids[entity],
                ",".join(twin.stale_names(entity)),
            )
