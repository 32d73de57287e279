"""Facts about rejects that are taken again: nothing is lost, nothing is stored twice, over restarts too."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attwin.adapters.sqlite_store import SqliteStore
from attwin.ports import Messages
from attwin.runtime.agent import Agent
from attwin.runtime.alerts import AlertBook
from attwin.runtime.committer import COMMIT_MS
from attwin.runtime.drift import DriftWatch
from attwin.runtime.publish import TwinPublisher
from attwin.runtime.twin import Twin
from attwin.wiring.auditing import audit_of
from support.fakes import FakeAlertLog, FakeClock, FakeSensors, no_foresight, no_reactions
from support.sources import HEAD, NOW_MS, Source

ITEMS = "{topic: 'gw/{entity}', kind: room, payload: {items: ., metric: type, value: v}}"
SENML = "{topic: 'pack', kind: room, payload: {format: senml}}"
PLAIN = "{topic: 's/{entity}/{metric}', kind: room}"
CO2 = "      co2: {unit: ppm}\n"
NOISE = HEAD.replace(CO2, CO2 + "      noise: {unit: dB}\n")

_OPENED: list["Home"] = []


@pytest.fixture(autouse=True)
def homes() -> Iterator[None]:
    """Close what a test has opened."""
    yield
    while _OPENED:
        _OPENED.pop().store.close()


class Home:
    """An agent with a real store, which can be restarted with another configuration."""

    def __init__(self, folder: Path, source: str, *, head: str = HEAD) -> None:
        self.path = folder / "twin.db"
        self.clock = FakeClock(NOW_MS)
        self.sensors = FakeSensors()
        self._folder = folder
        self._start(source, head)
        _OPENED.append(self)

    def _start(self, source: str, head: str) -> None:
        self.source = Source(self._folder, source, head=head)
        catalogue = self.source.catalogue
        self.store = SqliteStore(self.path, catalogue, gateway="g", durability="normal")
        self.store.load_entities({"room": 0}, {}, now_ms=self.clock.now_ms())
        self.store.begin_boot("boot", self.clock.offset_ms, now_ms=self.clock.now_ms())
        twin = Twin(catalogue, {}, [], most_ahead_ms=10**9)
        self.agent = Agent(
            clock=self.clock,
            sensors=self.sensors,
            uplink=None,
            delivery=None,
            store=self.store,
            ingest=self.source.ingest,
            twin=twin,
            book=AlertBook([], catalogue, [], next_alert=1),
            publisher=TwinPublisher(twin, base="attwin/g", every_ms=60_000),
            alert_log=FakeAlertLog(),
            sources=[self.source.topic],
            inflight=100,
            health_every_ms=600_000,
            forget_after_ms=3_600_000,
            lasting=frozenset(),
            refill=lambda _active: None,
            drift=DriftWatch({}),
            reactions=no_reactions(),
            foresight=no_foresight(),
        )

    def restart(self, source: str, *, head: str = HEAD) -> None:
        """Stop, and start with another configuration."""
        self.agent._stop()
        self._start(source, head)

    def arrive(self, topic: str, *payloads: bytes) -> None:
        """Let messages arrive together, and commit them."""
        for payload in payloads:
            self.sensors.arrive(topic, payload)
        self.agent._step()
        self.clock.pass_ms(COMMIT_MS)
        self.agent._step()

    def replay(self, *numbers: int) -> dict[str, object]:
        """Take rejects again, all of them unless told."""
        return self.agent.replay_rejects(numbers or [number for number, _ in self.rejects()])

    def rejects(self) -> list[tuple[int, str]]:
        """Return number and reason of what the ring holds."""
        return self._query("select id, reason from rejects order by id")

    def stored(self, metric: str) -> list[float]:
        """Return the values that are stored of a metric, of whatever series."""
        keys = [key for (key,) in self._query(f"select id from series where metric = '{metric}'")]
        segments = list(self.store.segments_after(0))
        found = [s.value[np.isin(s.series_key, keys)] for s in segments]
        return sorted(np.concatenate([np.empty(0), *found]).tolist())

    def times_ms(self) -> list[int]:
        """Return the times of all that is stored, in order of arrival, from the start on."""
        return [time_ms - NOW_MS for s in self.store.segments_after(0) for time_ms in s.time_ms.tolist()]

    def _query(self, text: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(text).fetchall()

    def assert_sums(self) -> None:
        """The sums of the audit hold."""
        assert [found for found in audit_of(self.path) if found.difference] == []


def pack(*readings: tuple[str, float]) -> bytes:
    """Return a payload without times."""
    return ("[" + ", ".join(f'{{"type": "{metric}", "v": {value}}}' for metric, value in readings) + "]").encode()


def test_of_each_message_of_a_batch_the_rest_is_taken(tmp_path: Path) -> None:
    """Messages that arrived together have readings of the same millisecond; none is taken for another."""
    home = Home(tmp_path, ITEMS)
    home.arrive("gw/lab", pack(("co2", 500), ("noise", 40)), pack(("co2", 510), ("noise", 41)))
    home.restart(ITEMS, head=NOISE)

    answer = home.replay()

    assert (answer["replayed"], answer["stored"]) == ([1, 2], 2)
    assert (home.stored("co2"), home.stored("noise"), home.rejects()) == ([500, 510], [40, 41], [])
    home.assert_sums()


def test_of_equal_messages_each_is_taken(tmp_path: Path) -> None:
    """A sensor that says the same again has measured again."""
    home = Home(tmp_path, PLAIN)
    home.arrive("s/lab/noise", b"40", b"40", b"40")
    home.restart(PLAIN, head=NOISE)

    answer = home.replay()

    assert (answer["replayed"], answer["stored"]) == ([1, 2, 3], 3)
    assert (home.stored("noise"), home.times_ms()) == ([40, 40, 40], [0, 1, 2])
    home.assert_sums()


def test_of_equal_messages_taken_in_part_the_rest_of_each_is_taken(tmp_path: Path) -> None:
    """They are no rejects of one message."""
    home = Home(tmp_path, ITEMS)
    same = pack(("co2", 500), ("noise", 40))
    home.arrive("gw/lab", same, same)
    home.restart(ITEMS, head=NOISE)

    answer = home.replay()

    assert (answer["replayed"], answer["stored"]) == ([1, 2], 2)
    assert (home.stored("co2"), home.stored("noise")) == ([500, 500], [40, 40])
    home.assert_sums()


def test_several_values_of_a_series_are_taken_once_each(tmp_path: Path) -> None:
    """Of one message without times, equal ones too."""
    home = Home(tmp_path, ITEMS)
    home.arrive("gw/lab", pack(("co2", 1), ("noise", 3), ("co2", 1), ("noise", 3), ("co2", 2), ("noise", 4)))
    home.restart(ITEMS, head=NOISE)

    home.replay()

    assert (home.stored("co2"), home.stored("noise"), home.rejects()) == ([1, 1, 2], [3, 3, 4], [])
    home.assert_sums()


def test_what_is_rejected_again_still_knows_what_was_taken(tmp_path: Path) -> None:
    """However often, and however much of it was taken in between."""
    home = Home(tmp_path, ITEMS)
    home.arrive("gw/lab", pack(("co2", 500), ("noise", 40), ("dust", 9)))
    for _ in range(2):
        home.replay()
    for head in (NOISE, NOISE, NOISE.replace(CO2, CO2 + "      dust: {}\n")):
        home.restart(ITEMS, head=head)
        home.replay()

    assert (home.stored("co2"), home.stored("noise"), home.stored("dust")) == ([500], [40], [9])
    assert home.rejects() == []
    home.assert_sums()


def test_all_rejects_of_a_message_go_together(tmp_path: Path) -> None:
    """Each has all of the message: whichever is asked for, what can be taken is, and only once."""
    home = Home(tmp_path, SENML)
    home.arrive("pack", b'[{"n": "lab/noise", "u": "dB", "v": 1}, {"n": "lab/co2", "u": "Cel", "v": 2}]')
    assert [number for number, _ in home.rejects()] == [1, 2]
    home.restart(SENML, head=NOISE.replace("ppm", "Cel"))

    answers = [home.replay(2), home.replay(1)]

    assert [(answer["replayed"], answer["gone"], answer["stored"]) for answer in answers] == [
        ([1, 2], [], 2),
        ([], [1], 0),
    ]
    assert (home.stored("noise"), home.stored("co2")) == ([1], [2])
    home.assert_sums()


def test_a_message_that_reads_in_another_way_now_stays(tmp_path: Path) -> None:
    """Nobody knows which of its readings were taken, and nothing is learned from it."""
    home = Home(tmp_path, SENML)
    home.arrive("pack", b'[{"n": "lab/co2", "v": 1}, {"n": "hall/noise", "v": 2}]')
    before = home.rejects()
    home.restart(SENML, head=NOISE.replace("co2: ", "carbon: "))

    answer = home.replay()

    assert (answer["replayed"], answer["unsure"], answer["stored"]) == ([], [1], 0)
    assert home.rejects() == before
    assert home.source.catalogue.find("hall") is None
    home.assert_sums()


def test_a_reading_within_its_deadband_is_not_stored_later(tmp_path: Path) -> None:
    """It was counted as suppressed, with the message of which another part was rejected."""
    banded = CO2.replace("ppm", "ppm, deadband: 10")
    home = Home(tmp_path, ITEMS, head=HEAD.replace(CO2, banded))
    home.arrive("gw/lab", pack(("co2", 500)))
    home.arrive("gw/lab", pack(("co2", 505), ("noise", 40)))
    home.restart(ITEMS, head=NOISE.replace(CO2, banded))

    home.replay()

    assert (home.stored("co2"), home.stored("noise")) == ([500], [40])
    home.assert_sums()


def test_a_message_without_a_time_is_stored_at_its_arrival(tmp_path: Path) -> None:
    """Also where the series has newer readings by now."""
    home = Home(tmp_path, PLAIN)
    home.arrive("s/lab/noise", b"40")
    home.restart(PLAIN, head=NOISE)
    home.arrive("s/lab/noise", b"50")

    answer = home.replay()

    assert (answer["replayed"], answer["stored"]) == ([1], 1)
    assert home.times_ms() == [COMMIT_MS, 0]
    home.assert_sums()


def test_what_was_delivered_again_is_known_to_be_taken(tmp_path: Path) -> None:
    """Its readings were repetitions then, and are when it is taken again."""
    source = Source(tmp_path, ITEMS)
    again = ("gw/lab", pack(("co2", 500), ("noise", 40)))

    first, second = (source.take(again, flags=[flags], packet_ids=[7]) for flags in (0x32, 0x3A))

    assert (len(first.batch), len(second.batch)) == (1, 0)
    assert first.rejects[0].taken == second.rejects[0].taken != b""


def test_what_was_taken_is_found_by_another_clock(tmp_path: Path) -> None:
    """A time that is relative to the receipt moves with the clock that is put right."""
    source = Source(tmp_path, SENML)
    payload = b'[{"n": "lab/co2", "t": -5, "v": 1}, {"n": "lab/co2", "t": -4, "v": 1}, {"n": "lab/noise", "v": 2}]'
    message = Messages()
    message.add(b"pack", payload, length=len(payload), flags=0, packet_id=0)
    (reject,) = source.ingest.decode(message, now_ms=NOW_MS - 10**10).rejects

    again = source.ingest.decode(message, now_ms=NOW_MS, taken=reject.taken)

    assert again.is_sure
    assert (len(again.batch), again.counts["pack", "readings_duplicate", ""]) == (0, 2)


def test_a_late_reading_of_a_message_is_not_known_as_taken(tmp_path: Path) -> None:
    """It is what can be taken again; the other is not."""
    source = Source(tmp_path, SENML)
    payload = b'[{"n": "lab/co2", "t": -500, "v": 1}, {"n": "lab/co2", "v": 1}, {"n": "lab/noise", "v": 2}]'
    message = Messages()
    message.add(b"pack", payload, length=len(payload), flags=0, packet_id=0)
    ingested = source.ingest.decode(message, now_ms=NOW_MS)

    kept = source.ingest.without(message, ingested, np.array([True, False]))
    again = source.ingest.decode(message, now_ms=NOW_MS, taken=kept.rejects[0].taken)

    assert [(r.reason, r.count) for r in kept.rejects] == [("unknown_metric", 1), ("late", 1)]
    assert kept.rejects[0].taken == kept.rejects[1].taken
    assert len({r.message for r in kept.rejects}) == 1
    assert again.batch.time_ms.tolist() == [NOW_MS - 500_000]
