"""Facts about judging readings and finding duplicates."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from attwin.core.catalogue import Metric
from attwin.core.clean import RECENT_READINGS, ClockView, History, Ranges, Recent, judge
from attwin.core.types import Quality, ReadingBatch, Reason
from support.builders import T0_MS, a_batch, a_catalogue, a_kind

CATALOGUE = a_catalogue(a_kind(low=-40.0, high=125.0))
RANGES = Ranges(CATALOGUE.metrics)
AHEAD_MS = 2_000


def a_clock(now_ms: int, *, is_trusted: bool = True) -> ClockView:
    """Return what cleaning may know of the time."""
    return ClockView(now_ms=now_ms, is_trusted=is_trusted, most_ahead_ms=AHEAD_MS)


def test_judge_leaves_believable_readings_alone() -> None:
    """Readings that pass every check come back unchanged."""
    batch = a_batch(values=[20.0, 20.5, 125.0, -40.0])

    assert judge(batch, CATALOGUE, RANGES, a_clock(T0_MS + 3000)) is batch


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

    judged = judge(batch, CATALOGUE, RANGES, a_clock(T0_MS))

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
    recent.remember(judge(batch, CATALOGUE, RANGES, a_clock(T0_MS)))

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


@pytest.mark.parametrize("count", [1, 50, 51, 500])
def test_few_repetitions_and_many_are_found_alike(count: int) -> None:
    """However many of a batch are older than the newest of their series, those that arrived before are repetitions."""
    recent = Recent()
    recent.remember(a_batch(values=[1.0] * 1000, times_ms=[T0_MS + 2 * i for i in range(1000)]))
    again = a_batch(values=[1.0] * count, times_ms=[T0_MS + i for i in range(count)])

    found = recent.duplicates(again, np.zeros(count, np.bool_))

    assert found.tolist() == [i % 2 == 0 for i in range(count)]


def test_while_the_clock_is_not_trusted_every_reading_is_uncertain_and_none_is_ahead() -> None:
    """A clock that may be wrong says nothing about the sensor's; a range still does."""
    batch = a_batch(values=[20.0, 999.0], times_ms=[T0_MS, T0_MS + 10**12])

    judged = judge(batch, CATALOGUE, RANGES, a_clock(T0_MS, is_trusted=False))

    assert judged.quality.tolist() == [Quality.UNCERTAIN, Quality.BAD]
    assert judged.reason.tolist() == [Reason.CLOCK, Reason.CLOCK | Reason.OUT_OF_RANGE]


MINUTE_MS = 60_000


def assess(metric: Metric, values: list[float], times_s: list[int], *, at_once: bool) -> tuple[list[int], list[bool]]:
    """Return reasons and what is suppressed, of readings that come together or one by one."""
    history = History([metric])
    parts = [slice(0, len(values))] if at_once else [slice(i, i + 1) for i in range(len(values))]
    reasons, suppressed = [], []
    for part in parts:
        batch = a_batch(values=values[part], times_ms=[T0_MS + 1000 * t for t in times_s[part]])
        judged, near = history.assess(batch, np.zeros(len(batch), np.int16))
        reasons += judged.reason.tolist()
        suppressed += near.tolist()
    return reasons, suppressed


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("metric", "values", "times_s", "reasons", "suppressed"),
    [
        pytest.param(
            {"deadband": 0.5}, [20, 20.5, 20.6, 20.2], [0, 1, 2, 3], [0, 0, 0, 0], [0, 1, 0, 1],
            id="deadband is about the last one stored",
        ),
        pytest.param(
            {"deadband": 0.0}, [1, 1, 0, 0, 1], [0, 1, 2, 3, 4], [0] * 5, [0, 1, 0, 1, 0], id="report on change"
        ),
        pytest.param(
            {"deadband": 1.0, "heartbeat_ms": 5000}, [1, 1, 1, 1], [0, 4, 5, 9], [0] * 4, [0, 1, 0, 1], id="heartbeat"
        ),
        pytest.param(
            {"stuck_after_ms": 3000}, [1, 1, 1, 1, 2, 2], [0, 2, 3, 9, 10, 11],
            [0, 0, Reason.STUCK, Reason.STUCK, 0, 0], [0] * 6, id="stuck until it moves",
        ),
        pytest.param(
            {"step": 5.0}, [20, 25, 31, 31, 20], [0, 1, 2, 3, 4], [0, 0, Reason.STEP, 0, Reason.STEP], [0] * 5,
            id="a step is said once",
        ),
        pytest.param(
            {"deadband": 1.0, "step": 5.0}, [20, 40, 20.5], [5, 3, 6], [0, 0, 0], [0, 0, 1],
            id="a reading that comes late changes nothing",
        ),
        pytest.param(
            {"deadband": 1.0, "step": 5.0}, [1.7e308, -1.7e308, -1.7e308], [0, 1, 2], [0, Reason.STEP, 0], [0, 0, 1],
            id="from one end of the numbers to the other",
        ),
        pytest.param({}, [1, 1, 100], [0, 1, 2], [0, 0, 0], [0, 0, 0], id="no check"),
    ],
)  # fmt: skip
def test_a_reading_is_judged_by_the_one_before_it(
    metric: dict[str, float],
    values: list[float],
    times_s: list[int],
    reasons: list[int],
    suppressed: list[int],
    at_once: bool,  # noqa: FBT001 -- a parameter of the table
) -> None:
    """In one batch or one by one, the judgement is the same."""
    found = assess(Metric(name="m", unit="1", **metric), values, times_s, at_once=at_once)

    assert found == (reasons, [bool(s) for s in suppressed])


def test_stuck_is_bad_and_a_step_is_uncertain() -> None:
    """The quality says how far to trust it; a bad reading is not compared with."""
    history = History([Metric(name="m", unit="1", stuck_after_ms=1000, step=5.0)])
    batch = a_batch(values=[1.0, 1.0, 50.0], times_ms=[T0_MS, T0_MS + 2000, T0_MS + 3000])

    judged, _ = history.assess(batch, np.zeros(3, np.int16))

    assert judged.quality.tolist() == [Quality.GOOD, Quality.BAD, Quality.UNCERTAIN]


def test_the_history_survives_a_snapshot() -> None:
    """After a restart the next reading is judged by the one before it."""
    metric = Metric(name="m", unit="1", deadband=1.0)
    first, second = History([metric]), History([metric])
    first.assess(a_batch(values=[20.0]), np.zeros(1, np.int16))
    second.load(first.dump())

    _, near = second.assess(a_batch(values=[20.5], times_ms=[T0_MS + 1]), np.zeros(1, np.int16))

    assert near.tolist() == [True]


def test_two_readings_received_at_one_time_are_two_readings() -> None:
    """A time of receipt does not tell readings apart, least of all after a restart."""
    recent = Recent()
    batch = replace(a_batch(values=[1.0]), reason=np.array([Reason.RECEIVED], np.uint16))
    recent.remember(batch)

    assert recent.duplicates(batch, np.zeros(1, np.bool_)).tolist() == [False]
