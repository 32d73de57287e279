"""Brokers that freeze, die, forget, or come back all the time."""

import json
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from attwin.wiring.auditing import audit_of
from support.faults import report
from support.processes import Agent, Client, Mosquitto, free_port, wait_until

CONFIG = """\
version: 1
gateway: {{id: g}}
broker: {{url: "{broker}", keepalive: 2s, protocol: "{protocol}"}}
kinds:
  room: {{metrics: {{co2: {{unit: ppm}}}}}}
sources:
{sources}
"""


def an_agent(folder: Path, broker: Mosquitto, *topics: str, protocol: str = "3.1.1") -> Agent:
    """Return an agent of some topics."""
    sources = "\n".join(f"  - {{topic: '{topic}/{{entity}}/{{metric}}', kind: room}}" for topic in topics or ("s",))
    text = CONFIG.format(broker=broker.url, sources=sources, protocol=protocol)
    (folder / "attwin.yaml").write_text(text, encoding="utf-8")
    return Agent(folder / "attwin.yaml")


def reading(number: int) -> str:
    """Return a payload with a time of its own."""
    return json.dumps({"value": number, "time": 1_700_000_000 + number})


def throw_out(port: int, client_id: bytes) -> None:
    """Take over the session of a client, acknowledge nothing, and go without a word."""
    body = b"\x00\x04MQTT\x04\x00\x00\x3c" + struct.pack(">H", len(client_id)) + client_id
    with socket.create_connection(("127.0.0.1", port), 5) as intruder:
        intruder.sendall(bytes([0x10, len(body)]) + body)
        assert intruder.recv(4)[:1] == b"\x20"


@pytest.fixture(params=["3.1.1", "5"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Both versions of MQTT."""
    return str(request.param)


def test_a_frozen_broker_is_found_out_and_nothing_is_lost(tmp_path: Path, protocol: str) -> None:
    """The connection stays open and says nothing: the agent gives it up, and comes back when the broker does."""
    with Mosquitto(tmp_path) as broker, an_agent(tmp_path, broker, protocol=protocol) as agent:
        assert broker.process
        with Client(broker.port) as sensor:
            sensor.publish("s/lab/co2", reading(1))
            agent.wait_for("readings_stored", 1)
        broker.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: agent.status().get("broker") not in ("up", None), "the silence is found out", 15)
        broker.process.send_signal(signal.SIGCONT)
        thawed = time.monotonic()
        with Client(broker.port) as sensor:
            sensor.publish("s/lab/co2", reading(2))
            agent.wait_for("readings_stored", 2)
        report("frozen broker", injected=1, sent=2, lost=0, recovered_s=time.monotonic() - thawed)
        assert agent.stop() < 5


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_frozen_agent_that_is_thrown_out_comes_back_and_loses_nothing(tmp_path: Path, times: int) -> None:
    """It sleeps for longer than its keep-alive: the broker ends the connection, and keeps what arrives meanwhile."""
    sent, slowest_s = 0, 0.0
    with Mosquitto(tmp_path) as broker, an_agent(tmp_path, broker) as agent, Client(broker.port) as sensor:
        assert agent.process
        for time_out in range(1, times + 1):
            wait_until(lambda count=time_out: broker.log().count("as attwin-g ") >= count, "the agent is connected")
            for _ in range(200):
                # it is frozen in the middle of it: some were read and are not acknowledged yet
                sent += 1
                sensor.publish("s/lab/co2", reading(sent) if sent % 2 else str(sent))
            agent.freeze(at_rest=False)
            for _ in range(200):
                sent += 1
                sensor.publish("s/lab/co2", reading(sent) if sent % 2 else str(sent))
            wait_until(lambda count=time_out: broker.log().count("exceeded timeout") >= count, "it is thrown out")
            agent.thaw()
            thawed = time.monotonic()
            agent.wait_for("readings_stored", sent)
            slowest_s = max(slowest_s, time.monotonic() - thawed)
        agent.stop()
    assert agent.status()["readings_stored"] == sent
    assert not [found for found in audit_of(agent.database) if found.difference]
    report("frozen agent", injected=times, sent=sent, lost=0, recovered_s=slowest_s)


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_a_killed_broker_that_keeps_its_messages_loses_none(tmp_path: Path, kills: int, protocol: str) -> None:
    """With the shipped settings, what was acknowledged to the sensor survives kill -9 of the broker."""
    shipped = "persistence true\nautosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n"
    broker = Mosquitto(tmp_path, port=free_port(), extra=f"{shipped}persistence_location {tmp_path}/")
    sent, slowest_s = 0, 0.0
    with broker, an_agent(tmp_path, broker, protocol=protocol) as agent:
        for _ in range(kills):
            with Client(broker.port) as sensor:
                for _ in range(200):
                    sent += 1
                    sensor.publish("s/lab/co2", reading(sent))
            # the broker saves within a second of a change
            agent.wait_for("readings_stored", sent)
            assert broker.process
            broker.process.kill()
            broker.process.wait()
            broker.start()
            started = time.monotonic()
            wait_until(lambda: agent.status().get("broker") == "up", "the agent is back", 30)
            slowest_s = max(slowest_s, time.monotonic() - started)
        with Client(broker.port) as sensor:
            sent += 1
            sensor.publish("s/lab/co2", reading(sent))
        agent.wait_for("readings_stored", sent)
        agent.stop()
    assert not [found for found in audit_of(agent.database) if found.difference]
    report(f"kill -9 of the broker, MQTT {protocol}", injected=kills, sent=sent, lost=0, recovered_s=slowest_s)


def test_topics_that_are_not_wanted_any_more_are_dropped_from_the_session(tmp_path: Path) -> None:
    """A persistent session remembers what an earlier configuration subscribed to."""
    with Mosquitto(tmp_path) as broker, Client(broker.port) as sensor:
        with an_agent(tmp_path, broker, "old", "new") as agent:
            wait_until(lambda: agent.status().get("broker") == "up", "the agent is there")
            agent.stop()
        with an_agent(tmp_path, broker, "new") as agent:
            wait_until(lambda: agent.status().get("broker") == "up", "the agent is there")
            sensor.publish("old/lab/co2", "1")
            sensor.publish("new/lab/co2", "2")
            agent.wait_for("readings_stored", 1)
            assert agent.status()["messages_received"] == 1
            agent.stop()


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_storm_of_reconnections_loses_nothing(tmp_path: Path, times: int) -> None:
    """Somebody with our client id throws us out again and again, under load."""
    with Mosquitto(tmp_path) as broker, an_agent(tmp_path, broker) as agent, Client(broker.port) as sensor:
        wait_until(lambda: agent.status().get("broker") == "up", "the agent is there")
        sent = 0
        for _ in range(times):
            for _ in range(50):
                sent += 1
                sensor.publish("s/lab/co2", reading(sent) if sent % 2 else str(sent))
            throw_out(broker.port, b"attwin-g")
        agent.wait_for("readings_stored", sent)
        agent.stop()
        assert not [found for found in audit_of(agent.database) if found.difference]
        assert agent.status()["readings_stored"] == sent
    report("reconnect storm", injected=times, sent=sent, lost=0)
