"""Facts about what the answers of a broker mean."""

import pytest

from attwin.core.answers import LOST, Outcome, Pause, Suspicion, Verdict, judge


@pytest.mark.parametrize(
    ("code", "retain", "expected"),
    [
        pytest.param(0x00, False, Verdict(Outcome.DELIVERED), id="success"),
        pytest.param(0x10, True, Verdict(Outcome.DELIVERED), id="nobody subscribes, but the broker keeps it"),
        pytest.param(LOST, False, Verdict(Outcome.AGAIN), id="no answer"),
        pytest.param(0x87, False, Verdict(Outcome.PARKED, "not-authorised"), id="not authorised"),
        pytest.param(0x90, False, Verdict(Outcome.PARKED, "bad-topic"), id="topic name invalid"),
        pytest.param(0x95, False, Verdict(Outcome.PARKED, "too-large"), id="packet too large"),
        pytest.param(0x99, False, Verdict(Outcome.PARKED, "bad-payload"), id="payload format invalid"),
        pytest.param(0x9E, False, Verdict(Outcome.PARKED, "refused"), id="one that is not known"),
    ],
)
def test_a_code_is_judged_by_its_meaning(code: int, expected: Verdict, *, retain: bool) -> None:
    """What is refused for good is never tried for ever."""
    assert judge(code, retain=retain) == expected


@pytest.mark.parametrize("code", [0x10, 0x80, 0x83, 0x89, 0x97])
def test_what_may_be_taken_later_is_kept(code: int) -> None:
    """Nobody subscribed is a success of the broker, and nobody got it."""
    assert judge(code, retain=False).outcome is Outcome.LATER


def test_a_pause_grows_until_something_is_delivered() -> None:
    """The answers to one window are one refusal."""
    pause = Pause()
    waits = []
    now = 0
    for _ in range(8):
        pause.begin(now, "busy")
        pause.begin(now, "busy")
        waits.append(pause.until_ms - now)
        now = pause.until_ms
    pause.end()
    pause.begin(now, "busy")

    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
    assert pause.until_ms - now == 1_000


def test_the_message_that_ends_connections_is_found_alone() -> None:
    """After three fruitless connections messages go one at a time; after five more the one is blamed."""
    suspicion = Suspicion()

    together = [suspicion.lost(20) for _ in range(3)]
    alone = [suspicion.lost(1) for _ in range(5)]

    assert suspicion.alone
    assert together == [""] * 3
    assert alone == [""] * 4 + ["ends-connection"]


def test_an_answer_clears_all_suspicion() -> None:
    """A line that is bad, and not a message, brings something now and then."""
    suspicion = Suspicion()
    for _ in range(7):
        suspicion.lost(1)

    suspicion.answered()

    assert not suspicion.alone
    assert suspicion.lost(1) == ""


def test_a_broker_that_names_its_reason_is_believed_at_once() -> None:
    """With several in flight nobody knows which; the next ones go alone."""
    suspicion = Suspicion()

    assert suspicion.lost(5, 0x95) == ""
    assert suspicion.alone
    assert suspicion.lost(1, 0x95) == "too-large"


def test_a_connection_that_ends_with_nothing_in_flight_blames_nobody() -> None:
    """Brokers restart."""
    suspicion = Suspicion()
    for _ in range(20):
        suspicion.lost(0)

    assert not suspicion.alone
