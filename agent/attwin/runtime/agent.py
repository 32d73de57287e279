"""The loop: read all that has arrived, take it through the stages, commit, acknowledge.

A round is processed when its oldest message has waited ``LINGER_MS`` or half of the in-flight window is here; it is
committed when its oldest message is ``COMMIT_MS`` old, half of the window waits, or an alert changed. Only then
are its messages acknowledged. Where few messages come, they are let gather for ``GATHER_MS`` before the next read:
waking up for each of them would cost more than all that is done with it.
"""

import contextlib
import logging
import select
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import NEVER_MS
from attwin.core.errors import StoreDamagedError, StoreError, StoreStalledError
from attwin.core.outgoing import Draft, OutgoingMessage, alert_drafts, health_draft, twin_draft
from attwin.core.types import ReadingBatch, Reason, Reject, SuppressReason, joined
from attwin.ports import (
    CONNECTING,
    AlertChange,
    AlertLog,
    Clock,
    Commit,
    Messages,
    ScoreRow,
    SensorLink,
    Store,
    UpLink,
    Watched,
)
from attwin.runtime.alerts import AlertBook
from attwin.runtime.deliver import deliver
from attwin.runtime.ingest import Ingest
from attwin.runtime.publish import TwinPublisher
from attwin.runtime.twin import Taken, Twin

GATHER_MS = 20
LINGER_MS = 80
COMMIT_MS = 100
FRUGAL_COMMIT_MS = 1_000
MOST_BATCH = 2_000
_IDLE_MS = 250
_SNAPSHOT_MS = 60_000
_UPKEEP_MS = 20
_STOP_MS = 1_000
_REJECT_LOG_MS = 10_000
_RETAIN = 0x01
_RETRY_MS = 1_000
_MOST_HELD = 4_000
"""How many messages are held while the disk refuses."""

log = logging.getLogger("attwin")


class Round:
    """What has been processed since the last commit."""

    def __init__(self) -> None:
        self.started_ms: int | None = None
        self.stored: list[ReadingBatch] = []
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.rejects: list[Reject] = []
        self.replayed: list[int] = []
        self.alerts: list[AlertChange] = []
        self.scores: list[ScoreRow] = []
        self.drafts: list[Draft] = []
        self.delivered: list[OutgoingMessage] = []
        self.deliveries: list[tuple[int, int]] = []
        self.unacknowledged: list[tuple[int, list[int]]] = []
        self.messages = 0

    def is_empty(self) -> bool:
        """Return whether there is nothing to make durable."""
        return not (self.counts or self.alerts or self.scores or self.drafts or self.delivered)

    def as_commit(self, now_ms: int) -> Commit:
        """Return all of it as one commit."""
        return Commit(
            stored=joined(self.stored),
            deliveries=self.deliveries,
            counts=self.counts,
            rejects=self.rejects,
            replayed=self.replayed,
            alerts=self.alerts,
            scores=self.scores,
            drafts=self.drafts,
            delivered=self.delivered,
            now_ms=now_ms,
        )


class Agent:
    """The daemon. Owns nothing technical: everything comes through ports."""

    def __init__(  # noqa: PLR0913 -- the one place where all ports meet
        self,
        *,
        clock: Clock,
        sensors: SensorLink,
        uplink: UpLink | None,
        store: Store,
        ingest: Ingest,
        twin: Twin,
        book: AlertBook,
        publisher: TwinPublisher,
        alert_log: AlertLog,
        sources: Sequence[str],
        inflight: int,
        commit_ms: int = COMMIT_MS,
        health_every_ms: int,
        forget_after_ms: int,
        lasting: frozenset[str],
        refill: Callable[[dict[tuple[str, str], int]], None],
    ) -> None:
        self.twin = twin
        self.book = book
        self.sensors = sensors
        self.uplink = uplink
        self.store = store
        self.clock = clock
        self.stopping = False
        self.totals: Counter[tuple[str, str, str]] = Counter()
        self._started_ms = clock.monotonic_ms()
        self._refill = refill
        self._ingest = ingest
        self._publisher = publisher
        self._alert_log = alert_log
        self._watched: list[Watched] = []
        self._sources = tuple(sources)
        self._commit_ms = commit_ms
        self._read_from_ms = 0
        self._stalled = ""
        self._mend_from_ms: int | None = None
        self._upkeep_from_ms = 0
        self._retry_ms = 0
        self._told = 0
        self._batch = max(1, min(MOST_BATCH, inflight // 2))
        self._health_every_ms = health_every_ms
        self._forget_after_ms = forget_after_ms
        self._lasting = lasting
        self._round = Round()
        self._heard_ms = np.zeros(0, np.int64)
        now = clock.monotonic_ms()
        self._next_tick_ms = self._next_health_ms = now
        self._next_snapshot_ms = now + _SNAPSHOT_MS
        self._link_problems: dict[str, str] = {}
        self._reject_log: dict[str, tuple[int, int]] = {}
        twin.staleness.expect(np.flatnonzero(twin.time_ms[: twin.catalogue.series_count] != NEVER_MS), 0)

    def watch(self, watched: Sequence[Watched]) -> None:
        """Watch other sockets beside the links."""
        self._watched += watched

    def run(self) -> None:
        """Run until ``stopping`` is set, then drain and stop."""
        while not self.stopping:
            self._wait(self._timeout_ms())
            self._step()
        self._stop()

    def _wait(self, timeout_ms: int) -> None:
        """Wait for sockets, at most so long, and let their owners read and write."""
        readers: dict[int, Callable[[], None]] = {}
        writers: dict[int, Callable[[], None]] = {}
        for link in (self.sensors, self.uplink):
            descriptor = link.fileno() if link else None
            if link and descriptor is not None:
                if link.wants_read() and (link is not self.sensors or self._gathered()):
                    readers[descriptor] = link.on_readable
                if link.wants_write():
                    writers[descriptor] = link.on_writable
        for watched in self._watched:
            readers |= {descriptor: partial(watched.on_ready, descriptor) for descriptor in watched.filenos()}
            writers |= {descriptor: partial(watched.on_ready, descriptor) for descriptor in watched.writers()}
        waiting = self.sensors.waiting()
        readable, writable, _ = select.select(list(readers), list(writers), [], timeout_ms / 1000)
        for descriptor in readable:
            readers[descriptor]()
        read = self.sensors.waiting() - waiting
        if 0 < read < self._batch // 2:
            self._read_from_ms = self.clock.monotonic_ms() + GATHER_MS
        for descriptor in writable:
            writers[descriptor]()

    def _gathered(self) -> bool:
        """Return whether messages have had their time to gather."""
        return self.clock.monotonic_ms() >= self._read_from_ms

    def _timeout_ms(self) -> int:
        now = self.clock.monotonic_ms()
        until = [self._next_tick_ms]
        if now < self._read_from_ms:
            until.append(self._read_from_ms)
        if self.sensors.waiting() and not self._is_holding():
            until.append(self.sensors.waiting_since_ms() + LINGER_MS)
        if self._stalled:
            until.append(self._retry_ms)
        elif self._round.started_ms is not None:
            until.append(self._round.started_ms + self._commit_ms - GATHER_MS)
        return max(0, min(until) - now)

    def _step(self) -> None:
        """Process what is due, commit what is due, and look after everything else."""
        now = self.clock.monotonic_ms()
        waiting = self.sensors.waiting() if not self._is_holding() else 0
        if waiting and (
            waiting + self._round.messages >= self._batch or now - self.sensors.waiting_since_ms() >= LINGER_MS
        ):
            self._process()
        if self.uplink:
            self._round.delivered += deliver(self.store, self.uplink)
        if now >= self._next_tick_ms:
            self._tick(now)
        if self._commit_is_due(now):
            self._commit()
        elif self._stalled and now >= self._retry_ms:
            self._try_store(now)

    def _process(self) -> None:
        """Take what has arrived through the stages."""
        arrived_ms = self.sensors.waiting_since_ms()
        messages = self.sensors.take()
        current = self._round
        if current.started_ms is None:
            current.started_ms = arrived_ms
        current.messages += len(messages)
        current.unacknowledged.append((messages.connection, [i for i in messages.packet_ids if i]))
        self._take(messages, now_ms=self.clock.now_ms())

    def replay_rejects(self, numbers: Sequence[int]) -> dict[str, object]:
        """Take rejects of the ring again, as if they arrived when they did, and commit.

        Returns:
            How many were taken, were stored now, and cannot be taken because not all of them was kept.
        """
        self._flush()
        if self._stalled:
            return {"error": f"the disk refuses for now: {self._stalled}"}
        kept = self.store.load_rejects(numbers)
        taken: set[tuple[str, bytes, int]] = set()
        for reject in kept:
            if not reject.is_whole:
                continue
            self._round.replayed.append(reject.number)
            # one message may have several rejects, each with all of it
            if (reject.topic, reject.payload, reject.time_ms) not in taken:
                taken.add((reject.topic, reject.payload, reject.time_ms))
                message = Messages(
                    topics=[reject.topic.encode()],
                    payloads=[reject.payload],
                    lengths=[len(reject.payload)],
                    flags=[_RETAIN if reject.retained else 0],
                    packet_ids=[0],
                )
                self._take(message, now_ms=reject.time_ms, taken_in_part=reject.is_part)
        replayed, stored = len(self._round.replayed), sum(map(len, self._round.stored))
        self._flush()
        return {"replayed": replayed, "stored": stored, "not_whole": len(kept) - replayed}

    def _take(self, messages: Messages, *, now_ms: int, taken_in_part: bool = False) -> None:
        """Take messages through the stages, into the round."""
        current = self._round
        ingested = self._ingest.decode(messages, now_ms=now_ms, taken_in_part=taken_in_part)
        taken = self.twin.take(
            ingested.batch, now_ms=now_ms, clock_trusted=self.clock.is_trusted, taken_in_part=taken_in_part
        )
        current.stored.append(taken.stored)
        current.rejects += ingested.rejects
        current.counts.update(ingested.counts)
        current.deliveries += ingested.deliveries
        for topic, payload in ingested.replies:
            self.sensors.reply(topic, payload)
        fresh = (ingested.batch.reason & Reason.RETAINED) == 0
        self.twin.staleness.hear(ingested.batch.series[fresh], self.clock.monotonic_ms() - self._started_ms)
        if ingested.silent:
            self.twin.staleness.silence(ingested.silent)
            self._tell_stale(np.array(ingested.silent))
        self._count_readings(ingested.source, taken)
        late = np.flatnonzero(taken.late)
        _, first = np.unique(ingested.place[late], return_index=True)
        for row in late[first].tolist():
            current.rejects.append(self._ingest.late(messages, int(ingested.place[row]), int(ingested.source[row])))
        self._hear(taken.stored)
        self._follow(taken)

    def _count_readings(self, source: NDArray[np.int64], taken: Taken) -> None:
        stored = ~(taken.duplicate | taken.late | taken.suppressed)
        for index, name in enumerate(self._sources):
            mine = source == index
            for what, reason, rows in (
                ("readings_stored", "", stored),
                ("readings_duplicate", "", taken.duplicate),
                ("readings_suppressed", SuppressReason.DEADBAND, taken.suppressed),
                ("readings_rejected", "late", taken.late),
            ):
                count = int((rows & mine).sum())
                if count:
                    self._round.counts[name, what, reason] += count

    def _follow(self, taken: Taken) -> None:
        """Turn scores and transitions into rows and messages."""
        current = self._round
        for made in taken.scores:
            current.scores += self.twin.note_scores(made)
        self._announce(self.book.apply(taken.transitions))
        current.scores += self._rows_at(taken)
        if self.uplink:
            now = self.clock.monotonic_ms()
            for made in taken.scores:
                current.drafts += self._publisher.due_scores(made, now)
            current.drafts += self._publisher.due_readings(taken.stored, now)

    def _announce(self, changes: Sequence[AlertChange]) -> None:
        """Keep alerts that changed for the commit, and tell upstream."""
        self._round.alerts += changes
        if self.uplink:
            for change in changes:
                self._round.drafts += alert_drafts(self._publisher.base, change.before, change.after)

    def _rows_at(self, taken: Taken) -> list[ScoreRow]:
        """Return the scores at which an alert on attention changed."""
        rows = []
        for transition in taken.transitions:
            if self.twin.rules[transition.rule].rule.metric is None:
                made = next(s for s in taken.scores if s.kind == self.twin.rules[transition.rule].rule.kind)
                rows.append(self.twin.row_of(made, transition.entity, transition.time_ms))
        return rows

    def _commit_is_due(self, now: int) -> bool:
        current = self._round
        if current.is_empty() or (self._stalled and now < self._retry_ms):
            return False
        if self._stalled:
            return True
        if current.started_ms is None:
            current.started_ms = now
        # a commit that is due before the next read is due now
        age_ms = now - current.started_ms + GATHER_MS
        return bool(current.alerts) or current.messages >= self._batch or age_ms >= self._commit_ms

    def _commit(self, *, now_ms: int | None = None) -> None:
        """Make the round durable, then acknowledge its messages. Where the disk refuses, hold all of it."""
        current = self._round
        try:
            self.store.commit(current.as_commit(self.clock.now_ms() if now_ms is None else now_ms))
        except StoreStalledError as error:
            self._stall(str(error))
            return
        self._round = Round()
        if self._stalled:
            self._resume()
        self.totals.update(current.counts)
        for connection, packet_ids in current.unacknowledged:
            self.sensors.acknowledge(packet_ids, connection)
        if self.uplink:
            self._round.delivered += deliver(self.store, self.uplink)
        self._log_rejects(current.rejects)
        if current.alerts:
            self._alert_log.catch_up()
            for change in current.alerts:
                facts = change.after
                log.info(
                    "alert=%s rule=%s entity=%s value=%.4g",
                    facts.state,
                    facts.rule,
                    facts.entity,
                    facts.value,
                )

    def _is_holding(self) -> bool:
        """Return whether the disk refuses and as much is held as may be: the rest stays with the broker."""
        return bool(self._stalled) and (self._round.messages >= _MOST_HELD or self._mend_from_ms is not None)

    def _stall(self, problem: str) -> None:
        """Hold the round, tell what is urgent without the store, and try again in a while."""
        self._retry_ms = self.clock.monotonic_ms() + _RETRY_MS
        if not self._stalled:
            log.error("store=stalled problem=%r", problem)
        self._stalled = problem
        untold = self._round.alerts[self._told :]
        self._told += len(untold)
        if untold:
            self._alert_log.reserve(untold)
        if self.uplink:
            for change in untold:
                for draft in alert_drafts(self._publisher.base, change.before, change.after):
                    self.uplink.tell(draft.topic, draft.payload("not stored"))
            health = health_draft(self._publisher.base, self.health())
            self.uplink.tell(health.topic, health.payload("not stored"))

    def _try_store(self, now: int) -> None:
        """Find out, with nothing to commit, whether the disk takes anything again."""
        self._retry_ms = now + _RETRY_MS
        try:
            self.store.probe()
        except StoreStalledError:
            return
        self._resume()

    def _resume(self) -> None:
        """Go on: the disk has taken what was held."""
        log.warning("store=resumed")
        self._stalled, self._told = "", 0
        self._alert_log.release()

    def _tick(self, now: int) -> None:
        """Do what is due from time to time."""
        self._next_tick_ms = now + _IDLE_MS
        self._check_clock()
        number = self.twin.catalogue.series_number[: self.twin.catalogue.series_count]
        self._tell_stale(self.twin.staleness.update(number, now - self._started_ms))
        for name, link in (("broker", self.sensors), ("upstream", self.uplink)):
            if link:
                link.tick()
                self._log_link(name, link.problem())
        if self.uplink:
            self._round.drafts += self._publisher.due_now(now)
        if self.uplink and now >= self._next_health_ms:
            self._next_health_ms = now + self._health_every_ms
            self._round.drafts.append(health_draft(self._publisher.base, self.health()))
        if not self._stalled and now >= self._upkeep_from_ms:
            self._look_after_store(now)

    def _look_after_store(self, now: int) -> None:
        """Do what the store needs from time to time; where the disk refuses, later."""
        try:
            if self._mend_from_ms is not None:
                self._mend_times(self._mend_from_ms)
            # slices, so that a round never waits long
            while self.store.upkeep(now_ms=self.clock.now_ms(), times_are_final=self.clock.is_trusted):
                if self.clock.monotonic_ms() - now > _UPKEEP_MS:
                    break
            if now >= self._next_snapshot_ms:
                self._next_snapshot_ms = now + _SNAPSHOT_MS
                self._forget_silent()
                self._snapshot()
        except StoreStalledError as error:
            self._stall(str(error))
        except StoreDamagedError:
            raise
        except StoreError as error:
            # what is late with its upkeep still takes readings
            self._upkeep_from_ms = now + _SNAPSHOT_MS
            log.error("store=upkeep problem=%r", str(error))

    def _tell_stale(self, series: NDArray[np.int64]) -> None:
        """Say which series have become stale, here and upstream."""
        if not len(series):
            return
        catalogue = self.twin.catalogue
        entities = catalogue.series_entity[series]
        for entity in np.unique(entities).tolist():
            stale = ",".join(self.twin.stale_names(entity))
            log.warning("entity=%s state=stale metrics=%s", catalogue.entity_ids[entity], stale)
        if self.uplink:
            self._round.drafts += self._publisher.due_entities(entities, self.clock.monotonic_ms())

    def _check_clock(self) -> None:
        """Follow the wall clock; where a jump is believed, put right what was stored by the wrong time."""
        by_old_clock_ms = self.clock.now_ms()
        jump = self.clock.check()
        if jump is None:
            return
        if jump.problem:
            log.error("clock=untrusted problem=%r", jump.problem)
            return
        log.warning("clock=trusted shift_ms=%d", jump.shift_ms)
        if jump.shift_ms and self._mend_from_ms is None:
            self._mend_from_ms = by_old_clock_ms

    def _mend_times(self, by_old_clock_ms: int) -> None:
        """Put right what was stored by the wrong time, and make the twin anew."""
        # what was taken by the old clock is committed by it, and shifted with the rest
        if not self._round.is_empty():
            self._commit(now_ms=by_old_clock_ms)
        if self._stalled:
            return
        self.store.mend_times(self.clock.offset_ms, now_ms=self.clock.now_ms())
        self._mend_from_ms = None
        self._ingest.forget_receipts()
        self._refill({key: facts.since_ms for key, facts in self.book.active.items()})
        self._snapshot()

    def health(self) -> dict[str, object]:
        """Return the gateway's health as it is published and shown."""
        names = (
            "messages_received",
            "messages_rejected",
            "readings_stored",
            "readings_duplicate",
            "readings_rejected",
        )
        sums = {name: sum(c for (_, n, _), c in self.totals.items() if n == name) for name in names}
        return {
            "time_ms": self.clock.now_ms(),
            "uptime_s": (self.clock.monotonic_ms() - self._started_ms) // 1000,
            "clock": self.clock.problem or "trusted",
            "disk": self._stalled or "up",
            "entities": self.twin.catalogue.live_count,
            "alerts_active": len(self.book.active),
            "outbox_waiting": self.store.waiting_outgoing(),
            "broker": "up" if self.sensors.is_up() else self.sensors.problem(),
            "upstream": "none" if not self.uplink else "up" if self.uplink.is_up() else self.uplink.problem(),
            **{f"{name}_total": count for name, count in sums.items()},
        }

    def _log_link(self, name: str, problem: str) -> None:
        """Log a link when its state changes, not at every try."""
        if self._link_problems.get(name, CONNECTING) == problem:
            return
        self._link_problems[name] = problem
        if problem:
            log.warning("link=%s state=down problem=%r", name, problem)
        else:
            log.info("link=%s state=up", name)

    def _log_rejects(self, rejects: Sequence[Reject]) -> None:
        """Log what was rejected: one line a reason, at most every 10 s, with an example."""
        now = self.clock.monotonic_ms()
        for reject in rejects:
            count, next_ms = self._reject_log.get(reject.reason, (0, 0))
            count += 1
            if now >= next_ms:
                log.warning(
                    "rejected=%d reason=%s topic=%r detail=%r", count, reject.reason, reject.topic[:80], reject.detail
                )
                count, next_ms = 0, now + _REJECT_LOG_MS
            self._reject_log[reject.reason] = (count, next_ms)

    def _hear(self, stored: ReadingBatch) -> None:
        """Note when entities were heard; one that was known before the start counts from there."""
        now, count = self.clock.monotonic_ms(), len(self.twin.catalogue)
        if len(self._heard_ms) < count:
            self._heard_ms = np.concatenate([self._heard_ms, np.full(count - len(self._heard_ms), now)])
        self._heard_ms[self.twin.catalogue.series_entity[stored.series]] = now

    def _forget_silent(self) -> None:
        """Forget learned entities that have been silent for long, by the clock that never jumps."""
        oldest = self.clock.monotonic_ms() - self._forget_after_ms
        catalogue = self.twin.catalogue
        for entity in catalogue.live():
            name = catalogue.entity_ids[entity]
            if entity >= len(self._heard_ms) or self._heard_ms[entity] >= oldest or name in self._lasting:
                continue
            ended = [facts for facts in self.book.active.values() if facts.entity == name]
            self._announce([self.book.end(facts, now_ms=self.clock.now_ms()) for facts in ended])
            if self.uplink:
                self._round.drafts.append(twin_draft(self._publisher.base, name, None))
            self._flush()
            self.store.forget_entity(int(catalogue.entity_key[entity]), now_ms=self.clock.now_ms())
            self._ingest.routes.forget(entity)
            self.twin.forget(entity)
            self._publisher.forget(entity)
            self._heard_ms[entity] = self.clock.monotonic_ms()
            log.info("entity=%s state=forgotten", name)

    def _flush(self) -> None:
        if not self._round.is_empty() and not (self._stalled and self.clock.monotonic_ms() < self._retry_ms):
            self._commit()

    def _snapshot(self) -> None:
        self._flush()
        if self._stalled:
            # it would hold what the journal does not
            return
        self.store.save_snapshot(self.twin.dump(), now_ms=self.clock.now_ms(), missing_names=self.twin.missing_names)

    def _stop(self) -> None:
        """Finish what was read, make it durable, acknowledge it, and say goodbye."""
        if self.sensors.waiting():
            self._process()
        self._round.scores += self.twin.current_rows(self.twin.scored())
        with contextlib.suppress(StoreStalledError):
            self._snapshot()
        if self._stalled:
            log.error("messages=%d stay with the broker: %s", self._round.messages, self._stalled)
        deadline = self.clock.monotonic_ms() + _STOP_MS
        links = [link for link in (self.sensors, self.uplink) if link]
        while any(link.wants_write() for link in links) and self.clock.monotonic_ms() < deadline:
            self._wait(10)
        for link in links:
            link.close()
        self.store.close()
