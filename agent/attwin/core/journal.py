"""A segment of the journal: the stored readings of one commit as compressed columns.

Layout, little endian: version u8, width of a time u8, width of a value u8, count u32, smallest time i64; then zlib of
the columns: series key i32, time less the smallest u32 or u64, value f32 or f64 (whichever keeps every bit), quality
u8, reason u16.
"""

import struct
import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attwin.core.types import Reason

_HEAD = struct.Struct("<BBBIq")
_VERSION = 1
_FAST = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """Readings as the store keeps them, in order of arrival.

    Attributes:
        series_key: The lasting key of each reading's series. Shape (N,).
        time_ms, value, quality, reason: As in ``ReadingBatch``. Shape (N,).
    """

    series_key: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    reason: NDArray[np.uint16]


def shifted(segment: Segment, shift_ms: int) -> Segment:
    """Return a segment whose times of receipt were put right by a shift."""
    if not shift_ms:
        return segment
    received = (segment.reason & Reason.RECEIVED) != 0
    return replace(segment, time_ms=np.where(received, segment.time_ms + shift_ms, segment.time_ms))


def encode(segment: Segment) -> bytes:
    """Return the bytes of a segment; values keep every bit."""
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
    head = _HEAD.pack(_VERSION, time_width, value_width, count, start)
    return head + zlib.compress(b"".join(columns), _FAST)


def decode(body: bytes) -> Segment:
    """Return the segment that ``encode`` made ``body`` of.

    Raises:
        ValueError: ``body`` is not a segment.
    """
    try:
        version, time_width, value_width, count, start = _HEAD.unpack_from(body)
        raw = zlib.decompress(body[_HEAD.size :])
    except (struct.error, zlib.error) as error:
        raise ValueError(f"not a journal segment: {error}") from error
    if version != _VERSION:
        raise ValueError(f"journal segment of version {version}; this agent reads {_VERSION}")
    at = 0
    columns = []
    try:
        for kind in ("<i4", f"<u{time_width}", f"<f{value_width}", "u1", "<u2"):
            columns.append(np.frombuffer(raw, kind, count, at))
            at += columns[-1].nbytes
    except TypeError as error:
        raise ValueError(f"not a journal segment: {error}") from error
    key, offset, value, quality, reason = columns
    return Segment(
        series_key=key.astype(np.int64),
        time_ms=offset.astype(np.int64) + start,
        value=value.astype(np.float64),
        quality=quality,
        reason=reason.astype(np.uint16),
    )
