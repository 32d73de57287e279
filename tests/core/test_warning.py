"""Facts about when a level will be reached."""

import numpy as np
import pytest

from attwin.core.warning import ahead, sentence

MINUTE_MS = 60_000.0
HORIZONS = np.array([10.0, 30.0]) * MINUTE_MS


def test_the_time_is_where_the_way_passes_the_level() -> None:
    """By hand: from 0.8 to 0.5 in ten minutes and on to 0.1 in thirty, 0.3 is passed after twenty."""
    one = np.array([0.8])
    value = np.array([[0.5, 0.1]])

    found = ahead(one, value, value - 0.2, value + 0.2, HORIZONS, 0.3, above=False)

    assert found.expected[0] == pytest.approx(20 * MINUTE_MS)
    # 0.41 of the half interval of 0.2 is 0.082: one way goes from 0.418 to 0.018, the other from 0.582 to 0.182
    assert found.earliest[0] == pytest.approx((10 + 20 * 0.118 / 0.4) * MINUTE_MS)
    assert found.latest[0] == pytest.approx((10 + 20 * 0.282 / 0.4) * MINUTE_MS)
    assert found.is_narrow.tolist() == [True]


def test_upwards_is_the_mirror_of_downwards() -> None:
    """The same numbers with the other sign give the same times."""
    rng = np.random.default_rng(1)
    now, value = rng.normal(size=50), rng.normal(size=(50, 2)) * 2
    width = rng.uniform(0, 1, (50, 2))

    up = ahead(now, value, value - width, value + width, HORIZONS, 0.7, above=True)
    down = ahead(-now, -value, -value - width, -value + width, HORIZONS, -0.7, above=False)

    for name in ("expected", "earliest", "latest"):
        np.testing.assert_array_equal(getattr(up, name), getattr(down, name))


@pytest.mark.parametrize(
    ("now", "value"),
    [
        pytest.param(0.8, (0.7, 0.6), id="not reached"),
        pytest.param(0.2, (0.1, 0.1), id="reached already"),
        pytest.param(np.nan, (0.5, 0.1), id="not known"),
    ],
)
def test_what_is_not_seen_coming_takes_for_ever(now: float, value: tuple[float, float]) -> None:
    """And is not narrow."""
    forecast = np.array([value])

    found = ahead(np.array([now]), forecast, forecast, forecast, HORIZONS, 0.3, above=False)

    assert found.expected[0] == np.inf
    assert not found.is_narrow[0]


def test_a_wide_interval_is_not_narrow() -> None:
    """Where one edge never gets there, nobody knows."""
    value = np.array([[0.5, 0.1]])

    found = ahead(np.array([0.8]), value, value - 2, value + 2, HORIZONS, 0.3, above=False)

    assert np.isfinite(found.expected[0])
    assert not found.is_narrow[0]


def test_a_warning_reads_like_one() -> None:
    """In minutes where it is soon, else in hours."""
    assert sentence("below", 0.3, 12 * MINUTE_MS, 8 * MINUTE_MS, 19 * MINUTE_MS) == "below 0.3 in 12 min, 8 to 19"
    assert sentence("above", 1000, 180 * MINUTE_MS, 120 * MINUTE_MS, 240 * MINUTE_MS) == "above 1000 in 3 h, 2 to 4"
