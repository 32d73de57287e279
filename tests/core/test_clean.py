"""Facts about judging readings and finding duplicates."""

import numpy as np
import pytest
from numpy.typing import NDArray

from attwin.core.clean import RECENT_READINGS, Recent, judge
from attwin.core.types import Quality, ReadingBatch, Reason
from support.builders import T0_MS, a_batch, a_catalogue, a_kind

CATALOGUE = a_catalogue(a_kind(low=-40.0, high=125.0))
AHEAD_MS = 2_000


def test_judge_leaves_believable_readings_alone() -> None:
    """Readings that pass every check come back unchanged."""
    batch = a_batch(values=[20.0, 20.5, 125.0, -40.0])

    assert judge(batch, CATALOGUE, now_ms=T0_MS + 3000, most_ahead_ms=AHEAD_MS) is batch


@pytest.mark.parametrize(
    ("change", "quality", "reason"),
    [
        pytest.param({"values": [125.1]}, Quality.BAD, Reason.OUT_OF_RANGE, id="above high"),
        pytest.param({"values": [-40.1]}, Quality.BAD, Reason.OUT_OF_RANGE, id="below low"),
        pytest.param({"times_ms": [T0_MS + 2_001]}, Quality.UNCERTAIN, Reason.AHEAD, id="ahead of the clock"),
        pytest.param(
            {"values": [999.0], "times_ms": [T0_MS + 2_001]}, Quality.BAD, Reason.OUT_OF_RANGE | Reason.AHEAD, id="both"
        ),
    ],
)
def test_judge_lowers_quality_and_keeps_the_value(change: dict[str, list[int]], quality: int, reason: int) -> None:
    """A failed check lowers the quality, says why, and touches neither value nor time."""
    batch = a_batch(**change)

    judged = judge(batch, CATALOGUE, now_ms=T0_MS, most_ahead_ms=AHEAD_MS)

    assert judged.quality.tolist() == [quality]
    assert judged.reason.tolist() == [reason]
    assert judged.value.tolist() == batch.value.tolist()
    assert judged.time_ms.tolist() == batch.time_ms.tolist()


def duplicates(recent: Recent, batch: ReadingBatch) -> NDArray[np.bool_]:
    """Return the duplicates of a batch of which nothing is late."""
    return recent.duplicates(batch, np.zeros(len(batch), np.bool_))


def test_the_same_series_and_time_is_a_duplicate_within_a_batch_and_across() -> None:
    """The first of a kind stays, whether its repetition comes in the same batch or later."""
    recent = Recent()
    batch = a_batch(values=[1, 2, 3], times_ms=[T0_MS, T0_MS, T0_MS + 1])

    first = duplicates(recent, batch)
    recent.remember(batch.where(~first))
    again = duplicates(recent, a_batch(values=[1, 9], times_ms=[T0_MS, T0_MS + 2]))

    assert first.tolist() == [False, True, False]
    assert again.tolist() == [True, False]


def test_an_older_reading_that_was_never_seen_is_new() -> None:
    """Out of order is not a duplicate."""
    recent = Recent()
    recent.remember(a_batch(times_ms=[T0_MS]))

    assert duplicates(recent, a_batch(times_ms=[T0_MS - 500])).tolist() == [False]


def test_the_same_time_of_another_series_is_new() -> None:
    """A duplicate has series and time in common, not time alone."""
    recent = Recent()
    recent.remember(a_batch(times_ms=[T0_MS], series=[0]))

    assert duplicates(recent, a_batch(times_ms=[T0_MS], series=[1])).tolist() == [False]


def test_a_reading_ahead_of_the_clock_is_found_again_when_the_clock_has_caught_up() -> None:
    """Delivered again later, it is a duplicate although it is ahead no more; others of its series stay new."""
    recent = Recent()
    batch = a_batch(times_ms=[T0_MS + 10_000])
    recent.remember(judge(batch, CATALOGUE, now_ms=T0_MS, most_ahead_ms=AHEAD_MS))

    assert duplicates(recent, batch).tolist() == [True]
    assert duplicates(recent, a_batch(times_ms=[T0_MS + 1])).tolist() == [False]


def test_the_horizon_is_as_stated() -> None:
    """A repetition is found among the last RECENT_READINGS readings, and not beyond."""
    recent = Recent()
    recent.remember(a_batch(times_ms=[T0_MS]))
    others = np.arange(RECENT_READINGS - 1) + T0_MS + 1
    recent.remember(a_batch(values=[0.0] * len(others), times_ms=others.tolist()))

    inside = duplicates(recent, a_batch(times_ms=[T0_MS])).tolist()
    recent.remember(a_batch(times_ms=[T0_MS + 10**6]))
    outside = duplicates(recent, a_batch(times_ms=[T0_MS])).tolist()

    assert (inside, outside) == ([True], [False])


def test_recent_survives_a_snapshot() -> None:
    """What ``dump`` returned makes the same answers after ``load``."""
    recent, restored = Recent(), Recent()
    recent.remember(a_batch(times_ms=[T0_MS, T0_MS + 5], values=[1, 2]))

    restored.load(recent.dump())

    assert duplicates(restored, a_batch(times_ms=[T0_MS])).tolist() == [True]


def test_a_late_reading_is_a_duplicate_only_if_it_was_kept() -> None:
    """What was stored and comes again is a duplicate; what was refused and comes again is refused again."""
    recent = Recent()
    recent.remember(a_batch(values=[1, 2], times_ms=[T0_MS, T0_MS + 9000]))
    again = a_batch(values=[1, 3, 3], times_ms=[T0_MS, T0_MS + 1, T0_MS + 1])

    found = recent.duplicates(again, np.ones(3, np.bool_))

    assert found.tolist() == [True, False, False]
