"""The loop: read all that has arrived, take it through the stages, commit, acknowledge.

What is read is processed at once. It is committed when its oldest message is ``COMMIT_MS`` old, half of the in-flight
window waits, or an alert changed; only then are its messages acknowledged. Where few messages come, they are let gather
before the next read (``runtime/gather.py``).
"""

import contextlib
import logging
import select
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from attwin.core.alerts import UPDATE_REVERTED, AlertFacts
from attwin.core.audit import MESSAGES_REPLAYED
from attwin.core.columns import NEVER_MS
from attwin.core.errors import StoreDamagedError, StoreError, StoreStalledError
from attwin.core.outgoing import alert_drafts, health_draft, twin_draft
from attwin.core.rules import Basis
from attwin.core.types import DOUBTS, RejectReason, SuppressReason, gravest_doubts
from attwin.core.updates import UpdateState
from attwin.ports import (
    AlertChange,
    AlertLog,
    Clock,
    KeptReject,
    Label,
    Messages,
    ScoreRow,
    SensorLink,
    Store,
    UpLink,
    Watched,
)
from attwin.runtime.aggregate import AggregatePublisher
from attwin.runtime.alerts import AlertBook
from attwin.runtime.committer import COMMIT_MS, MOST_BATCH, Committer
from attwin.runtime.deliver import Delivery
from attwin.runtime.drift import DriftWatch
from attwin.runtime.event_clock import EventClock
from attwin.runtime.evidence import Evidence
from attwin.runtime.foresight import Foresight
from attwin.runtime.gather import Gather
from attwin.runtime.ingest import Counts, Ingest, Ingested
from attwin.runtime.notices import Notices
from attwin.runtime.publish import TwinPublisher
from attwin.runtime.reactions import Reactions
from attwin.runtime.receipts import Receipts
from attwin.runtime.round import Round
from attwin.runtime.trial import ModelTrial
from attwin.runtime.twin import Scores, Taken, Twin
from attwin.runtime.updates import Stepped, Updates

_IDLE_MS = 500
_SNAPSHOT_MS = 60_000
_FORESIGHT_MS = 900_000
"""What is learned to forecast is large, and changes slowly."""
_UPKEEP_EVERY_MS = 1_000
_SLICE_MS = 20
"""How long a round may wait for what is done beside it."""
_STOP_MS = 1_000
_TRIAL_MS = 10
"""How long the loop waits for messages while a model on trial has something to read."""
_STEADY_MS = 60_000
"""After this time a start has gone well."""
_HEALTH_DAYS = 3
"""Of how many days the drift is told upstream."""
_RETAIN = 0x01

log = logging.getLogger("attwin")


class Agent:
    """The daemon. Owns nothing technical: everything comes through ports."""

    def __init__(  # noqa: PLR0913 -- the one place where all ports meet
        self,
        *,
        clock: Clock,
        sensors: SensorLink,
        uplink: UpLink | None,
        delivery: Delivery | None,
        store: Store,
        ingest: Ingest,
        twin: Twin,
        book: AlertBook,
        publisher: TwinPublisher,
        aggregates: AggregatePublisher | None = None,
        alert_log: AlertLog,
        sources: Sequence[str],
        inflight: int,
        commit_ms: int = COMMIT_MS,
        health_every_ms: int,
        forget_after_ms: int,
        lasting: frozenset[str],
        refill: Callable[[Sequence[AlertFacts]], None],
        drift: DriftWatch,
        reactions: Reactions,
        foresight: Foresight,
        updates: Updates | None = None,
        trial: ModelTrial | None = None,
        is_safe: bool = False,
    ) -> None:
        self.twin = twin
        self.drift = drift
        self.book = book
        self.sensors = sensors
        self.uplink = uplink
        self.delivery = delivery
        self.store = store
        self.clock = clock
        self.stopping = False
        now = clock.monotonic_ms()
        batch = max(1, min(MOST_BATCH, inflight // 2))
        self._started_ms = now
        self._refill = refill
        self._reactions = reactions
        self.foresight = foresight
        self.updates = updates
        self._trial = trial
        self._is_safe = is_safe
        self._is_steady = False
        self._uplink_was_up = False
        self._foresight_from_ms = now + _FORESIGHT_MS
        self._ingest = ingest
        self._publisher = publisher
        self._aggregates = aggregates
        self._watched: list[Watched] = []
        self._sources = tuple(sources)
        self._gather = Gather(batch, now)
        self._notices = Notices(clock)
        self._evidence = Evidence(twin, clock)
        self._event_clock = EventClock()
        self._event_clock.note(int(twin.time_ms.max()), now)
        self._committer = Committer(
            clock=clock,
            store=store,
            sensors=sensors,
            uplink=uplink,
            delivery=delivery,
            alert_log=alert_log,
            notices=self._notices,
            base=publisher.base,
            health=self.health,
            commit_ms=commit_ms,
            batch=batch,
        )
        self._mend_from_ms: int | None = None
        self._health_every_ms = health_every_ms
        self._forget_after_ms = forget_after_ms
        self._lasting = lasting
        self._has_heard = False
        self._ticked_ms = now
        if self.updates and not self._is_steady and now - self._started_ms > _STEADY_MS:
            self._is_steady = True
            self.updates.steady()
        self._next_tick_ms = self._next_health_ms = self._care_from_ms = self._upkeep_from_ms = now
        self._next_snapshot_ms = now + _SNAPSHOT_MS
        twin.staleness.expect(np.flatnonzero(twin.time_ms[: twin.catalogue.series_count] != NEVER_MS), 0)
        twin.staleness.expect_entities(np.array(twin.catalogue.live(), np.int64), 0)

    @property
    def totals(self) -> Counter[tuple[str, str, str]]:
        """What was counted since the start, as far as it is durable."""
        return self._committer.totals

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
                if link.wants_read() and (link is not self.sensors or self._reads_sensors()):
                    readers[descriptor] = link.on_readable
                if link.wants_write():
                    writers[descriptor] = link.on_writable
        for watched in self._watched:
            readers |= {descriptor: partial(watched.on_ready, descriptor) for descriptor in watched.filenos()}
            writers |= {descriptor: partial(watched.on_ready, descriptor) for descriptor in watched.writers()}
        waiting, gathered = self.sensors.waiting(), self._reads_sensors()
        readable, writable, _ = select.select(list(readers), list(writers), [], timeout_ms / 1000)
        for descriptor in readable:
            readers[descriptor]()
        if not gathered and self._reads_sensors() and self.sensors.fileno() is not None and self.sensors.wants_read():
            # what was left to gather is here by now: no second wait to find that out
            self.sensors.on_readable()
        if self.sensors.waiting() > waiting:
            self._gather.note(self.sensors.waiting() - waiting, self.clock.monotonic_ms())
            self._gather.meet(self._committer.deadline_ms(self._gather.since_ms))
        for descriptor in writable:
            writers[descriptor]()

    def _reads_sensors(self) -> bool:
        """Return whether messages have had their time to gather; once the agent stops, the rest is the broker's."""
        return self.clock.monotonic_ms() >= self._gather.read_from_ms and not self.stopping

    def _timeout_ms(self) -> int:
        now = self.clock.monotonic_ms()
        until = [self._next_tick_ms]
        if now < self._gather.read_from_ms:
            until.append(self._gather.read_from_ms)
        commit_ms = self._committer.due_ms(self._gather.read_from_ms)
        if commit_ms is not None:
            until.append(commit_ms)
        if self._trial and self._trial.is_behind:
            until.append(now + _TRIAL_MS)
        return max(0, min(until) - now)

    def _step(self) -> None:
        """Process what has arrived, commit what is due, and look after everything else."""
        now = self.clock.monotonic_ms()
        while self.sensors.waiting() and not self._is_holding():
            self._process()
        self._committer.deliver()
        self._react()
        self._update()
        if now >= self._next_tick_ms:
            self._tick(now)
        commit_ms = self._committer.due_ms(self._gather.read_from_ms)
        if commit_ms is not None and now >= commit_ms:
            self._committer.commit()

    def _react(self) -> None:
        """Let the site react to alerts, and keep what became of it; where the disk refuses, later."""
        # what was just added is not in the store yet
        if self._committer.stalled or self._round.reactions:
            return
        reacted = self._reactions.step()
        self._round.reacted += reacted
        self._round.counts.update(self._reactions.counts((), reacted))

    def _update(self) -> None:
        """Go on with what is pushed; each of its steps is durable before anything follows from it."""
        updates = self.updates
        if updates is None:
            if self.uplink:
                # nobody is there to answer, and what waits takes memory
                self.uplink.take_requests()
            return
        is_up = bool(self.uplink and self.uplink.is_up())
        if self.uplink:
            updates.hear(self.uplink.take_requests())
        if self._uplink_was_up and not is_up:
            updates.cut()
        self._uplink_was_up = is_up
        if self._trial and not self._committer.stalled:
            self._trial.step()
        stepped = updates.step(uplink_up=is_up)
        if not stepped.is_empty():
            self._keep_steps(stepped)
        if updates.waits and self._committer.flush():
            updates.settle()

    def _keep_steps(self, stepped: Stepped) -> None:
        """Keep the steps of an update for the commit, and say so where it has served."""
        current, now_ms = self._round, self.clock.now_ms()
        current.updates += stepped.changes
        current.slots += stepped.slots
        current.floors |= stepped.floors
        current.drafts += stepped.drafts
        for update in stepped.ended:
            about = update.kind or update.line
            active = self.book.active.get((UPDATE_REVERTED, about))
            if active and update.state is UpdateState.COMMITTED:
                self.announce([self.book.end(active, now_ms=now_ms)])
            elif not active and update.state is UpdateState.ROLLED_BACK:
                version = float(update.version)
                self.announce(
                    [self.book.raise_own(UPDATE_REVERTED, about, update.reason, value=version, now_ms=now_ms)]
                )
        self._committer.flush()

    @property
    def _round(self) -> Round:
        return self._committer.round

    def _is_holding(self) -> bool:
        """Return whether what arrives must wait: the disk refuses, and more cannot be held."""
        return self._committer.is_full() or (bool(self._committer.stalled) and self._mend_from_ms is not None)

    def _process(self) -> None:
        """Take what has arrived, of one connection, through the stages."""
        messages = self.sensors.take()
        current = self._round
        if current.started_ms is None:
            current.started_ms = self._gather.since_ms
        current.messages += len(messages)
        current.unacknowledged.append((messages.connection, [i for i in messages.packet_ids if i]))
        ingested = self._ingest.decode(messages, now_ms=self.clock.now_ms())
        self._hear(ingested)
        self._take(messages, ingested)

    def replay_rejects(self, numbers: Sequence[int]) -> dict[str, object]:
        """Take rejects of the ring again, as if they arrived when they did, and commit.

        Of a message that was taken in part only the rest is taken; all rejects of it go with it.

        Returns:
            The numbers of those that were ``replayed``; that cannot be, because not all of the message was kept
            (``not_whole``) or because it reads in another way now, so that nobody knows what was taken of it
            (``unsure``); that the ring does not have (``gone``); and that are ``left``, for a round may wait no longer.
            How many readings were ``stored``, left out as ``duplicate`` or ``suppressed``, and how many new rejects
            there are for what was ``rejected_again``.
        """
        if not self._committer.flush():
            return {"error": f"the disk refuses for now: {self._committer.stalled}"}
        try:
            kept = self.store.load_rejects(numbers)
        except StoreDamagedError:
            raise
        except StoreError as error:
            return {"error": str(error)}
        messages: dict[int, list[KeptReject]] = {}
        for reject in kept:
            messages.setdefault(reject.message, []).append(reject)
        ends_ms, receipts = self.clock.monotonic_ms() + _SLICE_MS, Receipts()
        became: dict[str, list[int]] = {name: [] for name in ("replayed", "not_whole", "unsure", "left")}
        for rejects in messages.values():
            is_over = self.clock.monotonic_ms() > ends_ms
            outcome = "left" if is_over else self._replay(rejects[0], receipts)
            became[outcome] += [reject.number for reject in rejects]
        self._round.replayed += became["replayed"]
        sums = Counter[str]()
        for (_, name, _), count in self._round.counts.items():
            sums[name] += count
        found = {name: sums[f"readings_{name}"] for name in ("stored", "duplicate", "suppressed")}
        found["rejected_again"] = len(self._round.rejects)
        self._committer.flush()
        gone = set(numbers).difference(reject.number for reject in kept)
        return {**became, "gone": sorted(gone), **found}

    def _replay(self, reject: KeptReject, receipts: Receipts) -> str:
        """Take the message of a reject again where that is possible, and return what became of it."""
        if not reject.is_whole:
            return "not_whole"
        if reject.taken is None:
            return "unsure"
        message = Messages()
        flags = _RETAIN if reject.retained else 0
        message.add(reject.topic.encode(), reject.payload, length=len(reject.payload), flags=flags, packet_id=0)
        ingested = self._ingest.decode(message, now_ms=reject.time_ms, taken=reject.taken, receipts=receipts)
        if not ingested.is_sure:
            return "unsure"
        self._take(message, replace(ingested, counts=_as_replayed(ingested.counts)))
        return "replayed"

    def _take(self, messages: Messages, ingested: Ingested) -> None:
        """Take what messages held through the stages, into the round."""
        current = self._round
        taken = self.twin.take(ingested.batch, now_ms=ingested.now_ms, clock_trusted=self.clock.is_trusted)
        current.stored.append(taken.stored)
        current.counts.update(ingested.counts)
        self._notices.empty(ingested.empty)
        current.deliveries += ingested.deliveries
        current.labels += ingested.labels
        self._count_readings(ingested.rows.source, taken)
        if taken.late.any():
            ingested = self._ingest.without(messages, ingested, taken.late)
        current.rejects += ingested.rejects
        self._follow(taken)

    def _hear(self, ingested: Ingested) -> None:
        """Note which series and entities were heard now, which of them have gone silent, and answer the sensors."""
        self.twin.hear(ingested.batch, self.clock.monotonic_ms() - self._started_ms)
        self._has_heard |= len(ingested.batch) > 0
        if ingested.silent:
            self.twin.staleness.silence(ingested.silent)
            self._tell_stale(np.array(ingested.silent))
        for topic, payload in ingested.replies:
            self.sensors.reply(topic, payload)

    def _count_readings(self, source: NDArray[np.int64], taken: Taken) -> None:
        for what, reason, rows in (
            *(("readings_stored", doubt, rows) for doubt, rows in _stored_by_doubt(taken)),
            ("readings_duplicate", "", taken.duplicate),
            ("readings_suppressed", SuppressReason.DEADBAND, taken.suppressed),
            ("readings_rejected", RejectReason.LATE, taken.late),
        ):
            if not rows.any():
                continue
            for index, count in enumerate(np.bincount(source[rows]).tolist()):
                if count:
                    self._round.counts[self._sources[index], what, reason] += count

    def _follow(self, taken: Taken) -> None:
        """Turn scores and transitions into rows and messages."""
        current = self._round
        for made in taken.scores:
            current.scores += self.twin.note_scores(made)
            self.drift.add(made)
        self._event_clock.note(self.twin.newest_ms, self.clock.monotonic_ms())
        if self._trial:
            self._trial.take(taken)
        transitions = [*taken.transitions, *self.foresight.take(taken.stored, taken.scores)]
        current.warned += self.foresight.graded
        self.foresight.graded.clear()
        self.announce(self.book.apply(transitions, now_ms=self.clock.now_ms()), taken.scores)
        current.scores += self._rows_at(taken)
        if self.uplink:
            now = self.clock.monotonic_ms()
            for made in taken.scores:
                current.drafts += self._publisher.due_scores(made, now)
            current.drafts += self._publisher.due_readings(taken.stored, now)
        if self._aggregates:
            for made in taken.scores:
                self._aggregates.note_scores(made)
            self._aggregates.note_readings(taken.stored)

    def announce(self, changes: Sequence[AlertChange], scores: Sequence[Scores] = ()) -> None:
        """Keep alerts that changed for the commit, with what was known when they opened, and tell upstream."""
        self._round.alerts += [
            change if change.before else replace(change, evidence=self._evidence.of(change.after, scores))
            for change in changes
        ]
        reactions = self._reactions.drafts(changes)
        self._round.reactions += reactions
        self._round.counts.update(self._reactions.counts(reactions, ()))
        if self.uplink:
            for change in changes:
                self._round.drafts += alert_drafts(self._publisher.base, change.before, change.after)
        if self._aggregates:
            self._aggregates.note_alerts(changes)

    def _rows_at(self, taken: Taken) -> list[ScoreRow]:
        """Return the scores at which an alert on attention, or on what it is made of, changed."""
        rows = []
        for transition in taken.transitions:
            rule = self.twin.rules.states[transition.rule].rule
            if rule.subject.basis in (Basis.ATTENTION, Basis.FEATURE):
                made = next(s for s in taken.scores if s.kind == rule.kind)
                rows.append(self.twin.row_of(made, transition.entity, transition.time_ms))
        return rows

    def _tick(self, now: int) -> None:
        """Do what is due from time to time."""
        if not self.sensors.is_up():
            self.twin.staleness.excuse(now - self._ticked_ms)
        self._ticked_ms = now
        if self.updates and not self._is_steady and now - self._started_ms > _STEADY_MS:
            self._is_steady = True
            self.updates.steady()
        self._next_tick_ms = now + _IDLE_MS
        self._check_clock()
        self._judge_drift()
        self._judge_time(now)
        number = self.twin.catalogue.series_number[: self.twin.catalogue.series_count]
        self._tell_stale(self.twin.staleness.update(number, now - self._started_ms))
        if self.delivery:
            self.delivery.tick()
        for name, link in (("broker", self.sensors), ("upstream", self.uplink)):
            if link:
                link.tick()
                self._notices.link(name, link.problem())
        if self.uplink:
            self._round.drafts += self._publisher.due_now(now)
        if self._aggregates:
            self._round.drafts += self._aggregates.due(now)
        if self.uplink and now >= self._next_health_ms:
            self._next_health_ms = now + self._health_every_ms
            self._round.drafts.append(health_draft(self._publisher.base, self.health()))
        if not self._committer.stalled and now >= self._care_from_ms:
            self._look_after_store(now)

    def _judge_time(self, now: int) -> None:
        """Follow the alerts that change as time goes by."""
        now_ms = self.clock.now_ms()
        event_ms = self._event_clock.at(now, now_ms)
        transitions = self.twin.on_tick(event_ms, is_heard=self.sensors.is_up(), since_start_ms=now - self._started_ms)
        changes = self.book.apply(transitions, now_ms=now_ms)
        self.announce(changes + self.book.tick(event_ms, now_ms=now_ms))

    def _judge_drift(self) -> None:
        """Keep the days that are over, and say which of them are far from training."""
        for day in self.drift.judge():
            self._round.drift.append(day)
            change = self.drift.announce(day, self.book)
            if change:
                self.announce([change])

    def _look_after_store(self, now: int) -> None:
        """Do what the store needs from time to time; where the disk refuses, later."""
        try:
            if self._mend_from_ms is not None:
                self._mend_times(self._mend_from_ms)
            if now >= self._upkeep_from_ms and not self._has_more_upkeep(now):
                self._upkeep_from_ms = now + _UPKEEP_EVERY_MS
            if now >= self._next_snapshot_ms:
                self._next_snapshot_ms = now + _SNAPSHOT_MS
                self._forget_silent()
                self._snapshot()
        except StoreStalledError as error:
            self._committer.stall(str(error))
        except StoreDamagedError:
            raise
        except StoreError as error:
            # what is late with its upkeep still takes readings
            self._care_from_ms = now + _SNAPSHOT_MS
            log.error("store=upkeep problem=%r", str(error))

    def _has_more_upkeep(self, now: int) -> bool:
        """Do upkeep in slices, for as long as a round may wait; return whether more is left."""
        while self.store.upkeep(now_ms=self.clock.now_ms(), times_are_final=self.clock.is_trusted):
            if self.clock.monotonic_ms() - now > _SLICE_MS:
                return True
        return False

    def _tell_stale(self, series: NDArray[np.int64]) -> None:
        """Say which series have become stale, here and upstream."""
        if not len(series):
            return
        entities = self.twin.catalogue.series_entity[series]
        self._notices.stale(self.twin, entities)
        if self.uplink:
            self._round.drafts += self._publisher.due_entities(entities, self.clock.monotonic_ms())

    def keep_label(self, label: Label) -> bool:
        """Keep what a person says; False where the disk refuses."""
        self._round.labels.append(label)
        return self._committer.flush()

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
            self._committer.commit(now_ms=by_old_clock_ms)
        if self._committer.stalled:
            return
        self.store.mend_times(self.clock.offset_ms, now_ms=self.clock.now_ms())
        self._mend_from_ms = None
        self._ingest.forget_receipts()
        self.drift.forget_after(self.clock.now_ms())
        self._refill(list(self.book.active.values()))
        self.foresight.reset()
        if self._trial:
            self._trial.restart()
        self._event_clock.note(self.twin.newest_ms, self.clock.monotonic_ms())
        self.book.mend(self._event_clock.at(self.clock.monotonic_ms(), self.clock.now_ms()))
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
            "disk": self._committer.stalled or "up",
            "entities": self.twin.catalogue.live_count,
            "alerts_active": len(self.book.active),
            "outbox_waiting": self.store.waiting_outgoing(),
            **({"outbox_paused": paused} if self.delivery and (paused := self.delivery.pauses()) else {}),
            "broker": "up" if self.sensors.is_up() else self.sensors.problem(),
            "upstream": "none" if not self.uplink else "up" if self.uplink.is_up() else self.uplink.problem(),
            "scores_unusable": sum(scoring.unusable for scoring in self.twin.scoring.values()),
            "drift": self.drift.report(_HEALTH_DAYS),
            **{f"{name}_total": count for name, count in sums.items()},
        }

    def _forget_silent(self) -> None:
        """Forget learned entities that have been silent for long, by the clock that never jumps."""
        # after a start, the broker too may have begun anew, and its sensors come back one by one
        if not self._has_heard:
            return
        now_ms = self.clock.monotonic_ms() - self._started_ms
        catalogue = self.twin.catalogue
        for entity in catalogue.live():
            name = catalogue.entity_ids[entity]
            if self.twin.staleness.silent_for_ms(entity, now_ms) <= self._forget_after_ms or name in self._lasting:
                continue
            self.announce(self.book.forget(name, now_ms=self.clock.now_ms()))
            if self.uplink:
                self._round.drafts.append(twin_draft(self._publisher.base, name, None))
            self._committer.flush()
            self.store.forget_entity(int(catalogue.entity_key[entity]), now_ms=self.clock.now_ms())
            self._ingest.routes.forget(entity)
            self.foresight.forget(entity, name)
            if self._trial:
                self._trial.forget(entity)
            self.twin.forget(entity)
            self._publisher.forget(entity)
            if self._aggregates:
                self._aggregates.forget(entity)
            log.info("entity=%s state=forgotten", name)

    def _snapshot(self) -> None:
        # while the disk refuses it would hold what the journal does not; a safe start knows little that is derived
        if self._committer.flush() and not self._is_safe:
            self.store.save_snapshot(
                self.twin.dump() | self.drift.dump(),
                now_ms=self.clock.now_ms(),
                missing_names=self.twin.missing_names,
                drift=self.drift.changed(),
            )
            self.drift.note_saved()
            if self.stopping or self.clock.monotonic_ms() >= self._foresight_from_ms:
                self._foresight_from_ms = self.clock.monotonic_ms() + _FORESIGHT_MS
                rows = self.foresight.rows()
                self.store.save_foresight(self.foresight.dump(), rows, now_ms=self.clock.now_ms())

    def _stop(self) -> None:
        """Finish what was read, make it durable, acknowledge it, and say goodbye."""
        while self.sensors.waiting():
            self._process()
        self._round.scores += self.twin.current_rows(self.twin.scored())
        self._judge_drift()
        if self._aggregates:
            self._round.drafts += self._aggregates.due(self.clock.monotonic_ms(), at_end=True)
        if not self._round.is_empty():
            self._committer.commit()
        with contextlib.suppress(StoreStalledError):
            self._snapshot()
        if self._committer.stalled:
            waiting = sum(len(packet_ids) for _, packet_ids in self._round.unacknowledged)
            lost = self._round.messages - waiting
            log.error("messages=%d stay with the broker, lost=%d: %s", waiting, lost, self._committer.stalled)
        if self.updates:
            with contextlib.suppress(StoreStalledError):
                self.updates.steady()
        deadline = self.clock.monotonic_ms() + _STOP_MS
        links = [link for link in (self.sensors, self.uplink) if link]
        while any(link.wants_write() for link in links) and self.clock.monotonic_ms() < deadline:
            self._wait(10)
        for link in links:
            link.close()
        self.store.close()


def _as_replayed(counts: Counts) -> Counts:
    """Return the counts of messages that the broker did not send now: it sent them when they were rejected."""
    again = {"messages_received": MESSAGES_REPLAYED}
    return Counter({(source, again.get(name, name), reason): n for (source, name, reason), n in counts.items()})


def _stored_by_doubt(taken: Taken) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the rows of a batch that were stored, by the gravest doubt; the empty one for plainly good readings."""
    stored = ~(taken.duplicate | taken.late | taken.suppressed)
    doubt = np.full(len(stored), -1)
    doubt[stored] = gravest_doubts(taken.stored.reason)
    yield "", stored & (doubt < 0)
    for place in np.unique(doubt[doubt >= 0]).tolist():
        yield DOUBTS[place][1], doubt == place
