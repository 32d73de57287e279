"""Merging the journal, twice: commits to sorted segments, then the sorted segments of an hour to a few large ones.

The first time takes what one slice can decode, sort and encode. The second time takes many slices: it reads, orders and
encodes a part at a time in memory, and replaces what it read in one transaction at its end, so a reading is written
three times in all. A kill in between costs the work, nothing else.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from attwin.adapters.sqlite_journal import DELIVERY, MOST_ROWS, JournalRow, JournalTable
from attwin.core.journal import (
    Block,
    by_series,
    encode_sorted,
    joined_segments,
    sorted_blocks,
    sorted_body,
)

_MOST_MERGED = 20_000
"""Readings that are merged in a slice the first time, or decoded in one the second time; about 10 ms."""
_MOST_REGROUPED = 2**17
"""Readings of a segment that was merged twice; 4 MB while they are in memory."""
_BLOCKS_A_SLICE = 4
_MERGE_AFTER_MS = 3_600_000
HOUR_MS = 3_600_000
"""What is merged is of one hour by the clock of its commits."""
_ONCE, _TWICE = 1, 2
"""What the column ``merged`` says."""


class Merging:
    """Merges segments of one hour and one boot. Belongs to the writer."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        journal: JournalTable,
        *,
        deliveries: int,
    ) -> None:
        """Begin with nothing in hand.

        Args:
            connection: The writer's.
            transaction: Begins and ends one.
            journal: The table.
            deliveries: How many of the newest deliveries stay.
        """
        self._connection = connection
        self._transaction = transaction
        self._journal = journal
        self._deliveries = deliveries
        self._regrouping: Iterator[None] = iter(())
        self._waits_at = -1

    def work(self, now_ms: int) -> bool:
        """Do one slice; return whether there was anything to do."""
        return self._merge(now_ms) or self._regroup()

    def _merge(self, now_ms: int) -> bool:
        """Merge the oldest plain segments of one hour and one boot, once the youngest of them is an hour old."""
        numbers = self._next_batch(now_ms)
        if not numbers:
            return False
        rows = self._journal.slice(
            "journal.id between ? and ?", (numbers[0], numbers[-1]), most=_MOST_MERGED, shift=False
        )
        segments = [row.segment for row in rows if row.segment is not None]
        body = encode_sorted(joined_segments(segments)) if segments else b""
        with self._transaction():
            self._replace(rows, body, level=_ONCE)
            self._journal.move("merged", rows[-1].number)
        return True

    def _next_batch(self, now_ms: int) -> list[int]:
        """Return the next plain segments that are merged in one slice; none while one of them is young.

        Waiting for the youngest makes full slices, and leaves the last hour as it is, from which windows are refilled.
        """
        seen = min(self._journal.position("audited"), self._journal.position("rolled"))
        numbers: list[int] = []
        held, own = 0, None
        for number, readings, created_ms, boot, shift_ms in self._connection.execute(
            "select journal.id, readings, created_ms, boot, coalesce(shift_ms, 0) from journal "
            "left join boots on boot = boots.id where journal.id > ? and journal.id <= ? order by journal.id limit ?",
            (self._journal.position("merged"), seen, MOST_ROWS),
        ):
            held += readings
            hour = (_hour_end(created_ms), boot)
            if numbers and (hour != own or held > _MOST_MERGED):
                break
            # a commit from further in the future is one of a clock that was never put right
            if abs(now_ms - created_ms - shift_ms) < _MERGE_AFTER_MS:
                return []
            numbers.append(number)
            own = hour
        return numbers

    def _regroup(self) -> bool:
        """Do the next slice of merging merged segments again."""
        if next(self._regrouping, self) is None:
            return True
        merged = self._journal.position("merged")
        if merged == self._waits_at:
            return False
        numbers = self._next_group(merged)
        if not numbers:
            # nothing changes before more is merged the first time
            self._waits_at = merged
            return False
        self._regrouping = self._regrouped(numbers)
        return True

    def _next_group(self, merged: int) -> list[int]:
        """Return the next segments that belong together; none until it is certain that no more will."""
        numbers: list[int] = []
        held, hour = 0, None
        for number, readings, created_ms, boot in self._connection.execute(
            "select id, readings, created_ms, boot from journal where id > ? and id <= ? order by id",
            (self._journal.position("regrouped"), merged),
        ):
            held += readings
            own_hour = (_hour_end(created_ms), boot)
            if numbers and (own_hour != hour or held > _MOST_REGROUPED):
                return numbers
            numbers.append(number)
            hour = own_hour
        return []

    def _regrouped(self, numbers: Sequence[int]) -> Iterator[None]:
        """Merge sorted segments into one; yield after each slice."""
        rows: list[JournalRow] = []
        waiting = 0
        for number in numbers if len(numbers) > 1 else ():
            readings = self._journal.number(f"select readings from journal where id = {number}")
            waiting += readings
            if waiting > _MOST_MERGED:
                yield
                waiting = readings
            found = self._journal.slice("journal.id = ?", (number,), most=0, shift=False)
            if not found:
                # dropped for space meanwhile; what is left is looked at anew
                return
            rows += found
        yield
        # a plain one is here where the clock went back within its second: earlier versions passed it over
        parts = [row.segment if row.is_sorted else by_series(row.segment) for row in rows if row.segment is not None]
        blocks: list[Block] = []
        for block in sorted_blocks(parts):
            blocks.append(block)
            if len(blocks) % _BLOCKS_A_SLICE == 0:
                yield
        if all(self._connection.execute("select 1 from journal where id = ?", (n,)).fetchone() for n in numbers):
            with self._transaction():
                if rows:
                    self._replace(rows, sorted_body(blocks) if blocks else b"", level=_TWICE)
                self._journal.move("regrouped", numbers[-1])
            yield

    def _replace(self, rows: Sequence[JournalRow], body: bytes, *, level: int) -> None:
        """Put one segment in the place of several; what could not be read of them is counted."""
        # the newest number stays: numbers of the journal are never given twice
        *others, newest = [row.number for row in rows]
        stored = [
            self._connection.execute(
                "select readings, created_ms, deliveries from journal where id = ?", (row.number,)
            ).fetchone()
            for row in rows
        ]
        lost = 0
        for row, (readings, _, _) in zip(rows, stored, strict=True):
            if row.is_damaged:
                lost += readings
            elif readings != row.held[0]:
                self._journal.say_mended(row.number)
        deliveries = self._newest(b"".join(own for _, _, own in stored), newest)
        # what is deleted first leaves its pages to what is written then
        self._connection.executemany("delete from journal where id = ?", [(number,) for number in others])
        self._connection.execute(
            "update journal set merged = ?, counts = '[]', deliveries = ?, created_ms = ?, readings = ?, body = ?, "
            "first_ms = ?, last_ms = ? where id = ?",
            (
                *(level, deliveries, stored[0][1], sum(row.held[0] for row in rows), body),
                min((row.held[1] for row in rows if row.held[1] is not None), default=None),
                max((row.held[2] for row in rows if row.held[2] is not None), default=None),
                newest,
            ),
        )
        self._journal.lose(lost, f"journal {rows[0].number} to {newest}: not readable")

    def _newest(self, deliveries: bytes, number: int) -> bytes:
        """Return those of the deliveries up to a number that are among the newest of the journal."""
        if not deliveries:
            return b""
        later = self._journal.number(
            "select sum(length(deliveries)) from (select deliveries from journal "
            f"where id > {number} and length(deliveries) > 0 order by id limit {self._deliveries})"
        )
        size = max(0, self._deliveries * DELIVERY.itemsize - later)
        return deliveries[max(0, len(deliveries) - size) :]


def _hour_end(created_ms: int) -> int:
    return int(created_ms - created_ms % HOUR_MS + HOUR_MS)
