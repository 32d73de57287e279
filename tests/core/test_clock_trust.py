"""Facts about which time is believed."""

import pytest

from attwin.core.clock_trust import BELIEVE_MS, FIRST_DAY_MS, FOLLOW_MS, ClockTrust

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS


def test_a_clock_that_runs_as_clocks_do_is_followed() -> None:
    """Small corrections are the system's own business."""
    trust = ClockTrust(NOW_MS - DAY_MS, NOW_MS, 0, synchronised=False)

    assert trust.observe(NOW_MS + 10_000 + FOLLOW_MS, 10_000, synchronised=False) is None
    assert (trust.offset_ms, trust.problem) == (NOW_MS + FOLLOW_MS, "")


def test_a_gateway_that_boots_in_1970_goes_on_from_what_is_stored_and_learns_the_truth_later() -> None:
    """Time goes on from the newest reading; when the clock is set, the shift is what was missing."""
    trust = ClockTrust(NOW_MS, 0, 5_000, synchronised=False)
    assert trust.offset_ms + 5_000 == NOW_MS
    assert trust.problem

    assert trust.observe(60_000, 65_000, synchronised=False) is None
    jump = trust.observe(NOW_MS + DAY_MS, 65_000, synchronised=False)

    assert jump is not None
    assert (jump.shift_ms, jump.problem, trust.problem) == (DAY_MS - 60_000, "", "")
    assert trust.offset_ms + 65_000 == NOW_MS + DAY_MS


def test_a_new_gateway_in_1970_waits_for_a_time_after_this_program_was_written() -> None:
    """With nothing stored, the floor is the program's own age."""
    trust = ClockTrust(0, 0, 0, synchronised=False)

    assert trust.offset_ms == FIRST_DAY_MS
    assert trust.problem


@pytest.mark.parametrize("jump_ms", [56 * YEAR_MS, -56 * YEAR_MS, 2 * BELIEVE_MS, -2 * BELIEVE_MS])
def test_a_jump_that_nothing_confirms_is_not_believed(jump_ms: int) -> None:
    """The time goes on; the clock is trusted again when it comes back."""
    trust = ClockTrust(NOW_MS, NOW_MS, 0, synchronised=True)

    found = trust.observe(NOW_MS + jump_ms, 0, synchronised=True)
    again = trust.observe(NOW_MS + jump_ms + 1000, 1000, synchronised=True)
    back = trust.observe(NOW_MS + 2000, 2000, synchronised=True)

    assert found is not None
    assert (found.shift_ms, "jumped" in found.problem, again) == (0, True, None)
    assert back is not None
    assert (back.shift_ms, trust.problem, trust.offset_ms) == (0, "", NOW_MS)


@pytest.mark.parametrize("jump_ms", [90 * DAY_MS, -90 * DAY_MS])
def test_the_moment_of_synchronisation_confirms_a_jump(jump_ms: int) -> None:
    """A clock that was plausible and wrong is put right by NTP, forwards or backwards."""
    trust = ClockTrust(NOW_MS, NOW_MS, 0, synchronised=False)

    jump = trust.observe(NOW_MS + jump_ms, 0, synchronised=True)

    assert jump is not None
    assert (jump.shift_ms, jump.problem, trust.offset_ms) == (jump_ms, "", NOW_MS + jump_ms)


def test_a_synchronised_clock_is_right_even_where_a_later_time_is_stored() -> None:
    """One mistake of the past must not last."""
    trust = ClockTrust(NOW_MS + 56 * YEAR_MS, NOW_MS, 0, synchronised=True)

    assert (trust.offset_ms, trust.problem) == (NOW_MS, "")


def test_a_small_jump_is_believed_and_its_shift_is_said() -> None:
    """Somebody has set the clock by half an hour: what was timed before is wrong by that."""
    trust = ClockTrust(NOW_MS, NOW_MS, 0, synchronised=False)

    jump = trust.observe(NOW_MS - BELIEVE_MS // 2, 0, synchronised=False)

    assert jump is not None
    assert jump.shift_ms == -BELIEVE_MS // 2
