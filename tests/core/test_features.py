"""Windows and features against a plain computation over the raw readings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attwin.core.features import Feature, Statistic, compute
from attwin.core.windows import BUCKETS, Windows
from support.builders import T0_MS

WINDOW_MS = 120_000
BUCKET_MS = WINDOW_MS // BUCKETS
READINGS = st.lists(
    st.tuples(st.integers(0, 400_000), st.floats(-1000, 1000, allow_nan=False, width=32)), min_size=1, max_size=60
)


def computed(times_ms: list[int], values: list[float], at_ms: int, statistic: Statistic) -> float:
    """Return one feature after applying readings in order of time."""
    windows = Windows()
    for time_ms, value in zip(times_ms, values, strict=True):
        windows.apply(np.zeros(1, np.int32), np.array([time_ms]), np.array([value]), [WINDOW_MS])
    features = compute(
        windows,
        [Feature(metric=0, tier=0, statistic=statistic)],
        [WINDOW_MS],
        np.zeros((1, 1), np.int32),
        np.array([at_ms], np.int64),
    )
    return float(features[0, 0])


def naive(times_ms: list[int], values: list[float], at_ms: int, statistic: Statistic) -> float:
    """Return the same from the raw readings of the open bucket and the eleven before it."""
    bucket = np.array(times_ms) // BUCKET_MS
    inside = (bucket > at_ms // BUCKET_MS - BUCKETS) & (bucket <= at_ms // BUCKET_MS)
    x, b = np.array(values)[inside], bucket[inside]
    if statistic is Statistic.COUNT:
        return float(len(x))
    if not len(x):
        return float("nan")
    if statistic is Statistic.SLOPE:
        return float(np.polyfit(b * (BUCKET_MS / 1000), x, 1)[0]) if len(set(b.tolist())) > 1 else float("nan")
    return float(
        {
            Statistic.MEAN: x.mean(),
            Statistic.STD: x.std(),
            Statistic.MIN: x.min(),
            Statistic.MAX: x.max(),
            Statistic.LAST: x[-1],
        }[statistic]
    )


@pytest.mark.parametrize("statistic", Statistic)
@settings(max_examples=60, deadline=None)
@given(data=READINGS, later_ms=st.integers(0, 200_000))
def test_a_feature_is_what_the_raw_readings_give(
    statistic: Statistic, data: list[tuple[int, float]], later_ms: int
) -> None:
    """Each statistic equals the plain one over the buckets of its window."""
    data = sorted(data, key=lambda reading: reading[0])
    times, values = [T0_MS + t for t, _ in data], [v for _, v in data]
    at_ms = times[-1] + later_ms

    found = computed(times, values, at_ms, statistic)
    expected = naive(times, values, at_ms, statistic)

    spread = max(1.0, max(values) - min(values), *map(abs, values))
    np.testing.assert_allclose(found, expected, atol=2e-3 * spread, equal_nan=True)


def test_a_large_offset_does_not_cost_the_deviation() -> None:
    """Sums are about each series' own origin: 1e6 + small noise keeps its standard deviation."""
    values = (1e6 + np.sin(np.arange(50))).tolist()
    times = [T0_MS + 1000 * i for i in range(50)]

    assert computed(times, values, times[-1], Statistic.STD) == pytest.approx(np.std(values), rel=0.02)


def test_a_strange_first_reading_does_not_cost_the_precision_of_later_ones_for_life() -> None:
    """Once the windows are empty of it, sums are about a new origin."""
    times = [T0_MS, *(T0_MS + 10**6 + 1000 * i for i in range(50))]

    assert computed(times, [1e9, *[0.00471] * 50], times[-1], Statistic.MEAN) == pytest.approx(0.00471, rel=1e-5)


def test_readings_applied_one_by_one_or_together_give_the_same_bits() -> None:
    """A window does not depend on how readings were grouped."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 300_000, 80)) + T0_MS
    series = rng.integers(0, 5, 80).astype(np.int32)
    values = rng.normal(20, 5, 80)
    together, single = Windows(), Windows()

    for start in range(0, 80, 16):
        part = slice(start, start + 16)
        order = np.argsort(times[part] // BUCKET_MS, kind="stable")
        for bucket in np.unique(times[part] // BUCKET_MS):
            rows = order[times[part][order] // BUCKET_MS == bucket]
            together.apply(series[part][rows], times[part][rows], values[part][rows], [WINDOW_MS])
    for row in range(80):
        single.apply(series[row : row + 1], times[row : row + 1], values[row : row + 1], [WINDOW_MS])

    for name, array in together.dump().items():
        np.testing.assert_array_equal(array[:5], single.dump()[name][:5])


def test_a_metric_without_readings_is_nan_and_never_zero() -> None:
    """A gap is NaN: zero would claim a measurement."""
    features = compute(
        Windows(),
        [Feature(metric=0, tier=0, statistic=s) for s in Statistic],
        [WINDOW_MS],
        np.zeros((1, 1), np.int32),
        np.array([T0_MS], np.int64),
    )

    absent = dict(zip(Statistic, np.isnan(features[0]).tolist(), strict=True))
    assert absent == {s: s is not Statistic.COUNT for s in Statistic}


def test_a_forgotten_series_is_empty() -> None:
    """Nothing of a forgotten series shines through when its place is used again."""
    windows = Windows()
    windows.apply(np.array([0, 1], np.int32), np.array([T0_MS, T0_MS]), np.array([1.0, 2.0]), [WINDOW_MS])

    windows.forget(range(1))

    count = windows.look(np.array([[0], [1]], np.int32), np.array([T0_MS, T0_MS]), 0, WINDOW_MS).count.sum(axis=-1)
    assert count.tolist() == [[0.0], [1.0]]
