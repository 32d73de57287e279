"""What the one writer does between rounds: roll up, merge, forget what is old, keep within the budget, check.

Each call is one slice of at most a few thousand readings in one transaction, so that a round never waits long. What is
forgotten is counted in the transaction that forgets it.
"""

import itertools
import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attwin.adapters.sqlite_checking import JournalCheck
from attwin.adapters.sqlite_journal import MOST_ROWS, JournalTable
from attwin.adapters.sqlite_merging import HOUR_MS, Merging
from attwin.core.deliveries import LEAST_HORIZON
from attwin.core.journal import joined_segments
from attwin.core.rollup import NOTHING, Rollups, joined, roll_up
from attwin.core.types import Quality

_MOST_ROLLED = 4_000
_MOST_DROPPED = 20_000
"""Readings a slice of each sort; about 10 ms."""
_VACUUM_PAGES = 64
_EXPIRY_EVERY_MS = 60_000
_LAST_MS = f"(case when merged then created_ms - created_ms % {HOUR_MS} + {HOUR_MS} else created_ms end)"
"""When the newest readings of a row came, or a little later: a merged one begins when ``created_ms`` says."""
EXPIRED, DROPPED = "expired", "dropped for space"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How much is kept.

    Attributes:
        journal_ms, rollups_ms, scores_ms, alerts_ms: For how long.
        budget_bytes: The size that the database may have.
        free_bytes: The space that must stay free on its disk.
        deliveries: How many of the newest messages without a time of their own are known again.
    """

    journal_ms: int
    rollups_ms: int
    scores_ms: int
    alerts_ms: int
    budget_bytes: int
    free_bytes: int
    deliveries: int = LEAST_HORIZON


_EXPIRY: tuple[tuple[str, Callable[[Keep], int]], ...] = (
    (
        (
            "delete from rollups where (minute_ms, series_id) in "
            "(select minute_ms, series_id from rollups where minute_ms < ? limit ?)"
        ),
        lambda keep: keep.rollups_ms,
    ),
    (
        (
            "delete from scores where (time_ms, entity_id) in "
            "(select time_ms, entity_id from scores where time_ms < ? limit ?)"
        ),
        lambda keep: keep.scores_ms,
    ),
    (
        (
            "delete from alert_events where id in (select alert_events.id from alert_events join alerts on "
            "alerts.id = alert_id where alerts.state = 'cleared' and cleared_ms < ? "
            "and alert_events.id < (select max(id) from alert_events) limit ?)"
        ),
        lambda keep: keep.alerts_ms,
    ),
    (
        (
            "delete from alerts where id in (select id from alerts where state = 'cleared' and cleared_ms < ? "
            "and id < (select max(id) from alerts) "
            "and not exists (select 1 from alert_events where alert_id = alerts.id) limit ?)"
        ),
        lambda keep: keep.alerts_ms,
    ),
    (
        (
            "delete from reactions where id in "
            "(select id from reactions where state != 'waiting' and created_ms < ? limit ?)"
        ),
        lambda keep: keep.alerts_ms,
    ),
    (
        (
            "delete from drift where (day_ms, kind, model, input) in "
            "(select day_ms, kind, model, input from drift where day_ms < ? limit ?)"
        ),
        lambda keep: keep.scores_ms,
    ),
)


class Upkeep:
    """Keeps the tables of an open database in order. Belongs to the writer."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        path: Path,
        keep: Keep,
    ) -> None:
        self._connection = connection
        self._transaction = transaction
        self._path = path
        self._keep = keep
        self._journal = JournalTable(connection)
        self._merging = Merging(connection, transaction, self._journal, deliveries=keep.deliveries)
        self._check = JournalCheck(connection, transaction, self._journal)
        self._next_expiry_ms = 0
        # what is rolled up and not written yet, and up to which number of the journal
        self._rolled, self._rolled_to = NOTHING, 0

    def work(self, *, now_ms: int, times_are_final: bool) -> bool:
        """Do one slice of what is due; return whether there was anything to do.

        Args:
            now_ms: The gateway's clock; while it is not trusted nothing expires.
            times_are_final: Whether the times of the newest readings are right.
        """
        if times_are_final and (self._roll_up() or self._expire(now_ms) or self._merging.work(now_ms)):
            return True
        if self._is_too_large() and self._drop_oldest():
            return True
        # no hurry: a slice each time when nothing else is due
        self._check.work(now_ms)
        return False

    def _roll_up(self) -> bool:
        """Roll up the next segments before the snapshot's position, and write what was rolled up once that is all.

        Slice by slice, the same pages would be written over and over.
        """
        rows = self._journal.slice(
            "journal.id > ? and journal.id <= (select max(journal_id) from snapshot)",
            (max(self._rolled_to, self._journal.position("rolled")),),
            most=_MOST_ROLLED,
        )
        if rows:
            self._rolled_to = rows[-1].number
            segments = [row.segment for row in rows if row.segment is not None]
            if segments:
                everything = joined_segments(segments)
                good = everything.rows(np.flatnonzero(everything.quality != Quality.BAD))
                self._rolled = joined([self._rolled, roll_up(good.series_key, good.time_ms, good.value)])
            if len(self._rolled.count) <= _MOST_ROLLED:
                return True
        elif self._rolled_to <= self._journal.position("rolled"):
            return False
        with self._transaction():
            self._add_rollups(self._rolled)
            self._journal.move("rolled", self._rolled_to)
        self._rolled = NOTHING
        return True

    def _add_rollups(self, found: Rollups) -> None:
        columns = (
            *(found.series_key, found.minute_ms, found.count, found.total),
            *(found.low, found.high, found.last, found.last_ms),
        )
        self._connection.executemany(
            "insert into rollups values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do update set "
            "count = count + excluded.count, total = coalesce(total + excluded.total, 0), "
            "low = min(low, excluded.low), high = max(high, excluded.high), "
            "last = case when excluded.last_ms >= last_ms then excluded.last else last end, "
            "last_ms = max(last_ms, excluded.last_ms)",
            zip(*(column.tolist() for column in columns), strict=True),
        )

    def _expire(self, now_ms: int) -> bool:
        """Forget the oldest rows that nobody asked to keep longer."""
        keep = self._keep
        if self._drop_journal(now_ms - keep.journal_ms, EXPIRED, "'audited_journal_id', 'rolled_journal_id'"):
            return True
        # after a look at a clock from the future, the next time may be years ahead
        if self._next_expiry_ms - _EXPIRY_EVERY_MS <= now_ms < self._next_expiry_ms:
            return False
        for statement, limit_ms in _EXPIRY:
            with self._transaction():
                if self._connection.execute(statement, (now_ms - limit_ms(keep), MOST_ROWS)).rowcount:
                    return True
        self._next_expiry_ms = now_ms + _EXPIRY_EVERY_MS
        return False

    def _is_too_large(self) -> bool:
        """Return whether the file is over its budget, or the disk under its floor; free pages are given back first."""
        free_pages = self._journal.number("pragma freelist_count")
        page_bytes = self._journal.number("pragma page_size")
        used = (self._journal.number("pragma page_count") - free_pages) * page_bytes
        disk = os.statvfs(self._path.parent)
        disk_is_low = disk.f_bavail * disk.f_frsize < self._keep.free_bytes
        if disk_is_low and free_pages > _VACUUM_PAGES:
            self._connection.execute(f"pragma incremental_vacuum({_VACUUM_PAGES * 8})").fetchall()
            return False
        return used > self._keep.budget_bytes or disk_is_low

    def _drop_oldest(self) -> bool:
        """Drop the oldest journal first, then roll-ups, then scores; alerts and the outbox never for space."""
        if self._drop_journal(2**62, DROPPED, "'audited_journal_id'"):
            return True
        for statement, _ in _EXPIRY[:2]:
            with self._transaction():
                if self._connection.execute(statement, (2**62, MOST_ROWS)).rowcount:
                    return True
        return False

    def _drop_journal(self, before_ms: int, reason: str, seen_by: str) -> bool:
        """Drop the oldest segments that the snapshot and the audit have seen; count what they held."""
        rows = self._connection.execute(
            "select journal.id, readings from (select id, readings, created_ms, boot, merged from journal where id <= "
            f"(select min(cast(value as integer)) from meta where name in ({seen_by})) "
            "and id < (select max(id) from journal) order by id limit ?) as journal "
            f"left join boots on boot = boots.id where {_LAST_MS} + coalesce(shift_ms, 0) < ?",
            (MOST_ROWS, before_ms),
        ).fetchall()
        if not rows:
            return False
        # what is deleted is overwritten with zeros, so a slice is bounded by what the rows hold, too
        sums = itertools.accumulate(readings for _, readings in rows)
        rows = rows[: max(1, sum(held <= _MOST_DROPPED for held in sums))]
        with self._transaction():
            self._connection.executemany("delete from journal where id = ?", [(number,) for number, _ in rows])
            self._journal.count(reason, sum(readings for _, readings in rows))
        return True
