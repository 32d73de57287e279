"""The table ``journal`` as the one writer's upkeep goes through it: in slices, each from where the last one ended."""

import logging
import sqlite3
from dataclasses import dataclass

import numpy as np

from attwin.core.journal import Segment, decode, shifted

MOST_ROWS = 200
"""Rows of a slice."""
DAMAGED = "damaged"
"""The counter of readings that could not be read any more."""

DELIVERY = np.dtype([("packet_id", "<u2"), ("checksum", "<u4")])
"""How a message without a time of its own stands in the column ``deliveries``."""
Facts = tuple[int, int | None, int | None]
"""How many readings, the first and the last of their times, not shifted; None where there is none."""

log = logging.getLogger("attwin")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JournalRow:
    """A row of the journal.

    Attributes:
        number: Its id.
        segment: Its readings; None where it has none, and where they are damaged.
        held: What the segment says of itself.
        is_damaged: Whether there are readings that cannot be read, or not be believed.
        is_sorted: Whether it was merged.
    """

    number: int
    segment: Segment | None
    held: Facts
    is_damaged: bool
    is_sorted: bool


class JournalTable:
    """Reads slices of the journal, and keeps how far each kind of work has come. Never commits."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def slice(self, condition: str, parameters: tuple[int, ...], *, most: int, shift: bool = True) -> list[JournalRow]:
        """Return the next rows, until there are enough readings."""
        found: list[JournalRow] = []
        readings = 0
        for number, body, merged, shift_ms, *said in self._connection.execute(
            "select journal.id, body, merged, coalesce(shift_ms, 0), readings, first_ms, last_ms "
            f"from journal left join boots on boot = boots.id where {condition} order by journal.id limit ?",
            (*parameters, MOST_ROWS),
        ):
            readings += said[0]
            if found and readings > most:
                break
            segment, held, is_damaged = _believed(body, (said[0], said[1], said[2]))
            if segment and shift:
                segment = shifted(segment, shift_ms)
            found.append(
                JournalRow(number=number, segment=segment, held=held, is_damaged=is_damaged, is_sorted=bool(merged))
            )
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

    def say_mended(self, number: int) -> None:
        """Say that a row says now what its segment holds."""
        log.error("journal=%d state=mended problem='its row did not say what its segment holds'", number)

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


def is_another(held: Facts, said: Facts) -> bool:
    """Return whether a segment is not the one that its row tells of: both ends of its time differ.

    Then the head of the segment is damaged; anything else is a bit that flipped in the row.
    """
    return held[0] > 0 and held[1] != said[1] and held[2] != said[2]


def _believed(body: bytes, said: Facts) -> tuple[Segment | None, Facts, bool]:
    """Return the readings of a body, what it says of itself, and whether it is damaged."""
    nothing: Facts = (0, None, None)
    if not body:
        return None, nothing, False
    try:
        segment = decode(body)
    except ValueError:
        return None, nothing, True
    if not len(segment.time_ms):
        return None, nothing, False
    held = len(segment.time_ms), int(segment.time_ms.min()), int(segment.time_ms.max())
    return (None, nothing, True) if is_another(held, said) else (segment, held, False)
