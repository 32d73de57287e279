"""Features of the clock against plain date arithmetic."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attwin.core.clock_features import CLOCK, ClockFeatures
from attwin.core.errors import BundleError
from attwin.core.local_time import LocalTime
from attwin.runtime.zones import offset_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = ["UTC", "Europe/Brussels", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
SPRING_MS = 1_774_746_000_000
"""2026-03-29T01:00:00Z, when clocks in Brussels go from 2 to 3."""


def local(time_ms: int, zone: str) -> datetime:
    """Return what a clock in a zone shows."""
    return (EPOCH + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@pytest.mark.parametrize("zone", ZONES)
@example(times=[SPRING_MS - 1, SPRING_MS, SPRING_MS + 1])
@example(times=[SPRING_MS - 1])
@example(times=[594_189_000_000 + 60_000 * k for k in range(-120, 120)])
@given(times=st.lists(st.integers(0, 2**42), min_size=1, max_size=20))
def test_local_time_is_what_the_zone_says(zone: str, times: list[int]) -> None:
    """To the millisecond, around changes of the offset too."""
    found = LocalTime(offset_of(zone)).local_ms(np.array(times, np.int64))

    expected = [(local(t, zone) - EPOCH.replace(tzinfo=None)) // timedelta(milliseconds=1) for t in times]
    assert found.tolist() == expected


@given(times=st.lists(st.integers(0, 2**42), min_size=1, max_size=20))
def test_each_name_says_what_it_is_called(times: list[int]) -> None:
    """Angles of the time of day and of the day of the week, and the weekend."""
    found = ClockFeatures(list(CLOCK), offset_of("Europe/Brussels")).at(np.array(times, np.int64))

    for row, time_ms in zip(found.tolist(), times, strict=True):
        shown = local(time_ms, "Europe/Brussels")
        day = (shown - shown.replace(hour=0, minute=0, second=0, microsecond=0)) / timedelta(days=1) * 2 * np.pi
        week = shown.weekday() / 7 * 2 * np.pi
        hours = [wave(times * day) for times in (1, 2, 3) for wave in (np.sin, np.cos)]
        expected = [*hours, np.sin(week), np.cos(week), float(shown.weekday() >= 5)]
        assert row == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_an_unknown_zone_is_an_error_of_the_bundle(zone: str) -> None:
    """It names the zone, and what is wanted."""
    with pytest.raises(BundleError, match=f"zone `{zone}`, which this machine does not know"):
        offset_of(zone)


def test_times_without_end_do_not_fill_the_memory() -> None:
    """Sensors choose times; what is remembered of their days has a bound."""
    clock = LocalTime(lambda _time_s: 3600)

    clock.local_ms(np.arange(10_000, dtype=np.int64) * 86_400_000)

    assert len(clock._days) <= 4_096
