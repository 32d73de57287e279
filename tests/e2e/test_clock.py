"""A gateway whose clock is wrong: the agent as a process under a clock that the test sets."""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from attwin.core.journal import decode, shifted
from attwin.core.types import Reason
from support.processes import Agent, Client, Mosquitto, wait_until

CONFIG = """\
version: 1
gateway: {{id: {base}}}
broker: {{url: "{broker}"}}
kinds:
  room: {{metrics: {{co2: {{unit: ppm}}}}}}
sources:
  - topic: {base}/{{entity}}/{{metric}}
    kind: room
rules:
  - name: stuffy
    kind: room
    when: {{metric: co2, above: 1000}}
    for: 1m
"""
HOUR_MS = 3_600_000


def faketime_library() -> str:
    """Return the library that fakes the wall clock of a process."""
    if not shutil.which("faketime"):
        pytest.fail("no faketime: run `make test`, which installs it, or apt-get install faketime")
    return str(next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")))


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """The file that sets the agent's wall clock."""
    return tmp_path / "clock"


@pytest.fixture
def agent(tmp_path: Path, mosquitto: Mosquitto, clock: Path) -> Agent:
    """An agent that has not been started, under that clock."""
    base = f"c{time.monotonic_ns()}"
    path = tmp_path / "attwin.yaml"
    path.write_text(CONFIG.format(broker=mosquitto.url, base=base), encoding="utf-8")
    agent = Agent(path)
    agent.base = base  # type: ignore[attr-defined]
    # the monotonic clock must not be faked: waits would hang
    agent.environment = {
        "LD_PRELOAD": faketime_library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return agent


def stored(agent: Agent) -> list[tuple[int, int]]:
    """Return (time, reason) of all readings in the journal, as a reader sees them."""
    with closing(sqlite3.connect(agent.config.with_name("twin.db"))) as connection:
        rows = connection.execute(
            "select body, coalesce(shift_ms, 0) from journal left join boots on boot = boots.id "
            "where readings > 0 order by journal.id"
        ).fetchall()
    segments = [shifted(decode(body), shift_ms) for body, shift_ms in rows]
    return [pair for s in segments for pair in zip(s.time_ms.tolist(), s.reason.tolist(), strict=True)]


def now_ms() -> int:
    """Return the true time."""
    return time.time_ns() // 1_000_000


def test_a_gateway_that_boots_in_1970_keeps_its_readings_and_dates_them_later(
    agent: Agent, clock: Path, mosquitto: Mosquitto
) -> None:
    """Also those of a run that was killed before the clock was set; and no alert is raised by the jump."""
    topic = f"{agent.base}/lab/co2"  # type: ignore[attr-defined]
    clock.write_text("@1970-01-01 00:01:00", encoding="ascii")
    with agent, Client(mosquitto.port) as sensor:
        started_ms = now_ms()
        sensor.publish(topic, "1500")
        agent.wait_for("readings_stored", 1)
        agent.kill()
        agent.start()
        sensor.publish(topic, "1600")
        agent.wait_for("readings_stored", 2)
        assert "behind" in str(agent.status()["clock"])
        assert {reason & Reason.CLOCK for _, reason in stored(agent)} == {Reason.CLOCK}

        clock.write_text("+0", encoding="ascii")
        wait_until(lambda: agent.status().get("clock") == "trusted", "the clock is trusted")

        times = [time_ms for time_ms, _ in stored(agent)]
        assert all(started_ms - 2000 <= time_ms <= now_ms() + 2000 for time_ms in times), times
        assert times == sorted(times)
        sensor.publish(topic, "1700")
        agent.wait_for("readings_stored", 3)
        assert agent.status()["alerts_active"] == 0
        assert agent.stop() < 5


def test_what_was_rejected_in_1970_is_dated_later_too(agent: Agent, clock: Path, mosquitto: Mosquitto) -> None:
    """So that it can be taken again, and is stored at the time at which it arrived."""
    base, path = agent.base, agent.config  # type: ignore[attr-defined]
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "limits: {entities: 1}\n", encoding="utf-8")
    clock.write_text("@1970-01-01 00:01:00", encoding="ascii")
    with agent, Client(mosquitto.port) as sensor:
        started_ms = now_ms()
        sensor.publish(f"{base}/lab/co2", "500")
        sensor.publish(f"{base}/hall/co2", "600")
        agent.wait_for("messages_received", 2)
        clock.write_text("+0", encoding="ascii")
        wait_until(lambda: agent.status().get("clock") == "trusted", "the clock is trusted")
        rejected_ms = now_ms()
        (reject,) = agent.rows("rejects", "list")
        path.write_text(text, encoding="utf-8")
        agent.stop()
        agent.start()

        replayed = agent.ask("rejects", "replay", "--all")

        assert replayed["stored"] == 1
        for time_ms in (int(str(reject["time_ms"])), stored(agent)[-1][0]):
            assert started_ms - 2000 <= time_ms <= rejected_ms + 2000
        agent.stop()


@pytest.mark.parametrize("jump", ["+56y", "-2y"])
def test_a_jump_of_years_is_not_believed(agent: Agent, clock: Path, mosquitto: Mosquitto, jump: str) -> None:
    """No alert, no late reading, and the clock is trusted again when it comes back."""
    topic = f"{agent.base}/lab/co2"  # type: ignore[attr-defined]
    clock.write_text("+0", encoding="ascii")
    with agent, Client(mosquitto.port) as sensor:
        sensor.publish(topic, "1500")
        agent.wait_for("readings_stored", 1)
        clock.write_text(jump, encoding="ascii")
        wait_until(lambda: "jumped" in str(agent.status().get("clock")), "the jump is found out")
        sensor.publish(topic, "1600")
        agent.wait_for("readings_stored", 2)
        assert agent.status()["alerts_active"] == 0

        clock.write_text("+0", encoding="ascii")
        wait_until(lambda: agent.status().get("clock") == "trusted", "the clock is trusted")
        sensor.publish(topic, "1700")
        agent.wait_for("readings_stored", 3)

        assert all(abs(time_ms - now_ms()) < HOUR_MS for time_ms, _ in stored(agent))
        assert [bool(reason & Reason.CLOCK) for _, reason in stored(agent)] == [False, True, False]
        assert agent.status().get("readings_rejected", 0) == 0
        assert agent.stop() < 5
