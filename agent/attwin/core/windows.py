"""Rolling windows as rings of time buckets.

A series has up to two windows, each of 12 buckets of a twelfth of the window. A reading costs O(1); nothing
is kept of a single reading. A window at time T holds the open bucket and the eleven before it, so a window of 5 min
reaches back between 4 min 35 s and 5 min.

Sums are in float32 about an origin of the series: its first value, until that turns out to be far from the others.
Whether it moves is decided when every eighth bucket begins, or by one reading and the origin alone, so it does not
depend on how readings were grouped.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import grown

BUCKETS = 12
TIERS = 2
PARTS = ("count", "total", "squares", "low", "high", "last")
"""What a bucket can hold."""
_EMPTY_PART = {"count": 0.0, "total": 0.0, "squares": 0.0, "low": np.inf, "high": -np.inf, "last": np.nan}
_NOT_KEPT = np.empty(0, np.float32)
_NO_BUCKET = -(2**62)
_FAR = 256.0
"""A bucket that is so many times farther from the origin than from the next reading has its values elsewhere: their
spread would keep 8 bits of 24."""
_GROUP = 3
"""Whether that is so is looked at whenever another 2**3 buckets begin."""
_LARGE, _VANISHES = 2.0**20, 2.0**16
"""About an origin beyond the one, a value that is smaller by the other would keep 8 bits or fewer itself."""
_ROUNDING = 2.0**-24
_BLOCK = 512
"""Entities whose rings the cache holds while they are turned."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowStats:
    """What the buckets of one window held, oldest first. Values are about each series' own origin.

    A part that no feature needs is not kept; it is empty here.

    Attributes:
        count: Readings in each bucket. Shape (R, M, 12).
        total: Sum of each bucket [metric unit]. Shape (R, M, 12).
        squares: Sum of squares of each bucket. Shape (R, M, 12).
        low, high: Smallest and largest of each bucket; inf and -inf where empty. Shape (R, M, 12).
        last: Latest of each bucket, NaN where empty. Shape (R, M, 12).
        origin: What to add to get values back. Shape (R, M).
        bucket_ms: Width of a bucket.
    """

    count: NDArray[np.float32]
    total: NDArray[np.float32]
    squares: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    last: NDArray[np.float32]
    origin: NDArray[np.float64]
    bucket_ms: int


class Windows:
    """The buckets of all series.

    Readings of a series must be applied in order of their buckets: the caller holds back what is early.
    """

    def __init__(self, tiers: int = TIERS, parts: Collection[str] = PARTS) -> None:
        """Make empty windows.

        Args:
            tiers: How many windows a series has, at most ``TIERS``.
            parts: What is kept of each bucket beside the count; the memory of a series is in proportion.
        """
        self._parts = tuple(part for part in PARTS if part in parts or part == "count")
        self._tiers = tiers
        self._empty = np.array([_EMPTY_PART[part] for part in self._parts], np.float32)
        # what tells where the values of a bucket are
        self._typical = next((self._parts.index(p) for p in ("total", "last", "low", "high") if p in self._parts), 0)
        self._rings = np.empty((0, tiers, BUCKETS, len(self._parts)), np.float32)
        self._head = np.empty((0, tiers), np.int64)
        self._origin = np.empty(0)

    def apply(
        self,
        series: NDArray[np.int32],
        bucket_time_ms: NDArray[np.int64],
        value: NDArray[np.float64],
        windows_ms: Sequence[int],
    ) -> None:
        """Add readings to the buckets of their series; those of one series belong to one bucket a call.

        Args:
            series: Shape (N,).
            bucket_time_ms: A time within the bucket of each reading. Shape (N,).
            value: Shape (N,) [metric unit], no NaN.
            windows_ms: The windows that these series have, at most ``TIERS``.
        """
        if not len(series):
            return
        self._make_room(int(series.max()) + 1)
        longest = max(range(len(windows_ms)), key=lambda tier: windows_ms[tier])
        newest, head = bucket_time_ms // (windows_ms[longest] // BUCKETS), self._head[series, longest]
        # what is too far from its origin for a float32 is endless there
        with np.errstate(over="ignore", invalid="ignore"):
            if (newest >> _GROUP > head >> _GROUP).any():
                self._settle(series, head, newest, value, longest)
            origin = self._origin[series]
            size = np.abs(origin)
            if size.max() > _LARGE:
                vanishing = np.maximum(np.abs(value), _LARGE / _VANISHES) * _VANISHES < size
                if vanishing.any():
                    # the origin of these depends on which reading comes first
                    turn = _turns(series)
                    affected = np.isin(series, series[vanishing])
                    if turn[affected].any():
                        rounds = [affected & (turn == number) for number in range(int(turn[affected].max()) + 1)]
                        for rows in (*rounds, ~affected):
                            self.apply(series[rows], bucket_time_ms[rows], value[rows], windows_ms)
                        return
                    self._move(series[vanishing], value[vanishing])
                    origin[vanishing] = value[vanishing]
            x = (value - origin).astype(np.float32)
            flat = self._rings.reshape(-1)
            for tier, window_ms in enumerate(windows_ms):
                bucket = bucket_time_ms // (window_ms // BUCKETS)
                self._advance(series, bucket, tier)
                at = ((series.astype(np.int64) * self._tiers + tier) * BUCKETS + bucket % BUCKETS) * len(self._parts)
                for place, part in enumerate(self._parts):
                    _ADD[part](flat, at + place, x)

    def look(self, series: NDArray[np.int32], at_ms: NDArray[np.int64], tier: int, window_ms: int) -> WindowStats:
        """Return what one window of each series held at a time not before its newest reading.

        Args:
            series: Shape (R, M).
            at_ms: Shape (R,).
            tier: Which of the windows.
            window_ms: Its length.
        """
        self._make_room(int(series.max(initial=-1)) + 1)
        bucket_ms = window_ms // BUCKETS
        now = at_ms // bucket_ms
        oldest = (now + 1) % BUCKETS
        # by part and bucket, so that what is computed along the buckets runs along the entities
        rings = np.empty((len(self._parts), BUCKETS, *series.shape), np.float32)
        for start in range(0, len(series), _BLOCK):
            block = slice(start, start + _BLOCK)
            own, turn = self._rings[series[block], tier].transpose(3, 2, 0, 1), int(oldest[start])
            if (oldest[block] == turn).all():
                rings[:, : BUCKETS - turn, block], rings[:, BUCKETS - turn :, block] = own[:, turn:], own[:, :turn]
            else:
                slots = (oldest[block] + np.arange(BUCKETS)[:, None]) % BUCKETS
                rings[:, :, block] = np.take_along_axis(own, slots[None, :, :, None], axis=1)
        behind = now[:, None] - self._head[series, tier]
        if (behind > 0).any():
            # a slot that is ahead of the series' head still holds the bucket of the round before
            ahead = np.arange(BUCKETS)[:, None, None] >= BUCKETS - behind
            for part, empty in zip(rings, self._empty, strict=True):
                part[ahead] = empty
        kept = dict.fromkeys(PARTS, _NOT_KEPT) | dict(zip(self._parts, rings.transpose(0, 2, 3, 1), strict=True))
        origin = self._origin[series]
        return WindowStats(**kept, origin=np.where(np.isnan(origin), 0.0, origin), bucket_ms=bucket_ms)

    def forget(self, series: range) -> None:
        """Empty the buckets of some series."""
        self._make_room(series.stop)
        own = slice(series.start, series.stop)
        self._rings[own], self._head[own], self._origin[own] = self._empty, _NO_BUCKET, np.nan

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays, for a snapshot."""
        return {"rings": self._rings, "head": self._head, "origin": self._origin}

    def load(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take over what ``dump`` returned."""
        self._rings = state["rings"].astype(np.float32)
        self._head = state["head"].astype(np.int64)
        self._origin = state["origin"].astype(np.float64)

    def _settle(
        self,
        series: NDArray[np.int32],
        head: NDArray[np.int64],
        newest: NDArray[np.int64],
        value: NDArray[np.float64],
        tier: int,
    ) -> None:
        """Set or move the origins of series that begin another group of buckets.

        An origin serves as long as the rings hold something about it; then the next reading sets a new one. Before that
        it is moved where the last two buckets and the next reading agree that values are elsewhere: a strange reading,
        be it the first or a later one, does not move it.

        Args:
            series: Shape (N,).
            head: The newest bucket of each reading's series. Shape (N,).
            newest: The bucket of each reading. Shape (N,).
            value: Shape (N,).
            tier: The longest window, whose buckets these are.
        """
        empty = newest - head >= BUCKETS
        if empty.any():
            # written in reverse, so that the first reading of a series is the one that stays
            self._origin[series[empty][::-1]] = value[empty][::-1]
        if not self._typical:
            return
        x = value - self._origin[series]
        last = self._mean(series, tier, head % BUCKETS)
        far = np.abs(last) > _FAR * np.abs(x - last)
        if not far.any():
            return
        far &= newest >> _GROUP > head >> _GROUP
        _, first = np.unique(series, return_index=True)
        rows = first[far[first]]
        slots = (head[rows, None] - np.arange(1, BUCKETS)) % BUCKETS
        filled = self._rings[series[rows, None], tier, slots, 0] > 0
        before = self._mean(series[rows], tier, slots[np.arange(len(rows)), filled.argmax(axis=1)])
        rows = rows[np.abs(before) > _FAR * np.abs(x[rows] - before)]
        if len(rows):
            self._move(series[rows], value[rows])

    def _mean(self, series: NDArray[np.int32], tier: int, slot: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return where the values of a bucket of each series are, about the origin; NaN or so for an empty one."""
        at = ((series.astype(np.int64) * self._tiers + tier) * BUCKETS + slot) * len(self._parts)
        flat = self._rings.reshape(-1)
        typical: NDArray[np.float64] = flat[at + self._typical].astype(np.float64)
        if self._parts[self._typical] == "total":
            typical /= flat[at]
        return typical

    def _move(self, series: NDArray[np.int32], origin: NDArray[np.float64]) -> None:
        """Give some different series another origin, and shift what the rings hold about the old one.

        What is endless stays so. A spread that float32 has lost is taken for none.
        """
        shift = (origin - self._origin[series])[:, None, None]
        rings = self._rings[series].astype(np.float64)
        kept = dict(zip(self._parts, np.moveaxis(rings, -1, 0), strict=True))
        count = kept["count"]
        moved: dict[str, NDArray[np.float64]] = {
            part: kept[part] - shift for part in ("low", "high", "last") if part in kept
        }
        if "total" in kept:
            moved["total"] = kept["total"] - count * shift
        if "squares" in kept:
            squares = kept["squares"] - 2 * shift * kept["total"] + count * shift * shift
            without_spread = moved["total"] ** 2 / np.maximum(count, 1)
            lost = (np.sqrt(count) + 4) * _ROUNDING * count * shift * shift
            moved["squares"] = np.where(squares - without_spread > lost, squares, without_spread)
        for place, part in enumerate(self._parts):
            if part in moved:
                holds = (count > 0) & np.isfinite(kept[part])
                self._rings[series, ..., place] = np.where(holds, moved[part], kept[part])
        self._origin[series] = origin

    def _advance(self, series: NDArray[np.int32], bucket: NDArray[np.int64], tier: int) -> None:
        """Empty the slots between the head of each series and its new bucket."""
        head = self._head[series, tier]
        ahead = bucket > head
        if not ahead.any():
            return
        moved, target = series[ahead], bucket[ahead]
        gap = np.minimum(target - head[ahead], BUCKETS)
        for step in range(int(gap.max())):
            passed = gap > step
            self._rings[moved[passed], tier, (target[passed] - step) % BUCKETS] = self._empty
        self._head[moved, tier] = target

    def _make_room(self, length: int) -> None:
        if length <= len(self._origin):
            return
        filled = len(self._origin)
        self._rings = grown(self._rings, length)
        self._rings[filled:] = self._empty
        self._head = grown(self._head, length, _NO_BUCKET)
        self._origin = grown(self._origin, length, np.nan)


def _turns(series: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return how many readings of the same series stand before each reading. Shape (N,)."""
    order = np.argsort(series, kind="stable")
    place = np.arange(len(series))
    is_first = np.diff(series[order], prepend=-1) != 0
    turns = np.empty(len(series), np.int64)
    turns[order] = place - np.maximum.accumulate(np.where(is_first, place, 0))
    return turns


def _set_last(flat: NDArray[np.float32], at: NDArray[np.int64], x: NDArray[np.float32]) -> None:
    flat[at] = x


_ADD: dict[str, Callable[[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]], None]] = {
    "count": lambda flat, at, _x: np.add.at(flat, at, np.float32(1)),
    "total": np.add.at,
    "squares": lambda flat, at, x: np.add.at(flat, at, x * x),
    "low": np.minimum.at,
    "high": np.maximum.at,
    "last": _set_last,
}
