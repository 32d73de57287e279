"""Times as the clocks of a zone show them. The rules of time zones are the machine's, so they come as a function."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

MS_PER_DAY = 86_400_000
_SECONDS_PER_DAY = 86_400
_MOST_DAYS = 4_096

OffsetOf = Callable[[int], int]
"""Returns the offset from UTC [s] at a time [s since the Unix epoch, UTC]."""


class LocalTime:
    """Turns times into those of a zone. What a day needs is found once and remembered."""

    def __init__(self, offset_s: OffsetOf) -> None:
        self._offset_s = offset_s
        self._days: dict[int, tuple[int, int, int]] = {}

    def local_ms(self, time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what clocks in the zone show, as milliseconds since 1970 by their own reading. Shape (N,)."""
        if not len(time_ms):
            return time_ms
        day = time_ms // MS_PER_DAY
        first = int(day[0])
        if (day == first).all():
            turn_ms, before, after = self._day(first)
            same: NDArray[np.int64] = time_ms + np.where(time_ms < turn_ms, before, after)
            return same
        days, place = np.unique(day, return_inverse=True)
        facts = np.array([self._day(number) for number in days.tolist()], np.int64)[place]
        local: NDArray[np.int64] = time_ms + np.where(time_ms < facts[:, 0], facts[:, 1], facts[:, 2])
        return local

    def _day(self, day: int) -> tuple[int, int, int]:
        """Return when the offset changes on a day of UTC, and the offsets before and after, all in ms.

        An offset changes at most once in 24 hours.
        """
        found = self._days.get(day)
        if found is None:
            if len(self._days) >= _MOST_DAYS:
                self._days.clear()
            found = self._days[day] = self._look_up(day)
        return found

    def _look_up(self, day: int) -> tuple[int, int, int]:
        low, high = day * _SECONDS_PER_DAY, (day + 1) * _SECONDS_PER_DAY
        before, after = self._offset_s(low), self._offset_s(high)
        while before != after and high - low > 1:
            middle = (low + high) // 2
            if self._offset_s(middle) == before:
                low = middle
            else:
                high = middle
        return high * 1000, before * 1000, after * 1000
