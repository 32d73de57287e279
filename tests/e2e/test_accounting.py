"""Nothing disappears: the sums of a real agent, and what it rejected taken again."""

import json
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from support.faults import report
from support.processes import Agent, Client, Mosquitto, wait_until

CONFIG = """\
version: 1
gateway: {{id: {base}}}
broker: {{url: "{broker}"}}
upstream: {{url: "{broker}", health_every: 1s}}
limits: {{entities: {entities}}}
kinds:
  room:
    metrics:
      co2: {{unit: ppm, min: 0, max: 5000}}
      light: {{unit: lx, deadband: 5}}
sources:
  - topic: {base}/plain/{{entity}}/{{metric}}
    kind: room
  - topic: {base}/senml
    kind: room
    payload: {{format: senml}}
rules:
  - name: stuffy
    kind: room
    when: {{metric: co2, above: 1000}}
"""


class Site:
    """A configuration, its agent and its commands."""

    def __init__(self, folder: Path, broker: Mosquitto, *, entities: int = 10) -> None:
        self.base = f"a{time.monotonic_ns()}"
        self.path = folder / "attwin.yaml"
        self.broker = broker
        self.limit(entities)
        self.agent = Agent(self.path)
        self.database = folder / "twin.db"

    def limit(self, entities: int) -> None:
        """Write the configuration with a limit of entities."""
        text = CONFIG.format(base=self.base, broker=self.broker.url, entities=entities)
        self.path.write_text(text, encoding="utf-8")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command about this site."""
        return subprocess.run(
            [sys.executable, "-m", "attwin", *command, "--config", str(self.path)],
            capture_output=True,
            text=True,
            check=False,
        )

    def audit(self) -> dict[tuple[str, str], dict[str, int]]:
        """Return the parts of every sum; fail where one does not add up."""
        done = self.run("audit", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        sums = [json.loads(line) for line in done.stdout.splitlines()]
        return {(found["source"].removeprefix(self.base), found["what"]): found["parts"] for found in sums}


@pytest.fixture
def site(tmp_path: Path, mosquitto: Mosquitto) -> Site:
    """A site whose agent has not been started."""
    return Site(tmp_path, mosquitto)


def test_every_message_and_reading_is_in_a_sum(site: Site) -> None:
    """Good, repeated, suppressed and rejected ones, single and in packs, while the agent runs and after it."""
    plain, now = f"{site.base}/plain", time.time()
    with site.agent, Client(site.broker.port) as sensor:
        for value in (700, 700, 9999):
            sensor.publish(f"{plain}/lab/co2", json.dumps({"value": value, "time": now}))
        for after, value in enumerate((100, 103, 200)):
            sensor.publish(f"{plain}/lab/light", json.dumps({"value": value, "time": now + after}))
        sensor.publish(f"{plain}/lab/noise", "1")
        sensor.publish(f"{plain}/lab/co2", "not a number")
        sensor.publish(f"{site.base}/senml", '[{"n": "hall/co2", "v": 1200}, {"n": "hall/noise", "v": 1}]')
        sensor.publish(f"{site.base}/senml", "[")
        wait_until(lambda: "readings_stored" in site.agent.status() and len(site.audit()) > 4, "all is counted")
        site.agent.wait_for("messages_received", 10)
        live = site.audit()
        site.agent.stop()

    assert live["/plain/{entity}/{metric}", "messages received"] == {
        "decoded": 6, "rejected(not_decodable)": 1, "rejected(unknown_metric)": 1,
    }  # fmt: skip
    assert live["/plain/{entity}/{metric}", "readings decoded"] == {
        "stored": 3, "duplicate": 2, "suppressed(deadband)": 1,
    }  # fmt: skip
    assert live["/senml", "messages received"] == {"decoded": 1, "rejected(not_decodable)": 1}
    assert live["/senml", "readings decoded"] == {"stored": 1, "rejected(unknown_metric)": 1}
    assert live["store", "readings stored"] == {"in the journal": 4}
    assert site.audit().keys() == live.keys()


def test_the_audit_says_what_is_missing_and_fails(site: Site) -> None:
    """A row that somebody took out of the journal is missed."""
    with site.agent, Client(site.broker.port) as sensor:
        sensor.publish(f"{site.base}/plain/lab/co2", "700")
        site.agent.wait_for("readings_stored", 1)
        site.agent.stop()
    site.audit()
    with closing(sqlite3.connect(site.database)) as connection, connection:
        connection.execute("delete from journal where readings > 0")

    done = site.run("audit")

    assert done.returncode == 1
    assert "store: readings stored: 1 unaccounted for" in done.stderr


def test_rejects_are_listed_and_taken_again(site: Site) -> None:
    """After the configuration was put right; they keep the time at which they arrived, and the sums hold."""
    site.limit(1)
    plain = f"{site.base}/plain"
    with site.agent, Client(site.broker.port) as sensor:
        sensor.publish(f"{plain}/lab/co2", "700")
        sensor.publish(f"{plain}/hall/co2", "800")
        sensor.publish(f"{plain}/hall/co2", '{"value": "x"}')
        sensor.publish(f"{site.base}/senml", '[{"n": "lab/light", "v": 1}, {"n": "hall/light", "v": 2}]')
        site.agent.wait_for("messages_received", 4)
        arrived_ms = time.time_ns() // 1_000_000
        rows = site.agent.rows("rejects", "list")
        assert [row["reason"] for row in rows] == ["entity_limit", "entity_limit", "entity_limit"]
        assert "hall" in site.run("rejects", "list").stdout
        site.agent.stop()
        refused = site.run("rejects", "replay", "--all")
        assert refused.returncode == 1
        assert "no agent" in refused.stderr.lower()

        site.limit(5)
        site.agent.start()
        time.sleep(1.0)
        done = site.run("rejects", "replay", "--all", "--json")
        assert done.returncode == 0, done.stderr
        outcome = json.loads(done.stdout)
        assert {name: count for name, count in outcome.items() if count} == {
            "replayed": 3, "stored": 2, "duplicate": 1, "rejected_again": 1,
        }  # fmt: skip

        assert [row["reason"] for row in site.agent.rows("rejects", "list")] == ["not_decodable"]
        twin = site.agent.ask("twin", "show", "hall")
        assert twin["co2"] == 800.0
        assert twin["light"] == 2.0
        assert int(str(twin["co2_ms"])) <= arrived_ms + 100
        parts = site.audit()
        assert parts["/plain/{entity}/{metric}", "messages received"] == {
            "decoded": 2, "rejected(entity_limit)": 2, "rejected(not_decodable)": 1,
        }  # fmt: skip
        assert "/plain/{entity}/{metric}: messages received 3 + replayed 2 = " in site.run("audit").stdout
        again = site.run("rejects", "replay", "--all")
        assert "rejected_again  1\n" in again.stdout
        assert "new numbers" in again.stderr
        site.agent.stop()
    assert site.run("rejects", "replay").returncode == 2


@pytest.mark.parametrize("rounds", [4, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_a_killed_agent_loses_nothing_and_counts_nothing_twice(site: Site, rounds: int) -> None:
    """Kill -9 at random points under load; half of the payloads have no time of their own."""
    chance = random.Random(rounds)  # noqa: S311 -- a load, not a secret
    sent = 0
    with site.agent, Client(site.broker.port) as sensor:
        for _ in range(rounds):
            deadline = time.monotonic() + chance.uniform(0.05, 0.5)
            while time.monotonic() < deadline:
                sent += 1
                value = sent % 5000
                timed = json.dumps({"value": value, "time": 1_700_000_000 + sent})
                sensor.publish(f"{site.base}/plain/lab/co2", timed if sent % 2 else str(value))
            site.agent.kill()
            site.agent.start()
        site.agent.wait_for("messages_received", sent)
        wait_until(lambda: _stored(site.database) >= sent, "all is stored", 30)
        site.audit()
        assert _stored(site.database) == sent
        site.agent.stop()
    report("kill -9 of the agent", injected=rounds, sent=sent, lost=0)


def _stored(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute("select coalesce(sum(readings), 0) from journal").fetchone()[0])


def test_a_backup_of_a_running_agent_can_be_restored(site: Site, tmp_path: Path) -> None:
    """The copy is whole, has an id of its own, and the agent goes on from it; what was replaced is kept."""
    copy = tmp_path / "copy.db"
    with site.agent, Client(site.broker.port) as sensor:
        sensor.publish(f"{site.base}/plain/lab/co2", "700")
        site.agent.wait_for("readings_stored", 1)
        assert site.run("backup", str(copy)).returncode == 0
        assert site.run("backup", str(copy)).returncode == 1
        sensor.publish(f"{site.base}/plain/lab/co2", "800")
        site.agent.wait_for("readings_stored", 2)
        running = site.run("restore", str(copy))
        assert (running.returncode, "the agent is running; stop it first" in running.stderr) == (1, True)
        store = site.agent.status()["store"]
        site.agent.stop()

        done = site.run("restore", str(copy), "--json")
        assert done.returncode == 0, done.stderr
        assert Path(json.loads(done.stdout)["set_aside"]).is_file()
        assert "replaced" in done.stdout
        assert site.run("restore", str(site.database)).returncode == 1
        site.agent.start()
        assert site.agent.ask("twin", "show", "lab")["co2"] == 700.0
        assert site.agent.status()["store"] != store
        site.audit()
        site.agent.stop()
    assert site.run("restore", str(site.path)).returncode == 1


def test_a_pack_taken_in_part_is_stored_once_however_late_it_is_taken_again(site: Site) -> None:
    """More readings than are remembered came in between."""
    then = int(time.time()) - 50_000
    with site.agent, Client(site.broker.port) as sensor:
        sensor.publish(
            f"{site.base}/senml", f'[{{"bt": {then}, "n": "lab/co2", "v": 7}}, {{"n": "lab/noise", "v": 1}}]'
        )
        site.agent.wait_for("messages_received", 1)
        for part in range(70):
            pack = [{"bn": "hall/", "bt": then + part * 1000}, *({"n": "co2", "v": 1, "t": t} for t in range(1000))]
            sensor.publish(f"{site.base}/senml", json.dumps(pack))
        site.agent.wait_for("readings_stored", 70_001)

        done = site.run("rejects", "replay", "--all", "--json")

        outcome = json.loads(done.stdout)
        assert {name: count for name, count in outcome.items() if count} == {
            "replayed": 1, "duplicate": 1, "rejected_again": 1,
        }  # fmt: skip
        site.audit()
        site.agent.stop()


def test_many_rejects_are_taken_again_by_one_command(site: Site) -> None:
    """More than the agent is asked for at once, and than it takes in one slice."""
    site.limit(1)
    with site.agent, Client(site.broker.port) as sensor:
        sensor.publish(f"{site.base}/plain/lab/co2", "700")
        for number in range(250):
            sensor.publish(f"{site.base}/plain/hall/co2", str(number % 2))
        site.agent.wait_for("messages_received", 251)
        site.agent.stop()
        site.limit(5)
        site.agent.start()

        done = site.run("rejects", "replay", "--all", "--json")

        outcome = json.loads(done.stdout)
        assert {name: count for name, count in outcome.items() if count} == {"replayed": 250, "stored": 250}
        assert site.agent.rows("rejects", "list") == []
        site.audit()
        site.agent.stop()


def test_replaying_does_not_multiply_rejects(site: Site) -> None:
    """A message with two reasons has two rejects and is taken once; numbers are never given twice."""
    pack = '[{"n": "lab/noise", "v": 1}, {"n": "lab/co2", "u": "Cel", "v": 2}]'
    with site.agent, Client(site.broker.port) as sensor:
        sensor.publish(f"{site.base}/senml", pack)
        site.agent.wait_for("messages_received", 1)
        for _ in range(3):
            before = [row["reject"] for row in site.agent.rows("rejects", "list")]
            assert len(before) == 2
            assert site.run("rejects", "replay", "--all").returncode == 0
            after = [row["reject"] for row in site.agent.rows("rejects", "list")]
            assert len(after) == 2
            assert not set(before) & set(after)
        site.audit()
        site.agent.stop()
