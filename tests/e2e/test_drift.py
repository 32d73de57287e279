"""Facts about drift, with a real broker and real days: a sensor that shifts is told, days as in training are not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import Agent, Client, Mosquitto, wait_until

DATA = Path(__file__).parents[1] / "data" / "occupancy"
METRICS = ("temperature=Temperature", "humidity=Humidity", "light=Light", "co2=CO2", "humidity_ratio=HumidityRatio")
CO2 = 5
"""The column of the rows, which have one more than the header."""
CONFIG = """\
version: 1
gateway: {{id: {base}}}
broker: {{url: "{url}", inflight: 1000}}
upstream: {{url: "{url}", health_every: 1s}}
kinds:
  room:
    model: builtin:occupancy
    metrics:
      temperature: {{unit: Cel}}
      humidity: {{unit: "%RH"}}
      light: {{unit: lx}}
      co2: {{unit: ppm}}
      humidity_ratio: {{unit: kg/kg}}
sources:
  - topic: {base}/{{entity}}/{{metric}}
    kind: room
"""


@pytest.fixture
def base(request: pytest.FixtureRequest) -> str:
    """A topic base of the test's own: the broker serves the whole session."""
    return f"s-{abs(hash(request.node.nodeid)) % 10**9}"


@pytest.fixture
def agent(tmp_path: Path, mosquitto: Mosquitto, base: str) -> Agent:
    """An agent that has not been started."""
    (tmp_path / "attwin.yaml").write_text(CONFIG.format(base=base, url=mosquitto.url), encoding="utf-8")
    return Agent(tmp_path / "attwin.yaml")


def publish(agent: Agent, mosquitto: Mosquitto, base: str, rows: list[str]) -> int:
    """Play rows of the office as fast as the broker takes them, and return how many readings they are."""
    file = agent.config.with_name("rows.csv")
    header = (DATA / "datatest.txt").read_text(encoding="utf-8").splitlines()[0]
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    options = [option for metric in METRICS for option in ("--metric", metric)]
    subprocess.run(
        [
            *(sys.executable, "-m", "attwin", "publish", str(file), "--broker", mosquitto.url, "--speed", "0"),
            *("--topic", base + "/{entity}/{metric}", "--entity", "office", "--zone", "UTC", *options),
        ],
        check=True,
        capture_output=True,
    )
    return len(METRICS) * len(rows)


def rows_of(name: str, days: range, *, more_co2: float = 0.0) -> list[str]:
    """Return the rows of days of February 2015, with more CO2 than there was."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()[1:]
    cells = [line.split(",") for line in lines if int(line.split('"')[3][8:10]) in days]
    return [",".join([*row[:CO2], str(float(row[CO2]) + more_co2), *row[CO2 + 1 :]]) for row in cells]


def shown(agent: Agent, day: str) -> dict[str, object]:
    """Return what `attwin status` says of a day."""
    drift = agent.status().get("drift", {})
    assert isinstance(drift, dict)
    return next((found for found in drift.get("room", []) if found["day"] == day), {})


@pytest.mark.tflite
def test_days_that_are_like_those_of_training_raise_nothing(agent: Agent, mosquitto: Mosquitto, base: str) -> None:
    """Three days that the model has not seen: each is shown with its figures, none is told."""
    rows = rows_of("datatest.txt", range(2, 5))
    with agent:
        agent.wait_for("readings_stored", publish(agent, mosquitto, base, rows))
        wait_until(lambda: shown(agent, "2015-02-03").get("running") is False, "the second day is over")
        running = shown(agent, "2015-02-04")
        said = subprocess.run(
            [sys.executable, "-m", "attwin", "status", "--config", str(agent.config)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert agent.rows("alerts", "list", "--all") == []
        agent.stop()

    assert (running["running"], shown(agent, "2015-02-04")["scores"]) == (True, running["scores"])
    assert len(running["psi"]) == 11
    (line,) = [line for line in said.splitlines() if line.startswith("drift.room.2015-02-03 ")]
    assert "1440 scores: " in line
    assert "stable (training days: up to " in line


def days_told(upstream: Client) -> list[bool]:
    """Return which of the days that the newest health message tells are not over."""
    return [day["running"] for day in upstream.bodies("/health")[-1]["drift"]["room"]]


@pytest.mark.tflite
def test_a_sensor_that_shifts_is_told_once_and_cleared_by_a_day_without(
    agent: Agent, mosquitto: Mosquitto, base: str
) -> None:
    """A day with 1,500 ppm more: the alert is upstream, survives a kill, and ends with a day as in training."""
    shifted = [*rows_of("datatest.txt", range(2, 3)), *rows_of("datatest.txt", range(3, 4), more_co2=1500)]
    later = rows_of("datatraining.txt", range(4, 6))
    with Client(mosquitto.port, f"attwin/{base}/#") as upstream, agent:
        count = publish(agent, mosquitto, base, [*shifted, *later[:100]])
        wait_until(lambda: upstream.bodies("/alert/room/drift"), "the alert is upstream")
        agent.wait_for("readings_stored", count)
        wait_until(lambda: shown(agent, "2015-02-04").get("scores", 0) == 99, "the next day has begun")
        agent.kill()
        agent.start()
        assert [alert["rule"] for alert in agent.rows("alerts", "list")] == ["drift"]
        assert shown(agent, "2015-02-04")["scores"] == 99
        agent.wait_for("readings_stored", count + publish(agent, mosquitto, base, later[100:]))
        # a day is over once there are scores an hour after its end
        publish(agent, mosquitto, base, rows_of("datatraining.txt", range(6, 7))[:100])
        wait_until(lambda: not agent.rows("alerts", "list"), "the alert has ended")
        wait_until(lambda: agent.status()["outbox_waiting"] == 0, "upstream has everything")
        wait_until(lambda: days_told(upstream)[1:2] == [False], "health tells the day that is over", 90)
        health = upstream.bodies("/health")[-1]
        # what was in flight at the kill comes again, with the same id
        events = list({event["id"]: event for event in upstream.bodies("/events")}.values())
        agent.stop()

    first, last = (event["after"] for event in events)
    assert [event["type"] for event in events] == ["new", "end"]
    assert (first["entity"], first["severity"], first["since_ms"]) == ("room", "warning", 1_422_921_600_000)
    assert "co2.last_5m" in first["subject"]
    assert first["value"] > first["threshold"]
    assert last["value"] < last["threshold"]
    assert [payload for topic, payload, _ in upstream.messages if topic.endswith("/alert/room/drift")][-1] == b""
    assert [day["running"] for day in health["drift"]["room"]] == [True, False, False]
    assert json.dumps(health["drift"]).count("co2.last_5m") >= 4
