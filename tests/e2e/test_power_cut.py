"""Power cuts: the agent on a file system that forgets, in one moment, all that it was not made to keep."""

import json
import random
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest

from attwin.adapters.durable import sync
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.journal import decode
from attwin.core.outgoing import Draft
from attwin.ports import Commit
from attwin.wiring.auditing import audit_of
from support.builders import a_batch, a_catalogue, a_kind
from support.faults import report
from support.machine import Disk, need_administrator
from support.processes import Agent, Client, Mosquitto, wait_until

CONFIG = """\
version: 1
gateway: {{id: {base}}}
broker: {{url: "{broker}", inflight: 200}}
upstream: {{url: "{broker}"}}
store: {{path: {disk}/twin.db, free: 0, durability: {durability}}}
kinds:
  room: {{metrics: {{co2: {{unit: ppm}}}}}}
sources:
  - topic: {base}/{{entity}}/{{metric}}
    kind: room
rules:
  - name: stuffy
    kind: room
    when: {{metric: co2, above: 1000000}}
"""
MARKER = -1.0
HIGH = 1_000_000


def value_of(number: int) -> int:
    """Return the value of a reading, unlike that of any other; one in a hundred raises an alert."""
    return number + HIGH * (number % 100 == 0)


class Load(threading.Thread):
    """A sensor that publishes all the time, each reading with a value of its own; every second one has no time."""

    def __init__(self, sensor: Client, topic: str) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._sensor = sensor
        self._topic = topic
        self._began_s = time.time() - 3600
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Publish; what is counted as sent was acknowledged to the sensor."""
        while not self._ended.wait(0.0005):
            number = self.sent + 1
            timed = json.dumps({"value": value_of(number), "time": self._began_s + number / 1000})
            self._sensor.publish(self._topic, timed if number % 2 else str(value_of(number)))
            self.sent = number


class Site:
    """An agent whose database lies on a disk whose power can be cut."""

    def __init__(self, folder: Path, broker: Mosquitto, disk: Disk, *, durability: str) -> None:
        self.base = f"p{time.monotonic_ns()}"
        self.broker = broker
        self.disk = disk
        self.database = disk.path / "twin.db"
        config = folder / "attwin.yaml"
        text = CONFIG.format(base=self.base, broker=broker.url, disk=disk.path, durability=durability)
        config.write_text(text, encoding="utf-8")
        self.agent = Agent(config, database=self.database)
        self._copy = folder / "copy"

    def cut(self, *, goes_on_s: float = 0.0) -> None:
        """Cut the power, and boot again without starting the agent.

        The agent is stopped before: a kernel whose file system is shut down under a sync may say that the sync was done
        (in three of 200 cuts under a program that does nothing but append and sync). With its power nobody hears that.

        Args:
            goes_on_s: How long the agent goes on without its disk; it is between two calls of the kernel then.
        """
        self.agent.freeze(at_rest=goes_on_s > 0)
        self.disk.cut_power()
        if goes_on_s:
            self.agent.thaw()
            time.sleep(goes_on_s)
        self.agent.kill()
        self.disk.boot()

    def problems(self) -> list[str]:
        """Return what SQLite finds in a copy of the database: the agent has to find its log as the cut left it."""
        shutil.rmtree(self._copy, ignore_errors=True)
        self._copy.mkdir()
        for part in self.database.parent.glob("twin.db*"):
            if not part.name.endswith("-shm"):
                shutil.copy(part, self._copy)
        with closing(sqlite3.connect(self._copy / "twin.db")) as connection:
            found = [str(row[0]) for row in connection.execute("pragma integrity_check")]
        return [] if found == ["ok"] else found

    def values(self) -> Counter[float]:
        """Return how often every value is stored."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            bodies = connection.execute("select body from journal where readings > 0").fetchall()
        return Counter(value for (body,) in bodies for value in decode(body).value.tolist())

    def drain(self, sensor: Client) -> None:
        """Wait until all that the broker still has is stored: the broker keeps the order, so its last message is."""
        sensor.publish(f"{self.base}/end/co2", str(MARKER))
        wait_until(lambda: MARKER in self.values(), "the last reading is stored", 60)

    def alert_events(self) -> tuple[list[int], list[int]]:
        """Return the numbers of the alert events: those of the database, and those of the file beside it."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            stored = [int(row[0]) for row in connection.execute("select id from alert_events order by id")]
        lines = self.database.with_name("alerts.jsonl").read_text(encoding="utf-8").splitlines()
        return stored, [int(json.loads(line)["event"]) for line in lines]


@pytest.fixture(params=["ext4", pytest.param("xfs", marks=pytest.mark.slow)])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A file system of its own."""
    need_administrator("mount a file system whose power can be cut")
    with Disk(tmp_path, str(request.param)) as disk:
        disk.kind = request.param  # type: ignore[attr-defined]
        yield disk


def cut_again_and_again(site: Site, load: Load, cuts: int) -> tuple[list[int], float]:
    """Cut the power at random moments under load.

    Returns:
        How many readings had been sent at each cut, and the longest time from a boot until the broker was back.
    """
    chance = random.Random(cuts)  # noqa: S311 -- a load, not a secret
    sent, slowest_s = [], 0.0
    for _ in range(cuts):
        before = load.sent
        wait_until(lambda before=before: load.sent > before, "readings flow")
        time.sleep(chance.uniform(0.1, 0.9))
        site.cut(goes_on_s=chance.choice((0, 0.2)))
        sent.append(load.sent)
        assert site.problems() == []
        booted = time.monotonic()
        site.agent.start()
        wait_until(lambda: site.agent.status().get("broker") == "up", "the agent is back")
        slowest_s = max(slowest_s, time.monotonic() - booted)
    return sent, slowest_s


@pytest.mark.parametrize("cuts", [2, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_power_cut_under_load_loses_nothing(tmp_path: Path, mosquitto: Mosquitto, disk: Disk, cuts: int) -> None:
    """What the agent has acknowledged is on the disk, once; the rest comes again; no id upstream has two meanings."""
    site = Site(tmp_path, mosquitto, disk, durability="full")
    with (
        Client(mosquitto.port, f"attwin/{site.base}/#") as upstream,
        Client(mosquitto.port) as sensor,
        site.agent,
    ):
        with Load(sensor, f"{site.base}/lab/co2") as load:
            _, slowest_s = cut_again_and_again(site, load, cuts)
        site.drain(sensor)
        wait_until(lambda: site.agent.status().get("outbox_waiting") == 0, "upstream has everything")
        site.agent.stop()

    stored = site.values()
    assert stored == Counter({MARKER: 1} | {float(value_of(number)): 1 for number in range(1, load.sent + 1)})
    assert site.problems() == []
    assert not list(disk.path.glob("*.corrupt-*"))
    for line in site.agent.rows("audit"):
        assert line["difference"] == 0, line
    in_database, in_file = site.alert_events()
    assert in_database
    assert in_file == in_database == list(range(1, len(in_database) + 1))
    # what the agent tells between the cut and its end has no id yet, and comes again with one
    told = [body for body in upstream.bodies("/events") if body["id"] != "not stored"]
    events = {(body["id"], json.dumps({**body, "resend": None}, sort_keys=True)) for body in told}
    assert len(events) == len({name for name, _ in events}) == len(in_database)
    report(f"power cut, {disk.kind}", injected=cuts, sent=load.sent, lost=0, recovered_s=slowest_s)  # type: ignore[attr-defined]


@pytest.mark.parametrize("cuts", [2, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_the_rig_shows_what_a_commit_that_is_not_synced_loses(
    tmp_path: Path, mosquitto: Mosquitto, disk: Disk, cuts: int
) -> None:
    """The control: with `durability: normal` acknowledged readings are gone, so the rig would see it otherwise too."""
    site = Site(tmp_path, mosquitto, disk, durability="normal")
    with Client(mosquitto.port) as sensor, site.agent:
        with Load(sensor, f"{site.base}/lab/co2") as load:
            sent_at, slowest_s = cut_again_and_again(site, load, cuts)
        site.drain(sensor)
        site.agent.stop()

    stored = site.values()
    missing = [number for number in range(1, load.sent + 1) if float(value_of(number)) not in stored]
    lossy = {next(cut for cut, sent in enumerate(sent_at) if number <= sent) for number in missing}
    assert lossy
    assert max(stored.values()) == 1
    fault = f"control: power cut, {disk.kind}, not synced ({len(lossy)} cuts lose)"  # type: ignore[attr-defined]
    report(fault, injected=cuts, sent=load.sent, lost=len(missing), recovered_s=slowest_s)


@pytest.mark.parametrize("cuts", [1, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_power_cut_while_the_first_database_is_made_does_no_harm(
    tmp_path: Path, mosquitto: Mosquitto, disk: Disk, cuts: int
) -> None:
    """Whatever part of a database is on the disk, the next start goes on from it, and takes it for no damage."""
    site = Site(tmp_path, mosquitto, disk, durability="full")
    chance = random.Random(cuts)  # noqa: S311 -- moments, not a secret
    slowest_s = 0.0
    with Client(mosquitto.port) as sensor, site.agent:
        for number in range(1, cuts + 1):
            site.agent.stop()
            for part in disk.path.iterdir():
                if part.is_file():
                    part.unlink()
            site.agent.launch()
            wait_until(site.database.exists, "the database is being made")
            time.sleep(chance.uniform(0, 0.25))
            site.cut()
            assert site.problems() == []
            booted = time.monotonic()
            site.agent.start()
            sensor.publish(f"{site.base}/lab/co2", str(number))
            wait_until(lambda number=number: float(number) in site.values(), "a reading is stored")
            slowest_s = max(slowest_s, time.monotonic() - booted)
            assert not list(disk.path.glob("*.corrupt-*"))
        site.agent.stop()
    report(f"power cut at the first start, {disk.kind}", injected=cuts, sent=cuts, lost=0, recovered_s=slowest_s)  # type: ignore[attr-defined]


def a_damaged_database(site: Site) -> list[tuple[Path, bytes]]:
    """Make a database with readings and messages, break a page in its middle, and return its files."""
    catalogue = a_catalogue(a_kind(metrics=("co2",)))
    store = SqliteStore(site.database, catalogue, gateway=site.base, durability="normal")
    now_ms = time.time_ns() // 1_000_000
    for number in range(1, 1001):
        counts = {("s", name, ""): 3 for name in ("readings_decoded", "readings_stored")}
        counts |= {("s", name, ""): 1 for name in ("messages_received", "messages_decoded")}
        stored = a_batch(values=[number, number + 0.25, number + 0.5], times_ms=[now_ms - 10_000 + number] * 3)
        drafts = [Draft(lane="alerts", topic=f"t{number}", retain=False, body={"n": number})] if number < 50 else []
        store.commit(Commit(now_ms=now_ms, stored=stored, counts=counts, drafts=drafts))
    store.close()
    with closing(sqlite3.connect(site.database)) as connection:
        pages = connection.execute("select pageno from dbstat where name = 'outbox' and pagetype = 'leaf'").fetchall()
    with site.database.open("rb+") as file:
        file.seek((pages[-1][0] - 1) * 4096)
        file.write(b"\xff" * 4096)
    return [(part, part.read_bytes()) for part in disk_files(site)]


def disk_files(site: Site) -> list[Path]:
    """Return the files of the disk."""
    return [part for part in site.disk.path.iterdir() if part.is_file()]


@pytest.mark.parametrize("cuts", [1, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_power_cut_while_a_damaged_database_is_mended_costs_nothing_more(
    tmp_path: Path, mosquitto: Mosquitto, disk: Disk, cuts: int
) -> None:
    """Whenever the power goes, a later start saves what one without a cut does, and counts nothing twice."""
    site = Site(tmp_path, mosquitto, disk, durability="full")
    damaged = a_damaged_database(site)
    chance = random.Random(cuts)  # noqa: S311 -- moments, not a secret
    slowest_s = 0.0
    with site.agent:
        site.agent.stop()
        expected = site.values()
        assert len(expected) > 2000
        for _ in range(cuts):
            for part in disk_files(site):
                part.unlink()
            for part, body in damaged:
                part.write_bytes(body)
                sync(part)
            sync(disk.path)
            site.agent.launch()
            wait_until(lambda: list(disk.path.glob("twin.db.*salvag*")), "mending has begun")
            time.sleep(chance.uniform(0, 0.3))
            site.cut()
            booted = time.monotonic()
            site.agent.start()
            slowest_s = max(slowest_s, time.monotonic() - booted)
            site.agent.stop()
            assert site.values() == expected
            assert not [found for found in audit_of(site.database) if found.difference]
            assert site.problems() == []
            assert len([part for part in disk.path.glob("*.corrupt-*") if not part.name.endswith(("wal", "shm"))]) == 1
    report(f"power cut while mending, {disk.kind}", injected=cuts, sent=cuts, lost=0, recovered_s=slowest_s)  # type: ignore[attr-defined]
