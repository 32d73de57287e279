"""Lines that swallow what is sent, without a word to either end: the agent and its broker in networks of their own."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from attwin.adapters.sqlite_database import reader
from attwin.core.journal import decode
from attwin.wiring.auditing import audit_of
from support.faults import report
from support.machine import Line, need_administrator
from support.processes import Agent, Client, Mosquitto, wait_until

KEEPALIVE_S = 2
MOST_GROWTH_KIB = 5 * 1024

CONFIG = """\
version: 1
gateway: {{id: g}}
broker: {{url: "{broker}", keepalive: {keepalive}s, protocol: "{protocol}"}}
upstream: {{url: "{upstream}", keepalive: {keepalive}s, health_every: 1s}}
kinds:
  room: {{metrics: {{co2: {{unit: ppm}}}}}}
sources:
  - topic: s/{{entity}}/{{metric}}
    kind: room
rules:
  - name: stuffy
    kind: room
    when: {{metric: co2, above: 1000000}}
"""


class Site:
    """An agent at the near end of a line, and a broker with sensors of its own at the far end."""

    def __init__(self, folder: Path, line: Line) -> None:
        self.line = line
        self.sent = 0
        self._began_s = time.time() - 3600
        self._stack = ExitStack()
        self._folder = folder
        with line.far.inside():
            self.broker = Mosquitto(folder, address="0.0.0.0")  # noqa: S104 -- in a network of its own
            self._stack.enter_context(self.broker)
            self.sensor = self._stack.enter_context(Client(self.broker.port))
            self.upstream = self._stack.enter_context(Client(self.broker.port, "attwin/g/#"))
        self.far_url = f"mqtt://{line.address}:{self.broker.port}"
        self.agent = Agent(folder / "attwin.yaml")

    def close(self) -> None:
        """Stop everything."""
        self._stack.close()

    def start(self, *, broker: str = "", keepalive_s: int = KEEPALIVE_S, protocol: str = "3.1.1") -> None:
        """Start the agent, and wait until it is connected.

        Args:
            broker: That of the sensors; the far one unless told. Upstream is always the far one.
            keepalive_s: Of both links.
            protocol: Of the sensors.
        """
        text = CONFIG.format(
            broker=broker or self.far_url, upstream=self.far_url, keepalive=keepalive_s, protocol=protocol
        )
        self.agent.config.write_text(text, encoding="utf-8")
        with self.line.near.inside():
            self._stack.enter_context(self.agent)
        wait_until(lambda: self.is_up("broker") and self.is_up("upstream"), "the agent is connected")

    def is_up(self, link: str) -> bool:
        """Return whether a link is up."""
        return self.agent.status().get(link) == "up"

    def publish(self, sensor: Client, value: int, *, timed: bool = True) -> None:
        """Publish a reading with a time of its own, or without one."""
        self.sent += 1
        body = json.dumps({"value": value, "time": self._began_s + self.sent / 1000})
        sensor.publish("s/lab/co2", body if timed else str(value))

    def publish_next(self) -> None:
        """Publish a number that was not published before to the far broker; every second one without a time."""
        self.publish(self.sensor, self.sent + 1, timed=bool(self.sent % 2))

    def memory_kib(self) -> int:
        """Return how much memory the agent has."""
        assert self.agent.process
        status = Path(f"/proc/{self.agent.process.pid}/status").read_text(encoding="ascii")
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    def stored(self) -> Counter[float]:
        """Return how often every value is stored."""
        with reader(self.agent.database) as connection:
            bodies = connection.execute("select body from journal where readings > 0").fetchall()
        return Counter(value for (body,) in bodies for value in decode(body).value.tolist())

    def differences(self) -> list[str]:
        """Return the sums that do not add up."""
        return [found.what for found in audit_of(self.agent.database) if found.difference]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose agent has not been started."""
    need_administrator("make networks whose line can be cut")
    with Line() as line, closing(Site(tmp_path, line)) as site:
        yield site


@pytest.mark.parametrize("protocol", ["3.1.1", pytest.param("5", marks=pytest.mark.slow)])
@pytest.mark.parametrize("holes", [1, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_a_connection_that_is_open_at_one_end_only_is_found_out(site: Site, holes: int, protocol: str) -> None:
    """Nothing comes and nobody says so: the agent gives up after its keep-alive, comes back, and all is stored once."""
    site.start(protocol=protocol)
    memory_kib, slowest_s = 0, 0.0
    for _ in range(holes):
        site.publish_next()
        site.agent.wait_for("readings_stored", site.sent)
        memory_kib = memory_kib or site.memory_kib()
        site.line.drop()
        silent = time.monotonic()
        for _ in range(200):
            site.publish_next()
        wait_until(lambda: not site.is_up("broker"), "the silence is found out", 4 * KEEPALIVE_S)
        # a ping whose answer is swallowed is missed after one keep-alive; otherwise the ping itself is sent after one
        assert KEEPALIVE_S <= time.monotonic() - silent <= 3.5 * KEEPALIVE_S
        for _ in range(200):
            site.publish_next()
        site.line.mend()
        mended = time.monotonic()
        site.agent.wait_for("readings_stored", site.sent)
        slowest_s = max(slowest_s, time.monotonic() - mended)
        assert slowest_s < 20

    assert site.memory_kib() - memory_kib < MOST_GROWTH_KIB
    assert site.stored() == Counter({float(value): 1 for value in range(1, site.sent + 1)})
    site.agent.stop()
    assert site.differences() == []
    report(f"half-open line, MQTT {protocol}", injected=holes, sent=site.sent, lost=0, recovered_s=slowest_s)


@pytest.mark.parametrize("holes", [1, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_while_upstream_is_half_open_readings_are_taken_and_alerts_wait(site: Site, tmp_path: Path, holes: int) -> None:
    """The broker of the sensors is near: all is acknowledged; every alert is upstream when the line is back."""
    (tmp_path / "near").mkdir()
    with site.line.near.inside(), Mosquitto(tmp_path / "near") as near, Client(near.port) as sensor:
        site.start(broker=near.url, keepalive_s=1)
        slowest_s = 0.0
        memory_kib = site.memory_kib()
        for _ in range(holes):
            site.line.drop()
            for number in range(200):
                site.publish(sensor, site.sent + 1 + 1_000_000 * (number % 2))
            site.agent.wait_for("readings_stored", site.sent)
            wait_until(lambda: not site.is_up("upstream"), "the silence is found out", 4 * KEEPALIVE_S)
            assert site.is_up("broker")
            assert int(str(site.agent.status()["outbox_waiting"])) >= 199
            site.line.mend()
            mended = time.monotonic()
            wait_until(lambda: site.agent.status().get("outbox_waiting") == 0, "upstream has everything", 30)
            slowest_s = max(slowest_s, time.monotonic() - mended)
        assert site.memory_kib() - memory_kib < MOST_GROWTH_KIB
        site.agent.stop()

    with reader(site.agent.database) as connection:
        (count,) = connection.execute("select count(*) from alert_events").fetchone()
    bodies = [{**body, "resend": None} for body in site.upstream.bodies("/events")]
    events = [(body["id"], json.dumps(body, sort_keys=True)) for body in bodies]
    numbers = [int(str(name).rsplit(":", 1)[1]) for name, _ in events]
    assert count == len(set(events)) == len(set(numbers)) == site.sent - 1
    assert site.differences() == []
    report("half-open line upstream", injected=holes, sent=site.sent, lost=0, recovered_s=slowest_s)


@pytest.mark.parametrize("count", [300, pytest.param(6_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_on_a_line_that_loses_every_third_packet_everything_arrives_once(site: Site, count: int) -> None:
    """Thirty of a hundred packets are dropped in each direction; no reading is, and none is stored twice."""
    site.start(keepalive_s=20)
    site.line.drop("numgen random mod 100 lt 30")
    began = time.monotonic()
    for _ in range(count):
        # one packet for all of them would show nothing
        time.sleep(0.005)
        site.publish_next()
    site.agent.wait_for("readings_stored", 1)
    wait_until(lambda: site.stored().total() >= count, "all is stored", 300)
    recovered_s = time.monotonic() - began
    assert min(site.line.near.dropped(), site.line.far.dropped()) > 0

    assert site.stored() == Counter({float(value): 1 for value in range(1, count + 1)})
    site.line.mend()
    site.agent.stop()
    assert site.differences() == []
    report("30 % of packets lost", injected=1, sent=count, lost=0, recovered_s=recovered_s)
