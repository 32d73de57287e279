"""Features: numbers computed from the windows of an entity, in the order in which its model expects them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from attwin.core.types import MS_PER_SECOND
from attwin.core.windows import BUCKETS, Windows, WindowStats


class Statistic(StrEnum):
    """What a feature says about a window of a metric."""

    MEAN = "mean"
    STD = "std"
    MIN = "min"
    MAX = "max"
    LAST = "last"
    COUNT = "count"
    SLOPE = "slope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One input of a model before standardising.

    Attributes:
        metric: The metric's index in its kind.
        tier: Which of the kind's windows.
        statistic: What is computed.
    """

    metric: int
    tier: int
    statistic: Statistic


def parts_of(features: Sequence[Feature]) -> set[str]:
    """Return what windows must keep of their buckets for these features."""
    return {part for feature in features for part in _PARTS[feature.statistic]}


def compute(
    windows: Windows,
    features: Sequence[Feature],
    windows_ms: Sequence[int],
    series: NDArray[np.int32],
    at_ms: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the features of several entities, each at its own time.

    Args:
        windows: The buckets of all series.
        features: What to compute, F of them.
        windows_ms: The windows of the entities' kind.
        series: The series of each entity, by metric. Shape (R, M).
        at_ms: A time in the newest bucket that counts. Shape (R,).

    Returns:
        Shape (R, F). NaN where the metric has no reading in the window (a count is 0 there), and for a slope with
        readings in fewer than two buckets.
    """
    out = np.empty((len(series), len(features)), np.float32)
    # no readings are 0 / 0; what is too large for a float32 is endless, and saturates as an input
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for tier, window_ms in enumerate(windows_ms):
            stats = windows.look(series, at_ms, tier, window_ms)
            mine = [(column, feature) for column, feature in enumerate(features) if feature.tier == tier]
            computed = {s: _COMPUTE[s](stats) for s in {feature.statistic for _, feature in mine}}
            for column, feature in mine:
                out[:, column] = computed[feature.statistic][:, feature.metric]
    return out


def _mean(stats: WindowStats) -> NDArray[np.float32]:
    mean = stats.total.sum(axis=-1, dtype=np.float64) / stats.count.sum(axis=-1)
    value: NDArray[np.float32] = (mean + stats.origin).astype(np.float32)
    return value


def _std(stats: WindowStats) -> NDArray[np.float32]:
    """Return the population standard deviation; 0 for a single reading.

    Source: variance = E[x^2] - E[x]^2; x is about the series' origin, so that large values do not cost precision.
    """
    count = stats.count.sum(axis=-1)
    mean = stats.total.sum(axis=-1, dtype=np.float64) / count
    variance = stats.squares.sum(axis=-1, dtype=np.float64) / count - mean * mean
    deviation: NDArray[np.float32] = np.sqrt(np.maximum(variance, 0.0)).astype(np.float32)
    return deviation


def _min(stats: WindowStats) -> NDArray[np.float32]:
    low = stats.low.min(axis=-1)
    return np.where(np.isinf(low), np.nan, low + stats.origin).astype(np.float32)


def _max(stats: WindowStats) -> NDArray[np.float32]:
    high = stats.high.max(axis=-1)
    return np.where(np.isinf(high), np.nan, high + stats.origin).astype(np.float32)


def _last(stats: WindowStats) -> NDArray[np.float32]:
    filled = stats.count > 0
    newest = BUCKETS - 1 - np.argmax(filled[..., ::-1], axis=-1)
    last = np.take_along_axis(stats.last, newest[..., None], axis=-1)[..., 0]
    return np.where(filled.any(axis=-1), last + stats.origin, np.nan).astype(np.float32)


def _count(stats: WindowStats) -> NDArray[np.float32]:
    total: NDArray[np.float32] = stats.count.sum(axis=-1)
    return total


def _slope(stats: WindowStats) -> NDArray[np.float32]:
    """Return the least-squares slope over the buckets' means [metric unit per second].

    Source: weighted simple linear regression, slope = S_xy / S_xx; x is the middle of a bucket, the weight its count.
    """
    weight = stats.count
    x = np.arange(BUCKETS, dtype=np.float64) * (stats.bucket_ms / MS_PER_SECOND)
    count = weight.sum(axis=-1, keepdims=True)
    dx = x - (weight * x).sum(axis=-1, keepdims=True) / count
    slope = (dx * stats.total).sum(axis=-1) / (weight * dx * dx).sum(axis=-1)
    return np.where((weight > 0).sum(axis=-1) > 1, slope, np.nan).astype(np.float32)


_PARTS: dict[Statistic, tuple[str, ...]] = {
    Statistic.MEAN: ("total",),
    Statistic.STD: ("total", "squares"),
    Statistic.MIN: ("low",),
    Statistic.MAX: ("high",),
    Statistic.LAST: ("last",),
    Statistic.COUNT: ("count",),
    Statistic.SLOPE: ("total",),
}

_COMPUTE = {
    Statistic.MEAN: _mean,
    Statistic.STD: _std,
    Statistic.MIN: _min,
    Statistic.MAX: _max,
    Statistic.LAST: _last,
    Statistic.COUNT: _count,
    Statistic.SLOPE: _slope,
}
