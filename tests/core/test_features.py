"""Windows and features against a plain computation over the raw readings."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from attwin.core.features import Feature, Statistic, Usual, compute, relative
from attwin.core.windows import BUCKETS, Windows
from support.builders import T0_MS

NAN = np.nan
WINDOW_MS = 120_000
BUCKET_MS = WINDOW_MS // BUCKETS
WINDOWS_MS = [WINDOW_MS // 2, WINDOW_MS]
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


STRANGE = st.sampled_from([65535.0, 1e30, -1e9, 0.0, 3e38, -1e300])


@pytest.mark.parametrize("statistic", Statistic)
@settings(max_examples=60, deadline=None)
@given(
    strange=STRANGE,
    level=st.sampled_from([20.0, -40.0, 0.00471, 101_325.0, 7e6, 0.0]),
    spread=st.sampled_from([0.1, 0.001, 1e-5]),
    noise=st.lists(st.floats(-1, 1, width=32), min_size=30, max_size=60),
    every_ms=st.sampled_from([1000, BUCKET_MS // 2, BUCKET_MS, 4 * BUCKET_MS]),
)
def test_a_strange_first_reading_costs_no_precision_once_it_has_left(
    statistic: Statistic, strange: float, level: float, spread: float, noise: list[float], every_ms: int
) -> None:
    """A sentinel such as 65535 that came first, without a gap after it: the features are those of the other values."""
    scale = max(abs(level), 0.001) * spread
    count = (WINDOW_MS + 10 * BUCKET_MS) // every_ms + 20
    values = [strange, *(level + scale * noise[i % len(noise)] for i in range(count))]
    times = [T0_MS + i * every_ms for i in range(count + 1)]

    found = computed(times, values, times[-1], statistic)
    expected = naive(times, values, times[-1], statistic)

    exact = np.finfo(np.float32).eps * abs(level)
    # a spread of a hundred-thousandth of the level is at the edge of what a float32 holds of the values themselves
    np.testing.assert_allclose(found, expected, atol=4 * exact + 0.01 * scale, equal_nan=True)


@example(rows=[(0, 0, 65535.0), *((b, 0, 20.0) for b in range(1, 8)), (8, 0, 2000.0), (8, 0, 20.0)], cuts=set())
@example(
    rows=[(1, 1, 5.0), (6, 0, 65535.0), (7, 0, 20.0), (8, 0, 20.0), (9, 1, 5.0), (9, 0, 20.0)],
    cuts=set(),
)
@example(rows=[(0, 0, 1e30), *((0, 0, 20.0 + b) for b in range(9))], cuts=set())
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 2), st.one_of(STRANGE, st.floats(19, 21, width=32))), max_size=80
    ),
    cuts=st.sets(st.integers(0, 80)),
)
def test_however_readings_are_grouped_strange_ones_leave_the_same_bits(
    rows: list[tuple[int, int, float]], cuts: set[int]
) -> None:
    """Where and when an origin moves does not depend on what was applied together."""
    start_ms = T0_MS - T0_MS % (80 * BUCKET_MS)
    rows = sorted(rows, key=lambda row: row[0])
    together, single = Windows(), Windows()

    def apply(windows: Windows, part: list[tuple[int, int, float]]) -> None:
        times = np.array([start_ms + bucket * BUCKET_MS for bucket, _, _ in part], np.int64)
        windows.apply(np.array([s for _, s, _ in part], np.int32), times, np.array([v for *_, v in part]), WINDOWS_MS)

    start = 0
    for stop in range(1, len(rows) + 1):
        # a call holds readings of one bucket a series, here of one bucket
        if stop == len(rows) or stop in cuts or rows[stop][0] != rows[start][0]:
            apply(together, rows[start:stop])
            start = stop
    for row in rows:
        apply(single, [row])

    for name, array in together.dump().items():
        np.testing.assert_array_equal(array, single.dump()[name])


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 9), st.one_of(STRANGE, st.just(4_294_967_295.0), st.floats(19, 21, width=32))),
        max_size=60,
    ),
    cuts=st.sets(st.integers(0, 60)),
)
def test_however_readings_are_grouped_values_that_vanish_beside_the_origin_leave_the_same_bits(
    rows: list[tuple[int, float]], cuts: set[int]
) -> None:
    """Series that stand once in a call and such that stand there often, beside an origin of 2**32 or a new one."""
    first = [(s, 4_294_967_295.0) for s in range(1, 10, 2)]
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    groups = [first, *(rows[start:stop] for start, stop in pairwise(bounds))]
    together, single = Windows(), Windows()

    for group in groups:
        times = np.full(len(group), T0_MS, np.int64)
        together.apply(np.array([s for s, _ in group], np.int32), times, np.array([v for _, v in group]), WINDOWS_MS)
    for s, v in (row for group in groups for row in group):
        single.apply(np.array([s], np.int32), np.array([T0_MS]), np.array([v]), WINDOWS_MS)

    for name, array in together.dump().items():
        np.testing.assert_array_equal(array[:10], single.dump()[name][:10])


@pytest.mark.parametrize("each", [1, 3])
def test_values_that_vanish_beside_the_origin_cost_calls_by_the_series_with_most_readings(each: int) -> None:
    """A thousand series after a first value of 2**32 - 1: their origins move at once, and values are about the new."""

    class Counted(Windows):
        moves = 0

        def _move(self, series: NDArray[np.int32], origin: NDArray[np.float64]) -> None:
            self.moves += 1
            super()._move(series, origin)

    windows = Counted()
    series = np.arange(1000, dtype=np.int32)
    windows.apply(series, np.full(1000, T0_MS), np.full(1000, 4_294_967_295.0), [WINDOW_MS])

    often, values = np.repeat(series, each), np.linspace(20, 30, 1000 * each)
    windows.apply(often, np.full(len(often), T0_MS), values, [WINDOW_MS])

    kept = windows.look(series[:, None], np.full(1000, T0_MS), 0, WINDOW_MS)
    assert windows.moves == 1
    assert kept.origin[:, 0].tolist() == values[::each].tolist()
    assert kept.last[:, 0, -1].tolist() == (values[each - 1 :: each] - values[::each]).astype(np.float32).tolist()


@pytest.mark.parametrize("level", [20.0, 21.3, -7.7, 333.3])
def test_what_an_origin_far_away_has_cost_is_no_spread(level: float) -> None:
    """Values that came before the origin moved to them have lost their own spread, and no other is made up."""
    values = [65535.0, *(level + 0.1 * (i % 3) for i in range(200))]
    times = [T0_MS - T0_MS % (8 * BUCKET_MS) + i * 1000 for i in range(201)]
    since = (WINDOW_MS + BUCKET_MS) // 1000

    for stop in range(since, since + 50, 5):
        assert computed(times[:stop], values[:stop], times[stop - 1], Statistic.STD) < 0.2


@pytest.mark.parametrize("places", [[30], [31], [31, 32]], ids=["one", "one before a look", "two around a look"])
@pytest.mark.parametrize("spike", [65535.0, 1e9, 0.0])
def test_a_strange_reading_among_others_moves_no_origin(spike: float, places: list[int]) -> None:
    """Also where it has a bucket of its own, the others keep their precision."""
    values = [101_325.0 + 0.1 * (i % 3) for i in range(60)]
    for place in places:
        values[place] = spike
    times = [T0_MS - T0_MS % (8 * BUCKET_MS) + i * BUCKET_MS for i in range(60)]
    windows = Windows()

    for time_ms, value in zip(times, values, strict=True):
        windows.apply(np.zeros(1, np.int32), np.array([time_ms]), np.array([value]), [WINDOW_MS])

    assert windows.dump()["origin"][0] == values[0]


def test_a_counter_that_runs_away_takes_its_origin_with_it() -> None:
    """A meter at ten million that counts single units keeps their spread for as long as it runs."""
    values = [1e7 + i for i in range(200_000)]
    times = [T0_MS - T0_MS % BUCKET_MS + i * 1000 for i in range(200_000)]
    windows = Windows()
    width = BUCKET_MS // 1000
    for start in range(0, len(values), width):
        part = slice(start, start + width)
        windows.apply(np.zeros(width, np.int32), np.array(times[part]), np.array(values[part]), [WINDOW_MS])

    (found,) = compute(
        windows,
        [Feature(metric=0, tier=0, statistic=s) for s in (Statistic.STD, Statistic.SLOPE)],
        [WINDOW_MS],
        np.zeros((1, 1), np.int32),
        np.array(times[-1:], np.int64),
    )

    assert found.tolist() == pytest.approx(
        [naive(times, values, times[-1], s) for s in (Statistic.STD, Statistic.SLOPE)], rel=1e-3
    )


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


def looked(features: list[Feature], readings: list[tuple[int, float]], usual: Usual | None = None) -> list[float]:
    """Return features of one series, with the window's buckets counted from a full bucket on."""
    start_ms = T0_MS - T0_MS % WINDOW_MS
    windows = Windows()
    for bucket, value in readings:
        windows.apply(np.zeros(1, np.int32), np.array([start_ms + bucket * BUCKET_MS]), np.array([value]), [WINDOW_MS])
    at_ms = np.array([start_ms + (BUCKETS - 1) * BUCKET_MS], np.int64)
    raw = compute(windows, features, [WINDOW_MS], np.zeros((1, 1), np.int32), at_ms)
    found = raw if usual is None else relative(raw, features, usual)
    return found[0].astype(np.float32).tolist()


def test_a_bucket_has_the_mean_of_its_own_readings() -> None:
    """Bucket 0 is the oldest of twelve, 11 the one that is open; an empty one is NaN, not 0."""
    features = [Feature(metric=0, tier=0, statistic=Statistic.MEAN, bucket=k) for k in range(BUCKETS)]

    found = looked(features, [(0, 10.0), (0, 12.0), (3, 5.0), (11, 7.0)])

    expected = [11.0, NAN, NAN, 5.0, *[NAN] * 7, 7.0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2.0, 1.0], [0.0, 1.0, 1.0]), ([1.0, 2.0], [0.0, 0.0, 0.0]), ([0.4], [0.0, 0.0, 0.0]), ([], [NAN] * 3)],
    ids=["the newest counts", "none of these", "no code", "missing"],
)
@pytest.mark.parametrize("first", [None, 1e9], ids=["plain", "after a strange one"])
def test_a_category_is_one_where_the_newest_value_is_among_its_codes(
    values: list[float], expected: list[float], first: float | None
) -> None:
    """A missing value is no category, and not none of them either."""
    codes: list[tuple[int, ...]] = [(0,), (1,), (0, 1)]
    features = [Feature(metric=0, tier=0, statistic=Statistic.LAST, codes=c) for c in codes]
    before = [(0, first)] if first is not None and values else []

    found = looked(features, [*before, *((1 + k, value) for k, value in enumerate(values))])

    np.testing.assert_array_equal(found, expected)


def test_a_level_is_measured_from_what_is_usual_and_a_deviation_by_its_scale_alone() -> None:
    """(x - mean) / scale; std and slope do not know the mean; a count and an ordinary feature stay as they are."""
    usual = (np.array([[10.0]]), np.array([[4.0]]))
    statistics = [Statistic.MEAN, Statistic.MIN, Statistic.MAX, Statistic.LAST, Statistic.STD, Statistic.SLOPE]
    plain = [Feature(metric=0, tier=0, statistic=s) for s in statistics]
    measured = [replace(feature, is_relative=True) for feature in plain]
    bucket = Feature(metric=0, tier=0, statistic=Statistic.MEAN, bucket=0, is_relative=True)
    readings = [(0, 12.0), (5, 18.0), (11, 15.0)]

    as_is, found = looked(plain, readings), looked([*measured, bucket], readings, usual)

    away = [(x - 10) / 4 for x in as_is[:4]] + [x / 4 for x in as_is[4:]] + [0.5]
    assert found == pytest.approx(away)


def test_a_large_level_does_not_cost_the_precision_of_what_is_measured_from_it() -> None:
    """The difference is taken before it is rounded to a float32."""
    usual = (np.array([[1e9]]), np.array([[0.5]]))
    feature = Feature(metric=0, tier=0, statistic=Statistic.LAST, is_relative=True)

    assert looked([feature], [(0, 1e9), (1, 1e9 + 0.25)], usual) == [0.5]


@pytest.mark.parametrize("spread_ms", [0, 400_000], ids=["at one time", "each at its own"])
def test_many_entities_at_once_are_each_what_they_are_alone(spread_ms: int) -> None:
    """More than a block of them; some have been silent for some buckets, some for a round, some for ever."""
    entities, statistics = 1200, [s for s in Statistic if s is not Statistic.SLOPE]
    rng = np.random.default_rng(1)
    windows = Windows()
    for minute in range(4):
        some = np.flatnonzero(rng.random(entities) < 0.5).astype(np.int32)
        some = some[some % 7 > 0]
        windows.apply(some, np.full(len(some), T0_MS + 40_000 * minute), rng.normal(size=len(some)), [WINDOW_MS])
    at_ms = T0_MS + 160_000 + rng.integers(0, spread_ms + 1, entities)
    features = [Feature(metric=0, tier=0, statistic=statistic) for statistic in statistics]
    series = np.arange(entities, dtype=np.int32)[:, None]

    found = compute(windows, features, [WINDOW_MS], series, at_ms)

    alone = [compute(windows, features, [WINDOW_MS], series[[k]], at_ms[[k]])[0] for k in range(entities)]
    np.testing.assert_allclose(found, np.array(alone), rtol=1e-6)
    assert 0.1 < np.isnan(found[:, 0]).mean() < 0.95
