"""The grid of event time: which tick a reading belongs to, and which ticks are closed.

Tick k of an entity covers [k * step, (k + 1) * step). It closes when the entity's watermark, its newest time less
the lateness, has passed its end; then the score at (k + 1) * step can be made and nothing older is admitted. So a
score depends on the readings alone, not on when they were processed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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


_ROW = np.dtype([("value", np.float64), ("time_ms", np.int64), ("entity", np.int32), ("series", np.int32)])
_Rows = NDArray[np.void]
"""Readings that are held back, as elements of ``_ROW``."""
_PART_ROWS = 16_384
_FAR = 2**62
_MOST_AT_ONCE = 16_384


class _Part:
    """Room for rows in order of arrival; all parts are of one size, so that memory is used again.

    Attributes:
        first_tick: The first tick of what is in it.
    """

    def __init__(self, step_ms: int) -> None:
        self._step_ms = step_ms
        self._room = np.empty(_PART_ROWS, _ROW)
        self._count = 0
        self.first_tick = _FAR

    @property
    def rows(self) -> _Rows:
        """What is in it."""
        return self._room[: self._count]

    def fill(self, rows: _Rows) -> _Rows:
        """Take in as many rows as there is room for, and return the others."""
        taken = rows[: _PART_ROWS - self._count]
        if len(taken):
            self._room[self._count : self._count + len(taken)] = taken
            self._count += len(taken)
            self.first_tick = min(self.first_tick, int(taken["time_ms"].min()) // self._step_ms)
        return rows[len(taken) :]

    def take(self, which: NDArray[np.bool_]) -> _Rows:
        """Take rows out, and return them."""
        taken, left = self.rows[which], self.rows[~which]
        self._count, self.first_tick = 0, _FAR
        self.fill(left)
        return taken


class Grid:
    """Holds readings back until their tick closes. One for each kind.

    They stay in the parts in which they came: mostly nothing closes, and where something does, only parts that begin
    before the first tick that is open for everybody are looked through.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.newest_ms = np.full(64, NEVER_MS, np.int64)
        self._parts: list[_Part] = []
        self._all_open = NEVER_MS
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
        first_open = self._first_open(self.newest_ms[entity])
        # what is not late is in an open tick, so only an entity whose first open tick has moved can have a closed one
        self._has_closed |= bool((first_open > open_before).any())
        self._all_open = max(self._all_open, int(first_open.max()))
        self._hold(_as_rows(entity, series, time_ms, value))

    def close(self) -> Iterator[Wave]:
        """Yield the ticks that have closed, each entity's in order."""
        if not self._has_closed:
            return
        self._has_closed = False
        yield from self._waves(self._taken([self._closed_in(part) for part in self._parts]))

    def close_all(self) -> Iterator[Wave]:
        """Yield every tick that holds a reading, for a file that has ended."""
        yield from self._waves(self._taken([np.ones(len(part.rows), np.bool_) for part in self._parts]))

    def forget(self, entity: int) -> None:
        """Forget an entity and what was held back of it."""
        self.newest_ms = grown(self.newest_ms, entity + 1, NEVER_MS)
        self.newest_ms[entity] = NEVER_MS
        self._taken([part.rows["entity"] == entity for part in self._parts])

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays, for a snapshot."""
        rows = np.concatenate([np.empty(0, _ROW), *(part.rows for part in self._parts)])
        return {"newest_ms": self.newest_ms} | {name: rows[name] for name in ("entity", "series", "time_ms", "value")}

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take over what ``dump`` returned."""
        self.newest_ms = state["newest_ms"].astype(np.int64)
        self._parts = []
        self._hold(_as_rows(state["entity"], state["series"], state["time_ms"], state["value"]))
        self._all_open = int(self._first_open(self.newest_ms).max())
        self._has_closed = True

    def _first_open(self, newest_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        return (newest_ms - self._kind.lateness_ms) // self._kind.step_ms

    def _closed_in(self, part: _Part) -> NDArray[np.bool_] | None:
        """Return which rows of a part are in a tick that has closed; None where none can be."""
        if part.first_tick >= self._all_open:
            return None
        first_open = self._first_open(self.newest_ms[part.rows["entity"]])
        closed: NDArray[np.bool_] = part.rows["time_ms"] // self._kind.step_ms < first_open
        return closed

    def _hold(self, rows: _Rows) -> None:
        """Hold rows back, behind the others."""
        while len(rows):
            left = self._parts[-1].fill(rows) if self._parts else rows
            if len(left):
                self._parts.append(_Part(self._kind.step_ms))
            rows = left

    def _taken(self, which: list[NDArray[np.bool_] | None]) -> _Rows:
        """Take rows out, in order of arrival, and return them; what is left of small parts is put together.

        Args:
            which: The rows of each part; None where there are none.
        """
        rows = np.empty(sum(np.count_nonzero(mask) for mask in which if mask is not None), _ROW)
        parts, self._parts, start = self._parts[::-1], [], 0
        for mask in which:
            # a part that is empty now is freed at once
            part = parts.pop()
            if mask is not None:
                taken = part.take(mask)
                rows[start : start + len(taken)] = taken
                start += len(taken)
            if self._parts and len(self._parts[-1].rows) + len(part.rows) <= _PART_ROWS:
                self._parts[-1].fill(part.rows)
            elif len(part.rows):
                self._parts.append(part)
        return rows

    def _waves(self, rows: _Rows) -> Iterator[Wave]:
        """Yield the ticks of rows, of so many entities at a time that memory stays small."""
        if len(rows) <= _MOST_AT_ONCE:
            yield from self._waves_of(rows)
            return
        entity = rows["entity"]
        ends = np.cumsum(np.bincount(entity))
        first = 0
        while first < len(ends):
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + _MOST_AT_ONCE, "right")))
            yield from self._waves_of(rows[(first <= entity) & (entity < last)])
            first = last

    def _waves_of(self, rows: _Rows) -> Iterator[Wave]:
        """Yield the ticks of rows."""
        if not len(rows):
            return
        # by time, not by arrival: a score must not depend on who came first
        rows = rows[np.lexsort((rows["time_ms"], rows["entity"]))]
        entity, series, value = rows["entity"], rows["series"], rows["value"]
        tick = rows["time_ms"] // self._kind.step_ms
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


def _as_rows(entity: NDArray[Any], series: NDArray[Any], time_ms: NDArray[Any], value: NDArray[Any]) -> _Rows:
    rows = np.empty(len(entity), _ROW)
    rows["entity"], rows["series"], rows["time_ms"], rows["value"] = entity, series, time_ms, value
    return rows
