"""The outbox between a real agent and a real upstream that is away, refuses, or has nobody who listens."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.outgoing import Draft
from attwin.core.receiver import Receiver
from attwin.ports import Commit
from attwin.wiring.auditing import audit_of
from support.builders import a_catalogue
from support.processes import Agent, Client, Mosquitto, free_port, wait_until

CONFIG = """\
version: 1
gateway: {{id: g}}
broker: {{url: "{near}"}}
upstream: {{url: "{far}", health_every: 1d, {more}}}
kinds:
  room: {{metrics: {{co2: {{unit: ppm}}}}}}
sources:
  - {{topic: "s/{{entity}}/{{metric}}", kind: room}}
rules:
  - {{name: stuffy, kind: room, when: {{metric: co2, above: 1000}}, severity: critical}}
"""


class Site:
    """A broker of sensors, an upstream of its own, and an agent between them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        for name in ("near", "far"):
            (folder / name).mkdir()
        self.near = stack.enter_context(Mosquitto(folder / "near"))
        self.far = Mosquitto(folder / "far", port=free_port())
        self.agent = Agent(folder / "attwin.yaml")

    def configure(self, more: str = "", *, far: str = "") -> None:
        """Write the configuration, and the one of the upstream where it is to be another."""
        if far:
            self.far = Mosquitto(self.folder / "far", port=self.far.port, extra=far)
        text = CONFIG.format(near=self.near.url, far=self.far.url, more=more or "twin_every: 15m")
        (self.folder / "attwin.yaml").write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start the agent."""
        self._stack.enter_context(self.agent)

    def raise_far(self) -> None:
        """Start the upstream."""
        self._stack.enter_context(self.far)

    def listen(self) -> Client:
        """Subscribe upstream."""
        return self._stack.enter_context(Client(self.far.port, "attwin/g/#"))

    def sense(self, *values: float) -> None:
        """Publish readings."""
        with Client(self.near.port) as sensor:
            for value in values:
                sensor.publish("s/lab/co2", str(value))

    def attwin(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command about the agent."""
        return subprocess.run(
            [sys.executable, "-m", "attwin", *command, "--config", str(self.agent.config)],
            capture_output=True,
            text=True,
            check=False,
        )

    def lane(self, name: str) -> dict[str, object]:
        """Return what the list says of a lane."""
        return next(row for row in self.agent.rows("outbox", "list") if row["lane"] == name)

    def fill(self, count: int) -> None:
        """Let so many aggregates wait, before the agent runs."""
        store = SqliteStore(self.agent.database, a_catalogue(entities=0), gateway="g", durability="normal")
        drafts = [
            Draft(lane="aggregates", topic="attwin/g/aggregates", retain=False, body={"n": number})
            for number in range(count)
        ]
        store.commit(Commit(now_ms=time.time_ns() // 1_000_000, drafts=drafts))
        store.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose upstream is away, and whose agent does not run yet."""
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def checked(client: Client) -> Receiver:
    """Return what a receiver knows of what a client got; order within a lane is part of it."""
    receiver = Receiver()
    newest: dict[str, int] = {}
    for topic, payload, retained in list(client.messages):
        for heard in receiver.take(topic, payload, retained=retained):
            if heard.what == "message" and not heard.resend:
                assert heard.number > newest.get(heard.lane, 0)
                newest[heard.lane] = heard.number
    return receiver


def test_nothing_is_lost_over_kills_and_an_outage_and_alerts_come_first(site: Site) -> None:
    """Killed while it drains: every number arrives, in order, what may have been sent before says so."""
    site.fill(20_000)
    site.configure()
    site.start()
    site.sense(1200, 500)
    site.agent.wait_for("upstream_queued", 20_002)
    site.raise_far()
    upstream = site.listen()
    wait_until(lambda: len(upstream.messages) > 1_000, "it drains")
    site.agent.kill()
    site.agent.start()
    wait_until(lambda: site.agent.status().get("outbox_waiting") == 0, "upstream has everything")
    site.agent.stop()
    wait_until(lambda: upstream.messages[-1][1] == b"stopped", "all has arrived")

    numbers = [body["n"] for body in upstream.bodies("/aggregates") if "n" in body]
    lanes = [json.loads(payload)["id"].split(":")[2] for _, payload, _ in upstream.messages if b'"id"' in payload]
    receiver = checked(upstream)
    assert set(numbers) == set(range(20_000))
    assert lanes[0] == "alerts"
    assert receiver.missing == 0
    assert receiver.counts["duplicate"] <= receiver.counts["resend"] > 0
    assert [found for found in audit_of(site.agent.database) if found.difference] == []


def test_an_alert_that_nobody_subscribes_to_is_not_delivered(site: Site) -> None:
    """The broker of version 5 says so; it is kept, told in the status, and sent again when somebody is there."""
    site.configure('protocol: "5"')
    site.raise_far()
    site.start()
    site.sense(1200)
    wait_until(lambda: site.lane("alerts")["paused"], "the lane pauses")

    assert site.lane("alerts")["waiting"] == 1
    assert site.agent.status()["outbox_paused"] == {"alerts": "nobody subscribes to it"}
    upstream = site.listen()
    wait_until(lambda: upstream.bodies("/events"), "it arrives", 40)
    assert upstream.bodies("/events")[0]["resend"] is True
    wait_until(lambda: site.agent.status().get("outbox_waiting") == 0, "it is delivered")
    site.agent.stop()


def test_what_is_not_allowed_is_set_aside_until_somebody_lets_it_go(site: Site) -> None:
    """The others arrive; `outbox retry` sends it with its old id, where the agent runs and where it does not."""
    acl = site.folder / "acl"
    acl.write_text("topic write attwin/g/available\ntopic write attwin/g/info\ntopic read #\n", encoding="utf-8")
    acl.chmod(0o644)
    site.configure('protocol: "5"', far=f"acl_file {acl}")
    site.raise_far()
    site.start()
    site.sense(1200)
    wait_until(lambda: site.lane("alerts")["parked"] == 2, "both messages of the alert are set aside")
    waiting = [row["reason"] for row in site.agent.rows("outbox", "list", "--messages") if row["state"] == "parked"]
    assert set(waiting) == {"not-authorised"}

    acl.write_text("topic readwrite #\n", encoding="utf-8")
    assert site.far.process
    site.far.stop()
    site.far.start()
    upstream = site.listen()
    wait_until(lambda: site.agent.status().get("upstream") == "up", "upstream is back", 40)
    live = site.attwin("outbox", "retry", "alerts:1")
    wait_until(lambda: upstream.bodies("/events"), "the event arrives")
    site.agent.stop()
    alone = site.attwin("outbox", "retry", "--all")
    site.agent.start()
    wait_until(lambda: upstream.bodies("/stuffy"), "the state arrives")
    site.agent.stop()

    assert (live.stdout, alone.returncode) == ("1 message let go.\n", 0), live.stderr + alone.stderr
    assert str(upstream.bodies("/events")[0]["id"]).endswith(":alerts:1")
    assert [found for found in audit_of(site.agent.database) if found.difference] == []


def test_a_message_that_a_broker_hangs_up_on_does_not_stop_the_others(site: Site) -> None:
    """Version 5: the broker names its limit, and the message is set aside without being sent."""
    site.configure('protocol: "5"', far="max_packet_size 2000")
    store = SqliteStore(site.agent.database, a_catalogue(entities=0), gateway="g", durability="normal")
    bodies: list[dict[str, object]] = [{"n": 1}, {"n": 2, "pad": "x" * 5_000}, {"n": 3}]
    drafts = [Draft(lane="aggregates", topic="attwin/g/aggregates", retain=False, body=body) for body in bodies]
    store.commit(Commit(now_ms=time.time_ns() // 1_000_000, drafts=drafts))
    store.close()
    site.raise_far()
    upstream = site.listen()
    site.start()

    wait_until(lambda: len(upstream.bodies("/aggregates")) == 2, "the others arrive")
    wait_until(lambda: upstream.bodies("/dropped"), "the one is announced")
    assert upstream.bodies("/dropped")[0]["dropped"] == [[2, 2, "parked"]]
    assert site.lane("aggregates")["parked"] == 1
    site.agent.stop()


def test_what_waits_can_be_set_aside_while_upstream_is_away(site: Site) -> None:
    """By its place or its id; what is not there is said."""
    site.fill(3)
    site.configure()
    site.start()
    with closing(sqlite3.connect(f"file:{site.agent.database}?mode=ro", uri=True)) as connection:
        (store_id,) = connection.execute("select value from meta where name = 'store_id'").fetchone()

    done = site.attwin("outbox", "park", "aggregates:1", f"g:{store_id}:aggregates:2")
    wrong = site.attwin("outbox", "park", "aggregates:1")

    assert done.stdout == "2 messages set aside.\n", done.stderr
    assert (wrong.returncode, "no such message waits" in wrong.stderr) == (1, True)
    assert site.lane("aggregates")["parked"] == 2
    site.agent.stop()


def test_a_metered_link_is_open_while_something_waits_and_no_longer(site: Site) -> None:
    """It says `asleep` and goes; a critical alert opens it at once."""
    site.configure("connect: {every: 1h, for: 1m}")
    site.raise_far()
    upstream = site.listen()
    site.start()

    def words() -> list[bytes]:
        return [payload for topic, payload, _ in upstream.messages if topic.endswith("/available")]

    wait_until(lambda: words()[-1:] == [b"asleep"], "it sleeps")
    site.sense(500)
    site.sense(1200)
    wait_until(lambda: upstream.bodies("/events"), "the alert wakes it")
    wait_until(lambda: words()[-1] == b"asleep", "it sleeps again")
    assert words()[0] == b"online"
    site.agent.stop()


def test_the_receiver_says_what_is_missing(site: Site) -> None:
    """`upstream tail` prints messages and gaps, and exits 1 where something is missing that nobody announced."""
    site.configure()
    site.raise_far()
    tail = subprocess.Popen(
        [sys.executable, "-m", "attwin", "upstream", "tail", "--broker", site.far.url, "--messages", "3", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: "SUBSCRIBE" in site.far.log() or site.far.log().count("New client connected") > 0, "it listens")
    time.sleep(0.5)
    with Client(site.far.port) as gateway:
        for number in (1, 2, 5):
            gateway.publish("attwin/g/events", json.dumps({"id": f"g:s:alerts:{number}"}))
    printed, _ = tail.communicate(timeout=20)

    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line.get("what") for line in lines[:-1]] == ["message", "message", "gap", "message"]
    assert lines[2]["ranges"] == [[3, 4, "missing"]]
    assert lines[-1]["counts"]["missing"] == 2
    assert tail.returncode == 1
