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


_Rows = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]
"""Entity, series, time and value of readings that are held back."""
_MOST_PARTS = 64


class Grid:
    """Holds readings back until their tick closes. One for each kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.newest_ms = np.full(64, NEVER_MS, np.int64)
        # what has come since a tick closed stays in parts: mostly nothing closes, and nothing is looked through
        self._parts: list[_Rows] = []
        self._has_closed = False

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
        open_before = self._first_open(self.newest_ms[entity])
        np.maximum.at(self.newest_ms, entity, time_ms)
        # what is not late is in an open tick, so only an entity whose first open tick has moved can have a closed one
        if not self._has_closed:
            self._has_closed = bool((self._first_open(self.newest_ms[entity]) > open_before).any())
        self._parts.append((entity, series, time_ms, value))
        if len(self._parts) > _MOST_PARTS:
            self._parts = [self._rows()]

    def close(self) -> Iterator[Wave]:
        """Yield the ticks that have closed, each entity's in order."""
        if not self._has_closed:
            return
        self._has_closed = False
        rows = self._rows()
        entity, _, time_ms, _ = rows
        closed = time_ms // self._kind.step_ms < self._first_open(self.newest_ms[entity])
        yield from self._release(rows, closed)

    def close_all(self) -> Iterator[Wave]:
        """Yield every tick that holds a reading, for a file that has ended."""
        rows = self._rows()
        yield from self._release(rows, np.ones(len(rows[0]), np.bool_))

    def forget(self, entity: int) -> None:
        """Forget an entity and what was held back of it."""
        self.newest_ms = grown(self.newest_ms, entity + 1, NEVER_MS)
        self.newest_ms[entity] = NEVER_MS
        rows = self._rows()
        self._parts = [_chosen(rows, rows[0] != entity)]

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays, for a snapshot."""
        return {"newest_ms": self.newest_ms} | dict(
            zip(("entity", "series", "time_ms", "value"), self._rows(), strict=True)
        )

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take over what ``dump`` returned."""
        self.newest_ms = state["newest_ms"].astype(np.int64)
        self._parts = [
            (
                state["entity"].astype(np.int32),
                state["series"].astype(np.int32),
                state["time_ms"].astype(np.int64),
                state["value"].astype(np.float64),
            )
        ]
        self._has_closed = True

    def _first_open(self, newest_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        return (newest_ms - self._kind.lateness_ms) // self._kind.step_ms

    def _rows(self) -> _Rows:
        """Return all that is held back, in order of arrival."""
        parts = self._parts or [_NO_ROWS]
        entity, series, time_ms, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        return entity, series, time_ms, value

    def _release(self, rows: _Rows, closed: NDArray[np.bool_]) -> Iterator[Wave]:
        """Yield the ticks of the rows that are closed, and hold back the others."""
        self._parts = [_chosen(rows, ~closed)]
        if not closed.any():
            return
        entity, series, time_ms, value = _chosen(rows, closed)
        # by time, not by arrival: a score must not depend on who came first
        order = np.lexsort((time_ms, entity))
        entity, series, tick, value = entity[order], series[order], time_ms[order] // self._kind.step_ms, value[order]
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


def _chosen(rows: _Rows, which: NDArray[np.bool_]) -> _Rows:
    entity, series, time_ms, value = rows
    return entity[which], series[which], time_ms[which], value[which]


_NO_ROWS: _Rows = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0))
