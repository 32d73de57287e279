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
        bucket: Of which of the window's buckets alone, 0 for the oldest; None for the whole window.
        codes: 1.0 where the value is one of these, else 0.0; empty for the value itself.
        is_relative: Whether it is measured against what is usual for the series.
    """

    metric: int
    tier: int
    statistic: Statistic
    bucket: int | None = None
    codes: tuple[int, ...] = ()
    is_relative: bool = False


DEVIATIONS = frozenset((Statistic.STD, Statistic.SLOPE))
"""Statistics that an offset of the sensor does not change."""
NEAR_CODE = 0.01
"""A window gives codes back to so much at least, unless they were mixed with other numbers."""

Usual = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The mean and the scale that are usual for each series. Shape (R, M) each."""


def parts_of(features: Sequence[Feature]) -> set[str]:
    """Return what windows must keep of their buckets for these features."""
    return {part for feature in features for part in _PARTS[feature.statistic]}


def compute(
    windows: Windows,
    features: Sequence[Feature],
    windows_ms: Sequence[int],
    series: NDArray[np.int32],
    at_ms: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the features of several entities, each at its own time, all of them as they are (see ``relative``).

    Args:
        windows: The buckets of all series.
        features: What to compute, F of them.
        windows_ms: The windows of the entities' kind.
        series: The series of each entity, by metric. Shape (R, M).
        at_ms: A time in the newest bucket that counts. Shape (R,).

    Returns:
        Shape (R, F). NaN where the metric has no reading in the window or the bucket (a count is 0 there), and for a
        slope with readings in fewer than two buckets.
    """
    out = np.empty((len(series), len(features)))
    # no readings are 0 / 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for tier, window_ms in enumerate(windows_ms):
            stats = windows.look(series, at_ms, tier, window_ms)
            mine = [(column, feature) for column, feature in enumerate(features) if feature.tier == tier]
            whole = {f.statistic for _, f in mine if f.bucket is None}
            computed = {statistic: _COMPUTE[statistic](stats) for statistic in whole}
            by_bucket = _bucket_means(stats) if any(f.bucket is not None for _, f in mine) else None
            for column, feature in mine:
                if by_bucket is not None and feature.bucket is not None:
                    value = by_bucket[:, feature.metric, feature.bucket]
                else:
                    value = computed[feature.statistic][:, feature.metric]
                if feature.codes:
                    value = _is_one_of(value, feature.codes)
                out[:, column] = value
    return out


def relative(raw: NDArray[np.float64], features: Sequence[Feature], usual: Usual) -> NDArray[np.float64]:
    """Return features with those that are relative measured against what is usual for their series. Shape (R, F).

    Args:
        raw: As ``compute`` returns them. Shape (R, F).
        features: What they are.
        usual: Of the same series. A level x becomes (x - mean) / scale, a deviation (``DEVIATIONS``) x / scale.
    """
    mean, scale = usual
    out = raw.copy()
    for column, feature in enumerate(features):
        if feature.is_relative:
            level = 0.0 if feature.statistic in DEVIATIONS else mean[:, feature.metric]
            out[:, column] = (raw[:, column] - level) / scale[:, feature.metric]
    return out


def _is_one_of(value: NDArray[np.float64], codes: Sequence[int]) -> NDArray[np.float64]:
    """Return 1.0 where a value is one of the codes, else 0.0; NaN stays."""
    found = np.zeros(len(value), np.bool_)
    for code in codes:
        found |= np.abs(value - code) < NEAR_CODE
    return np.where(np.isnan(value), np.nan, found)


def _bucket_means(stats: WindowStats) -> NDArray[np.float64]:
    """Return the mean of every bucket, NaN where it is empty. Shape (R, M, 12)."""
    means: NDArray[np.float64] = stats.total / stats.count.astype(np.float64) + stats.origin[..., None]
    return means


def _mean(stats: WindowStats) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = stats.total.sum(axis=-1, dtype=np.float64) / stats.count.sum(axis=-1)
    return mean + stats.origin


def _std(stats: WindowStats) -> NDArray[np.float64]:
    """Return the population standard deviation; 0 for a single reading.

    Source: variance = E[x^2] - E[x]^2; x is about the series' origin, so that large values do not cost precision.
    """
    count = stats.count.sum(axis=-1)
    mean = stats.total.sum(axis=-1, dtype=np.float64) / count
    variance = stats.squares.sum(axis=-1, dtype=np.float64) / count - mean * mean
    deviation: NDArray[np.float64] = np.sqrt(np.maximum(variance, 0.0))
    return deviation


def _min(stats: WindowStats) -> NDArray[np.float64]:
    low = stats.low.min(axis=-1)
    return np.where(np.isinf(low), np.nan, low + stats.origin)


def _max(stats: WindowStats) -> NDArray[np.float64]:
    high = stats.high.max(axis=-1)
    return np.where(np.isinf(high), np.nan, high + stats.origin)


def _last(stats: WindowStats) -> NDArray[np.float64]:
    filled = stats.count > 0
    newest = BUCKETS - 1 - np.argmax(filled[..., ::-1], axis=-1)
    last = np.take_along_axis(stats.last, newest[..., None], axis=-1)[..., 0]
    return np.where(filled.any(axis=-1), last + stats.origin, np.nan)


def _count(stats: WindowStats) -> NDArray[np.float64]:
    total: NDArray[np.float64] = stats.count.sum(axis=-1, dtype=np.float64)
    return total


def _slope(stats: WindowStats) -> NDArray[np.float64]:
    """Return the least-squares slope over the buckets' means [metric unit per second].

    Source: weighted simple linear regression, slope = S_xy / S_xx; x is the middle of a bucket, the weight its count.
    """
    weight = stats.count
    x = np.arange(BUCKETS, dtype=np.float64) * (stats.bucket_ms / MS_PER_SECOND)
    count = weight.sum(axis=-1, keepdims=True)
    dx = x - (weight * x).sum(axis=-1, keepdims=True) / count
    slope = (dx * stats.total).sum(axis=-1) / (weight * dx * dx).sum(axis=-1)
    return np.where((weight > 0).sum(axis=-1) > 1, slope, np.nan)


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
