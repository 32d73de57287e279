"""Facts about series that have gone silent."""

import numpy as np

from attwin.core.catalogue import Metric
from attwin.core.stale import Staleness

NUMBER = np.array([0, 1], np.int16)
BOTH = np.array([0, 1], np.int32)


def a_staleness() -> Staleness:
    """Return the staleness of a series with a period of 10 s and one without."""
    return Staleness([Metric(name="a", unit="1", every_ms=10_000), Metric(name="b", unit="1")])


def test_a_series_is_stale_after_three_periods_and_is_told_once() -> None:
    """One that promises no period is never stale by time, one that was never heard is not waited for."""
    found = a_staleness()
    assert found.update(NUMBER, 10**9).tolist() == []
    found.hear(BOTH, 0)

    assert found.update(NUMBER, 30_000).tolist() == []
    assert found.update(NUMBER, 31_000).tolist() == [0]
    assert found.update(NUMBER, 99_000).tolist() == []
    assert found.stale[:2].tolist() == [True, False]


def test_a_stale_series_that_is_heard_is_fresh() -> None:
    """And becomes stale again in its time."""
    found = a_staleness()
    found.silence([0, 1])
    assert found.stale[:2].tolist() == [True, True]

    found.hear(BOTH, 50_000)

    assert found.stale[:2].tolist() == [False, False]
    assert found.update(NUMBER, 81_000).tolist() == [0]


def test_a_series_that_was_heard_before_the_start_is_waited_for() -> None:
    """A sensor that died while the agent was down is found out."""
    found = a_staleness()

    found.expect(np.array([0]), 0)

    assert found.update(NUMBER, 31_000).tolist() == [0]


def restarted(found: Staleness) -> Staleness:
    """Return the staleness of the next start."""
    again = a_staleness()
    again.load(found.dump())
    return again


def test_silence_goes_on_over_a_restart_without_the_time_in_between() -> None:
    """A series that was silent for two periods needs one more; how long the agent was away, nobody knows."""
    found = a_staleness()
    found.hear(BOTH, 5_000)
    found.update(NUMBER, 25_000)

    again = restarted(found)
    again.expect(np.array([0, 1]), 0)

    assert again.update(NUMBER, 10_000).tolist() == []
    assert again.update(NUMBER, 11_000).tolist() == [0]


def test_what_is_stale_is_stale_after_a_restart_and_is_not_told_again() -> None:
    """Also what the sensor side said itself; it is fresh when it is heard."""
    found = a_staleness()
    found.hear(BOTH, 0)
    found.silence([1])
    found.update(NUMBER, 31_000)

    again = restarted(found)

    assert again.stale[:2].tolist() == [True, True]
    assert again.update(NUMBER, 10_000).tolist() == []
    again.hear(BOTH, 11_000)
    assert again.stale[:2].tolist() == [False, False]


def test_a_series_that_was_never_heard_is_not_waited_for_after_a_restart() -> None:
    """Silence for always is no silence of a second."""
    found = a_staleness()
    found.hear(BOTH[1:], 0)
    found.update(NUMBER, 10_000)

    again = restarted(found)

    assert again.update(NUMBER, 10**9).tolist() == []
    assert again.silent_for_ms(0, 10**9) == 0
