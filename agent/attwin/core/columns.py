"""Small operations on columns that more than one stage needs."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_LEAST_MORE = 16

T = TypeVar("T", bound=np.generic)

NEVER_MS = -(2**62)
"""The time of what has not happened yet; smaller than every time that can be read."""


def grown(array: NDArray[T], length: int, fill: float = 0) -> NDArray[T]:
    """Return ``array`` with room for ``length`` elements along its first axis: a quarter more when it grows."""
    if len(array) >= length:
        return array
    more = np.full((max(length, len(array) + len(array) // 4 + _LEAST_MORE), *array.shape[1:]), fill, array.dtype)
    more[: len(array)] = array
    return more


def newest_before(
    group: NDArray[np.int32], time_ms: NDArray[np.int64], newest_ms: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return, for every row, the newest time of its group before that row arrived.

    Args:
        group: The group of every row, in order of arrival. Shape (N,).
        time_ms: The time of every row. Shape (N,).
        newest_ms: The newest time of every group before these rows, ``NEVER_MS`` for none. Shape (G,).

    Returns:
        Shape (N,) [ms]; ``NEVER_MS`` where the group had no row before.
    """
    order = np.argsort(group, kind="stable")
    sorted_group, sorted_time = group[order], time_ms[order]
    starts = np.empty(len(group), np.bool_)
    starts[:1] = True
    np.not_equal(sorted_group[1:], sorted_group[:-1], out=starts[1:])
    # each group gets a band of its own, so that one running maximum serves all groups
    base = int(time_ms.min()) - 1
    band = (int(time_ms.max()) - base + 1) * (np.cumsum(starts) - 1)
    known = newest_ms[sorted_group]
    floor = band + np.clip(known - base, 0, int(time_ms.max()) - base)
    running = np.maximum.accumulate(np.maximum(band + (sorted_time - base), floor))
    before = np.empty_like(running)
    before[0] = floor[0]
    before[1:] = np.where(starts[1:], floor[1:], running[:-1])
    exact = np.where(before == floor, known, before - band + base)
    result = np.empty_like(exact)
    result[order] = exact
    return result


def to_planes(column: NDArray[np.generic]) -> bytes:
    """Return an array as byte planes: all lowest bytes, then all second ones. What changes slowly compresses so."""
    if column.itemsize == 1:
        return column.tobytes()
    return np.ascontiguousarray(column).reshape(-1).view(np.uint8).reshape(-1, column.itemsize).T.tobytes()


def from_planes(data: bytes, kind: np.dtype[np.generic], count: int, start: int = 0) -> NDArray[np.generic]:
    """Return the column of ``count`` elements whose planes begin at ``data[start]``.

    Raises:
        ValueError: ``data`` ends before it.
    """
    planes = np.frombuffer(data, np.uint8, count * kind.itemsize, start)
    return np.ascontiguousarray(planes.reshape(kind.itemsize, count).T).view(kind).reshape(count)
