"""Running baselines against a plain computation, reading by reading."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from attwin.core.baseline import LEAST_SHARE, Baselines, Population
from support.builders import T0_MS

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
POPULATION = Population(
    mean=np.array([20.0, np.nan]),
    scale=np.array([2.0, np.nan]),
    prior_ms=DAY_MS,
    constant_ms=3 * DAY_MS,
    longest_ms=600_000,
)
EVENTS = st.lists(st.tuples(st.integers(1, 2_000_000), st.floats(-100, 100, width=32)), max_size=30)


def observe(baselines: Baselines, time_ms: int, values: list[float], series: int = 0, metric: int = 0) -> None:
    """Let readings of one tick of one series count."""
    count = len(values)
    baselines.observe(
        np.full(count, series, np.int32),
        np.full(count, time_ms, np.int64),
        np.array(values, np.float64),
        np.full(count, metric, np.int16),
        POPULATION,
    )


def usual(baselines: Baselines, series: int = 0) -> tuple[float, float]:
    """Return mean and scale of one series, whose metric has a baseline."""
    mean, scale = baselines.usual(np.array([[series, series]], np.int32), POPULATION)
    return float(mean[0, 0]), float(scale[0, 0])


def naive(events: list[tuple[int, float]]) -> tuple[float, float]:
    """Return the same from every value and for how long it stood, weighted by how much was observed since."""
    weights: list[float] = []
    values: list[float] = []
    tau = POPULATION.constant_ms
    prior = float(POPULATION.prior_ms)
    for (time_ms, value), (later_ms, _) in pairwise(events):
        kept = math.exp(-min(later_ms - time_ms, POPULATION.longest_ms) / tau)
        weights = [w * kept for w in weights] + [tau * (1 - kept)]
        values.append(value)
        prior *= kept
    total = sum(weights)
    own = sum(w * v for w, v in zip(weights, values, strict=True)) / total if total else 0.0
    spread = sum(w * (v - own) ** 2 for w, v in zip(weights, values, strict=True))
    mean = (prior * 20.0 + total * own) / (prior + total)
    return mean, max(math.sqrt((prior * 4.0 + spread) / (prior + total)), LEAST_SHARE * 2.0)


@given(events=EVENTS)
def test_a_baseline_is_what_the_plain_sums_give(events: list[tuple[int, float]]) -> None:
    """Each value counts for as long as it stood, and is forgotten with the time observed since."""
    times = np.cumsum([gap for gap, _ in events]).tolist()
    readings = [(T0_MS + after, value) for after, (_, value) in zip(times, events, strict=True)]
    baselines = Baselines()

    for time_ms, value in readings:
        observe(baselines, time_ms, [value])

    assert usual(baselines) == pytest.approx(naive(readings), rel=1e-6, abs=1e-6)


@given(
    events=st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=4)), max_size=20
    )
)
def test_series_together_or_alone_give_the_same_bits(events: list[tuple[int, list[float]]]) -> None:
    """A baseline does not depend on what was observed in the same call."""
    together, single = Baselines(), Baselines()
    turns: list[list[tuple[int, list[float]]]] = []
    for series, values in events:
        turn = next((t for t in turns if series not in [s for s, _ in t]), None)
        if turn is None:
            turns.append([(series, values)])
        else:
            turn.append((series, values))

    for number, turn in enumerate(turns):
        time_ms = T0_MS + 1000 * number
        rows = [(s, v) for s, values in turn for v in values]
        series = np.array([s for s, _ in rows], np.int32)
        value = np.array([v for _, v in rows])
        together.observe(series, np.full(len(rows), time_ms), value, np.zeros(len(rows), np.int16), POPULATION)
        for s, values in turn:
            observe(single, time_ms, values, series=s)

    for name, array in together.dump().items():
        np.testing.assert_array_equal(array, single.dump()[name])


def test_how_often_a_sensor_reports_does_not_matter() -> None:
    """An hour at 25 is an hour at 25, be it told every second or every five minutes."""
    often, rarely = Baselines(), Baselines()

    for time_ms in range(T0_MS, T0_MS + HOUR_MS + 1, 1000):
        observe(often, time_ms, [25.0])
    for time_ms in range(T0_MS, T0_MS + HOUR_MS + 1, 300_000):
        observe(rarely, time_ms, [25.0])

    assert usual(often) == pytest.approx(usual(rarely), rel=1e-9)


def test_a_series_without_a_history_is_the_population_and_becomes_itself() -> None:
    """The population counts for a day of observed time; after weeks an offset of 50 is all but learned."""
    baselines = Baselines()
    start = usual(baselines)
    observe(baselines, T0_MS, [70.0])
    after_one = usual(baselines)

    for k in range(1, 30 * 144):
        observe(baselines, T0_MS + 600_000 * k, [70.0 + (-1) ** k])
        if k == 6:
            after_an_hour = usual(baselines)

    assert start == after_one == (20.0, 2.0)
    assert 20 < after_an_hour[0] < 24
    assert usual(baselines) == pytest.approx((70.0, 1.0), rel=0.01)


def test_a_series_that_never_changes_keeps_a_scale() -> None:
    """A share of the population's: the first change after years is not endless."""
    baselines = Baselines()

    for k in range(60 * 144):
        observe(baselines, T0_MS + 600_000 * k, [20.0])

    assert usual(baselines) == (pytest.approx(20.0), LEAST_SHARE * 2.0)


def test_silence_is_not_observed() -> None:
    """A gap of a month counts as the longest that a reading stands, and nothing is forgotten in it."""
    gap, short = Baselines(), Baselines()

    for baselines, away_ms in ((gap, 30 * DAY_MS), (short, POPULATION.longest_ms)):
        for k in range(100):
            observe(baselines, T0_MS + 60_000 * k, [30.0])
        observe(baselines, T0_MS + 60_000 * 99 + away_ms, [40.0])

    assert usual(gap) == usual(short)


def test_what_is_not_newer_is_passed_over() -> None:
    """A journal that is played again from before the snapshot changes nothing."""
    baselines = Baselines()
    for k in range(10):
        observe(baselines, T0_MS + 60_000 * k, [30.0 + k])
    before = {name: array.copy() for name, array in baselines.dump().items()}

    for k in range(10):
        observe(baselines, T0_MS + 60_000 * k, [90.0])

    for name, array in baselines.dump().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("strange", [1e300, -1.7e308])
def test_no_reading_is_so_large_that_a_series_has_no_baseline_any_more(strange: float) -> None:
    """Sums stay finite, and the series finds back."""
    baselines = Baselines()
    observe(baselines, T0_MS, [strange, strange, 20.0])

    for k in range(1, 100 * 144):
        observe(baselines, T0_MS + 600_000 * k, [20.0])

    mean, scale = usual(baselines)
    assert math.isfinite(mean)
    assert math.isfinite(scale)
    assert mean == pytest.approx(20.0, abs=1.0)


def test_a_forgotten_series_is_the_population_again() -> None:
    """Its neighbours are not."""
    baselines = Baselines()
    for series in (0, 1):
        for k in range(300):
            observe(baselines, T0_MS + 600_000 * k, [70.0], series=series)

    baselines.forget(range(1))

    assert usual(baselines) == (20.0, 2.0)
    assert usual(baselines, series=1)[0] > 40


def test_a_metric_without_a_baseline_takes_no_room() -> None:
    """Nothing is kept where nobody asks."""
    baselines = Baselines()

    observe(baselines, T0_MS, [1.0], series=1000, metric=1)

    sizes: list[NDArray[np.generic]] = list(baselines.dump().values())
    assert sum(array.nbytes for array in sizes) == 0
