"""The durable twin in SQLite: a round becomes durable in one transaction."""

import hashlib
import logging
import os
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from attwin.adapters import sqlite_alerts, sqlite_site, sqlite_updates
from attwin.adapters.arrays import pack_planes, unpack_planes
from attwin.adapters.sqlite_checksums import judgement, row_checksum
from attwin.adapters.sqlite_database import as_store_error, open_writer
from attwin.adapters.sqlite_journal import DELIVERY, JournalTable
from attwin.adapters.sqlite_outbox import Outbox
from attwin.adapters.sqlite_rejects import RejectRing
from attwin.adapters.sqlite_salvage import HIGHEST_SERIES, UNTOLD
from attwin.adapters.sqlite_upkeep import Keep, Upkeep
from attwin.core.alerts import AlertFacts
from attwin.core.catalogue import Catalogue
from attwin.core.columns import NEVER_MS
from attwin.core.deliveries import Deliveries
from attwin.core.journal import Segment, decode, encode, shifted
from attwin.core.lanes import DEFAULT_OUTBOX, OutboxPolicy
from attwin.core.outgoing import LANES, OutgoingMessage, base_topic
from attwin.core.types import QUALITY_WORDS, doubt_words
from attwin.core.updates import Update
from attwin.ports import Commit, Counts, Doing, DriftDay, ForecastRow, KeptReject, ScoreRow, Slot

_REFILL_MS = 3_600_000
_JUDGED = "drift_judged "
"""Before the name of a kind: where ``meta`` has the model and the day that was judged last, which outlasts its rows."""
log = logging.getLogger("attwin")


class SqliteStore:
    """Implements ``ports.Store``. The only writer of its file."""

    def __init__(
        self,
        path: Path,
        catalogue: Catalogue,
        *,
        gateway: str,
        durability: str,
        keep: Keep | None = None,
        outbox: OutboxPolicy = DEFAULT_OUTBOX,
    ) -> None:
        """Open the database.

        Args:
            path: The file; made where it is missing.
            catalogue: Knows entities and series.
            gateway: Part of the ids of messages.
            durability: ``full`` or ``normal``.
            keep: How much is kept; everything where this is None.
            outbox: How much may wait for upstream.

        Raises:
            StoreError: It cannot be used.
        """
        self.path = path
        self._catalogue = catalogue
        opened = open_writer(path, durability=durability)
        self._connection, self._lock, self.salvaged = opened.connection, opened.lock, opened.salvaged
        self._saved_entities: set[int] = set()
        self._boot, self._boot_id = 0, ""
        try:
            with self._transaction():
                self._connection.execute("insert or ignore into meta values ('store_id', ?)", (uuid.uuid4().hex[:8],))
                for lane in LANES:
                    self._connection.execute("insert or ignore into lanes (lane, next_sequence) values (?, 1)", (lane,))
            self._store_id = self.meta("store_id")
            self._outbox = Outbox(
                self._connection,
                self._transaction,
                path,
                prefix=f"{gateway}:{self._store_id}",
                base=base_topic(gateway),
                policy=outbox,
            )
            self._rejects = RejectRing(self._connection, path)
        except BaseException as error:
            # the next try in this process needs the lock
            self.close()
            if isinstance(error, sqlite3.Error):
                raise as_store_error(error, path) from error
            raise
        self._upkeep = Upkeep(self._connection, self._transaction, path, keep) if keep else None

    @property
    def store_id(self) -> str:
        """Return the id that this database was given when it was made."""
        return self._store_id

    def newest_ms(self) -> int:
        """Return a time that has certainly passed: that of the newest commit; 0 where there is none."""
        newest = "(select created_ms, boot from journal order by id desc limit 1)"
        shifted = "coalesce(max(created_ms + coalesce(shift_ms, 0)), 0)"
        return int(self._one(f"select {shifted} from {newest} left join boots on boot = boots.id"))

    def begin_boot(self, boot_id: str, offset_ms: int, *, now_ms: int) -> None:
        """Note by which clock the times of receipt are from now on.

        Args:
            boot_id: Of this boot of the machine.
            offset_ms: The believed time less the time since the machine was booted.
            now_ms: The believed time.
        """
        with self._transaction():
            self._insert_boot(boot_id, offset_ms, now_ms)

    def mend_times(self, offset_ms: int, *, now_ms: int) -> None:
        """Put right the times of receipt of this boot of the machine.

        Who reads the journal adds the shift of a row's boot; rejects are dated anew.
        """
        with self._transaction():
            self._connection.execute(
                "update rejects set time_ms = time_ms + ? - offset_ms - shift_ms from boots "
                "where boots.id = rejects.boot and boot_id = ?",
                (offset_ms, self._boot_id),
            )
            self._connection.execute(
                "update boots set shift_ms = ? - offset_ms where boot_id = ?", (offset_ms, self._boot_id)
            )
            self._insert_boot(self._boot_id, offset_ms, now_ms)

    def _insert_boot(self, boot_id: str, offset_ms: int, now_ms: int) -> None:
        self._boot_id = boot_id
        self._boot = int(
            self._connection.execute(
                "insert into boots (boot_id, started_ms, offset_ms) values (?, ?, ?)", (boot_id, now_ms, offset_ms)
            ).lastrowid
            or 0
        )
        self._outbox.date_by(self._boot)

    def load_entities(
        self, kinds: Mapping[str, int], snapshot: Mapping[str, NDArray[np.generic]], *, now_ms: int
    ) -> None:
        """Add to the catalogue the entities whose kind the configuration still has with the same metrics.

        An entity whose kind has other metrics now gets new series; the old ones stay readable.

        Args:
            kinds: The index of every kind of the configuration.
            snapshot: Its entities get the places they had, so that its columns fit.
            now_ms: The gateway's clock.
        """
        rows = self._connection.execute(
            "select e.id, e.name, e.kind, min(s.id), group_concat(s.metric, char(31)), e.forgotten_ms is not null "
            "from entities e join (select * from series order by id) s on s.entity_id = e.id group by e.id "
            "order by e.id"
        ).fetchall()
        self._catalogue.next_entity_key = int(self._one("select coalesce(max(id), 0) + 1 from entities"))
        highest = int(self._one("select coalesce(max(id), 0) from series"))
        self._catalogue.next_series_key = max(highest, int(self.meta(HIGHEST_SERIES) or 0)) + 1
        places = snapshot.get("catalogue.entity_key", np.empty(0, np.int64)).tolist()
        place_of = {key: place for place, key in enumerate(places)}
        rows.sort(key=lambda row: place_of.get(row[0], len(places) + row[0]))
        changed, free = [], []
        for key, name, kind, first_series, metrics, forgotten in rows:
            index = kinds.get(kind)
            same = index is not None and metrics.split("\x1f") == [m.name for m in self._catalogue.kinds[index].metrics]
            if index is not None and same and (not forgotten or key in place_of):
                place = self._catalogue.add(f"\0{key}" if forgotten else name, index, keys=(key, first_series))
                if forgotten:
                    free.append(place)
                else:
                    self._saved_entities.add(key)
            elif not forgotten:
                changed.append((key, name, index))
        for place in free:
            self._catalogue.forget(place)
        for key, name, index in changed:
            self.forget_entity(key, now_ms=now_ms)
            if index is not None:
                self._catalogue.add(name, index)

    def active_alerts(self) -> list[AlertFacts]:
        """Return the alerts that are active."""
        return sqlite_alerts.load_active(self._connection)

    def snoozed(self, now_ms: int) -> dict[tuple[str, str], int]:
        """Return until when (rule, entity) are snoozed."""
        return sqlite_alerts.load_snoozed(self._connection, now_ms)

    def next_alert(self) -> int:
        """Return the number for the next new alert."""
        return int(self._one("select coalesce(max(id), 0) + 1 from alerts"))

    def next_reaction(self, name: str, after: int) -> Doing | None:
        """Return the oldest of what is to be done for a reaction that has a higher number; None where there is none."""
        return sqlite_site.next_reaction(self._connection, name, after)

    def open_updates(self) -> list[Update]:
        """Return the updates that have not ended, oldest first."""
        return sqlite_updates.load_open(self._connection)

    def update(self, transaction: str) -> Update | None:
        """Return an update by its transaction, None where there is none."""
        return sqlite_updates.load_update(self._connection, transaction)

    def rolled_back(self, sha256: str) -> str:
        """Return why a file was rolled back here, empty where it was not."""
        return sqlite_updates.load_rolled_back(self._connection, sha256)

    def committed(self, sha256: str) -> Update | None:
        """Return the update that put a file to service, None where there is none."""
        return sqlite_updates.load_committing(self._connection, sha256)

    def slots(self) -> dict[str, Slot]:
        """Return what serves by line, where it did not come from the configuration."""
        return sqlite_updates.load_slots(self._connection)

    def floors(self) -> dict[str, int]:
        """Return below which version nothing is taken, by line."""
        return sqlite_updates.load_floors(self._connection)

    def steady(self) -> None:
        """Note that the agent runs well: starts are counted from here on."""
        with self._transaction():
            self._connection.execute("update updates set starts = 0 where starts > 0")

    def drift_judged(self) -> dict[tuple[str, str], int]:
        """Return which day of (kind, model) was judged last."""
        rows = self._connection.execute("select name, value from meta where name glob ?", (f"{_JUDGED}*",)).fetchall()
        parts = ((name.removeprefix(_JUDGED), *value.split()) for name, value in rows)
        return {(kind, model): int(day_ms) for kind, model, day_ms in parts}

    def alert_events_after(self, event: int) -> Iterator[tuple[int, str]]:
        """Yield (number, body) of the alert events after a number."""
        yield from self._connection.execute("select id, body from alert_events where id > ? order by id", (event,))

    def commit(self, commit: Commit) -> None:
        """Make a round durable in one transaction, new entities of the catalogue included.

        Raises:
            StoreError: The disk refuses; nothing of the round is durable.
        """
        with self._transaction():
            saved = self._save_entities(commit.now_ms)
            queued = self._outbox.write(commit.drafts, commit.delivered, commit.parked, commit.now_ms)
            # a source may be called as the queue is
            self._save_segment(commit, Counter(commit.counts) + queued.counts)
            held = self._rejects.write(commit.rejects, commit.replayed, self._boot)
            sqlite_alerts.save(self._connection, commit.alerts)
            sqlite_site.save(self._connection, commit)
            sqlite_updates.save(self._connection, commit.updates, commit.slots, commit.floors)
            self._save_scores(commit.scores)
            self._save_drift(commit.drift)
            self._connection.executemany(
                "insert or replace into meta values (?, ?)",
                [(f"{_JUDGED}{day.kind}", f"{day.model} {day.day_ms}") for day in commit.drift],
            )
            if commit.tells_salvage:
                self._connection.execute("delete from meta where name = ?", (UNTOLD,))
        # what is only in memory follows what is durable, so that a commit that failed can be tried again
        self._saved_entities |= saved
        self._rejects.committed(held)
        self._outbox.committed(queued)

    def load_rejects(self, numbers: Sequence[int]) -> list[KeptReject]:
        """Return those of the given rejects that the ring still has, and all others of their messages, by time.

        Raises:
            StoreDamagedError: The ring cannot be read.
        """
        return self._rejects.load(numbers)

    def take_outgoing(self, lane: str, limit: int, most_bytes: int) -> list[OutgoingMessage]:
        """Return messages of a lane that wait and are not on their way, oldest first; from now on they are.

        Damaged ones are left out; ``upkeep`` parks them.

        Raises:
            StoreError: They cannot be read; none of them counts as taken.
        """
        return self._outbox.take(lane, limit, most_bytes)

    def give_back_outgoing(self, messages: Sequence[OutgoingMessage]) -> None:
        """Let messages wait again that were taken and did not arrive."""
        self._outbox.give_back(messages)

    def unsent_outgoing(self, lane: str) -> int:
        """Return how many messages of a lane wait and are not on their way."""
        return self._outbox.unsent(lane)

    def in_flight_outgoing(self) -> dict[str, int]:
        """Return how many messages of each lane are on their way."""
        return self._outbox.in_flight()

    def has_urgent_outgoing(self) -> bool:
        """Return whether something urgent waits for upstream."""
        return self._outbox.has_urgent()

    def park_outgoing(self, lane: str, sequence: int, *, now_ms: int) -> str:
        """Set a message aside that waits; return why it cannot be, empty where it was."""
        return self._outbox.park(lane, sequence, now_ms)

    def retry_outgoing(self, lane: str, sequence: int) -> bool:
        """Let a message that was set aside wait again; return whether there was a whole one."""
        return self._outbox.retry(lane, sequence)

    def waiting_outgoing(self) -> int:
        """Return how many messages wait for upstream."""
        return self._outbox.waiting

    def save_snapshot(
        self,
        arrays: Mapping[str, NDArray[np.generic]],
        *,
        now_ms: int,
        missing_names: Callable[[int], str],
        drift: Sequence[DriftDay] = (),
    ) -> None:
        """Replace the snapshot, tagged with the journal's position, and bring the audit and state tables up to it."""
        body = pack_planes(arrays)
        position = int(self._one("select coalesce(max(id), 0) from journal"))
        with self._transaction():
            self._connection.execute(
                "insert or replace into snapshot values (1, ?, ?, ?, ?)",
                (position, now_ms, _checksum(body), body),
            )
            JournalTable(self._connection).bring_audit_to(position)
            self._save_state(arrays, missing_names)
            self._save_drift(drift)

    def save_foresight(
        self, arrays: Mapping[str, NDArray[np.generic]], rows: Sequence[ForecastRow], *, now_ms: int
    ) -> None:
        """Replace what was learned to forecast, and what is said now."""
        body = pack_planes(arrays)
        with self._transaction():
            self._connection.execute(
                "insert or replace into foresight values (1, ?, ?, ?)", (now_ms, _checksum(body), body)
            )
            self._connection.execute("delete from forecasts")
            self._connection.executemany(
                "insert into forecasts values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(row.entity, row.subject, row.horizon_ms, row.made_ms, row.made_ms + row.horizon_ms),
                        *(row.value, row.low, row.high, row.forecaster, row.grades, row.error),
                        *(row.persistence_error, row.coverage, ",".join(row.muted)),
                    )
                    for row in rows
                ],
            )

    def load_foresight(self) -> dict[str, NDArray[np.generic]]:
        """Return what was learned to forecast; nothing where there is nothing that can be trusted."""
        row = self._connection.execute("select checksum, body from foresight").fetchone()
        if row is None or _checksum(row[1]) != row[0]:
            return {}
        try:
            return unpack_planes(row[1])
        except ValueError as error:
            log.warning("foresight=unused problem=%r", str(error))
            return {}

    def upkeep(self, *, now_ms: int, times_are_final: bool) -> bool:
        """Do one slice of upkeep; return whether there was anything to do."""
        self._outbox.park_damaged(now_ms)
        try:
            if self._outbox.expire(now_ms, boot_id=None if times_are_final else self._boot_id):
                return True
            return self._upkeep is not None and self._upkeep.work(now_ms=now_ms, times_are_final=times_are_final)
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error

    def load_snapshot(self) -> tuple[dict[str, NDArray[np.generic]], int]:
        """Return the snapshot's arrays and journal position; ({}, 0) where there is none that can be trusted."""
        row = self._connection.execute("select journal_id, checksum, body from snapshot").fetchone()
        if row is None or _checksum(row[2]) != row[1]:
            return {}, 0
        try:
            return unpack_planes(row[2]), int(row[0])
        except ValueError as error:
            # that of an earlier version
            log.warning("snapshot=unused problem=%r", str(error))
            return {}, 0

    def load_deliveries(self, horizon: int) -> Deliveries:
        """Return the newest deliveries of messages without a time of their own."""
        found: list[tuple[int, int]] = []
        for (body,) in self._connection.execute(
            "select deliveries from journal where length(deliveries) > 0 order by id desc limit ?", (horizon,)
        ):
            rows = np.frombuffer(body, DELIVERY)
            found = [*zip(rows["packet_id"].tolist(), rows["checksum"].tolist(), strict=True), *found]
            if len(found) >= horizon:
                break
        deliveries = Deliveries(horizon)
        deliveries.remember(found)
        return deliveries

    def set_meta(self, name: str, value: str) -> None:
        """Keep a fact about this database."""
        with self._transaction():
            self._connection.execute("insert or replace into meta values (?, ?)", (name, value))

    def probe(self) -> None:
        """Find out whether the disk takes anything.

        Raises:
            StoreStalledError: It does not.
        """
        self.set_meta("probe", os.urandom(8).hex())

    def meta(self, name: str) -> str:
        """Return a fact, empty where there is none."""
        row = self._connection.execute("select value from meta where name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def recent_position(self, now_ms: int, back_ms: int = _REFILL_MS) -> int:
        """Return the journal position an hour ago, from where windows are refilled when there is no snapshot.

        Args:
            now_ms: The gateway's clock.
            back_ms: Another time than an hour.
        """
        row = self._connection.execute(
            "select max(journal.id) from journal left join boots on boot = boots.id "
            "where created_ms + coalesce(shift_ms, 0) < ?",
            (now_ms - back_ms,),
        ).fetchone()
        return int(row[0] or 0)

    def segments_after(self, position: int) -> Iterator[Segment]:
        """Yield the journal's segments after a position, as ``journal_after`` does."""
        for _, segment in self.journal_after(position):
            yield segment

    def journal_after(self, position: int) -> Iterator[tuple[int, Segment]]:
        """Yield the journal's segments after a position with their own, oldest first.

        A damaged one is left out and said.

        Raises:
            StoreDamagedError: The journal cannot be read to its end.
        """
        query = (
            "select journal.id, readings, body, merged, coalesce(shift_ms, 0) from journal "
            "left join boots on boot = boots.id where journal.id > ? and readings > 0 order by journal.id"
        )
        try:
            for number, readings, body, merged, shift_ms in self._connection.execute(query, (position,)):
                try:
                    segment = shifted(decode(body), shift_ms)
                except ValueError as error:
                    log.error("journal=%d readings=%d lost=replay problem=%r", number, readings, str(error))
                    continue
                # a sorted segment is put back into the order of time
                yield number, segment.rows(np.argsort(segment.time_ms, kind="stable")) if merged else segment
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error

    def forget_entity(self, key: int, *, now_ms: int) -> None:
        """Mark an entity as forgotten; what is stored of it stays readable."""
        with self._transaction():
            self._connection.execute("update entities set forgotten_ms = ? where id = ?", (now_ms, key))
        self._saved_entities.discard(key)

    def note_model(self, kind: str, name: str, version: int, sha256: str, runtime: str, *, now_ms: int) -> None:
        """Note that a model is active, where it was not already."""
        last = self._connection.execute(
            "select sha256, runtime from models where kind = ? order by id desc limit 1", (kind,)
        ).fetchone()
        if last == (sha256, runtime):
            return
        with self._transaction():
            self._connection.execute(
                "insert into models (kind, name, version, sha256, runtime, activated_ms) values (?, ?, ?, ?, ?, ?)",
                (kind, name, version, sha256, runtime, now_ms),
            )

    def close(self) -> None:
        """Check-point and close; a full disk leaves the log for the next start."""
        with suppress(sqlite3.Error):
            self._connection.execute("pragma wal_checkpoint(truncate)")
        self._connection.close()
        os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("begin immediate")
            try:
                yield
                self._connection.execute("commit")
            except BaseException:
                # a full disk may have rolled back already
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error

    def _one(self, query: str) -> int | str:
        value: int | str = self._connection.execute(query).fetchone()[0]
        return value

    def _save_entities(self, now_ms: int) -> set[int]:
        """Insert the entities that are not saved yet, and return their keys."""
        saved: set[int] = set()
        if len(self._saved_entities) == self._catalogue.live_count:
            return saved
        for entity in self._catalogue.live():
            key = int(self._catalogue.entity_key[entity])
            if key in self._saved_entities:
                continue
            kind = self._catalogue.kind_of(entity)
            self._connection.execute(
                "insert into entities values (?, ?, ?, ?, null)",
                (key, self._catalogue.entity_ids[entity], kind.name, now_ms),
            )
            series = self._catalogue.series_of(entity)
            self._connection.executemany(
                "insert into series values (?, ?, ?, ?)",
                [
                    (int(self._catalogue.series_key[place]), key, metric.name, metric.unit)
                    for place, metric in zip(series, kind.metrics, strict=True)
                ],
            )
            saved.add(key)
        return saved

    def _save_segment(self, commit: Commit, counts: Counts) -> None:
        if not counts:
            return
        stored = commit.stored
        segment = Segment(
            series_key=self._catalogue.series_key[stored.series],
            time_ms=stored.time_ms,
            value=stored.value,
            quality=stored.quality,
            reason=stored.reason,
        )
        first, last = (int(stored.time_ms.min()), int(stored.time_ms.max())) if len(stored) else (None, None)
        self._connection.execute(
            "insert into journal (created_ms, readings, first_ms, last_ms, body, counts, deliveries, boot) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                commit.now_ms,
                len(stored),
                first,
                last,
                encode(segment) if len(stored) else b"",
                msgspec.json.encode([[*key, count] for key, count in counts.items()]).decode(),
                np.array([*commit.deliveries], DELIVERY).tobytes(),
                self._boot,
            ),
        )

    def _save_scores(self, rows: Sequence[ScoreRow]) -> None:
        if not rows:
            return
        self._connection.executemany(
            "insert or replace into scores values (?, ?, ?, ?)",
            [(int(self._catalogue.entity_key[r.entity]), r.time_ms, r.score, r.missing) for r in rows],
        )

    def _save_drift(self, days: Sequence[DriftDay]) -> None:
        if not days:
            return
        self._connection.executemany(
            "insert or replace into drift values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (day.day_ms, day.kind, day.model, name, psi, usual, day.scores, day.is_over)
                for day in days
                for name, psi, usual in zip(day.inputs, day.psi, day.usual, strict=True)
            ],
        )

    def _save_state(self, arrays: Mapping[str, NDArray[np.generic]], missing_names: Callable[[int], str]) -> None:
        time_ms, value, quality, reason = (arrays[f"twin.{name}"] for name in ("time_ms", "value", "quality", "reason"))
        places = np.flatnonzero(time_ms[: self._catalogue.series_count] != NEVER_MS)
        rows = zip(
            self._catalogue.series_key[places].tolist(),
            time_ms[places].tolist(),
            value[places].tolist(),
            [QUALITY_WORDS[q] for q in quality[places].tolist()],
            [doubt_words(bits) for bits in reason[places].tolist()],
            strict=True,
        )
        self._connection.executemany(
            "insert or replace into state (series_id, time_ms, value, quality, reason, checksum) "
            "values (?, ?, ?, ?, ?, ?)",
            [(*row, row_checksum(*row[:3], judgement(*row[3:]))) for row in rows],
        )
        score_ms, score = arrays["twin.score_ms"], arrays["twin.score"]
        scored = np.flatnonzero(score_ms[: len(self._catalogue)] != NEVER_MS)
        scores = [
            (int(self._catalogue.entity_key[e]), int(score_ms[e]), float(score[e]), missing_names(e))
            for e in scored.tolist()
        ]
        self._connection.executemany(
            "insert or replace into attention values (?, ?, ?, ?, ?)", [(*row, row_checksum(*row)) for row in scores]
        )


def _checksum(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()
