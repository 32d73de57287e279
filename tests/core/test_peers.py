"""Facts about the distance from others."""

import numpy as np
import pytest

from attwin.core.peers import distances


def test_the_distance_is_in_robust_standard_deviations() -> None:
    """By hand: the median of 1 2 3 4 5 100 is 3.5, and that of the distances from it is 1.5."""
    found = distances(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 100.0]))

    assert found == pytest.approx(np.array([2.5, 1.5, 0.5, 0.5, 1.5, 96.5]) / (1.4826 * 1.5))


def test_where_most_are_equal_the_mean_distance_counts() -> None:
    """The median distance is 0 then; by hand, the mean of one 10 among five is 2."""
    found = distances(np.array([7.0, 7.0, 7.0, 7.0, 17.0]))

    assert found == pytest.approx([0, 0, 0, 0, 10 / (1.2533 * 2)])


def test_equal_ones_are_not_apart() -> None:
    """Nobody is the odd one."""
    assert distances(np.full(6, 3.0)).tolist() == [0.0] * 6


def test_of_too_few_nobody_is_the_odd_one() -> None:
    """Four known values among six say nothing."""
    found = distances(np.array([1.0, 2.0, np.nan, 3.0, np.nan, 99.0]))

    assert np.isnan(found).all()


def test_what_is_not_known_does_not_count() -> None:
    """It has no distance, and changes that of nobody."""
    value = np.array([1.0, 2.0, 3.0, 4.0, 5.0])

    found = distances(np.append(value, np.nan))

    assert found[:5].tolist() == distances(value).tolist()
    assert np.isnan(found[5])
