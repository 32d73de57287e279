"""When a level will be reached, and how well such warnings were."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HALF_OF_NINE_TENTHS = 0.41
"""A normal number lies within this part of its interval of 90 % every second time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ahead:
    """How long it takes until a level is reached [ms]. Shape (S,) each; infinite where it is not seen coming.

    Attributes:
        expected: On the way of the forecasts.
        earliest, latest: On the edges of the interval in which it lies every second time.
    """

    expected: Floats
    earliest: Floats
    latest: Floats

    @property
    def is_narrow(self) -> NDArray[np.bool_]:
        """Whether it is known well enough to say so: the interval is no wider than the time that is left."""
        with np.errstate(invalid="ignore"):
            narrow: NDArray[np.bool_] = (self.latest - self.earliest <= self.expected) & np.isfinite(self.latest)
        return narrow


def ahead(
    now: Floats, value: Floats, low: Floats, high: Floats, horizons_ms: Floats, threshold: float, *, above: bool
) -> Ahead:
    """Return when a level will be reached, going straight from each forecast to the next.

    Args:
        now: The newest value. Shape (S,).
        value: What the horizons will bring. Shape (S, H).
        low: The lower edge of the interval of 90 %. Shape (S, H).
        high: The upper edge. Shape (S, H).
        horizons_ms: How far ahead each is, rising. Shape (H,).
        threshold: The level.
        above: Whether it is reached from below.
    """
    towards, away = (high, low) if above else (low, high)
    near = value + _HALF_OF_NINE_TENTHS * (towards - value)
    far = value + _HALF_OF_NINE_TENTHS * (away - value)
    found = [_crossing(now, path, horizons_ms, threshold, above=above) for path in (value, near, far)]
    return Ahead(expected=found[0], earliest=found[1], latest=found[2])


def _crossing(now: Floats, path: Floats, horizons_ms: Floats, threshold: float, *, above: bool) -> Floats:
    """Return when a path first passes a level [ms]; infinite where it does not, or is beyond it already."""
    sign = 1.0 if above else -1.0
    level = sign * threshold
    heights = sign * np.column_stack([now, path])
    times = np.append(0.0, horizons_ms)
    with np.errstate(invalid="ignore", divide="ignore"):
        passes = (heights[:, 1:] > level) & (heights[:, :-1] <= level)
        first = passes.argmax(axis=1)
        rows = np.arange(len(now))
        start, end = heights[rows, first], heights[rows, first + 1]
        at = times[first] + (level - start) / (end - start) * (times[first + 1] - times[first])
        known = passes.any(axis=1) & (heights[:, 0] <= level)
    return np.where(known, at, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A warning, and what became of it.

    Attributes:
        rule, entity: Of which rule, about whom.
        made_ms: When it was given, in event time.
        expected_ms, earliest_ms, latest_ms: When it was to come.
        came_ms: When it came; None where it did not.
    """

    rule: str
    entity: str
    made_ms: int
    expected_ms: int
    earliest_ms: int
    latest_ms: int
    came_ms: int | None


def sentence(direction: str, threshold: float, expected_ms: float, earliest_ms: float, latest_ms: float) -> str:
    """Return a warning as people read it: ``below 0.3 in 12 min, 8 to 19``."""
    unit, size = ("min", 60_000) if latest_ms < 2 * 3_600_000 else ("h", 3_600_000)
    expected, earliest, latest = (f"{duration / size:.3g}" for duration in (expected_ms, earliest_ms, latest_ms))
    return f"{direction} {threshold:g} in {expected} {unit}, {earliest} to {latest}"
