"""Readings by the minute: count, sum, smallest, largest and last of every series."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

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
    """Return the roll-ups of readings in any order; of two with the same time the later one is the last. Shape (N,)."""
    return _reduced(
        Rollups(
            series_key=series_key,
            minute_ms=time_ms // MS_PER_MINUTE * MS_PER_MINUTE,
            count=np.ones(len(value), np.int64),
            total=value,
            low=value,
            high=value,
            last=value,
            last_ms=time_ms,
        )
    )


def joined(parts: Sequence[Rollups]) -> Rollups:
    """Return the roll-ups of the readings of all parts, at least one; a later part has later readings."""
    return _reduced(
        Rollups(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Rollups)}
        )
    )


def _reduced(rows: Rollups) -> Rollups:
    """Return one row for each series and minute of rows that may have several."""
    order = np.lexsort((rows.last_ms, rows.series_key))
    key, minute, last_ms = rows.series_key[order], rows.minute_ms[order], rows.last_ms[order]
    new = np.ones(len(key), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (minute[1:] != minute[:-1])
    starts = np.flatnonzero(new)
    if not len(starts):
        return rows
    ends = np.append(starts[1:], len(key)) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        # a sum that overflows stays the largest number there is: infinity and its opposite would make no number
        total = np.nan_to_num(np.add.reduceat(rows.total[order], starts))
    return Rollups(
        series_key=key[starts],
        minute_ms=minute[starts],
        count=np.add.reduceat(rows.count[order], starts),
        total=total,
        low=np.minimum.reduceat(rows.low[order], starts),
        high=np.maximum.reduceat(rows.high[order], starts),
        last=rows.last[order][ends],
        last_ms=last_ms[ends],
    )


NOTHING = roll_up(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
"""The roll-ups of no readings."""
