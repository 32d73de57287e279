"""A segment of the journal: stored readings as compressed columns.

A commit writes a plain segment, in order of arrival. Upkeep merges many of them into a sorted one, and many sorted ones
into a larger one: by series, each in order of time, in blocks with an index, so that the history of one series is read
without most of the others.

Plain, little endian: version 3 u8, width of a time u8, form of the values u8, count u32, first time i64; then zlib of
the columns, each as planes (all lowest bytes, then all second ones): series key less that of the reading before i32,
time less that before i32 or i64, value, quality u8, reason u16. A value is f32, f64, or i32 times a power of ten,
whichever is the first that keeps every bit.

Sorted: version 4 u8, blocks u32; for each block first and last series key i64, bytes u32; then each block as a plain
segment.

Before them there were version 1, plain without planes and differences, and version 2, sorted with a block a series.
"""

import itertools
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import from_planes, to_planes
from attwin.core.types import Reason

_HEAD = struct.Struct("<BBBIq")
_SORTED_HEAD = struct.Struct("<BI")
_OLD_PLAIN, _OLD_SORTED, _PLAIN, _SORTED = 1, 2, 3, 4
_FAST = 1
_BLOCK = np.dtype([("first_key", "<i8"), ("last_key", "<i8"), ("size", "<u4")])
_OLD_RUN = np.dtype([("series_key", "<i8"), ("count", "<u4"), ("size", "<u4")])
_BLOCK_READINGS = 4_096
_BLOCKS_ORDERED = 4
"""How many blocks are put in order at a time; only a series with more readings takes more."""
_FORMS = {4: "<f4", 8: "<f8", 16: "<i4", 17: "<i4", 18: "<i4", 19: "<i4"}
"""How values are stored, by the form's number; from 16 on it is the power of ten more."""
_FIRST_DECIMAL = 16
_LARGEST_I4 = 2**31 - 1

Block = tuple[int, int, bytes]
"""The first and the last series of a block, and its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """Readings as the store keeps them.

    Attributes:
        series_key: The lasting key of each reading's series. Shape (N,).
        time_ms, value, quality, reason: As in ``ReadingBatch``. Shape (N,).
    """

    series_key: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    reason: NDArray[np.uint16]

    def rows(self, chosen: NDArray[np.int64] | slice) -> "Segment":
        """Return some of the readings."""
        return Segment(
            series_key=self.series_key[chosen],
            time_ms=self.time_ms[chosen],
            value=self.value[chosen],
            quality=self.quality[chosen],
            reason=self.reason[chosen],
        )


def joined_segments(segments: Sequence[Segment]) -> Segment:
    """Return several segments, at least one, as one."""
    return Segment(
        series_key=np.concatenate([s.series_key for s in segments]),
        time_ms=np.concatenate([s.time_ms for s in segments]),
        value=np.concatenate([s.value for s in segments]),
        quality=np.concatenate([s.quality for s in segments]),
        reason=np.concatenate([s.reason for s in segments]),
    )


def shifted(segment: Segment, shift_ms: int) -> Segment:
    """Return a segment whose times of receipt were put right by a shift."""
    if not shift_ms:
        return segment
    received = (segment.reason & Reason.RECEIVED) != 0
    return replace(segment, time_ms=np.where(received, segment.time_ms + shift_ms, segment.time_ms))


def encode(segment: Segment) -> bytes:
    """Return the bytes of a plain segment; values keep every bit."""
    count = len(segment.series_key)
    start = int(segment.time_ms[0]) if count else 0
    passed = _steps(segment.time_ms, start)
    time_width = 4 if not count or int(np.abs(passed).max()) < 2**31 else 8
    form, value = _stored_values(segment.value)
    columns = (
        _steps(segment.series_key, 0).astype("<i4"),
        passed.astype(f"<i{time_width}"),
        value,
        segment.quality,
        segment.reason.astype("<u2"),
    )
    head = _HEAD.pack(_PLAIN, time_width, form, count, start)
    return head + zlib.compress(b"".join(to_planes(column) for column in columns), _FAST)


def encode_sorted(segment: Segment) -> bytes:
    """Return the bytes of a sorted segment."""
    ordered = by_series(segment)
    starts = range(0, len(ordered.series_key), _BLOCK_READINGS)
    return sorted_body([_block(ordered.rows(slice(start, start + _BLOCK_READINGS))) for start in starts])


def by_series(segment: Segment) -> Segment:
    """Return the readings sorted by series, each in order of time."""
    return segment.rows(np.lexsort((segment.time_ms, segment.series_key)))


def sorted_blocks(parts: Sequence[Segment]) -> Iterator[Block]:
    """Yield the blocks of one sorted segment of several, ordering a few thousand readings at a time.

    Args:
        parts: Each sorted as by ``by_series``.
    """
    keys = np.sort(np.concatenate([part.series_key for part in parts]), kind="stable") if parts else _NOTHING.series_key
    lows = np.unique(keys[:: _BLOCKS_ORDERED * _BLOCK_READINGS]).tolist()
    for low, high in itertools.pairwise([*lows, np.iinfo(np.int64).max]):
        found = [part.rows(slice(*np.searchsorted(part.series_key, (low, high)).tolist())) for part in parts]
        ordered = by_series(joined_segments(found))
        count = len(ordered.series_key)
        blocks = -(-count // _BLOCK_READINGS)
        for i in range(blocks):
            yield _block(ordered.rows(slice(i * count // blocks, (i + 1) * count // blocks)))


def sorted_body(blocks: Sequence[Block]) -> bytes:
    """Return the bytes of the sorted segment with these blocks, in their order."""
    index = np.array([(first, last, len(body)) for first, last, body in blocks], _BLOCK)
    return _SORTED_HEAD.pack(_SORTED, len(blocks)) + index.tobytes() + b"".join(body for _, _, body in blocks)


def _block(readings: Segment) -> Block:
    return int(readings.series_key[0]), int(readings.series_key[-1]), encode(readings)


def decode(body: bytes, series_key: int | None = None) -> Segment:
    """Return the segment that ``encode`` or ``encode_sorted`` made ``body`` of, now or in an earlier version.

    Args:
        body: The bytes.
        series_key: Only the readings of this series.

    Raises:
        ValueError: ``body`` is not a segment.
    """
    found = list(parts_of(body, series_key))
    segment = found[0] if len(found) == 1 else joined_segments(found) if found else _NOTHING
    return segment if series_key is None else segment.rows(np.flatnonzero(segment.series_key == series_key))


def _steps(column: NDArray[np.int64], start: int) -> NDArray[np.int64]:
    """Return each element less the one before it, the first less ``start``."""
    steps = column.copy()
    steps[1:] -= column[:-1]
    steps[:1] -= start
    return steps


def parts_of(body: bytes, series_key: int | None = None) -> Iterator[Segment]:
    """Yield a segment part by part, as it is stored: a plain one whole, a sorted one block by block.

    Args:
        body: The bytes.
        series_key: Only the blocks that may hold readings of this series.

    Raises:
        ValueError: ``body`` is not a segment.
    """
    try:
        if body[0] in (_SORTED, _OLD_SORTED):
            yield from _blocks_of(body, series_key)
        else:
            yield _decode_plain(body)
    except (struct.error, zlib.error, TypeError, IndexError, KeyError, OverflowError) as error:
        raise ValueError(f"not a journal segment: {error!r}") from error


def _stored_values(value: NDArray[np.float64]) -> tuple[int, NDArray[np.generic]]:
    """Return the number of the first form that keeps every bit of the values, and them in it."""
    bits, largest = value.view(np.int64), np.abs(value).max(initial=0.0)
    for form in range(_FIRST_DECIMAL, max(_FORMS) + 1):
        scale = 10.0 ** (form - _FIRST_DECIMAL)
        if not largest * scale < _LARGEST_I4:
            break
        scaled = np.rint(value * scale)
        if ((scaled.astype(np.int32) / scale).view(np.int64) == bits).all():
            return form, scaled.astype("<i4")
    with np.errstate(over="ignore"):
        narrow = value.astype("<f4")
    if (narrow.astype(np.float64).view(np.int64) == bits).all():
        return 4, narrow
    return 8, value.astype("<f8")


def _blocks_of(body: bytes, series_key: int | None) -> Iterator[Segment]:
    version, count = _SORTED_HEAD.unpack_from(body)
    index = np.frombuffer(body, _BLOCK if version == _SORTED else _OLD_RUN, count, _SORTED_HEAD.size)
    ends = _SORTED_HEAD.size + index.nbytes + np.cumsum(index["size"], dtype=np.int64)
    if len(body) != (int(ends[-1]) if count else _SORTED_HEAD.size):
        raise ValueError(f"a journal segment of {len(body)} bytes, which its index does not say")
    first, last = ("first_key", "last_key") if version == _SORTED else ("series_key", "series_key")
    chosen = (
        np.arange(count)
        if series_key is None
        else np.flatnonzero((index[first] <= series_key) & (series_key <= index[last]))
    )
    for i in chosen.tolist():
        block = _decode_plain(body[int(ends[i]) - int(index["size"][i]) : int(ends[i])])
        if (block.series_key[0], block.series_key[-1]) != (index[first][i], index[last][i]):
            raise ValueError("a journal segment whose index does not say what its blocks hold")
        yield block


def _decode_plain(body: bytes) -> Segment:
    version, time_width, form, count, start = _HEAD.unpack_from(body)
    raw = zlib.decompress(body[_HEAD.size :])
    if version == _OLD_PLAIN:
        key, time_ms, value, quality, reason = _columns(raw, f"<u{time_width}", f"<f{form}", count, np.frombuffer)
        decimal = 1.0
    elif version == _PLAIN:
        key, time_ms, value, quality, reason = _columns(raw, f"<i{time_width}", _FORMS[form], count, from_planes)
        key, time_ms = np.cumsum(key, dtype=np.int64), np.cumsum(time_ms, dtype=np.int64)
        decimal = 10.0 ** max(0, form - _FIRST_DECIMAL)
    else:
        raise ValueError(f"journal segment of version {version}; this agent reads {_OLD_PLAIN} to {_SORTED}")
    return Segment(
        series_key=key.astype(np.int64),
        time_ms=time_ms.astype(np.int64) + start,
        value=value.astype(np.float64) / decimal,
        # a copy, or the readings would hold all of `raw`
        quality=quality.astype(np.uint8),
        reason=reason.astype(np.uint16),
    )


def _columns(
    raw: bytes, time: str, value: str, count: int, read: Callable[[bytes, np.dtype[Any], int, int], NDArray[Any]]
) -> list[NDArray[Any]]:
    """Return the columns that stand in ``raw`` one after the other."""
    columns: list[NDArray[Any]] = []
    at = 0
    for kind in ("<i4", time, value, "u1", "<u2"):
        columns.append(read(raw, np.dtype(kind), count, at))
        at += columns[-1].nbytes
    if at != len(raw):
        raise ValueError(f"a journal segment of {len(raw)} bytes of columns, of which it counts {at}")
    return columns


_NOTHING = Segment(
    series_key=np.empty(0, np.int64),
    time_ms=np.empty(0, np.int64),
    value=np.empty(0),
    quality=np.empty(0, np.uint8),
    reason=np.empty(0, np.uint16),
)
