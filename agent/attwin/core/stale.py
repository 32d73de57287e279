"""Which series are stale: nothing was heard of them for three of their expected periods, or the sensor side said so.

Silence is measured by the monotonic clock, so a jump of the wall clock makes nothing stale.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attwin.core.catalogue import Metric
from attwin.core.columns import grown

STALE_PERIODS = 3
_FIRST_CAPACITY = 64


class Staleness:
    """When series were heard, in seconds since the start.

    Attributes:
        stale: Which series are stale. Shape (S,).
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.stale = np.zeros(_FIRST_CAPACITY, np.bool_)
        self._heard_s = np.full(_FIRST_CAPACITY, -1, np.int32)
        limits = [STALE_PERIODS * metric.every_ms / 1000 for metric in metrics]
        self._limit_s = np.array([limit or np.inf for limit in limits])

    def hear(self, series: NDArray[np.int32], now_ms: int) -> None:
        """Note that series were heard."""
        self._make_room(int(series.max(initial=-1)) + 1)
        self._heard_s[series] = now_ms // 1000
        self.stale[series] = False

    def silence(self, series: Sequence[int]) -> None:
        """Note that the sensor side says that nothing more comes for now."""
        self._make_room(max(series, default=-1) + 1)
        self.stale[list(series)] = True

    def update(self, number: NDArray[np.int16], now_ms: int) -> NDArray[np.int64]:
        """Return the series that have become stale since the last call.

        Args:
            number: The place of the metric of every series. Shape (S,).
            now_ms: The monotonic clock, since the start.
        """
        self._make_room(len(number))
        count = len(number)
        late = (self._heard_s[:count] >= 0) & (now_ms / 1000 - self._heard_s[:count] > self._limit_s[number])
        became = np.flatnonzero(late & ~self.stale[:count])
        self.stale[became] = True
        return became

    def expect(self, series: NDArray[np.int64], now_ms: int) -> None:
        """Begin to wait for series that were heard before the start."""
        self._make_room(int(series.max(initial=-1)) + 1)
        self._heard_s[series] = now_ms // 1000

    def forget(self, series: range) -> None:
        """Forget some series."""
        self._make_room(series.stop)
        self.stale[series.start : series.stop], self._heard_s[series.start : series.stop] = False, -1

    def _make_room(self, length: int) -> None:
        self.stale, self._heard_s = grown(self.stale, length), grown(self._heard_s, length, -1)
