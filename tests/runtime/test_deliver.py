"""Facts about what is sent when: over a real outbox, to an upstream that a test answers for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.lanes import LARGEST_BYTES
from attwin.core.outgoing import Draft
from attwin.core.pace import Schedule
from attwin.ports import Commit
from attwin.runtime.deliver import Delivery
from support.builders import a_catalogue
from support.fakes import FakeClock, FakeUplink

NO_SUBSCRIBER, NOT_AUTHORISED, QUOTA = 0x10, 0x87, 0x97


class House:
    """An outbox, an upstream, and the stage between them."""

    def __init__(self, path: Path, *, window: int = 20, **more: object) -> None:
        self.clock = FakeClock()
        self.store = SqliteStore(path, a_catalogue(), gateway="g", durability="normal")
        self.uplink = FakeUplink(window=window, largest=LARGEST_BYTES)
        self.delivery = Delivery(self.store, self.uplink, self.clock, **more)  # type: ignore[arg-type] # a test's own

    def queue(self, lane: str, *numbers: int, size: int = 0, retain: bool = False, urgent: bool = False) -> None:
        """Put messages into a lane."""
        body = {"pad": "x" * size} if size else {}
        drafts = [Draft(lane=lane, topic=f"t{n}", retain=retain, body={"n": n, **body}, urgent=urgent) for n in numbers]
        self.store.commit(Commit(now_ms=self.clock.now_ms(), drafts=drafts))

    def step(self, pass_ms: int = 0) -> list[str]:
        """Let time pass, deliver and commit; return what was sent."""
        self.clock.pass_ms(pass_ms)
        before = len(self.uplink.sent)
        settled = self.delivery.step()
        self.store.commit(Commit(now_ms=self.clock.now_ms(), delivered=settled.delivered, parked=settled.parked))
        return [f"{message.lane} {message.topic}" for message in self.uplink.sent[before:]]

    def parked(self) -> list[tuple[str, str]]:
        """Return topics and reasons of what was set aside."""
        return self.store._connection.execute("select topic, reason from parked order by sequence").fetchall()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A window of 20."""
    made = House(tmp_path / "twin.db")
    yield made
    made.store.close()


def test_lanes_leave_in_their_order_and_leave_room_for_alerts(house: House) -> None:
    """A quarter of the window stays free, which an alert takes at once."""
    house.queue("aggregates", *range(100))
    house.queue("twin", 1)
    first = house.step()
    house.queue("alerts", 7)

    assert first[0] == "twin t1"
    assert first[1:] == [f"aggregates t{n}" for n in range(14)]
    assert house.step() == ["alerts t7"]


def test_large_messages_of_low_lanes_leave_room_too(house: House) -> None:
    """An alert never waits behind more bytes than a slow line takes in a second."""
    house.queue("aggregates", *range(10), size=30_000)

    assert len(house.step()) == 2
    house.uplink.answer()
    assert len(house.step()) == 2


def test_what_was_lost_is_sent_again_first_and_says_so(house: House) -> None:
    """With the same id, in its order, after what is more urgent."""
    house.queue("aggregates", 1, 2, 3)
    house.step()
    house.uplink.answer(count=1)
    house.uplink.lose()
    house.queue("alerts", 9)
    house.queue("aggregates", 4)

    sent = house.step()

    assert sent == ["alerts t9", "aggregates t2", "aggregates t3", "aggregates t4"]
    assert [message.resend for message in house.uplink.sent[-4:]] == [False, True, True, False]
    assert house.uplink.sent[-3].as_sent.startswith(b'{"resend":true,"id":"g:')
    assert house.uplink.sent[-3].payload == house.uplink.sent[1].payload


def test_what_nobody_subscribes_to_is_not_delivered(house: House) -> None:
    """It waits, longer each time, and others of its lane with it; a retained message is the broker's to keep."""
    house.queue("alerts", 1)
    house.queue("twin", 2, retain=True)
    house.step()
    house.uplink.answer(NO_SUBSCRIBER)

    assert house.step() == []
    assert house.store.waiting_outgoing() == 1
    assert house.delivery.pauses() == {"alerts": "nobody subscribes to it"}
    assert house.step(999) == []
    assert house.step(1) == ["alerts t1"]
    house.uplink.answer(NO_SUBSCRIBER)
    house.step()
    assert house.step(1_999) == []
    assert house.step(1) == ["alerts t1"]
    house.uplink.answer()
    house.step()
    assert (house.store.waiting_outgoing(), house.delivery.pauses()) == (0, {})


def test_what_is_refused_for_good_is_set_aside_and_the_next_one_leaves(house: House) -> None:
    """It is not tried for ever, and its number is announced."""
    house.queue("alerts", 1, 2)
    house.step()
    house.uplink.answer(NOT_AUTHORISED, count=1)
    house.uplink.answer()

    house.step()

    assert house.parked() == [("t1", "not-authorised")]
    assert house.step() == ["alerts attwin/g/dropped"]
    assert house.uplink.sent[-1].payload.endswith(b'"dropped":[[1,1,"parked"]]}')


def test_an_announcement_that_is_refused_is_not_announced(house: House) -> None:
    """It waits, instead of being set aside and announced, which would never end."""
    house.queue("alerts", 1)
    house.step()
    house.uplink.answer(NOT_AUTHORISED)
    house.step()
    for _ in range(5):
        house.step(60_000)
        house.uplink.answer(NOT_AUTHORISED)

    assert house.parked() == [("t1", "not-authorised")]
    assert house.store.waiting_outgoing() == 1
    assert house.delivery.pauses() == {"alerts": "it refuses attwin/g/dropped: not-authorised"}


def test_a_broker_that_is_over_its_quota_is_left_alone_for_a_while(house: House) -> None:
    """Nothing is set aside for it."""
    house.queue("aggregates", 1)
    house.step()
    house.uplink.answer(QUOTA)

    assert house.step() == []
    assert house.parked() == []
    assert house.step(1_000) == ["aggregates t1"]


def test_a_message_larger_than_the_broker_takes_is_not_sent(tmp_path: Path) -> None:
    """It would end the connection, again and again."""
    house = House(tmp_path / "twin.db")
    house.uplink = FakeUplink(largest=1_000)
    house.delivery = Delivery(house.store, house.uplink, house.clock)
    house.queue("aggregates", 1, size=2_000)
    house.queue("aggregates", 2)

    assert house.step() == ["aggregates t2"]
    assert house.parked() == [("t1", "too-large")]
    house.store.close()


def test_the_message_that_ends_connections_is_set_aside(house: House) -> None:
    """Version 3.1.1 names no reason: messages go one at a time until it is found, and the others arrive."""
    house.queue("aggregates", 1, 2, 3, 4)
    for _ in range(40):
        house.step()
        if not house.uplink.open:
            break
        topics = [message.topic for message in house.uplink.open]
        if "t2" in topics:
            house.uplink.answer(count=topics.index("t2"))
            house.uplink.lose()
        else:
            house.uplink.answer()

    assert house.parked() == [("t2", "ends-connection")]
    assert house.store.waiting_outgoing() == 0


def test_a_limit_holds_back_all_but_alerts(tmp_path: Path) -> None:
    """What an alert takes is paid by the others later."""
    house = House(tmp_path / "twin.db", bytes_per_s=1_000, largest_bytes=1_000)
    house.queue("aggregates", *range(20), size=200)
    assert len(house.step()) == 4
    house.queue("alerts", 1, size=2_000)

    assert house.step() == ["alerts t1"]
    assert house.step(1_000) == []
    for _ in range(5):
        house.uplink.answer()
        house.step(1_000)
    # a second that the bucket held, and six of waiting; what does not fill a message is not saved up
    assert 5_500 < sum(message.size for message in house.uplink.sent) <= 7_000
    house.store.close()


def test_a_metered_link_opens_when_it_is_due_and_closes_when_nothing_waits(tmp_path: Path) -> None:
    """What is urgent opens it at once; anything else waits."""
    house = House(tmp_path / "twin.db", schedule=Schedule(every_ms=3_600_000, for_ms=300_000))
    house.queue("aggregates", 1)
    house.delivery.tick()
    assert house.step() == ["aggregates t1"]
    house.uplink.answer()
    house.step()
    house.clock.pass_ms(5_000)
    house.delivery.tick()
    house.queue("aggregates", 2)
    house.clock.pass_ms(600_000)
    house.delivery.tick()
    closed = house.uplink.held[-1]

    house.queue("alerts", 3, urgent=True)
    house.delivery.tick()

    assert closed
    assert not house.uplink.held[-1]
    assert house.step() == ["alerts t3", "aggregates t2"]
    house.store.close()
