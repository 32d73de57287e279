"""The outbox against a simple model of it, under any order of what can happen to it, a crash included."""

import functools
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from attwin.adapters.sqlite_salvage import read_sums
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.audit import UPSTREAM
from attwin.core.lanes import LanePolicy, OutboxPolicy, Overflow
from attwin.core.outgoing import AGGREGATES, LANES, Draft, OutgoingMessage
from attwin.core.receiver import Receiver
from attwin.ports import Commit
from support.builders import a_catalogue

TTL_MS = 1_000
LARGEST = 1_000
POLICIES = {
    lane: LanePolicy(ttl_ms=TTL_MS if lane == AGGREGATES else 0, budget_bytes=2_500, overflow=overflow)
    for lane, overflow in zip(
        LANES,
        (Overflow.DROP_OLDEST, Overflow.DROP_NEWEST, Overflow.COALESCE, Overflow.COALESCE, Overflow.DROP_OLDEST),
        strict=True,
    )
}
POLICY = OutboxPolicy(lanes=POLICIES, largest_bytes=LARGEST)
SIZES = st.one_of(st.none(), st.integers(0, 300), st.just(2 * LARGEST))
"""Of a payload's filling; None for an empty payload."""
Plan = tuple[str, str, bool, int | None, bool]
PLANS = st.lists(
    st.tuples(st.sampled_from(LANES), st.sampled_from("ab"), st.booleans(), SIZES, st.booleans()), max_size=12
)


def drafts_of(plans: list[Plan]) -> list[Draft]:
    """Return messages as planned: lane, topic, whether retained, size and whether urgent."""
    return [
        Draft(
            lane=lane,
            topic=f"attwin/g/{topic}",
            retain=retain,
            body=None if size is None else {"pad": "x" * size},
            urgent=urgent,
        )
        for lane, topic, retain, size, urgent in plans
    ]


@functools.cache
def an_empty_database() -> bytes:
    """Return a new database, whose tables take longer to make than an example takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "twin.db")
        SqliteStore(path, a_catalogue(entities=0), gateway="g", durability="normal").close()
        return path.read_bytes()


class OutboxMachine(RuleBasedStateMachine):
    """What was queued, and what became of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "twin.db"
        self.path.write_bytes(an_empty_database())
        self.now_ms = 1_700_000_000_000
        self.in_flight: list[OutgoingMessage] = []
        self.payloads: dict[tuple[str, int], bytes] = {}
        self.first_sent: dict[str, int] = {}
        self.receiver = Receiver()
        self.retried = False

    @initialize()
    def begin(self) -> None:
        """Open an empty outbox."""
        self.open()

    def open(self) -> None:
        """Open the outbox as it is on the disk."""
        self.store = SqliteStore(self.path, a_catalogue(entities=0), gateway="g", durability="normal", outbox=POLICY)
        self.store.begin_boot("boot", 0, now_ms=self.now_ms)

    @rule(plans=PLANS)
    def queue(self, plans: list[Plan]) -> None:
        """A round queues messages."""
        self.commit(drafts=drafts_of(plans))

    @rule(plans=PLANS)
    def fail(self, plans: list[Plan]) -> None:
        """A round that the disk refuses changes nothing."""
        before = self.tables()
        waiting = self.store.waiting_outgoing()
        # the audit of the same transaction breaks
        with pytest.raises(TypeError):
            self.commit(drafts=drafts_of(plans), counts={("s", "x", ""): object()})
        assert self.tables() == before
        assert self.store.waiting_outgoing() == waiting

    def tables(self) -> list[list[tuple[object, ...]]]:
        """Return what the outbox has on the disk."""
        return [
            self.store._connection.execute(f"select * from {name}").fetchall() for name in ("outbox", "parked", "lanes")
        ]

    @rule(lane=st.sampled_from(LANES), limit=st.integers(1, 6), most=st.integers(1, 2_000))
    def take(self, lane: str, limit: int, most: int) -> None:
        """Messages are sent, and may arrive whatever becomes of their acknowledgements."""
        unsent = self.store.unsent_outgoing(lane)
        found = self.store.take_outgoing(lane, limit, most)
        assert bool(found) == (unsent > 0)
        assert len(found) <= limit
        assert len(found) == 1 or sum(message.size for message in found) <= most
        for message in found:
            self.arrive(message)
        self.in_flight += found

    def arrive(self, message: OutgoingMessage) -> None:
        """An id never means two things, and what has not been sent before comes in order."""
        key = (message.lane, message.sequence)
        assert key not in {(other.lane, other.sequence) for other in self.in_flight}
        if key in self.payloads:
            assert message.resend
            assert self.payloads[key] == message.payload
        elif not message.resend:
            assert message.sequence > self.first_sent.get(message.lane, 0)
        self.payloads[key] = message.payload
        self.first_sent[message.lane] = max(self.first_sent.get(message.lane, 0), message.sequence)
        self.receiver.take(message.topic, message.as_sent, retained=False)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), fate=st.sampled_from(["delivered", "parked", "lost"]))
    def answer(self, data: st.DataObject, fate: str) -> None:
        """Upstream answers for some of what is in flight, in any order."""
        chosen = data.draw(st.lists(st.sampled_from(self.in_flight), unique_by=id, max_size=5))
        self.in_flight = [message for message in self.in_flight if message not in chosen]
        if fate == "lost":
            self.store.give_back_outgoing(chosen)
        elif fate == "delivered":
            self.commit(delivered=chosen)
        else:
            self.commit(parked=[(message, "refused") for message in chosen])

    @rule()
    def crash(self) -> None:
        """The process ends without a word; what was in flight is not known to have arrived."""
        self.store.close()
        self.in_flight = []
        self.open()

    @rule(pass_ms=st.sampled_from([0, TTL_MS // 2, 3 * TTL_MS]), is_trusted=st.booleans())
    def look_after(self, pass_ms: int, *, is_trusted: bool) -> None:
        """Time passes, and what is too old goes."""
        self.now_ms += pass_ms
        while self.store.upkeep(now_ms=self.now_ms, times_are_final=is_trusted):
            pass

    @rule(data=st.data())
    def park_and_retry(self, data: st.DataObject) -> None:
        """Somebody sets a message aside, or lets one go."""
        rows = self.store._connection.execute(
            "select 'outbox', lane, sequence from outbox where rank < 2 "
            "union all select 'parked', lane, sequence from parked"
        ).fetchall()
        if not rows:
            return
        table, lane, sequence = data.draw(st.sampled_from(rows))
        if table == "parked":
            assert self.store.retry_outgoing(lane, sequence)
            self.retried = True
        else:
            is_taken = any((m.lane, m.sequence) == (lane, sequence) for m in self.in_flight)
            assert (self.store.park_outgoing(lane, sequence, now_ms=self.now_ms) == "") is not is_taken

    def commit(self, **what: object) -> None:
        """Make a round durable."""
        self.store.commit(Commit(now_ms=self.now_ms, **what))  # type: ignore[arg-type] # a part of one

    @invariant()
    def nothing_is_unaccounted(self) -> None:
        """What was queued is delivered, waits, is parked, superseded or dropped; memory knows what the disk has."""
        if not hasattr(self, "store"):
            return
        (found,) = (each for each in read_sums(self.store._connection) if each.source == UPSTREAM)
        assert found.difference == 0
        (waiting,) = self.store._connection.execute("select count(*) from outbox").fetchone()
        assert self.store.waiting_outgoing() == waiting
        assert sum(self.store.in_flight_outgoing().values()) == len(self.in_flight)
        sizes = self.store._connection.execute(
            "select lane, sum(length(topic) + length(payload)) from outbox group by 1"
        )
        assert dict(sizes) == {lane: own.size for lane, own in self.store._outbox._lanes.items() if own.size}

    @invariant()
    def no_lane_is_over_its_budget(self) -> None:
        """But for what is urgent, on its way or an announcement, no lane and not the outbox holds more than it may."""
        if not hasattr(self, "store"):
            return
        flying = {(message.lane, message.sequence) for message in self.in_flight}
        rows = self.store._connection.execute(
            "select lane, sequence, length(topic) + length(payload) from outbox where rank = 0"
        ).fetchall()
        for lane in LANES:
            held = sum(size for name, place, size in rows if name == lane and (name, place) not in flying)
            assert held <= POLICY.lanes[lane].budget_bytes or self.retried

    def teardown(self) -> None:
        """Everything leaves: a receiver then has every number, or knows why not."""
        if not hasattr(self, "store"):
            return
        try:
            self.drain()
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    def drain(self) -> None:
        """Let all that waits leave."""
        self.commit(delivered=self.in_flight)
        self.in_flight = []
        for lane in LANES:
            while self.store.unsent_outgoing(lane):
                found = self.store.take_outgoing(lane, 50, 10**6)
                for message in found:
                    self.arrive(message)
                self.commit(delivered=found)
        assert self.store.waiting_outgoing() == 0
        assert self.receiver.missing == 0
        numbers = dict(self.store._connection.execute("select lane, next_number - 1 from lanes"))
        heard = {
            lane: max([own.highest, *(last for _, last in own.announced.runs())])
            for (_, _, lane), own in self.receiver._streams.items()
        }
        assert heard == {lane: number for lane, number in numbers.items() if number}


OutboxMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestOutbox = OutboxMachine.TestCase
