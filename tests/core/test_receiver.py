"""Facts about what a receiver knows of the messages that reach it."""

import json

import pytest

from attwin.core.receiver import Heard, Receiver


def sent(number: int, *, lane: str = "alerts", **body: object) -> tuple[str, bytes]:
    """Return a message as a gateway sends it."""
    topic = "dropped" if "dropped" in body else "events"
    return f"attwin/g/{topic}", json.dumps({"id": f"g:s:{lane}:{number}", **body}).encode()


def heard(receiver: Receiver, *messages: tuple[str, bytes]) -> list[Heard]:
    """Return all that messages tell."""
    return [found for topic, payload in messages for found in receiver.take(topic, payload, retained=False)]


def test_a_missing_number_is_a_gap_until_it_comes() -> None:
    """It is told before the message that shows it; what comes later fills it."""
    receiver = Receiver()

    told = heard(receiver, sent(1), sent(4), sent(3), sent(5))

    assert [(h.what, h.number) for h in told] == [
        ("message", 1),
        ("gap", 0),
        ("message", 4),
        ("late", 3),
        ("message", 5),
    ]
    assert told[1].ranges == ((2, 3, "missing"),)
    assert receiver.missing == 1


def test_an_id_that_was_seen_is_a_duplicate() -> None:
    """Also one that was seen long ago, and one that says so itself."""
    receiver = Receiver()

    told = heard(receiver, sent(1), sent(2), sent(3), sent(1), sent(3, resend=True))

    assert [h.what for h in told] == ["message"] * 3 + ["duplicate"] * 2
    assert (receiver.counts["resend"], receiver.missing) == (1, 0)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param([sent(1), sent(5), sent(6, dropped=[[2, 4, "overflow"]])], id="after the gap"),
        pytest.param([sent(1), sent(2, dropped=[[3, 4, "overflow"]]), sent(5)], id="before the gap"),
    ],
)
def test_what_was_announced_is_not_missing(order: list[tuple[str, bytes]]) -> None:
    """An announcement explains a gap, whichever of them comes first."""
    receiver = Receiver()

    heard(receiver, *order)

    assert receiver.missing == 0
    assert receiver.counts["dropped: overflow"] in (2, 3)


def test_what_was_set_aside_may_come_later() -> None:
    """A parked message is announced, and somebody lets it go."""
    receiver = Receiver()

    told = heard(receiver, sent(1), sent(3, dropped=[[2, 2, "parked"]]), sent(2, resend=True), sent(2))

    assert [h.what for h in told] == ["message", "gap", "dropped", "late", "duplicate"]


def test_who_comes_late_does_not_miss_what_was_before() -> None:
    """Only a lane that begins at its first number is known from there."""
    receiver = Receiver()

    assert [h.what for h in heard(receiver, sent(700), sent(701))] == ["message", "message"]


def test_lanes_gateways_and_stores_have_numbers_of_their_own() -> None:
    """The same number of another lane is another message."""
    receiver = Receiver()

    told = heard(receiver, sent(1), sent(1, lane="twin"), ("attwin/h/events", b'{"id": "h:s:alerts:1"}'))

    assert [h.what for h in told] == ["message"] * 3


def test_a_state_that_the_broker_kept_says_nothing_of_numbers() -> None:
    """Its id is from another day; an empty payload has none."""
    receiver = Receiver()
    topic, payload = sent(90)

    told = [*receiver.take(topic, payload, retained=True), *heard(receiver, sent(1), ("attwin/g/alert/e/r", b""))]

    assert [h.what for h in told] == ["state", "message", "state"]
    assert receiver.missing == 0


@pytest.mark.parametrize("payload", [b"\xff", b"[1]", b'{"id": 3}', b'{"id": "g:s:alerts:x"}', b'{"id": "a:0"}'])
def test_a_payload_that_is_not_ours_is_no_message_of_a_lane(payload: bytes) -> None:
    """Whoever publishes there does not end the receiver."""
    assert [h.what for h in heard(Receiver(), ("attwin/g/events", payload))] == ["state"]
