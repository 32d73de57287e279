"""Rolling windows as rings of time buckets.

A series has up to two windows, each of 12 buckets of a twelfth of the window. A reading costs O(1); nothing
is kept of a single reading. A window at time T holds the open bucket and the eleven before it, so a window of 5 min
reaches back between 4 min 35 s and 5 min.
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
        # an origin serves as long as the rings hold something about it; then the next reading sets a new one
        longest = max(range(len(windows_ms)), key=lambda tier: windows_ms[tier])
        empty = bucket_time_ms // (windows_ms[longest] // BUCKETS) - self._head[series, longest] >= BUCKETS
        self._origin[series[empty]] = np.nan
        fresh = np.isnan(self._origin[series])
        if fresh.any():
            # written in reverse, so that the first reading of a series is the one that stays
            self._origin[series[fresh][::-1]] = value[fresh][::-1]
        flat = self._rings.reshape(-1)
        # what is too far from its origin for a float32 is endless there
        with np.errstate(over="ignore", invalid="ignore"):
            x = (value - self._origin[series]).astype(np.float32)
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
        wanted = now[:, None] - np.arange(BUCKETS - 1, -1, -1)
        slots = (wanted % BUCKETS)[:, None, :]
        rings = self._rings[series[:, :, None], tier, slots]
        # a slot that is ahead of the series' head still holds the bucket of the round before
        rings[wanted[:, None, :] > self._head[series, tier][:, :, None]] = self._empty
        kept = dict.fromkeys(PARTS, _NOT_KEPT) | dict(zip(self._parts, rings.transpose(3, 0, 1, 2), strict=True))
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
