"""A disk that is full, and a database that is damaged: the agent as a process on a file system of its own."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from attwin.adapters import sqlite_salvage
from attwin.adapters.sqlite_salvage import note_damage
from attwin.wiring.auditing import audit_of
from support.faults import report
from support.processes import Agent, Client, Mosquitto, wait_until

CONFIG = """\
version: 1
gateway: {{id: {base}}}
broker: {{url: "{broker}"}}
upstream: {{url: "{broker}"}}
store: {{path: {disk}/twin.db, free: 0}}
kinds:
  room: {{metrics: {{co2: {{unit: ppm}}}}}}
sources:
  - topic: {base}/{{entity}}/{{metric}}
    kind: room
rules:
  - name: stuffy
    kind: room
    when: {{metric: co2, above: 4000}}
"""


class Site:
    """A configuration whose database lies on a small disk."""

    def __init__(self, folder: Path, broker: Mosquitto, disk: Path) -> None:
        self.base = f"d{time.monotonic_ns()}"
        self.broker = broker
        self.disk = disk
        self.database = disk / "twin.db"
        (folder / "attwin.yaml").write_text(
            CONFIG.format(base=self.base, broker=broker.url, disk=disk), encoding="utf-8"
        )
        self.agent = Agent(folder / "attwin.yaml", database=self.database)

    def fill(self) -> None:
        """Fill the disk to its last byte."""
        ballast = os.open(self.disk / "ballast", os.O_WRONLY | os.O_CREAT)
        for size in (65_536, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.write(ballast, b"x" * size)
        os.close(ballast)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)], check=True)
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.fixture
def site(tmp_path: Path, mosquitto: Mosquitto, disk: Path) -> Site:
    """A site whose agent has not been started."""
    return Site(tmp_path, mosquitto, disk)


def test_a_full_disk_costs_nothing(site: Site) -> None:
    """Readings stay with the broker, upstream hears of it, and all is stored when there is space again."""
    topic = f"{site.base}/lab/co2"
    with site.agent, Client(site.broker.port) as sensor, Client(site.broker.port, f"attwin/{site.base}/#") as upstream:
        sensor.publish(topic, "700")
        site.agent.wait_for("readings_stored", 1)
        site.fill()
        sent = 1
        while "full" not in str(site.agent.status().get("disk")):
            sent += 1
            sensor.publish(topic, str(sent))
            assert sent < 5_000
        for _ in range(50):
            sent += 1
            sensor.publish(topic, str(sent))
        sent += 1
        sensor.publish(topic, "4500")
        # the alert is in the window of in-flight messages only if the agent has room for it; so ask for health
        wait_until(lambda: upstream.bodies("/health"), "health is told upstream")
        assert not site.agent.gone()

        (site.disk / "ballast").unlink()
        freed = time.monotonic()
        site.agent.wait_for("readings_stored", sent)
        recovered_s = time.monotonic() - freed
        assert recovered_s < 10
        assert site.agent.status()["disk"] == "up"
        wait_until(lambda: upstream.bodies("/events"), "the alert is told upstream")
        assert not [found for found in audit_of(site.database) if found.difference]
        assert site.agent.stop() < 5
    report("full disk", injected=1, sent=sent, lost=0, recovered_s=recovered_s)


def test_a_start_on_a_full_disk_waits_for_space(site: Site) -> None:
    """The agent says so, and goes on by itself when there is space; what came meanwhile is with the broker."""
    topic = f"{site.base}/lab/co2"
    with site.agent, Client(site.broker.port) as sensor:
        sensor.publish(topic, "700")
        site.agent.wait_for("readings_stored", 1)
        site.agent.kill()
        site.fill()
        site.agent.launch()
        wait_until(lambda: "store=stalled" in site.agent.log(), "the agent says that the disk is full")
        sensor.publish(topic, "800")

        (site.disk / "ballast").unlink()
        site.agent.wait_for("readings_stored", 2)
        assert not [found for found in audit_of(site.database) if found.difference]
        site.agent.stop()


@pytest.mark.parametrize("log", ["with its log", "without a log"])
def test_a_damaged_database_on_a_full_disk_waits_for_space(site: Site, log: str) -> None:
    """Nothing of it is lost meanwhile, its log included, and it is mended when there is space."""
    topic = f"{site.base}/lab/co2"
    with site.agent, Client(site.broker.port) as sensor:
        sensor.publish(topic, "700")
        site.agent.wait_for("readings_stored", 1)
        if log == "with its log":
            site.agent.kill()
        else:
            site.agent.stop()
        note_damage(site.database)
        site.fill()
        site.agent.launch()
        wait_until(lambda: "store=stalled" in site.agent.log() or site.agent.gone(), "the agent says that it waits")
        assert not site.agent.gone(), site.agent.log()
        sensor.publish(topic, "800")

        (site.disk / "ballast").unlink()
        site.agent.wait_for("readings_stored", 2)
        assert list(site.disk.glob("twin.db.corrupt-*"))
        assert "store-damaged" in {str(alert["rule"]) for alert in site.agent.rows("alerts", "list")}
        assert not [found for found in audit_of(site.database) if found.difference]
        site.agent.stop()


def test_a_log_is_not_left_behind_because_the_disk_is_full(site: Site) -> None:
    """Without space the log of a file that was set aside is not read, so nothing is salvaged until there is some."""
    path = site.disk / "aside.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma wal_autocheckpoint = 0")
        connection.execute("create table t (x)")
        connection.commit()
        shutil.copy(path, site.disk / "copy.db")
        shutil.copy(site.disk / "aside.db-wal", site.disk / "copy.db-wal")
    site.fill()

    with pytest.raises(sqlite3.OperationalError):
        sqlite_salvage._open(site.disk / "copy.db")

    (site.disk / "ballast").unlink()
    with closing(sqlite_salvage._open(site.disk / "copy.db")) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("t",)]


def test_a_damaged_database_is_set_aside_and_told(site: Site) -> None:
    """The agent starts all the same, raises an alert, and the alert ends at the next start."""
    topic = f"{site.base}/lab/co2"
    with site.agent, Client(site.broker.port) as sensor, Client(site.broker.port, f"attwin/{site.base}/#") as upstream:
        sensor.publish(topic, "4500")
        site.agent.wait_for("readings_stored", 1)
        site.agent.stop()
        image = bytearray(site.database.read_bytes())
        image[4096 * 3 : 4096 * 4] = b"\xff" * 4096
        site.database.write_bytes(bytes(image))

        started = time.monotonic()
        site.agent.start()
        recovered_s = time.monotonic() - started
        alerts = {str(alert["rule"]) for alert in site.agent.rows("alerts", "list")}
        assert "store-damaged" in alerts
        assert list(site.disk.glob("twin.db.corrupt-*"))
        wait_until(lambda: "store-damaged" in str(upstream.bodies("/events")), "the damage is told upstream")
        sensor.publish(topic, "700")
        wait_until(lambda: site.agent.ask("twin", "show", "lab").get("co2") == 700.0, "the twin goes on")
        site.agent.stop()
        site.agent.start()
        assert "store-damaged" not in {str(alert["rule"]) for alert in site.agent.rows("alerts", "list")}
        assert not [found for found in audit_of(site.database) if found.difference]
        site.agent.stop()
    report("damaged database", injected=1, sent=2, lost=0, recovered_s=recovered_s)
