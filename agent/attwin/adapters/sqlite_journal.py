"""The table ``journal`` as the one writer's upkeep goes through it: in slices, each from where the last one ended."""

import logging
import sqlite3

from attwin.core.journal import Segment, decode, shifted

MOST_ROWS = 200
"""Rows of a slice."""
DAMAGED = "damaged"
"""The counter of readings that could not be read any more."""

log = logging.getLogger("attwin")


class JournalTable:
    """Reads slices of the journal, and keeps how far each kind of work has come. Never commits."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def slice(
        self, condition: str, parameters: tuple[int, ...], *, most: int, shift: bool = True
    ) -> list[tuple[int, Segment | None]]:
        """Return the next segments, None for a damaged or an empty one, until there are enough readings."""
        found: list[tuple[int, Segment | None]] = []
        readings = 0
        for number, count, body, shift_ms in self._connection.execute(
            "select journal.id, readings, body, coalesce(shift_ms, 0) from journal left join boots on boot = boots.id "
            f"where {condition} order by journal.id limit ?",
            (*parameters, MOST_ROWS),
        ):
            readings += count
            if found and readings > most:
                break
            try:
                segment = decode(body) if count else None
            except ValueError:
                segment = None
            found.append((number, shifted(segment, shift_ms if shift else 0) if segment else None))
        return found

    def position(self, what: str) -> int:
        """Return up to which number the journal has been ``audited``, ``rolled``, ``merged`` or ``regrouped``."""
        return self.number(f"select cast(value as integer) from meta where name = '{what}_journal_id'")

    def move(self, what: str, number: int) -> None:
        """Note up to which number it has been through."""
        self._connection.execute("insert or replace into meta values (?, ?)", (f"{what}_journal_id", str(number)))

    def bring_audit_to(self, number: int) -> None:
        """Add what the rows up to a number have counted to the audit, each row once."""
        self._connection.execute(
            "insert into audit select each.value ->> 0, each.value ->> 1, each.value ->> 2, sum(each.value ->> 3) "
            "from journal, json_each(journal.counts) as each where journal.id > ? and journal.id <= ? "
            "group by 1, 2, 3 on conflict do update set count = count + excluded.count",
            (self.position("audited"), number),
        )
        self.move("audited", number)

    def lose(self, readings: int, problem: str) -> None:
        """Count, and say, that readings of the journal were damaged."""
        if readings:
            self.count(DAMAGED, readings)
            log.error("store=damaged readings=%d state=lost problem=%r", readings, problem)

    def count(self, reason: str, readings: int) -> None:
        """Count readings that the journal does not hold any more."""
        if readings:
            self._connection.execute(
                "insert into audit values ('store', ?, '', ?) on conflict do update set count = count + excluded.count",
                (reason, readings),
            )

    def number(self, query: str) -> int:
        """Return the one number that a query finds, 0 for none."""
        row = self._connection.execute(query).fetchone()
        return int(row[0] or 0) if row else 0
