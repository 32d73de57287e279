"""The times of receipt of readings that have no time of their own."""

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import NEVER_MS, grown
from attwin.ports import NO_TIME_MS


class Receipts:
    """Hands out times of receipt, each to one reading of a series, so that readings are told apart by them."""

    def __init__(self) -> None:
        self._newest_ms = np.full(64, NEVER_MS, np.int64)

    def filled_in(self, series: NDArray[np.int32], time_ms: NDArray[np.int64], now_ms: int) -> NDArray[np.int64]:
        """Return the times, those of receipt filled in: now, and a millisecond apart where a series has several."""
        rows = np.flatnonzero(time_ms == NO_TIME_MS)
        if not len(rows):
            return time_ms
        self._newest_ms = grown(self._newest_ms, int(series.max()) + 1, NEVER_MS)
        rows = rows[np.argsort(series[rows], kind="stable")]
        own = series[rows]
        first = np.concatenate([[True], own[1:] != own[:-1]])
        count = np.arange(len(rows))
        nth = count - np.maximum.accumulate(np.where(first, count, 0))
        filled = time_ms.copy()
        filled[rows] = np.maximum(now_ms, self._newest_ms[own] + 1) + nth
        np.maximum.at(self._newest_ms, own, filled[rows])
        return filled

    def forget(self) -> None:
        """Forget the times so far: the clock was put right."""
        self._newest_ms = np.full(64, NEVER_MS, np.int64)
