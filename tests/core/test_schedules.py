"""Facts about hours of the week."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from attwin.core.schedules import Hours, Schedule, days_of, minute_of_day
from attwin.runtime.zones import offset_of

BRUSSELS = "Europe/Brussels"
NIGHT = Hours(from_minute=22 * 60, to_minute=6 * 60)


def holds(schedule: Schedule, *texts: str) -> list[bool]:
    """Return whether times of Brussels, such as 2026-03-29T01:30, are in a schedule."""
    zone = ZoneInfo(BRUSSELS)
    times = [round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000) for text in texts]
    return schedule.contains(np.array(times, np.int64)).tolist()


def a_schedule(*spans: Hours) -> Schedule:
    """Return hours of Brussels."""
    return Schedule(spans=spans, zone=BRUSSELS, offset_s=offset_of(BRUSSELS))


def test_a_night_goes_over_midnight() -> None:
    """It begins in the evening and ends in the morning, to the minute."""
    texts = [f"2026-11-25T{time}" for time in ("21:59", "22:00", "23:59", "00:00", "05:59", "06:00", "12:00")]

    assert holds(a_schedule(NIGHT), *texts) == [False, True, True, True, True, False, False]


def test_the_night_of_a_day_is_the_one_that_begins_then() -> None:
    """Friday's night ends on Saturday; Thursday's is not in it."""
    friday = Hours(days=days_of(["fri"]), from_minute=22 * 60, to_minute=6 * 60)

    # the 27th of November 2026 is a Friday
    found = holds(a_schedule(friday), "2026-11-27T05:00", "2026-11-27T23:00", "2026-11-28T05:00", "2026-11-28T23:00")

    assert found == [False, True, True, False]


def test_sunday_night_ends_on_monday() -> None:
    """The week is round."""
    sunday = Hours(days=days_of(["sun"]), from_minute=22 * 60, to_minute=6 * 60)

    assert holds(a_schedule(sunday), "2026-11-29T23:00", "2026-11-30T05:00", "2026-11-30T07:00") == [True, True, False]


def test_the_clock_on_the_wall_counts_when_it_is_changed() -> None:
    """In the night of 25 October 2026 the hour from two to three comes twice; on 29 March it is left out."""
    small_hours = a_schedule(Hours(from_minute=2 * 60, to_minute=3 * 60))
    autumn_ms = round(datetime.fromisoformat("2026-10-25T00:00+00:00").timestamp() * 1000)
    spring_ms = round(datetime.fromisoformat("2026-03-29T00:00+00:00").timestamp() * 1000)
    half_hours = np.arange(5) * 1_800_000

    # from 2:00 summer time on; the second one begins an hour later
    assert small_hours.contains(autumn_ms + half_hours).tolist() == [True, True, True, True, False]
    # from 1:00 winter time on; half past one is followed by three o'clock
    assert small_hours.contains(spring_ms + half_hours).tolist() == [False] * 5


def test_hours_that_end_when_they_begin_are_a_whole_day() -> None:
    """From midnight to midnight is the day itself."""
    saturday = a_schedule(Hours(days=days_of(["sat"])))

    assert holds(saturday, "2026-11-27T23:59", "2026-11-28T00:00", "2026-11-28T23:59", "2026-11-29T00:00") == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["mon-fri"], (0, 1, 2, 3, 4)), (["sat", "SUN"], (5, 6)), (["sat-mon"], (0, 5, 6)), (["tue", "tue"], (1,))],
)
def test_days_are_names_and_ranges(names: list[str], expected: tuple[int, ...]) -> None:
    """A range may go over the end of the week."""
    assert days_of(names) == expected


@pytest.mark.parametrize("text", ["25:00", "8:5", "08-30", "", "24:01", "-1:00", "٣:00"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    """The message says what is wanted."""
    with pytest.raises(ValueError, match="a time of day such as 08:30"):
        minute_of_day(text)


def test_a_time_of_day_is_minutes() -> None:
    """The midnight at the end of a day is the one at its beginning."""
    assert [minute_of_day(text) for text in ("00:00", "8:30", "23:59", "24:00")] == [0, 510, 1439, 0]


@pytest.mark.parametrize("name", ["monday", "mon-", "fri-xyz", ""])
def test_what_is_no_day_is_refused(name: str) -> None:
    """The message says what is wanted."""
    with pytest.raises(ValueError, match="days such as mon"):
        days_of([name])
