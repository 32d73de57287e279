"""Reading the journal through after the start, a little each time: damage is found before a person needs what it hit.

What SQLite finds damaged raises, and is mended at the next start. A segment that does not decode is emptied and what it
held is counted. What stands beside a segment that does is put right: the segment has checksums, its row has none.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from attwin.adapters.sqlite_journal import Facts, JournalTable, is_another
from attwin.core.journal import parts_of

_MOST_CHECKED = 20_000
"""Readings of a slice; about 5 ms."""
_ROW_COSTS = 50
"""A row takes as long as so many readings."""
_AGAIN_AFTER_MS = 7 * 86_400_000


class JournalCheck:
    """Goes through the journal once after the start, and once a week. Belongs to the writer."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        journal: JournalTable,
    ) -> None:
        self._connection = connection
        self._transaction = transaction
        self._journal = journal
        self._walk: Iterator[bool] | None = None
        self._next_ms = 0

    def work(self, now_ms: int) -> None:
        """Do one slice.

        Raises:
            sqlite3.Error: A page of the journal is damaged.
        """
        # after a look at a clock from the future, the next time may be years ahead
        if self._walk is None and self._next_ms - _AGAIN_AFTER_MS <= now_ms < self._next_ms:
            return
        # where it ends by an error, it begins anew
        walk, self._walk = self._walk or self._through(), None
        if next(walk, False):
            self._walk = walk
        else:
            self._next_ms = now_ms + _AGAIN_AFTER_MS

    def _through(self) -> Iterator[bool]:
        """Go through the rows that there are now; yield after each slice."""
        newest = self._journal.number("select max(id) from journal")
        number = seen = 0
        while found := self._connection.execute(
            "select id, readings, first_ms, last_ms, body from journal where id > ? and id <= ? order by id limit 1",
            (number, newest),
        ).fetchone():
            number, said, body = found[0], found[1:4], found[4]
            count, first_ms, last_ms = 0, None, None
            try:
                for part in parts_of(body) if body else ():
                    low, high = int(part.time_ms.min()), int(part.time_ms.max())
                    count += len(part.time_ms)
                    first_ms = low if first_ms is None else min(first_ms, low)
                    last_ms = high if last_ms is None else max(last_ms, high)
                    seen += len(part.time_ms)
                    if seen > _MOST_CHECKED:
                        yield True
                        seen = 0
            except ValueError as error:
                self._empty(number, said[0], body, str(error))
            else:
                held = (count, first_ms, last_ms)
                if is_another(held, said):
                    self._empty(number, said[0], body, "its times are not those that were stored")
                elif held != said:
                    self._put_right(number, held, body)
            seen += _ROW_COSTS
            if seen > _MOST_CHECKED:
                yield True
                seen = 0

    def _empty(self, number: int, readings: int, body: bytes, problem: str) -> None:
        """Take what cannot be read out of the journal and count it, unless the row was merged meanwhile."""
        with self._transaction():
            if self._connection.execute(
                "update journal set readings = 0, body = x'', first_ms = null, last_ms = null "
                "where id = ? and body = ?",
                (number, body),
            ).rowcount:
                self._journal.lose(readings, f"journal {number}: {problem}")

    def _put_right(self, number: int, facts: Facts, body: bytes) -> None:
        """Make a row say what its segment holds."""
        with self._transaction():
            if self._connection.execute(
                "update journal set readings = ?, first_ms = ?, last_ms = ? where id = ? and body = ?",
                (*facts, number, body),
            ).rowcount:
                self._journal.say_mended(number)
