"""Readings by the minute: count, sum, smallest, largest and last of every series."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.core.types import MS_PER_MINUTE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollups:
    """One row for each series and minute that has readings, in that order.

    Attributes:
        series_key: The lasting key of the series. Shape (R,).
        minute_ms: When the minute began. Shape (R,).
        count: How many readings. Shape (R,).
        total, low, high: Their sum, smallest and largest [metric unit]. Shape (R,).
        last: The latest [metric unit]. Shape (R,).
        last_ms: Its time. Shape (R,).
    """

    series_key: NDArray[np.int64]
    minute_ms: NDArray[np.int64]
    count: NDArray[np.int64]
    total: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    last: NDArray[np.float64]
    last_ms: NDArray[np.int64]


def roll_up(series_key: NDArray[np.int64], time_ms: NDArray[np.int64], value: NDArray[np.float64]) -> Rollups:
    """Return the roll-ups of readings in any order. All have shape (N,)."""
    order = np.lexsort((time_ms, series_key))
    key, time, own = series_key[order], time_ms[order], value[order]
    minute = time // MS_PER_MINUTE
    new = np.ones(len(key), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (minute[1:] != minute[:-1])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(key)) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        # a sum that overflows stays the largest number there is: infinity and its opposite would make no number
        total = np.nan_to_num(np.add.reduceat(own, starts)) if len(starts) else np.empty(0)
    if not len(starts):
        empty, none = np.empty(0, np.int64), np.empty(0)
        return Rollups(
            series_key=empty, minute_ms=empty, count=empty, total=none, low=none, high=none, last=none, last_ms=empty
        )
    return Rollups(
        series_key=key[starts],
        minute_ms=minute[starts] * MS_PER_MINUTE,
        count=ends - starts + 1,
        total=total,
        low=np.minimum.reduceat(own, starts),
        high=np.maximum.reduceat(own, starts),
        last=own[ends],
        last_ms=time[ends],
    )
