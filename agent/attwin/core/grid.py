"""The grid of event time: which tick a reading belongs to, and which ticks are closed.

Tick k of an entity covers [k * step, (k + 1) * step). It closes when the entity's watermark, its newest time less
the lateness, has passed its end; then the score at (k + 1) * step can be made and nothing older is admitted. So a
score depends on the readings alone, not on when they were processed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from attwin.core.catalogue import Kind
from attwin.core.columns import NEVER_MS, grown, newest_before


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wave:
    """Closed ticks, one of each entity at most, with the readings in them.

    Attributes:
        entity: The entities. Shape (R,).
        tick: The tick of each entity. Shape (R,).
        series, value, series_tick: The readings, in order of time; NaN where a value must not count. Shape (N,).
    """

    entity: NDArray[np.int32]
    tick: NDArray[np.int64]
    series: NDArray[np.int32]
    value: NDArray[np.float64]
    series_tick: NDArray[np.int64]


class Grid:
    """Holds readings back until their tick closes. One for each kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.newest_ms = np.full(64, NEVER_MS, np.int64)
        self._entity = np.empty(0, np.int32)
        self._series = np.empty(0, np.int32)
        self._time_ms = np.empty(0, np.int64)
        self._value = np.empty(0)

    def late(self, entity: NDArray[np.int32], time_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which readings belong to a tick that is closed already. Shape (N,)."""
        if not len(entity):
            return np.zeros(0, np.bool_)
        self.newest_ms = grown(self.newest_ms, int(entity.max()) + 1, NEVER_MS)
        newest = max(int(self.newest_ms[entity].max()), int(time_ms.max()))
        if time_ms.min() // self._kind.step_ms >= (newest - self._kind.lateness_ms) // self._kind.step_ms:
            # the oldest of them is on time even for the entity that is farthest
            return np.zeros(len(entity), np.bool_)
        before = newest_before(entity, time_ms, self.newest_ms)
        return time_ms // self._kind.step_ms < self._first_open(before)

    def add(
        self,
        entity: NDArray[np.int32],
        series: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> None:
        """Add readings that are not late."""
        if not len(entity):
            return
        self.newest_ms = grown(self.newest_ms, int(entity.max()) + 1, NEVER_MS)
        np.maximum.at(self.newest_ms, entity, time_ms)
        self._entity = np.concatenate([self._entity, entity])
        self._series = np.concatenate([self._series, series])
        self._time_ms = np.concatenate([self._time_ms, time_ms])
        self._value = np.concatenate([self._value, value])

    def close(self) -> Iterator[Wave]:
        """Yield the ticks that have closed, each entity's in order."""
        first_open = self._first_open(self.newest_ms[self._entity])
        yield from self._release(self._time_ms // self._kind.step_ms < first_open)

    def close_all(self) -> Iterator[Wave]:
        """Yield every tick that holds a reading, for a file that has ended."""
        yield from self._release(np.ones(len(self._time_ms), np.bool_))

    def forget(self, entity: int) -> None:
        """Forget an entity and what was held back of it."""
        self.newest_ms = grown(self.newest_ms, entity + 1, NEVER_MS)
        self.newest_ms[entity] = NEVER_MS
        self._keep(self._entity != entity)

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays, for a snapshot."""
        return {
            "newest_ms": self.newest_ms,
            "entity": self._entity,
            "series": self._series,
            "time_ms": self._time_ms,
            "value": self._value,
        }

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take over what ``dump`` returned."""
        self.newest_ms = state["newest_ms"].astype(np.int64)
        self._entity = state["entity"].astype(np.int32)
        self._series = state["series"].astype(np.int32)
        self._time_ms = state["time_ms"].astype(np.int64)
        self._value = state["value"].astype(np.float64)

    def _first_open(self, newest_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        return (newest_ms - self._kind.lateness_ms) // self._kind.step_ms

    def _release(self, closed: NDArray[np.bool_]) -> Iterator[Wave]:
        if not closed.any():
            return
        # by time, not by arrival: a score must not depend on who came first
        order = np.flatnonzero(closed)
        order = order[np.lexsort((self._time_ms[order], self._entity[order]))]
        entity, tick = self._entity[order], self._time_ms[order] // self._kind.step_ms
        series, value = self._series[order], self._value[order]
        self._keep(~closed)
        new_entity = np.concatenate([[True], entity[1:] != entity[:-1]])
        new_tick = new_entity | np.concatenate([[True], tick[1:] != tick[:-1]])
        number = np.cumsum(new_tick)
        # the first tick of every entity is wave 0, its second wave 1, and so on
        wave = number - np.maximum.accumulate(np.where(new_entity, number, 0))
        last = int(wave.max())
        if last:
            order = np.argsort(wave, kind="stable")
            bounds = np.searchsorted(wave[order], np.arange(last + 2))
            parts = [order[a:b] for a, b in pairwise(bounds)]
        else:
            parts = [np.arange(len(wave))]
        for part in parts:
            heads = part[new_tick[part]]
            yield Wave(
                entity=entity[heads],
                tick=tick[heads],
                series=series[part],
                value=value[part],
                series_tick=tick[part],
            )

    def _keep(self, keep: NDArray[np.bool_]) -> None:
        self._entity, self._series = self._entity[keep], self._series[keep]
        self._time_ms, self._value = self._time_ms[keep], self._value[keep]
