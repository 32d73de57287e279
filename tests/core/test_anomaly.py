"""Facts about the anomaly score."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from attwin.core.anomaly import QUIET_VALUES, Anomalies, tail_evidence

STEP_MS = 300_000
A_DAY = 288


def scored(value: NDArray[np.float64], *, step_ms: int = STEP_MS) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both scores of one series, a value every five minutes."""
    count = len(value)
    return Anomalies().update(np.zeros(count, np.int32), step_ms * np.arange(count, dtype=np.int64), value)


def a_day_and_night(days: int, seed: int = 1) -> NDArray[np.float64]:
    """Return values that rise and fall with the day, with noise."""
    place = np.arange(days * A_DAY)
    return 100 + 30 * np.sin(2 * np.pi * place / A_DAY) + np.random.default_rng(seed).normal(0, 3, len(place))


def test_the_evidence_is_the_logarithm_of_the_tail() -> None:
    """As the complementary error function has it, far beyond where the probability itself is 0."""
    sigmas = np.array([0.0, 1.0, 3.0, 6.0, 20.0, 37.0])
    expected = [-math.log10(math.erfc(z / math.sqrt(2)) / 2) for z in sigmas]

    assert tail_evidence(sigmas) == pytest.approx(expected, rel=1e-6)
    assert tail_evidence(np.array([-3.0]))[0] == pytest.approx(math.log10(2))
    assert 2100 < tail_evidence(np.array([99.0]))[0] < 2140


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param(lambda v: np.where(np.arange(len(v)) == 3000, 400.0, v), id="a spike"),
        pytest.param(lambda v: np.where(np.arange(len(v)) >= 3000, v + 80.0, v), id="a step"),
        pytest.param(lambda v: np.where(np.arange(len(v)) // A_DAY == 10, 100.0, v), id="a day without a day"),
    ],
)
def test_what_is_strange_stands_out(strange) -> None:
    """The highest score after the first days is where something was done to the series."""
    value = strange(a_day_and_night(14))

    spoken, _ = scored(value)

    where = 5 * A_DAY + int(np.argmax(spoken[5 * A_DAY :]))
    changed = np.flatnonzero(value != a_day_and_night(14))
    assert changed[0] <= where <= min(changed[-1], changed[0] + A_DAY)
    assert spoken[where] > 0.98


def test_quiet_series_are_seldom_strange() -> None:
    """Beyond 0.98: less than one value in 1,000 of noise, three of a random walk, none where day follows day."""
    rng = np.random.default_rng(3)
    count = 40 * A_DAY
    value = np.stack([rng.normal(size=count), rng.normal(size=count).cumsum(), a_day_and_night(40)], axis=1)
    series, times = np.tile(np.arange(3, dtype=np.int32), count), np.repeat(STEP_MS * np.arange(count), 3)

    spoken, _ = Anomalies().update(series, times, value.ravel())
    rates = (spoken.reshape(-1, 3)[750:] > 0.98).mean(axis=0)

    assert rates[0] < 0.001
    assert rates[1] < 0.003
    assert rates[2] == 0


def test_a_constant_that_changes_is_as_strange_as_can_be() -> None:
    """It says nothing while it is constant."""
    spoken, _ = scored(np.append(np.full(500, 7.0), 7.1))

    assert spoken[:500].max() == 0
    assert spoken[500] > 0.99


def test_the_first_values_are_not_strange() -> None:
    """Nobody knows yet what is usual."""
    spoken, _ = scored(np.random.default_rng(5).normal(size=20) * 1e6)

    assert spoken.max() == 0


def test_after_it_has_spoken_it_is_quieter_for_a_while() -> None:
    """A state that lasts is said once; the other score says that it lasts."""
    value = a_day_and_night(14)
    value[3000:3060] += 300

    spoken, strange = scored(value)

    assert (spoken[3000:3060] > 0.98).sum() < 10
    assert (strange[3000:3060] > 0.9).all()
    assert spoken[3010 : 3010 + QUIET_VALUES // 2].max() < spoken[3000:3010].max()


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.floats(-1e6, 1e6)), min_size=1, max_size=120),
    cuts=st.lists(st.integers(0, 120), max_size=4),
)
def test_it_does_not_matter_how_values_come(rows: list[tuple[int, float]], cuts: list[int]) -> None:
    """One by one, in batches of any size, several of a series in one: the scores are the same bit by bit."""
    series, value = np.array([s for s, _ in rows], np.int32), np.array([v for _, v in rows])
    time_ms = STEP_MS * np.arange(len(rows), dtype=np.int64)
    together, parts = Anomalies(), Anomalies()
    whole, _ = together.update(series, time_ms, value)

    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    found = [parts.update(series[a:b], time_ms[a:b], value[a:b])[0] for a, b in itertools.pairwise(bounds)]

    assert np.concatenate(found).tolist() == whole.tolist()


@pytest.mark.parametrize(("scale", "offset"), [(1000.0, 0.0), (1e-6, 0.0), (1.0, 1e7), (-1.0, 5.0)])
def test_neither_unit_nor_offset_matters(scale: float, offset: float) -> None:
    """Degrees or kelvin, grams or tonnes: the scores are the same."""
    value = a_day_and_night(10)
    value[2000] += 200

    first, second = scored(value)[0], scored(value * scale + offset)[0]

    assert second == pytest.approx(first, abs=1e-3)


def test_no_score_depends_on_a_later_value() -> None:
    """What comes later changes nothing of what was said."""
    value = a_day_and_night(10)
    other = value.copy()
    other[2000:] = -500.0

    assert scored(value)[0][:2000].tolist() == scored(other)[0][:2000].tolist()


def test_what_is_missing_changes_nothing() -> None:
    """NaN and infinity have no score, and the others have theirs."""
    value = a_day_and_night(3)
    holes = np.insert(value, [100, 200, 300], [np.nan, np.inf, -np.inf])
    times = np.insert(STEP_MS * np.arange(len(value)), [100, 200, 300], STEP_MS * np.array([100, 200, 300]))

    found, _ = Anomalies().update(np.zeros(len(holes), np.int32), times, holes)

    assert np.isnan(found[[100, 201, 302]]).all()
    assert found[np.isfinite(holes)].tolist() == scored(value)[0].tolist()


def test_one_wild_value_does_not_make_a_series_blind() -> None:
    """After a reading of 1e12, what would have been strange before it still is."""
    value = a_day_and_night(20)
    value[1000], value[4000] = 1e12, 500.0

    spoken, _ = scored(value)

    assert spoken[4000] > 0.95


def test_irregular_times_and_steps_back_are_taken() -> None:
    """Gaps of days and times that go back give scores like others."""
    rng = np.random.default_rng(8)
    times = np.cumsum(rng.choice([1000, 60_000, 86_400_000, -5000], 2000))

    found, _ = Anomalies().update(np.zeros(2000, np.int32), times, rng.normal(size=2000))

    assert np.isfinite(found).all()
    assert ((found >= 0) & (found < 1)).all()


def test_the_state_goes_on_from_what_was_saved() -> None:
    """And takes no more memory after many values than after few."""
    value = a_day_and_night(10)
    times, series = STEP_MS * np.arange(len(value)), np.zeros(len(value), np.int32)
    whole, first, second = Anomalies(), Anomalies(), Anomalies()
    expected, _ = whole.update(series, times, value)

    first.update(series[:1500], times[:1500], value[:1500])
    second.load({name: array.copy() for name, array in first.dump().items()})
    found, _ = second.update(series[1500:], times[1500:], value[1500:])

    assert found.tolist() == expected[1500:].tolist()
    assert whole.bytes_a_series == first.bytes_a_series < 1000


def test_a_forgotten_series_begins_anew() -> None:
    """Its place is given to another one."""
    anomalies = Anomalies()
    value = a_day_and_night(5)
    times, series = STEP_MS * np.arange(len(value)), np.zeros(len(value), np.int32)
    anomalies.update(series, times, value * 1000)

    anomalies.forget(range(1))
    found, _ = anomalies.update(series, times, value)

    assert found.tolist() == scored(value)[0].tolist()
