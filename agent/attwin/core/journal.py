"""A segment of the journal: stored readings as compressed columns.

A commit writes a plain segment, in order of arrival. Upkeep merges many of them into a sorted one: by series, each in
order of time, with an index, so that the history of one series is read without the others.

Plain, little endian: version 1 u8, width of a time u8, width of a value u8, count u32, smallest time i64; then zlib of
the columns: series key i32, time less the smallest u32 or u64, value f32 or f64 (whichever keeps every bit), quality
u8, reason u16.

Sorted: version 2 u8, runs u32; for each run series key i64, count u32, bytes u32; then each run as a plain segment.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attwin.core.types import Reason

_HEAD = struct.Struct("<BBBIq")
_SORTED_HEAD = struct.Struct("<BI")
_PLAIN, _SORTED = 1, 2
_FAST = 1
_RUN = np.dtype([("series_key", "<i8"), ("count", "<u4"), ("size", "<u4")])


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
    start = int(segment.time_ms.min()) if count else 0
    offset = segment.time_ms - start
    time_width = 4 if not count or int(offset.max()) < 2**32 else 8
    with np.errstate(over="ignore"):
        narrow = segment.value.astype(np.float32)
    value_width = 4 if (narrow == segment.value).all() else 8
    columns = (
        segment.series_key.astype("<i4").tobytes(),
        offset.astype(f"<u{time_width}").tobytes(),
        (narrow if value_width == 4 else segment.value).astype(f"<f{value_width}").tobytes(),  # noqa: PLR2004 -- bytes of a float
        segment.quality.tobytes(),
        segment.reason.astype("<u2").tobytes(),
    )
    head = _HEAD.pack(_PLAIN, time_width, value_width, count, start)
    return head + zlib.compress(b"".join(columns), _FAST)


def encode_sorted(segment: Segment) -> bytes:
    """Return the bytes of a sorted segment."""
    order = np.lexsort((segment.time_ms, segment.series_key))
    keys = segment.series_key[order]
    starts = np.flatnonzero(np.append([True], keys[1:] != keys[:-1])) if len(keys) else np.empty(0, np.int64)
    ends = np.append(starts[1:], len(keys)).astype(np.int64)
    runs = [encode(segment.rows(order[a:b])) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    index = np.zeros(len(runs), _RUN)
    index["series_key"], index["count"], index["size"] = keys[starts], ends - starts, [len(run) for run in runs]
    return _SORTED_HEAD.pack(_SORTED, len(runs)) + index.tobytes() + b"".join(runs)


def decode(body: bytes, series_key: int | None = None) -> Segment:
    """Return the segment that ``encode`` or ``encode_sorted`` made ``body`` of.

    Args:
        body: The bytes.
        series_key: Only the readings of this series.

    Raises:
        ValueError: ``body`` is not a segment.
    """
    try:
        if body[:1] == bytes([_SORTED]):
            return _decode_sorted(body, series_key)
        segment = _decode_plain(body)
    except (struct.error, zlib.error, TypeError, IndexError) as error:
        raise ValueError(f"not a journal segment: {error}") from error
    return segment if series_key is None else segment.rows(np.flatnonzero(segment.series_key == series_key))


def _decode_sorted(body: bytes, series_key: int | None) -> Segment:
    _version, count = _SORTED_HEAD.unpack_from(body)
    index = np.frombuffer(body, _RUN, count, _SORTED_HEAD.size)
    ends = _SORTED_HEAD.size + index.nbytes + np.cumsum(index["size"], dtype=np.int64)
    if len(body) != (int(ends[-1]) if count else _SORTED_HEAD.size):
        raise ValueError(f"a journal segment of {len(body)} bytes, which its index does not say")
    chosen = range(count) if series_key is None else np.flatnonzero(index["series_key"] == series_key).tolist()
    found = [_decode_plain(body[int(ends[i]) - int(index["size"][i]) : int(ends[i])]) for i in chosen]
    return joined_segments(found) if found else _decode_plain(encode(_NOTHING))


def _decode_plain(body: bytes) -> Segment:
    version, time_width, value_width, count, start = _HEAD.unpack_from(body)
    if version != _PLAIN:
        raise ValueError(f"journal segment of version {version}; this agent reads {_PLAIN} and {_SORTED}")
    raw = zlib.decompress(body[_HEAD.size :])
    at = 0
    columns = []
    for kind in ("<i4", f"<u{time_width}", f"<f{value_width}", "u1", "<u2"):
        columns.append(np.frombuffer(raw, kind, count, at))
        at += columns[-1].nbytes
    key, offset, value, quality, reason = columns
    return Segment(
        series_key=key.astype(np.int64),
        time_ms=offset.astype(np.int64) + start,
        value=value.astype(np.float64),
        quality=quality,
        reason=reason.astype(np.uint16),
    )


_NOTHING = Segment(
    series_key=np.empty(0, np.int64),
    time_ms=np.empty(0, np.int64),
    value=np.empty(0),
    quality=np.empty(0, np.uint8),
    reason=np.empty(0, np.uint16),
)
