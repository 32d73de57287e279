"""Facts about forecasts."""

import numpy as np
import pytest
from numpy.typing import NDArray

from attwin.core.forecast import FORECASTERS, Forecasts, Outlook

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def played(
    forecasts: Forecasts, value: NDArray[np.float64], *, first: int = 0, step_ms: int = HOUR_MS
) -> list[Outlook]:
    """Play values of one or several series, a step after the other."""
    columns = value if value.ndim > 1 else value[:, None]
    return [forecasts.step(first + place, row, local_ms=(first + place) * step_ms) for place, row in enumerate(columns)]


def a_week_after_the_other(weeks: int, noise: float = 0.0, seed: int = 1) -> NDArray[np.float64]:
    """Return counts that depend on the hour of the week."""
    shape = np.random.default_rng(0).uniform(100, 1000, 168)
    return np.tile(shape, weeks) + np.random.default_rng(seed).normal(0, noise or 1e-9, 168 * weeks)


def error_of(said: list[Outlook], value: NDArray[np.float64], horizon: int, h: int = 0, last: int = 200) -> float:
    """Return the mean absolute error of the last forecasts that came due."""
    rows = range(len(value) - last, len(value))
    return float(np.mean([abs(said[row - horizon].value[0, h] - value[row]) for row in rows]))


def test_a_series_that_repeats_its_week_is_known() -> None:
    """An hour and a day ahead, after three weeks."""
    value = a_week_after_the_other(5)

    said = played(Forecasts([1, 24], HOUR_MS), value)

    assert error_of(said, value, 1) < 5
    assert error_of(said, value, 24, h=1) < 5


def test_a_line_goes_on() -> None:
    """What rises steadily is expected to go on; persistence would lag behind by the horizon."""
    value = 5.0 + 0.5 * np.arange(400)

    said = played(Forecasts([15], MINUTE_MS), value, step_ms=MINUTE_MS)

    assert error_of(said, value, 15) < 0.1 * 7.5


def test_where_nothing_is_better_persistence_speaks() -> None:
    """Of a random walk nobody knows more than its newest value."""
    value = np.random.default_rng(2).normal(size=3000).cumsum()
    forecasts = Forecasts([5], MINUTE_MS)

    said = played(forecasts, value, step_ms=MINUTE_MS)

    spoke = np.array([outlook.forecaster[0, 0] for outlook in said])
    worst = error_of(said, value, 5, last=2900) / np.mean(np.abs(value[100:] - value[95:-5]))
    assert (spoke == FORECASTERS.index("persistence")).mean() > 0.8
    assert worst < 1.02


def test_who_is_worse_than_persistence_is_muted() -> None:
    """And who is better speaks."""
    value = a_week_after_the_other(6, noise=10)
    forecasts = Forecasts([24], HOUR_MS)

    said = played(forecasts, value)
    record = forecasts.record()

    muted = {name for name, is_muted in zip(FORECASTERS, record.muted[0, 0], strict=True) if is_muted}
    assert "seasonal naive" not in muted
    assert FORECASTERS[said[-1].forecaster[0, 0]] not in {*muted, "persistence"}
    assert record.error[0, 0].argmin() == said[-1].forecaster[0, 0]
    walk = Forecasts([5], MINUTE_MS)
    played(walk, np.random.default_rng(5).normal(size=2000).cumsum(), step_ms=MINUTE_MS)
    assert walk.record().muted[0, 0, FORECASTERS.index("damped Holt")]
    assert not walk.record().muted[0, 0, 0]


@pytest.mark.parametrize("spread", [1.0, 1e6])
def test_the_interval_is_right_nine_times_in_ten(spread: float) -> None:
    """Whatever the unit: of noise, after it has been learned."""
    value = np.random.default_rng(3).normal(0, spread, 4000)
    said = played(Forecasts([1], HOUR_MS), value)

    rows = range(1000, 4000)
    inside = [said[row - 1].low[0, 0] <= value[row] <= said[row - 1].high[0, 0] for row in rows]

    assert 0.88 < np.mean(inside) < 0.92


def test_the_interval_is_wide_where_errors_are_large() -> None:
    """Nights are narrow, noon is wide."""
    rng, hours = np.random.default_rng(4), np.arange(24 * 120)
    value = 100 + rng.normal(size=len(hours)) * np.where((hours % 24 >= 11) & (hours % 24 < 14), 30, 1)

    said = played(Forecasts([1], HOUR_MS), value)
    width = {h: np.mean([o.high[0, 0] - o.low[0, 0] for o in said[-480:][h::24]]) for h in (2, 11)}

    assert width[11] > 10 * width[2]


def test_an_interval_that_ends_at_zero_does_not_grow() -> None:
    """Of counts that are near zero at night, the width stays what the errors are."""
    rng, hours = np.random.default_rng(7), np.arange(24 * 60)
    value = np.maximum(300 + 270 * np.sin(2 * np.pi * hours / 24) + rng.normal(0, 25, len(hours)), 0)

    said = played(Forecasts([24], HOUR_MS), value)

    assert max(outlook.high[0, 0] - outlook.value[0, 0] for outlook in said[-240:]) < 300


def test_the_damped_trend_is_as_by_hand() -> None:
    """Holt 1957 and Gardner 1985: after 10 and 12 the level is 10.6 and the trend 0.03."""
    forecasts = Forecasts([2], HOUR_MS)

    played(forecasts, np.array([10.0, 12.0]))
    forecasts.step(2, np.array([np.nan]), local_ms=2 * HOUR_MS)
    state = forecasts.dump()

    # level 10 + 0.3 * 2, trend 0.05 * 0.6
    assert state["level"][0] == pytest.approx(10.6)
    assert state["trend"][0] == pytest.approx(0.03)


def test_no_forecast_depends_on_what_comes_later() -> None:
    """Another future changes nothing of what was said before it."""
    value = a_week_after_the_other(4, noise=20)
    other = value.copy()
    other[400:] = -1.0

    first, second = played(Forecasts([1, 24], HOUR_MS), value), played(Forecasts([1, 24], HOUR_MS), other)

    for one, two in zip(first[:400], second[:400], strict=True):
        np.testing.assert_array_equal(one.value, two.value)
        np.testing.assert_array_equal(one.low, two.low)


def test_series_do_not_touch_each_other() -> None:
    """What is said of a series is what would be said of it alone."""
    both = np.stack([a_week_after_the_other(4, noise=5), np.random.default_rng(9).normal(size=672).cumsum()], axis=1)

    together = played(Forecasts([1, 24], HOUR_MS), both)
    alone = played(Forecasts([1, 24], HOUR_MS), both[:, 1])

    np.testing.assert_allclose(together[-1].value[1], alone[-1].value[0], rtol=1e-12)
    assert together[-1].forecaster[1].tolist() == alone[-1].forecaster[0].tolist()


def test_the_unit_does_not_matter() -> None:
    """A thousandth of everything gives a thousandth of every forecast, by the same forecaster."""
    value = a_week_after_the_other(5, noise=20)

    first, second = played(Forecasts([24], HOUR_MS), value), played(Forecasts([24], HOUR_MS), value / 1000)

    ratio = second[-1].value[0, 0] / first[-1].value[0, 0]
    assert ratio == pytest.approx(0.001, rel=1e-3)
    assert second[-1].forecaster.tolist() == first[-1].forecaster.tolist()


def test_gaps_are_no_values() -> None:
    """With a sixth missing the week is still known; a gap is graded by nobody."""
    value = a_week_after_the_other(8, noise=5)
    holes = value.copy()
    holes[np.random.default_rng(6).random(len(value)) < 0.17] = np.nan
    forecasts = Forecasts([24], HOUR_MS)

    said = played(forecasts, holes)

    assert error_of(said, value, 24) < 25
    assert forecasts.record().grades[0, 0] == np.isfinite(holes[24:]).sum()


def test_steps_that_are_left_out_are_gaps() -> None:
    """Leaving steps out, and playing them without a value, is the same."""
    value = a_week_after_the_other(2)
    first, second = Forecasts([1], HOUR_MS), Forecasts([1], HOUR_MS)
    played(first, value)
    played(second, value)

    for tick in range(len(value), len(value) + 10):
        first.step(tick, np.array([np.nan]), local_ms=tick * HOUR_MS)
    one = first.step(len(value) + 10, np.array([3.0]), local_ms=(len(value) + 10) * HOUR_MS)
    two = second.step(len(value) + 10, np.array([3.0]), local_ms=(len(value) + 10) * HOUR_MS)

    np.testing.assert_array_equal(one.value, two.value)


def test_what_was_never_below_zero_is_not_expected_to_be() -> None:
    """Counts fall to nothing, not below it."""
    value = np.maximum(100.0 - np.arange(300), 0.0)

    said = played(Forecasts([15], MINUTE_MS), value, step_ms=MINUTE_MS)

    assert min(outlook.value[0, 0] for outlook in said) == 0
    assert min(np.nanmin(outlook.low) for outlook in said if np.isfinite(outlook.low).any()) == 0


def test_the_state_goes_on_from_what_was_saved() -> None:
    """Forecasts that wait for their time, grades and intervals included; another grid begins anew."""
    value = a_week_after_the_other(4, noise=20)
    expected = played(Forecasts([1, 24], HOUR_MS), value)
    first, second, other = Forecasts([1, 24], HOUR_MS), Forecasts([1, 24], HOUR_MS), Forecasts([2], HOUR_MS)
    played(first, value[:500])
    saved = {name: array.copy() for name, array in first.dump().items()}

    assert second.load(saved)
    found = played(second, value[500:], first=500)

    np.testing.assert_array_equal(found[-1].value, expected[-1].value)
    np.testing.assert_array_equal(found[-1].high, expected[-1].high)
    assert not other.load(saved)


def test_a_forgotten_series_begins_anew() -> None:
    """Its place is given to another one."""
    value = a_week_after_the_other(3)
    forecasts = Forecasts([1], HOUR_MS)
    played(forecasts, np.stack([value, value], axis=1))

    forecasts.forget(range(1))
    said = forecasts.step(len(value), np.array([7.0, 8.0]), local_ms=len(value) * HOUR_MS)

    assert said.value[0, 0] == 7.0
    assert said.value[1, 0] != 8.0


@pytest.mark.parametrize(("horizons", "step_ms"), [([], HOUR_MS), ([0], HOUR_MS), ([1], 0), ([5000], MINUTE_MS)])
def test_a_grid_that_cannot_be_is_refused(horizons: list[int], step_ms: int) -> None:
    """The message says what can."""
    with pytest.raises(ValueError, match="steps"):
        Forecasts(horizons, step_ms)


def test_a_step_comes_after_the_one_before() -> None:
    """Time does not go back here."""
    forecasts = Forecasts([1], HOUR_MS)
    forecasts.step(5, np.array([1.0]), local_ms=0)

    with pytest.raises(ValueError, match="step 5 does not come after 5"):
        forecasts.step(5, np.array([1.0]), local_ms=0)
