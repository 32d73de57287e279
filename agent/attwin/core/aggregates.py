"""Count, mean, smallest and largest value of an interval of event time, entity by entity, and which are worth telling.

An entity's interval ends when something of a later one arrives, or when nothing has arrived for a while; what is late
counts in the interval that runs, so no value is lost from the counts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import NEVER_MS, grown

_EXTREME_BANDS = 3
"""The smallest and the largest of some values scatter more than their mean; by how many times the band."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interval:
    """What entities had in one interval.

    Attributes:
        from_ms: When it began, in event time.
        entity: Shape (R,).
        count: How many values there were. Shape (R, K).
        mean, low, high: NaN where there were none. Shape (R, K).
    """

    from_ms: int
    entity: NDArray[np.int32]
    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def where(self, rows: NDArray[np.bool_]) -> "Interval":
        """Return some of the entities."""
        return Interval(
            from_ms=self.from_ms,
            entity=self.entity[rows],
            count=self.count[rows],
            mean=self.mean[rows],
            low=self.low[rows],
            high=self.high[rows],
        )


class Aggregates:
    """The intervals that run, K columns of values for every entity."""

    def __init__(self, columns: int, every_ms: int) -> None:
        self._columns, self._every_ms = columns, every_ms
        self._from_ms = np.full(0, NEVER_MS, np.int64)
        self._touched = np.zeros(0, np.bool_)
        self._count = np.zeros((0, columns), np.int64)
        self._total = np.zeros((0, columns))
        self._low = np.full((0, columns), np.inf)
        self._high = np.full((0, columns), -np.inf)
        self._told = np.full((0, 3, columns), np.nan)
        self._over: list[Interval] = []

    def add(
        self,
        entity: NDArray[np.int32],
        column: NDArray[np.int64],
        time_ms: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> None:
        """Take values in; each argument has shape (N,)."""
        if not len(entity):
            return
        self._make_room(int(entity.max()) + 1)
        from_ms = time_ms // self._every_ms * self._every_ms
        for begin in np.unique(from_ms).tolist():
            rows = from_ms == begin
            own, place, values = entity[rows], column[rows], value[rows]
            distinct = np.unique(own)
            behind = distinct[self._from_ms[distinct] < begin]
            self._close(behind)
            self._from_ms[behind] = begin
            self._touched[distinct] = True
            np.add.at(self._count, (own, place), 1)
            np.add.at(self._total, (own, place), values)
            np.minimum.at(self._low, (own, place), values)
            np.maximum.at(self._high, (own, place), values)

    def take(self, *, everything: bool = False) -> list[Interval]:
        """Return the intervals that are over, oldest first: also those to which nothing was added since the last call.

        Args:
            everything: Whether all are over.
        """
        quiet = np.ones(len(self._touched), np.bool_) if everything else ~self._touched
        self._close(np.flatnonzero(quiet))
        self._touched[:] = False
        over, self._over = self._over, []
        return _merged(over)

    def worth_telling(self, interval: Interval, band: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which entities of an interval have moved since they were told last.

        Args:
            interval: What they had.
            band: What is no change. Shape (R, K).

        Returns:
            Shape (R,): the mean is a band away from the one told, the smallest or the largest three bands beyond, or
            one of them was never told.
        """
        told = self._told[interval.entity]
        measured = interval.count > 0
        wide = _EXTREME_BANDS * band
        with np.errstate(invalid="ignore"):
            same = (
                (np.abs(interval.mean - told[:, 0]) < band)
                & (interval.low > told[:, 1] - wide)
                & (interval.high < told[:, 2] + wide)
            )
        moved: NDArray[np.bool_] = (measured & ~same).any(axis=1)
        return moved

    def told_mean(self, entity: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the means that were told last, NaN where none was. Shape (R, K)."""
        mean: NDArray[np.float64] = self._told[entity, 0]
        return mean

    def note_told(self, interval: Interval) -> None:
        """Remember what was told."""
        measured = interval.count > 0
        for place, values in enumerate((interval.mean, interval.low, interval.high)):
            self._told[interval.entity, place] = np.where(measured, values, self._told[interval.entity, place])

    def forget(self, entity: int) -> None:
        """Forget an entity; its place may become another's."""
        if entity < len(self._from_ms):
            self._reset(np.array([entity]))
            self._from_ms[entity] = NEVER_MS
            self._told[entity] = np.nan

    def _close(self, entity: NDArray[np.int64]) -> None:
        """End the intervals of entities that have any."""
        entity = entity[(self._count[entity] > 0).any(axis=1)]
        for begin in np.unique(self._from_ms[entity]).tolist():
            own = entity[self._from_ms[entity] == begin]
            count = self._count[own]
            some = count > 0
            self._over.append(
                Interval(
                    from_ms=begin,
                    entity=own.astype(np.int32),
                    count=count,
                    mean=np.where(some, self._total[own] / np.maximum(count, 1), np.nan),
                    low=np.where(some, self._low[own], np.nan),
                    high=np.where(some, self._high[own], np.nan),
                )
            )
        self._reset(entity)

    def _reset(self, entity: NDArray[np.int64]) -> None:
        self._count[entity], self._total[entity] = 0, 0.0
        self._low[entity], self._high[entity] = np.inf, -np.inf

    def _make_room(self, count: int) -> None:
        self._from_ms = grown(self._from_ms, count, NEVER_MS)
        self._touched = grown(self._touched, count)
        self._count, self._total = grown(self._count, count), grown(self._total, count)
        self._low, self._high = grown(self._low, count, np.inf), grown(self._high, count, -np.inf)
        self._told = grown(self._told, count, np.nan)


def _merged(over: list[Interval]) -> list[Interval]:
    """Return intervals by the time at which they began; an entity has one at a time, so no two are merged into one."""
    merged = []
    for begin in sorted({interval.from_ms for interval in over}):
        parts = [interval for interval in over if interval.from_ms == begin]
        merged.append(
            Interval(
                from_ms=begin,
                entity=np.concatenate([part.entity for part in parts]),
                count=np.concatenate([part.count for part in parts]),
                mean=np.concatenate([part.mean for part in parts]),
                low=np.concatenate([part.low for part in parts]),
                high=np.concatenate([part.high for part in parts]),
            )
        )
    return merged
