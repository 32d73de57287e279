"""What a setting can be, beside plain text and numbers."""

import math
import re
from dataclasses import dataclass
from typing import Annotated

from attwin.core.durations import UNITS_MS, format_duration

__all__ = ["format_duration"]

OFF = "off"
_MOST_MS = 36_525 * 86_400_000
_UNITS_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(B|KB|MB|GB|TB)")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


@dataclass(frozen=True, slots=True)
class DurationMark:
    """Marks an int of milliseconds that is written ``90s``, ``5m``, ``7d``."""


@dataclass(frozen=True, slots=True)
class LevelMark:
    """Marks a number above 0 that may also be ``off``, which is infinity: nothing reaches it."""


@dataclass(frozen=True, slots=True)
class FileMark:
    """Marks a path that is relative to the configuration's folder."""


@dataclass(frozen=True, slots=True)
class SizeMark:
    """Marks an int of bytes that is written ``500MB`` or ``2GB``."""


DurationMs = Annotated[int, DurationMark()]
SizeBytes = Annotated[int, SizeMark()]
LevelOrOff = Annotated[float, LevelMark()]
FilePath = Annotated[str, FileMark()]


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret; it shows as stars wherever it is printed.

    Attributes:
        reveal: The secret itself.
    """

    reveal: str

    def __repr__(self) -> str:
        return "'***'"

    __str__ = __repr__


def parse_duration(text: str) -> int:
    """Return the milliseconds of ``90s``, ``5m``, ``1.5h``.

    Raises:
        ValueError: ``text`` is not a duration.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError(f"a duration such as 5s or 2m, not `{text}`")
    duration_ms = float(match[1]) * UNITS_MS[match[2]]
    if duration_ms > _MOST_MS:
        raise ValueError(f"a duration of at most 100 years, not `{text[:20]}`")
    return round(duration_ms)


def parse_level(value: object) -> float:
    """Return the level of ``0.25`` or ``off``.

    Raises:
        ValueError: ``value`` is neither.
    """
    if value == OFF:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"a number above 0, or {OFF}")
    return float(value)


def parse_size(text: str) -> int:
    """Return the bytes of ``500MB``, ``1.5GB``, ``64KB``: powers of 1000.

    Raises:
        ValueError: ``text`` is not a size.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"a size such as 500MB or 2GB, not `{text}`")
    return round(float(match[1]) * _UNITS_BYTES[match[2]])


def format_size(size: int) -> str:
    """Return the shortest form that ``parse_size`` reads back exactly."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size and size % _UNITS_BYTES[unit] == 0:
            return f"{size // _UNITS_BYTES[unit]}{unit}"
    return f"{size}B"
