"""The commit stage: a round becomes durable, then its messages are acknowledged.

Where the disk refuses, nothing is acknowledged and all is held: alerts go to the reserve of their file and, without the
outbox, upstream; what is more than may be held stays with the broker. It is tried again until the disk takes it.
"""

import logging
from collections import Counter
from collections.abc import Callable

from attwin.core.errors import StoreStalledError
from attwin.core.outgoing import alert_drafts, health_draft
from attwin.ports import AlertLog, Clock, SensorLink, Store, UpLink
from attwin.runtime.deliver import Delivery
from attwin.runtime.notices import Notices
from attwin.runtime.round import Round

COMMIT_MS = 100
FRUGAL_COMMIT_MS = 1_000
MOST_BATCH = 2_000
_RETRY_MS = 1_000
_MOST_HELD = 4_000
"""How many messages are held while the disk refuses."""

log = logging.getLogger("attwin")


class Committer:
    """Holds the round and makes it durable.

    Attributes:
        round: What has been processed since the last commit.
        totals: What was counted since the start, as far as it is durable.
        stalled: Why the disk refuses, empty while it does not.
        retry_ms: When it is tried again, by the monotonic clock.
    """

    def __init__(  # noqa: PLR0913 -- all that a commit touches
        self,
        *,
        clock: Clock,
        store: Store,
        sensors: SensorLink,
        uplink: UpLink | None,
        delivery: Delivery | None,
        alert_log: AlertLog,
        notices: Notices,
        base: str,
        health: Callable[[], dict[str, object]],
        commit_ms: int,
        batch: int,
    ) -> None:
        """Make the stage: a commit is due when a message is ``commit_ms`` old, or ``batch`` of them wait."""
        self.round = Round()
        self.totals: Counter[tuple[str, str, str]] = Counter()
        self.stalled = ""
        self.retry_ms = 0
        self._told = 0
        self._clock, self._store, self._sensors = clock, store, sensors
        self._uplink, self._delivery = uplink, delivery
        self._alert_log, self._notices = alert_log, notices
        self._base, self._health = base, health
        self._commit_ms, self._batch = commit_ms, batch

    def is_full(self) -> bool:
        """Return whether the disk refuses and as much is held as may be."""
        return bool(self.stalled) and self.round.messages >= _MOST_HELD

    def due_ms(self, next_read_ms: int) -> int | None:
        """Return when the next commit is due, by the monotonic clock; None while there is nothing to commit.

        Args:
            next_read_ms: When more is read; a round that would be too old by then does not wait for it.
        """
        if self.stalled:
            return self.retry_ms
        if self.round.is_empty():
            return None
        if self.round.started_ms is None:
            self.round.started_ms = self._clock.monotonic_ms()
        if self.round.alerts or self.round.messages >= self._batch:
            return self.round.started_ms
        deadline_ms = self.deadline_ms(self.round.started_ms)
        return deadline_ms if next_read_ms <= deadline_ms else self.round.started_ms

    def deadline_ms(self, since_ms: int) -> int:
        """Return when the round must be committed, or one whose oldest message is of ``since_ms`` where it is empty."""
        return (since_ms if self.round.started_ms is None else self.round.started_ms) + self._commit_ms

    def commit(self, *, now_ms: int | None = None) -> None:
        """Make the round durable, then acknowledge its messages. Where the disk refuses, hold all of it.

        Args:
            now_ms: The gateway's clock, where it is not the one of now.
        """
        current = self.round
        if current.is_empty():
            self._probe()
            return
        try:
            self._store.commit(current.as_commit(self._clock.now_ms() if now_ms is None else now_ms))
        except StoreStalledError as error:
            self.stall(str(error))
            return
        self.round = Round()
        self._resume()
        self.totals.update(current.counts)
        for connection, packet_ids in current.unacknowledged:
            self._sensors.acknowledge(packet_ids, connection)
        self.deliver()
        self._notices.rejects(current.rejects)
        if current.alerts:
            self._alert_log.catch_up()
            self._notices.alerts(current.alerts)

    def deliver(self) -> None:
        """Send what waits for upstream, and keep for the commit what it has; where the disk refuses, later."""
        if not self._delivery:
            return
        try:
            self.round.settle(self._delivery.step())
        except StoreStalledError as error:
            # what is tried again at a set time is not put off
            if not self.stalled:
                self.stall(str(error))

    def flush(self) -> bool:
        """Commit what there is, unless it was tried just now; return whether nothing is held back."""
        if not self.round.is_empty() and not (self.stalled and self._clock.monotonic_ms() < self.retry_ms):
            self.commit()
        return not self.stalled

    def stall(self, problem: str) -> None:
        """Hold the round, tell what is urgent without the store, and try again in a while."""
        self.retry_ms = self._clock.monotonic_ms() + _RETRY_MS
        if not self.stalled:
            log.error("store=stalled problem=%r", problem)
        self.stalled = problem
        untold = self.round.alerts[self._told :]
        self._told += len(untold)
        if untold:
            self._alert_log.reserve(untold)
        if self._uplink:
            drafts = [draft for change in untold for draft in alert_drafts(self._base, change.before, change.after)]
            for draft in [*drafts, health_draft(self._base, self._health())]:
                self._uplink.tell(draft.topic, draft.payload("not stored"))

    def _probe(self) -> None:
        """Find out, with nothing to commit, whether the disk takes anything again."""
        self.retry_ms = self._clock.monotonic_ms() + _RETRY_MS
        try:
            self._store.probe()
        except StoreStalledError:
            return
        self._resume()

    def _resume(self) -> None:
        """Go on, where the disk had refused: it has taken what was held."""
        if self.stalled:
            log.warning("store=resumed")
            self.stalled, self._told = "", 0
            self._alert_log.release()
