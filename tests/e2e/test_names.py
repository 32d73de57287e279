"""Brokers that have a name, and name servers that say nothing: the agent in a network with one of the test's own."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from support.faults import report
from support.machine import Line, need_administrator, program
from support.processes import Agent, Client, Mosquitto, wait_until

CONFIG = """\
version: 1
gateway: {{id: g}}
broker: {{url: "mqtt://broker.example:{port}"}}
kinds:
  room: {{metrics: {{co2: {{unit: ppm}}}}}}
sources:
  - topic: s/{{entity}}/{{metric}}
    kind: room
"""
TYPE_A = 1


class NameServer(threading.Thread):
    """A name server that hears every question, and answers each with one address once it is told to."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.asked = 0
        self.answers = False
        self._address = socket.inet_aton(address)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        """Hear and answer until closed."""
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                question, sender = self._socket.recvfrom(512)
                self.asked += 1
                if self.answers:
                    self._socket.sendto(self._answer(question), sender)

    def close(self) -> None:
        """Stop."""
        self._ended.set()
        self.join()
        self._socket.close()

    def _answer(self, question: bytes) -> bytes:
        """Return the one address, and for every other type that there is none. Source: RFC 1035, section 4."""
        end = question.index(b"\0", 12) + 5
        asked = question[12:end]
        (kind,) = struct.unpack(">H", asked[-4:-2])
        record = b"\xc0\x0c" + struct.pack(">HHIH", TYPE_A, 1, 60, 4) + self._address if kind == TYPE_A else b""
        return question[:2] + struct.pack(">HHHHH", 0x8180, 1, bool(record), 0, 0) + asked + record


class Site:
    """An agent that knows its broker by name, and asks the name server at the other end of the line for it."""

    def __init__(self, folder: Path, line: Line) -> None:
        self._stack = ExitStack()
        with line.far.inside():
            self.names = self._stack.enter_context(closing(NameServer(line.address)))
            self.broker = self._stack.enter_context(Mosquitto(folder, address="0.0.0.0"))  # noqa: S104 -- in a network of its own
            self.sensor = self._stack.enter_context(Client(self.broker.port))
        (folder / "resolv.conf").write_text(
            f"nameserver {line.address}\noptions timeout:2 attempts:2\n", encoding="ascii"
        )
        (folder / "attwin.yaml").write_text(CONFIG.format(port=self.broker.port), encoding="utf-8")
        self.agent = Agent(folder / "attwin.yaml")
        mount = f'{program("mount")} --bind {folder / "resolv.conf"} /etc/resolv.conf && exec "$0" "$@"'
        self.agent.wrapper = [program("unshare"), "--mount", "/bin/sh", "-c", mount]
        self.line = line

    def close(self) -> None:
        """Stop everything."""
        if not self.agent.gone():
            self.agent.kill()
        self._stack.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose agent has not been started."""
    need_administrator("make networks with a name server of their own")
    with Line() as line, closing(Site(tmp_path, line)) as site:
        yield site


def test_a_name_server_that_is_silent_holds_nothing_up(site: Site) -> None:
    """Meanwhile the agent answers at once and could be stopped; when the name is found, readings flow."""
    with site.line.near.inside():
        site.agent.launch()
    wait_until(lambda: site.names.asked, "the name server is asked")
    slowest_s, until = 0.0, time.monotonic() + 1.5
    while time.monotonic() < until:
        began = time.monotonic()
        status = site.agent.ask("status")
        slowest_s = max(slowest_s, time.monotonic() - began)
        assert status["agent"] == "running"
        assert status["broker"] != "up"
    # most of it is the command's own start
    assert slowest_s < 2

    site.names.answers = True
    answered = time.monotonic()
    wait_until(lambda: site.agent.status().get("broker") == "up", "the agent has found its broker", 30)
    site.sensor.publish("s/lab/co2", json.dumps({"value": 700, "time": time.time()}))
    site.agent.wait_for("readings_stored", 1)
    report("silent name server", injected=1, sent=1, lost=0, recovered_s=time.monotonic() - answered)
    assert site.agent.stop() < 5


def test_an_agent_that_waits_for_a_name_server_can_be_stopped(site: Site) -> None:
    """The thread that asks for the name does not keep the process."""
    with site.line.near.inside():
        site.agent.launch()
    wait_until(lambda: site.names.asked, "the name server is asked")
    wait_until(lambda: site.agent.status().get("agent") == "running", "the agent runs")

    assert site.agent.stop() < 5
