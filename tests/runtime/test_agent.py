"""Facts about the loop: what is acknowledged, when, and what a failure leaves."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest

from attwin.adapters.json_payload import JsonDecoder
from attwin.core.alerts import AlertFacts
from attwin.core.clock_trust import Jump
from attwin.core.errors import StoreDamagedError, StoreError, StoreStalledError
from attwin.core.routes import Routes, Source
from attwin.core.rules import Basis, Rule, Subject
from attwin.core.topics import compile_template
from attwin.core.types import Reason
from attwin.ports import KeptReject
from attwin.runtime.agent import Agent
from attwin.runtime.alerts import AlertBook
from attwin.runtime.committer import COMMIT_MS, FRUGAL_COMMIT_MS
from attwin.runtime.deliver import Delivery
from attwin.runtime.drift import DriftWatch
from attwin.runtime.ingest import Ingest
from attwin.runtime.publish import TwinPublisher, twin_body
from attwin.runtime.twin import KindModel, Twin
from support.builders import T0_MS, a_catalogue, a_drift_kind, a_kind, a_manifest
from support.fakes import (
    FakeAlertLog,
    FakeClock,
    FakeSensors,
    FakeStore,
    FakeUplink,
    MeanScorer,
    no_foresight,
    no_reactions,
)

HOT = Rule(
    name="hot",
    kind=0,
    subject=Subject(basis=Basis.METRIC, name="temperature", column=0),
    above=True,
    threshold=50,
    clear=40,
    for_ms=0,
    severity="warning",
)


FORGET_MS = 100_000
MESSAGES = ("messages_received", "messages_decoded")


class House:
    """An agent among fakes."""

    def __init__(
        self, *, inflight: int = 20, up: bool = True, commit_ms: int = COMMIT_MS, with_model: bool = True
    ) -> None:
        self.drift = DriftWatch({0: a_drift_kind()})
        self.refilled: list[Sequence[AlertFacts]] = []
        self.clock = FakeClock(T0_MS + 10**9)
        self.sensors = FakeSensors()
        self.uplink = FakeUplink(up=up)
        self.store = FakeStore()
        self.log = FakeAlertLog()
        catalogue = a_catalogue(a_kind(high=1e6), entities=0, most=5)
        model = KindModel(a_manifest(), MeanScorer(), [0, 1])
        self.twin = Twin(catalogue, {0: model} if with_model else {}, [HOT], most_ahead_ms=1000)
        source = Source(templates=(compile_template("s/{entity}/{metric}"),), kind=0)
        routes = Routes([source], catalogue, learn=True, own_base="attwin/g/")
        decoder = JsonDecoder(value_field="value", time_field="time", time_unit="ms", zone=ZoneInfo("UTC"))
        self._parts = (routes, decoder, inflight, commit_ms)
        self.start()

    def start(self) -> None:
        """Make the agent, which finds the twin as it is now."""
        routes, decoder, inflight, commit_ms = self._parts
        catalogue = self.twin.catalogue
        self.agent = Agent(
            clock=self.clock,
            sensors=self.sensors,
            uplink=self.uplink,
            delivery=Delivery(self.store, self.uplink, self.clock),
            store=self.store,
            ingest=Ingest(routes, [decoder], ["s"], most_payload=100),
            twin=self.twin,
            book=AlertBook([HOT], catalogue, [], next_alert=1),
            publisher=TwinPublisher(self.twin, base="attwin/g", every_ms=60_000),
            alert_log=self.log,
            sources=["s"],
            inflight=inflight,
            commit_ms=commit_ms,
            health_every_ms=60_000,
            forget_after_ms=FORGET_MS,
            lasting=frozenset({"kept"}),
            refill=self.refilled.append,
            drift=self.drift,
            reactions=no_reactions(),
            foresight=no_foresight(),
        )
        self.agent._next_health_ms = self.agent._next_tick_ms = 10**12

    def reading(self, value: float, *, number: int = 1, after_ms: int = 0) -> None:
        """Let a temperature of e0 arrive."""
        payload = f'{{"value": {value}, "time": {T0_MS + after_ms}}}'.encode()
        self.sensors.arrive("s/e0/temperature", payload, packet_id=number)

    def step(self, pass_ms: int = 0) -> None:
        """Let time pass and take one step of the loop."""
        self.clock.pass_ms(pass_ms)
        self.agent._step()


def test_a_message_is_acknowledged_after_its_commit_and_not_before() -> None:
    """The order is: process at once, commit after the commit time, acknowledge."""
    house = House(commit_ms=FRUGAL_COMMIT_MS)
    house.reading(20.0, number=7)

    house.step()
    house.step(FRUGAL_COMMIT_MS - 1)
    assert (house.sensors.waiting(), house.store.commits, house.sensors.acknowledged) == (0, [], [])

    house.step(1)
    assert len(house.store.commits) == 1
    assert house.sensors.acknowledged == [7]


def test_a_refused_commit_acknowledges_nothing() -> None:
    """When the disk refuses, the broker keeps what was not stored."""
    house = House()
    house.store.refusal = StoreError("disk full")
    house.reading(20.0)

    with pytest.raises(StoreError):
        house.step(COMMIT_MS)

    assert house.sensors.acknowledged == []


def test_half_of_the_window_commits_at_once() -> None:
    """With a window of 20, ten messages do not wait for the clock."""
    house = House(inflight=20)
    for number in range(1, 11):
        house.reading(20.0, number=number, after_ms=number)

    house.step()

    assert house.sensors.acknowledged == list(range(1, 11))


def test_an_alert_commits_at_once() -> None:
    """A transition does not wait for the batch to fill; its event and its retained topic are queued with it."""
    house = House(inflight=10_000)
    house.reading(60.0)

    house.step(COMMIT_MS)

    (commit,) = house.store.commits
    assert [change.after.state for change in commit.alerts] == ["active"]
    assert [draft.topic for draft in commit.drafts] == ["attwin/g/events", "attwin/g/alert/e0/hot"]
    assert house.log.calls == 1


def test_acknowledgements_do_not_cross_a_reconnection() -> None:
    """What came over an older connection is stored but not acknowledged on the new one."""
    house = House()
    house.reading(20.0, number=3)
    house.sensors.number = 2

    house.step(COMMIT_MS)

    assert len(house.store.commits) == 1
    assert house.sensors.acknowledged == []


def test_the_counts_of_a_round_add_up() -> None:
    """Every message is decoded or rejected, every reading stored, duplicate or rejected."""
    house = House()
    house.reading(20.0, after_ms=0)
    house.reading(20.0, after_ms=0)
    house.reading(21.0, after_ms=5000)
    house.reading(22.0, after_ms=1000)
    house.sensors.arrive("s/e0/temperature", b"nonsense")
    house.sensors.arrive("s/e0/noise", b"1")
    house.sensors.arrive("elsewhere", b"1")
    house.sensors.arrive("s/e0/co2", b"9" * 101)
    house.step(COMMIT_MS)

    counts = house.store.commits[0].counts
    sums = {name: sum(c for (_, n, _), c in counts.items() if n == name) for _, name, _ in counts}
    assert sums == {
        "messages_received": 8,
        "messages_decoded": 4,
        "messages_rejected": 4,
        "readings_decoded": 4,
        "readings_stored": 2,
        "readings_duplicate": 1,
        "readings_rejected": 1,
    }
    reasons = sorted(str(reject.reason) for reject in house.store.commits[0].rejects)
    assert reasons == ["late", "not_decodable", "too_large", "unknown_metric", "unknown_topic"]
    assert len(house.sensors.acknowledged) == 8


def test_what_is_doubted_is_counted_and_told() -> None:
    """Stored readings by the gravest doubt: also those from the future, which no twin shows."""
    house = House()
    house.sensors.arrive("s/e0/temperature", b"1e9")
    house.sensors.arrive("s/e0/co2", b'{"value": 5, "time": 4000000000000}')
    house.sensors.arrive("s/e0/co2", b'{"value": 6, "time": %d}' % T0_MS, flags=0x33)
    house.step(COMMIT_MS)

    counts = house.store.commits[0].counts
    body = twin_body(house.twin, 0)
    assert {reason: count for (_, name, reason), count in counts.items() if name == "readings_stored"} == {
        "out_of_range": 1,
        "ahead": 1,
        "retained": 1,
    }
    assert (body["temperature_quality"], body["temperature_reason"]) == ("bad", "out_of_range")
    assert (body["co2"], body["co2_quality"], body["co2_reason"]) == (6.0, "uncertain", "retained")


def test_readings_without_a_time_are_never_duplicates() -> None:
    """Plain numbers that arrive together are all stored, in order, and the last is the newest."""
    house = House()
    for number in range(5):
        house.sensors.arrive("s/e0/temperature", str(number).encode())
        house.sensors.arrive("s/e0/co2", str(10 * number).encode())
    house.step(COMMIT_MS)
    house.sensors.arrive("s/e0/temperature", b"5")
    house.step(COMMIT_MS)

    stored = [commit.stored for commit in house.store.commits]
    assert [len(batch) for batch in stored] == [10, 1]
    assert stored[0].time_ms[stored[0].series == 0].tolist() == [house.clock.wall_ms - COMMIT_MS + n for n in range(5)]
    assert house.twin.value[:2].tolist() == [5.0, 40.0]


def test_garbage_does_not_fill_the_gateway_with_entities() -> None:
    """An entity is learned from a reading, not from what is none."""
    house = House()
    for number in range(20):
        house.sensors.arrive(f"s/junk{number}/co2", b"{")
    house.step(COMMIT_MS)
    house.reading(20.0)
    house.step(COMMIT_MS)

    catalogue = house.twin.catalogue
    assert [catalogue.entity_ids[place] for place in catalogue.live()] == ["e0"]
    assert len(house.store.commits[1].stored) == 1


def test_a_retained_message_sets_the_state_and_triggers_nothing() -> None:
    """An alert does not come of what the broker kept."""
    house = House()
    house.sensors.arrive("s/e0/temperature", b'{"value": 60, "time": %d}' % T0_MS, flags=0x33)

    house.step(COMMIT_MS)

    (commit,) = house.store.commits
    assert commit.alerts == []
    assert house.twin.value[0] == 60.0
    assert house.twin.quality[0] == 1


def test_a_stop_stores_and_acknowledges_what_was_read() -> None:
    """SIGTERM loses nothing: the last messages are durable, the last scores are rows, the store is closed."""
    house = House()
    house.reading(20.0, number=1)
    house.reading(20.0, number=2, after_ms=5000)

    house.agent.stopping = True
    house.agent.run()

    assert sum(len(commit.stored) for commit in house.store.commits) == 2
    assert [row.time_ms for commit in house.store.commits for row in commit.scores] == [T0_MS + 1000]
    assert house.sensors.acknowledged == [1, 2]
    assert (house.store.snapshots, house.store.closed) == (1, True)


def test_a_stop_takes_what_every_connection_left() -> None:
    """After a reconnection several connections may have left messages; each is stored."""
    house = House()
    house.sensors.arrive("s/e0/temperature", b"1", packet_id=0, flags=0x30)
    house.sensors.number = 2
    house.sensors.arrive("s/e0/temperature", b"2", packet_id=5)

    house.agent.stopping = True
    house.agent.run()

    assert sum(len(commit.stored) for commit in house.store.commits) == 2
    assert house.sensors.acknowledged == [5]


def test_a_stop_tries_a_disk_that_refused_once_more() -> None:
    """Space may have come back since the last try; what was held is stored and acknowledged."""
    house = House()
    house.store.refusal = StoreStalledError("full")
    house.reading(20.0, number=4)
    house.step(COMMIT_MS)
    house.store.refusal = None

    house.agent.stopping = True
    house.agent.run()

    assert house.sensors.acknowledged == [4]
    assert house.store.snapshots == 1


def test_an_entity_whose_readings_change_nothing_is_not_forgotten() -> None:
    """One that only repeats itself is there all the same."""
    house = House()
    house.reading(20.0)
    house.step(COMMIT_MS)
    house.clock.pass_ms(FORGET_MS)
    house.reading(20.0)
    house.step(COMMIT_MS)

    house.agent._forget_silent()

    assert house.twin.catalogue.find("e0") is not None


def test_a_reject_that_is_taken_again_is_not_heard_now() -> None:
    """An old message does not make a silent entity look alive."""
    house = House()
    house.reading(20.0)
    house.step(COMMIT_MS)
    house.twin.staleness.silence([0])
    payload = b'{"value": 21, "time": %d}' % (T0_MS + 5_000)
    house.store.ring = [a_kept_reject(payload)]

    answer = house.agent.replay_rejects([1])

    assert (answer["replayed"], answer["stored"]) == ([1], 1)
    assert house.twin.staleness.stale[0]


def test_a_ring_that_cannot_be_read_takes_no_reject_again() -> None:
    """The reason is told, and the rejects stay."""
    house = House(with_model=False)
    house.store.ring = [a_kept_reject(b"20")]
    house.store.unreadable = StoreError("it cannot be read")

    answer = house.agent.replay_rejects([1])

    assert answer == {"error": "it cannot be read"}
    assert house.store.commits == []


def test_a_ring_that_is_damaged_stops_the_agent() -> None:
    """So that the next start mends."""
    house = House(with_model=False)
    house.store.ring = [a_kept_reject(b"20")]
    house.store.unreadable = StoreDamagedError("damaged")

    with pytest.raises(StoreDamagedError):
        house.agent.replay_rejects([1])

    assert house.store.commits == []


def test_rejects_are_taken_again_in_slices() -> None:
    """What there was no time for is told, and stays."""
    house = House(with_model=False)
    house.clock = house.agent.clock = SlowClock(house.clock.wall_ms, step_ms=5)
    house.store.ring = [a_kept_reject(b"20", number=number) for number in range(1, 6)]

    answer = house.agent.replay_rejects([1, 2, 3, 4, 5, 6])

    assert (answer["replayed"], answer["left"], answer["gone"]) == ([1, 2], [3, 4, 5], [6])
    assert house.store.commits[-1].replayed == [1, 2]


class SlowClock(FakeClock):
    """A clock that goes on whenever it is looked at."""

    def __init__(self, now_ms: int, *, step_ms: int) -> None:
        super().__init__(now_ms)
        self._step_ms = step_ms

    def monotonic_ms(self) -> int:
        """Return the time, and let some pass."""
        self.pass_ms(self._step_ms)
        return self.ticks_ms


def test_what_is_rejected_again_keeps_its_time() -> None:
    """Each its own, however many are taken again together."""
    house = House()
    house.reading(20.0)
    house.reading(20.0, after_ms=100_000)
    house.step(COMMIT_MS)
    late = [b'{"value": 21, "time": %d}' % (T0_MS - before) for before in (50_000, 40_000)]
    house.store.ring = [a_kept_reject(p, number=n, time_ms=T0_MS + n) for n, p in enumerate(late, 1)]

    house.agent.replay_rejects([1, 2])

    commit = house.store.commits[-1]
    assert [(r.reason, r.time_ms - T0_MS, r.payload) for r in commit.rejects] == [
        ("late", 1, late[0]),
        ("late", 2, late[1]),
    ]
    assert commit.replayed == [1, 2]


def a_kept_reject(payload: bytes, *, number: int = 1, time_ms: int = T0_MS) -> KeptReject:
    """Return a reject of e0, of a message of which nothing was taken."""
    return KeptReject(
        number=number,
        time_ms=time_ms,
        topic="s/e0/temperature",
        payload=payload,
        message=number,
        taken=b"",
        is_whole=True,
        retained=False,
    )


def test_an_unread_link_does_not_stop_the_agent() -> None:
    """With upstream away, readings are stored and alerts are queued all the same."""
    house = House(up=False)
    house.reading(60.0)

    house.step(COMMIT_MS)

    assert len(house.store.commits[0].drafts) == 2
    assert house.sensors.acknowledged == [1]


def test_a_silent_entity_is_forgotten_and_its_alert_ends() -> None:
    """After `forget_after` a learned entity makes room for others; a configured one stays."""
    house = House()
    house.twin.catalogue.add("kept", 0)
    house.reading(60.0)
    house.step(COMMIT_MS)
    assert [facts.entity for facts in house.agent.book.active.values()] == ["e0"]

    house.clock.pass_ms(FORGET_MS + 1)
    house.agent._forget_silent()
    house.agent._committer.flush()

    assert [house.twin.catalogue.entity_ids[place] for place in house.twin.catalogue.live()] == ["kept"]
    assert house.agent.book.active == {}
    assert [change.after.state for commit in house.store.commits for change in commit.alerts] == ["active", "cleared"]
    house.sensors.arrive("s/e1/temperature", b"20")
    house.step(COMMIT_MS)
    assert house.twin.catalogue.find("e1") is not None


def restarted(before: House) -> House:
    """Return the house after a restart: its twin as the snapshot has it."""
    house = House()
    for place in before.twin.catalogue.live():
        house.twin.catalogue.add(before.twin.catalogue.entity_ids[place], 0)
    assert house.twin.load(before.twin.dump())
    house.start()
    return house


def test_silence_adds_up_over_restarts() -> None:
    """An agent that is restarted each day forgets what is gone all the same, and nothing that speaks."""
    house = House()
    house.reading(20.0)
    house.sensors.arrive("s/e1/temperature", b"20")
    house.step(COMMIT_MS)
    for day in range(1, 4):
        house = restarted(house)
        house.clock.pass_ms(FORGET_MS // 3 - 1_000 * (day < 3))
        house.sensors.arrive("s/e1/temperature", b"20")
        house.step(COMMIT_MS)
        house.agent._forget_silent()
        assert house.twin.catalogue.find("e0") is not None
    house.clock.pass_ms(3_000)

    house.agent._forget_silent()

    assert [house.twin.catalogue.entity_ids[place] for place in house.twin.catalogue.live()] == ["e1"]


def test_after_a_snapshot_of_an_earlier_version_silence_counts_from_the_start() -> None:
    """It does not say who was silent for how long, so everybody gets all of the time."""
    before = House()
    before.reading(20.0)
    before.step(COMMIT_MS)
    house = House()
    house.twin.catalogue.add("e0", 0)
    arrays = {name: array for name, array in before.twin.dump().items() if not name.startswith("staleness.")}
    assert house.twin.load(arrays)
    house.start()
    found = []
    for pass_ms in (FORGET_MS, 1):
        house.clock.pass_ms(pass_ms)
        house.sensors.arrive("s/e1/temperature", b"20")
        house.step()
        house.agent._forget_silent()
        found.append(house.twin.catalogue.find("e0"))

    assert found == [0, None]


@pytest.mark.parametrize("problem", ["", "behind what is stored"])
def test_no_clock_makes_an_agent_forget_at_its_start(problem: str) -> None:
    """Ten years later by the wall clock, right or wrong: nobody listened, so nobody was silent."""
    house = House()
    house.reading(20.0)
    house.sensors.arrive("s/e1/temperature", b"20")
    house.step(COMMIT_MS)
    house = restarted(house)
    house.clock.wall_ms += 10 * 365 * 86_400_000
    house.clock.problem = problem
    house.sensors.arrive("s/e1/temperature", b"20")
    house.step(COMMIT_MS)

    house.agent._forget_silent()

    assert house.twin.catalogue.live_count == 2


def test_a_broker_that_is_away_is_not_the_silence_of_those_behind_it() -> None:
    """Its absence does not count, neither while it lasts nor once the first of many is heard again."""
    house = House()
    for name in ("e0", "e1"):
        house.sensors.arrive(f"s/{name}/temperature", b"20")
    house.step(COMMIT_MS)
    house.sensors.up = False
    for _ in range(4):
        house.agent._next_tick_ms = 0
        house.step(FORGET_MS // 2)
        house.agent._forget_silent()
    house.sensors.up = True
    house.sensors.arrive("s/e1/temperature", b"20")
    house.step(COMMIT_MS)

    house.agent._forget_silent()
    assert house.twin.catalogue.live_count == 2

    house.clock.pass_ms(FORGET_MS)
    house.sensors.arrive("s/e1/temperature", b"20")
    house.step(COMMIT_MS)
    house.agent._forget_silent()
    assert [house.twin.catalogue.entity_ids[place] for place in house.twin.catalogue.live()] == ["e1"]


def test_nobody_is_forgotten_after_a_start_before_anybody_was_heard() -> None:
    """A broker that begins anew hears its sensors one by one."""
    house = House()
    house.reading(20.0)
    house.step(COMMIT_MS)
    house = restarted(house)
    house.clock.pass_ms(2 * FORGET_MS)

    house.agent._forget_silent()

    assert house.twin.catalogue.find("e0") is not None


def test_a_free_place_of_a_snapshot_is_not_waited_for() -> None:
    """What was forgotten after the snapshot was made does not go stale, nor does what gets its place begin so."""
    before = House()
    before.reading(20.0)
    before.step(COMMIT_MS)
    before.twin.staleness.silence([0])
    house = House()
    house.twin.catalogue.forget(house.twin.catalogue.add("e0", 0))

    assert house.twin.load(before.twin.dump())

    assert not house.twin.staleness.stale[0]
    assert house.twin.staleness.silent_for_ms(0, 10**9) == 0


def test_a_snapshot_is_made_and_the_silent_are_forgotten_every_minute() -> None:
    """The tick does both, and a topic of a forgotten entity is learned anew."""
    house = House()
    house.reading(20.0)
    house.step(COMMIT_MS)
    house.agent._next_tick_ms = 0

    house.step(FORGET_MS + 1)

    assert house.store.snapshots == 1
    assert house.twin.catalogue.live() == []
    house.reading(21.0, after_ms=5000)
    house.step(COMMIT_MS)
    assert [house.twin.catalogue.entity_ids[place] for place in house.twin.catalogue.live()] == ["e0"]
    assert len(house.store.commits[-1].stored) == 1


def test_a_twin_is_published_when_it_moves_and_not_too_often() -> None:
    """The first score is told, the next ones not before `twin_every`, one that did not move not at all."""
    house = House(inflight=10_000)
    topics = []
    for number, value in enumerate([20.0, 40.0, -40.0, -40.0, -40.0, -40.0]):
        house.reading(value, after_ms=100_000 * number)
        house.step(COMMIT_MS if number < 3 else 60_000)
        topics.append([draft.topic for draft in house.store.commits[-1].drafts if "/twin/" in draft.topic])

    assert topics == [[], ["attwin/g/twin/e0"], [], ["attwin/g/twin/e0"], [], []]


def test_the_last_change_before_silence_is_published_too() -> None:
    """A change that came too soon after another is told when its time has come, although nothing follows it."""
    house = House()
    house.twin.scoring.clear()
    for value in (20.0, 21.0):
        house.reading(value, after_ms=int(value))
        house.step(COMMIT_MS)
    house.agent._next_tick_ms = 0

    house.step(60_000)

    bodies = [draft.body for commit in house.store.commits for draft in commit.drafts if "/twin/" in draft.topic]
    assert [body["temperature"] for body in bodies if body] == [20.0, 21.0]


def test_a_kind_without_a_model_is_published_by_its_readings() -> None:
    """A gateway without models tells the state of its twins too."""
    house = House()
    house.twin.scoring.clear()
    house.reading(20.0)
    house.step(COMMIT_MS)
    house.reading(21.0, after_ms=1)
    house.step(COMMIT_MS)

    assert [[d.topic for d in commit.drafts] for commit in house.store.commits] == [["attwin/g/twin/e0"], []]


def test_a_believed_jump_of_the_clock_mends_what_is_stored() -> None:
    """The round before it is committed first; then the times are put right and the twin is made anew."""
    rig = House()
    rig.reading(20.0)
    rig.clock.jump = Jump(5_000, "")
    rig.agent._next_tick_ms = 0

    rig.step(COMMIT_MS)

    assert len(rig.store.commits) == 1
    assert rig.store.mended == [rig.clock.offset_ms]
    assert rig.refilled == [[]]


def test_a_jump_that_is_not_believed_changes_nothing() -> None:
    """It is said, and readings are stored as uncertain."""
    rig = House()
    rig.clock.problem = "the clock jumped"
    rig.clock.jump = Jump(0, rig.clock.problem)
    rig.agent._next_tick_ms = 0
    rig.reading(20.0)

    rig.step(50)
    rig.step(200)

    assert rig.store.mended == []
    assert rig.agent.health()["clock"] == "the clock jumped"
    assert rig.store.commits[0].stored.reason.tolist() == [Reason.CLOCK]


def test_a_disk_that_refuses_holds_everything_and_goes_on_by_itself() -> None:
    """Nothing is acknowledged, an alert is told at once and kept in the reserve; all is stored when space is back."""
    house = House()
    house.store.refusal = StoreStalledError("twin.db: database or disk is full")
    house.reading(60.0, number=1)
    house.step(50)
    house.reading(61.0, number=2, after_ms=1)
    house.step(50)

    assert house.sensors.acknowledged == []
    assert [change.after.rule for change in house.log.reserved] == ["hot"]
    assert [topic for topic, _ in house.uplink.told][:2] == ["attwin/g/events", "attwin/g/alert/e0/hot"]
    assert "full" in str(house.agent.health()["disk"])

    house.store.refusal = None
    house.step(500)
    assert house.store.commits == []
    house.step(600)

    (commit,) = house.store.commits
    assert len(commit.stored) == 2
    assert [change.after.rule for change in commit.alerts] == ["hot"]
    assert sorted(house.sensors.acknowledged) == [1, 2]
    assert house.log.reserved == []
    assert house.agent.health()["disk"] == "up"


def test_an_outbox_that_cannot_be_read_for_now_stalls_the_agent_and_does_not_end_it() -> None:
    """It is told like a commit that the disk refuses, and commits are tried all the same."""
    house = House()
    house.store.outbox_refusal = StoreStalledError("twin.db: disk I/O error")

    house.step()
    told = house.agent.health()["disk"]
    house.reading(60.0, number=1)
    for _ in range(10):
        house.step(200)

    assert "I/O" in str(told)
    assert house.sensors.acknowledged == [1]
    house.store.outbox_refusal = None
    house.step(1_100)
    assert house.agent.health()["disk"] == "up"


def test_what_is_held_is_bounded() -> None:
    """While the disk refuses, what arrives beyond the bound is left to the broker."""
    house = House(inflight=65_535)
    house.store.refusal = StoreStalledError("full")
    for batch in range(4):
        for number in range(2_000):
            house.reading(1.0, number=number + 1, after_ms=batch * 2_000 + number)
        house.step(30)

    assert house.agent._committer.round.messages == 4_000
    assert house.sensors.waiting() == 4_000
    house.store.refusal = None
    for _ in range(6):
        house.step(1_100)
    assert sum(len(commit.stored) for commit in house.store.commits) == 8_000


def test_a_stall_with_nothing_to_commit_ends_by_itself() -> None:
    """A snapshot that the disk refused must not leave the agent waiting for a message, nor spinning."""
    house = House()
    house.agent._committer.stall("full")

    assert house.agent._timeout_ms() > 0
    house.step(1_100)

    assert house.agent.health()["disk"] == "up"


def test_a_day_that_drifted_is_kept_and_told_in_one_commit() -> None:
    """The next tick judges it; health says how far it was; no day is judged by a round that is not committed."""
    house = House()
    for number in range(300):
        house.reading(100.0 + number % 10, after_ms=250_000 * number, number=number + 1)
    house.reading(5.0, after_ms=2 * 86_400_000)
    house.reading(5.0, after_ms=2 * 86_400_000 + 1_000)
    house.step()
    house.agent._next_tick_ms = 0

    house.step(COMMIT_MS)
    house.step(COMMIT_MS)

    (judged,) = [commit for commit in house.store.commits if commit.drift]
    assert [change.after.rule for change in judged.alerts] == ["drift"]
    assert "attwin/g/alert/room/drift" in [draft.topic for draft in judged.drafts]
    assert [(day.scores, day.is_over) for day in judged.drift] == [(32, True), (268, True)]
    told = house.agent.health()["drift"]
    assert isinstance(told, dict)
    assert [day["running"] for day in told["room"]] == [True, False, False]
