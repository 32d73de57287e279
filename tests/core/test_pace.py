"""Facts about limits and schedules of a link."""

import pytest

from attwin.core.pace import Limit, Schedule

HOUR_MS = 3_600_000


def test_a_limit_holds_a_second_and_fills_at_its_rate() -> None:
    """What is spent beyond it is waited for."""
    limit = Limit(1_000, 100, 0)
    assert limit.room(0) == 1_000
    limit.spend(1_500)

    assert limit.room(0) == -500
    assert limit.room(1_000) == 500
    assert limit.room(60_000) == 1_000


def test_a_message_larger_than_a_second_of_the_rate_leaves_at_some_time() -> None:
    """The bucket holds the largest one."""
    limit = Limit(10, 500, 0)
    limit.spend(500)

    assert limit.room(50_000) == 500


def test_no_limit_says_nothing() -> None:
    """Nothing is counted either."""
    limit = Limit(0, 100, 0)
    limit.spend(10**9)

    assert limit.room(0) is None


def test_a_schedule_opens_at_the_start_and_then_at_its_period() -> None:
    """By the time since the start, whatever the clock says."""
    schedule = Schedule(every_ms=HOUR_MS, for_ms=300_000)

    times = (0, 299_999, 300_000, HOUR_MS - 1, HOUR_MS, HOUR_MS + 300_000)
    assert [schedule.is_open(up_ms, None) for up_ms in times] == [True, True, False, False, True, False]


@pytest.mark.parametrize(("local_ms", "expected"), [(6 * HOUR_MS, True), (6 * HOUR_MS + 300_000, False), (0, False)])
def test_a_schedule_opens_at_times_of_day(local_ms: int, *, expected: bool) -> None:
    """By the clock of the site; every day."""
    schedule = Schedule(every_ms=0, for_ms=300_000, at_ms=[6 * HOUR_MS])

    assert schedule.is_open(10**9, local_ms + 9 * 24 * HOUR_MS) is expected


def test_without_a_clock_a_time_of_day_becomes_a_period() -> None:
    """A gateway that does not know the time still talks as often."""
    schedule = Schedule(every_ms=0, for_ms=300_000, at_ms=[6 * HOUR_MS, 18 * HOUR_MS])

    assert [schedule.is_open(up, None) for up in (0, 6 * HOUR_MS, 12 * HOUR_MS)] == [True, False, True]
