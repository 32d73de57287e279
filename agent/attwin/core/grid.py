"""The grid of event time: which tick a reading belongs to, and which ticks are closed.

Tick k of an entity covers [k * step, (k + 1) * step). It closes when the entity's watermark, its newest time less
the lateness, has passed its end; then the score at (k + 1) * step can be made and nothing older is admitted. So a
score depends on the readings alone, not on when they were processed.
"""

from collections.abc import Callable, Iterator
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
        doubtful: Which of them were held as such; None for none. Shape (N,).
    """

    entity: NDArray[np.int32]
    tick: NDArray[np.int64]
    series: NDArray[np.int32]
    value: NDArray[np.float64]
    series_tick: NDArray[np.int64]
    doubtful: NDArray[np.bool_] | None = None


_ROW = np.dtype([("value", np.float64), ("time_ms", np.int64), ("entity", np.int32), ("series", np.int32)])
_COLUMNS = ("entity", "series", "time_ms", "value")
_Rows = NDArray[np.void]
"""Readings that are held back, as elements of ``_ROW``. The series of a doubtful one is its complement, below 0."""
_Places = NDArray[np.uint16]
_PART_ROWS = 16_384
_TAKEN = -1
"""The entity of a row that was taken out of its part."""
_FAR = 2**62
_MOST_AT_ONCE = 8_192


class _Part:
    """Room for rows in order of arrival; all parts are of one size, so that memory is used again.

    Attributes:
        first_tick: No row is of an earlier tick.
        count: How many rows are in it.
    """

    def __init__(self, step_ms: int) -> None:
        self._step_ms = step_ms
        self._room = np.empty(_PART_ROWS, _ROW)
        self._end = 0
        self.count = 0
        self.first_tick = _FAR

    @property
    def room(self) -> int:
        """Return how many rows more it can take."""
        return _PART_ROWS - self._end

    @property
    def places(self) -> _Rows:
        """Return its rows, and places of rows that were taken out."""
        return self._room[: self._end]

    def rows(self) -> _Rows:
        """Return its rows."""
        rows: _Rows = self.places[self.places["entity"] != _TAKEN]
        return rows

    def fill(self, rows: _Rows) -> _Rows:
        """Take in as many rows as there is room for, and return the others."""
        taken = rows[: self.room]
        if len(taken):
            self._room[self._end : self._end + len(taken)] = taken
            self._end += len(taken)
            self.count += len(taken)
            self.first_tick = min(self.first_tick, int(taken["time_ms"].min()) // self._step_ms)
        return rows[len(taken) :]

    def take(self, which: _Places) -> _Rows:
        """Take rows out by their places, and return them; once a quarter of the places is empty, the others move up."""
        taken = self.places[which]
        self.places["entity"][which] = _TAKEN
        self.count -= len(taken)
        if 4 * (self._end - self.count) > self._end:
            self.compact()
        return taken

    def compact(self) -> None:
        """Move rows up to where others were taken out."""
        if self.count < self._end:
            left = self.rows()
            self._end, self.count, self.first_tick = 0, 0, _FAR
            self.fill(left)


class Grid:
    """Holds readings back until their tick closes. One for each kind.

    They stay in the parts in which they came: mostly nothing closes, and where something does, only parts that begin
    before the first tick that is open for everybody are looked through, for the few entities that have gone on.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.newest_ms = np.full(64, NEVER_MS, np.int64)
        self._parts: list[_Part] = []
        self._all_open = NEVER_MS
        self._has_closed = False
        # which entities have; the last place is no entity's, for rows that were taken
        self._has_gone_on = np.zeros(64, np.bool_)

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
        doubtful: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add readings that are not late.

        Args:
            entity: Shape (N,).
            series: Shape (N,).
            time_ms: Shape (N,).
            value: Shape (N,).
            doubtful: Which of them to tell from the others when their ticks close; None for none. Shape (N,).
        """
        if not len(entity):
            return
        self.newest_ms = grown(self.newest_ms, int(entity.max()) + 1, NEVER_MS)
        open_before = self._first_open(self.newest_ms[entity])
        np.maximum.at(self.newest_ms, entity, time_ms)
        first_open = self._first_open(self.newest_ms[entity])
        # what is not late is in an open tick, so only an entity whose first open tick has moved can have a closed one
        gone_on = entity[first_open > open_before]
        if len(gone_on):
            self._has_closed = True
            self._has_gone_on = grown(self._has_gone_on, len(self.newest_ms) + 1, fill=False)
            self._has_gone_on[gone_on] = True
        self._all_open = max(self._all_open, int(first_open.max()))
        if doubtful is not None:
            series = np.where(doubtful, ~series, series)
        self._hold(_as_rows(entity, series, time_ms, value))

    def close(self) -> Iterator[Wave]:
        """Yield the ticks that have closed, each entity's in order."""
        if self._has_closed:
            yield from self._drained(self._closed_in)

    def close_all(self) -> Iterator[Wave]:
        """Yield every tick that holds a reading, for a file that has ended."""
        self._has_gone_on = np.append(np.ones(len(self.newest_ms), np.bool_), [False])
        yield from self._drained(self._held_in)

    def forget(self, entity: int) -> None:
        """Forget an entity and what was held back of it."""
        self.newest_ms = grown(self.newest_ms, entity + 1, NEVER_MS)
        self.newest_ms[entity] = NEVER_MS
        self._taken([np.flatnonzero(part.places["entity"] == entity).astype(np.uint16) for part in self._parts])

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays, for a snapshot; those of a part are views of it."""
        state: dict[str, NDArray[np.generic]] = {"newest_ms": self.newest_ms}
        for number, part in enumerate(self._parts):
            part.compact()
            state |= {f"{name}.{number}": part.places[name] for name in _COLUMNS}
        return state

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take over what ``dump`` returned, of an earlier version too, which had one part without a number."""
        self.newest_ms = state["newest_ms"].astype(np.int64)
        self._parts = []
        for name in state:
            column, dot, number = name.partition(".")
            if column == _COLUMNS[0]:
                self._hold(_as_rows(*(state[f"{column}{dot}{number}"] for column in _COLUMNS)))
        self._all_open = int(self._first_open(self.newest_ms).max())
        self._has_closed = True
        self._has_gone_on = np.append(np.ones(len(self.newest_ms), np.bool_), [False])

    def _first_open(self, newest_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        return (newest_ms - self._kind.lateness_ms) // self._kind.step_ms

    def _drained(self, places_in: Callable[[_Part], _Places | None]) -> Iterator[Wave]:
        """Take rows of entities that have gone on, not too many at a time, and yield their ticks.

        Args:
            places_in: Which rows of a part.
        """
        places = [places_in(part) for part in self._parts]
        gone_on, self._has_gone_on = self._has_gone_on, np.zeros_like(self._has_gone_on)
        self._has_closed = False
        if sum(len(found) for found in places if found is not None) <= _MOST_AT_ONCE:
            yield from self._waves_of(self._taken(places))
            return
        for some in self._portions(places):
            self._has_gone_on[some] = gone_on[some]
            yield from self._waves_of(self._taken([places_in(part) for part in self._parts]))
            self._has_gone_on[some] = False

    def _portions(self, places: list[_Places | None]) -> Iterator[slice]:
        """Yield ranges of entities that have about ``_MOST_AT_ONCE`` of some rows each, or one entity more."""
        count = np.zeros(len(self._has_gone_on), np.int64)
        for part, found in zip(self._parts, places, strict=True):
            if found is not None:
                count += np.bincount(part.places["entity"][found], minlength=len(count))
        ends, first = np.cumsum(count), 0
        while first < len(ends):
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + _MOST_AT_ONCE, "right")))
            yield slice(first, last)
            first = last

    def _closed_in(self, part: _Part) -> _Places | None:
        """Return which places of a part hold rows of ticks that have closed; None where none can be."""
        if part.first_tick >= self._all_open:
            return None
        which = self._held_in(part)
        rows = part.places[which]
        first_open = self._first_open(self.newest_ms[rows["entity"]])
        return which[rows["time_ms"] // self._kind.step_ms < first_open]

    def _held_in(self, part: _Part) -> _Places:
        """Return which places of a part hold rows of entities that have gone on."""
        return np.flatnonzero(self._has_gone_on[part.places["entity"]]).astype(np.uint16)

    def _hold(self, rows: _Rows) -> None:
        """Hold rows back, behind the others."""
        while len(rows):
            left = self._parts[-1].fill(rows) if self._parts else rows
            if len(left):
                self._parts.append(_Part(self._kind.step_ms))
            rows = left

    def _taken(self, which: list[_Places | None]) -> _Rows:
        """Take rows out, in order of arrival, and return them; what is left of small parts is put together.

        Args:
            which: The places of each part; None where there are none.
        """
        rows = np.empty(sum(len(places) for places in which if places is not None), _ROW)
        parts, self._parts, start = self._parts[::-1], [], 0
        for places in which:
            # a part that is empty now is freed at once
            part = parts.pop()
            if places is not None and len(places):
                rows[start : start + len(places)] = part.take(places)
                start += len(places)
            if self._parts and part.count <= self._parts[-1].room:
                self._parts[-1].fill(part.rows())
            elif part.count:
                self._parts.append(part)
        return rows

    def _waves_of(self, rows: _Rows) -> Iterator[Wave]:
        """Yield the ticks of rows."""
        if not len(rows):
            return
        # by time, not by arrival: a score must not depend on who came first
        rows = rows[np.lexsort((rows["time_ms"], rows["entity"]))]
        entity, series, value = rows["entity"], rows["series"], rows["value"]
        doubtful = series < 0
        any_doubtful = bool(doubtful.any())
        if any_doubtful:
            series = np.where(doubtful, ~series, series)
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
                doubtful=doubtful[part] if any_doubtful else None,
            )


def _as_rows(entity: NDArray[Any], series: NDArray[Any], time_ms: NDArray[Any], value: NDArray[Any]) -> _Rows:
    rows = np.empty(len(entity), _ROW)
    rows["entity"], rows["series"], rows["time_ms"], rows["value"] = entity, series, time_ms, value
    return rows
