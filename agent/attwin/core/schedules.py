"""Hours of the week, in the local time of a site: when a rule holds, and when nobody is to be woken.

What a zone's offset is comes as a function, as the rules of time zones are the machine's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attwin.core.local_time import LocalTime, OffsetOf
from attwin.core.types import MS_PER_MINUTE

MINUTES_A_DAY = 1_440
_MINUTES_A_WEEK = 7 * MINUTES_A_DAY
_MONDAY_OF_EPOCH = 3 * MINUTES_A_DAY
"""1970-01-01 was a Thursday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """One span of each of some days.

    Attributes:
        days: The days on which it begins, 0 for Monday.
        from_minute: When it begins [minutes after midnight].
        to_minute: When it ends; at or before ``from_minute`` it ends on the next day.
    """

    days: tuple[int, ...] = tuple(range(7))
    from_minute: int = 0
    to_minute: int = 0

    def minutes(self) -> NDArray[np.int64]:
        """Return the minutes of the week that are in it."""
        length = (self.to_minute - self.from_minute) % MINUTES_A_DAY or MINUTES_A_DAY
        starts = np.array(self.days, np.int64) * MINUTES_A_DAY + self.from_minute
        found: NDArray[np.int64] = (starts[:, None] + np.arange(length)).ravel() % _MINUTES_A_WEEK
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Spans of the week by the clocks on the wall.

    A wall clock that is put back shows an hour twice, and both count; one that is put forward leaves one out.

    Attributes:
        spans: What is in it.
        zone: Whose clocks, an IANA name.
    """

    spans: tuple[Hours, ...]
    zone: str = "UTC"
    offset_s: OffsetOf = field(repr=False, compare=False)
    _table: NDArray[np.bool_] = field(init=False, repr=False, compare=False)
    _local: LocalTime = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = np.zeros(_MINUTES_A_WEEK, np.bool_)
        for span in self.spans:
            table[span.minutes()] = True
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_local", LocalTime(self.offset_s))

    def contains(self, time_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which times are in it. Shape (N,)."""
        minute = self._local.local_ms(time_ms) // MS_PER_MINUTE + _MONDAY_OF_EPOCH
        found: NDArray[np.bool_] = self._table[minute % _MINUTES_A_WEEK]
        return found

    def holds_at(self, time_ms: int) -> bool:
        """Return whether one time is in it."""
        return bool(self.contains(np.array([time_ms], np.int64))[0])


def minute_of_day(text: str) -> int:
    """Return the minutes after midnight of ``08:30``; 24:00 is the midnight at the end of the day.

    Raises:
        ValueError: ``text`` is not a time of day.
    """
    hours, colon, minutes = text.partition(":")
    if colon and hours.isascii() and hours.isdigit() and minutes.isascii() and minutes.isdigit() and len(minutes) == 2:  # noqa: PLR2004 -- two digits
        minute = int(hours) * 60 + int(minutes)
        if int(minutes) < 60 and minute <= MINUTES_A_DAY:  # noqa: PLR2004 -- minutes of an hour
            return minute % MINUTES_A_DAY
    raise ValueError(f"a time of day such as 08:30, not `{text}`")


DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def days_of(names: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of days such as ``mon`` and of ranges such as ``mon-fri`` or ``sat-mon``.

    Raises:
        ValueError: One is no day.
    """
    found: dict[int, None] = {}
    for name in names:
        first, dash, last = name.lower().partition("-")
        if first not in DAY_NAMES or (dash and last not in DAY_NAMES):
            raise ValueError(f"days such as mon, sat or mon-fri, not `{name}`")
        start, stop = DAY_NAMES.index(first), DAY_NAMES.index(last or first)
        found |= {day % 7: None for day in range(start, stop + 1 + (7 if stop < start else 0))}
    return tuple(sorted(found))
