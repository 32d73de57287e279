"""Facts about letting messages gather."""

import pytest

from attwin.runtime.gather import LONGEST_MS, SHORTEST_MS, Gather


@pytest.mark.parametrize(
    ("every_ms", "window", "hold_ms"),
    [
        pytest.param(5, 1_000, LONGEST_MS, id="a typical load waits longest"),
        pytest.param(2, 1_000, 50, id="a round's worth"),
        pytest.param(1, 1_000, 25, id="a thousand a second"),
        pytest.param(0.1, 1_000, SHORTEST_MS, id="many wait shortest"),
        pytest.param(1, 10, 10, id="no longer than the window takes"),
    ],
)
def test_messages_gather_by_their_rate(every_ms: float, window: int, hold_ms: int) -> None:
    """As long as a round of them takes to arrive, within bounds."""
    gather, read = Gather(window, 0), 4 if every_ms >= 1 else 40

    gather.note(read, round(read * every_ms))

    assert gather.hold_ms == hold_ms


def test_a_lonely_message_is_as_old_as_the_silence_before_it() -> None:
    """So its commit is due at once, and the next read is not before the hold has passed."""
    gather = Gather(1_000, 100)

    gather.note(1, 5_000)

    assert (gather.since_ms, gather.read_from_ms) == (100, 5_000 + LONGEST_MS)


def test_half_of_the_window_does_not_wait() -> None:
    """The broker waits for acknowledgements then."""
    gather = Gather(20, 0)

    gather.note(10, 1_000)

    assert gather.hold_ms == 0


@pytest.mark.parametrize(
    ("every_ms", "read_from_ms"),
    [
        pytest.param(1, 45, id="the next read is in time"),
        pytest.param(2.5, 100, id="the next read comes with the commit"),
        pytest.param(4.5, 180, id="there is little left to wait for"),
    ],
)
def test_the_last_read_of_a_round_is_when_it_is_committed(every_ms: float, read_from_ms: int) -> None:
    """Its 100 ms are used in full, so that there are no more commits a second than there must be."""
    gather = Gather(1_000, 0)
    gather.note(20, round(20 * every_ms))

    gather.meet(100)

    assert gather.read_from_ms == read_from_ms
