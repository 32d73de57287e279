"""Facts about intervals of many entities."""

import numpy as np
import pytest

from attwin.core.aggregates import Aggregates, Interval

MINUTE_MS = 60_000


def add(aggregates: Aggregates, *rows: tuple[int, int, float], column: int = 0) -> None:
    """Add values given as (entity, time, value)."""
    entity, time_ms, value = zip(*rows, strict=True)
    place = np.full(len(rows), column, np.int64)
    aggregates.add(np.array(entity, np.int32), place, np.array(time_ms, np.int64), np.array(value, np.float64))


def facts(intervals: list[Interval]) -> list[tuple[object, ...]]:
    """Return (from, entity, count, mean, low, high) of the first column."""
    return [
        (i.from_ms, e, i.count[r, 0], i.mean[r, 0], i.low[r, 0], i.high[r, 0])
        for i in intervals
        for r, e in enumerate(i.entity.tolist())
    ]


def test_an_interval_ends_when_a_later_one_begins() -> None:
    """Each entity by itself."""
    aggregates = Aggregates(1, MINUTE_MS)
    add(aggregates, (0, 1_000, 1.0), (1, 2_000, 5.0), (0, 59_999, 3.0), (0, 60_000, 7.0))

    assert facts(aggregates.take()) == [(0, 0, 2, 2.0, 1.0, 3.0)]


def test_an_entity_that_went_silent_is_told_at_the_next_interval() -> None:
    """Nothing later arrives that would end its interval."""
    aggregates = Aggregates(1, MINUTE_MS)
    add(aggregates, (0, 1_000, 1.0))

    assert facts(aggregates.take()) == []
    assert facts(aggregates.take()) == [(0, 0, 1, 1.0, 1.0, 1.0)]
    assert facts(aggregates.take()) == []


def test_no_value_is_lost_from_the_counts() -> None:
    """Late ones count in the interval that runs; the counts of all intervals are the values that came."""
    random = np.random.default_rng(1)
    aggregates = Aggregates(1, MINUTE_MS)
    intervals = []
    for _ in range(50):
        rows = zip(random.integers(0, 9, 40), random.integers(0, 900_000, 40), random.normal(size=40), strict=True)
        add(aggregates, *rows)
        intervals += aggregates.take()
    intervals += aggregates.take(everything=True)

    assert sum(int(interval.count.sum()) for interval in intervals) == 50 * 40


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([10.0, 10.0], False, id="nothing moved"),
        pytest.param([10.9, 10.9], False, id="within the band"),
        pytest.param([11.5, 11.5], True, id="the mean moved"),
        pytest.param([10.0] * 99 + [14.0], True, id="one peak, and the mean hardly moved"),
    ],
)
def test_what_has_hardly_moved_is_not_worth_telling(values: list[float], *, expected: bool) -> None:
    """A peak is, although the mean hides it."""
    aggregates = Aggregates(1, MINUTE_MS)
    add(aggregates, (0, 0, 10.0))
    (first,) = aggregates.take(everything=True)
    band = np.full((1, 1), 1.0)
    assert aggregates.worth_telling(first, band).tolist() == [True]
    aggregates.note_told(first)

    add(aggregates, *((0, MINUTE_MS, value) for value in values))
    (second,) = aggregates.take(everything=True)

    assert aggregates.worth_telling(second, band).tolist() == [expected]


def test_a_forgotten_entity_leaves_nothing_to_the_next_of_its_place() -> None:
    """Neither values nor what was told."""
    aggregates = Aggregates(1, MINUTE_MS)
    add(aggregates, (0, 0, 10.0))
    (interval,) = aggregates.take(everything=True)
    aggregates.note_told(interval)
    add(aggregates, (0, MINUTE_MS, 99.0))

    aggregates.forget(0)

    assert facts(aggregates.take(everything=True)) == []
    assert np.isnan(aggregates.told_mean(np.array([0], np.int32))).all()
