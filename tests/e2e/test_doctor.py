"""What the doctor measures of real brokers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import Mosquitto, free_port, wait_until

CONFIG = """\
version: 1
gateway: {{id: doctored}}
broker: {{url: "mqtt://127.0.0.1:{port}", inflight: {inflight}}}
kinds:
  room: {{metrics: {{co2: {{unit: ppm}}}}}}
sources:
  - {{topic: "s/{{entity}}/{{metric}}", kind: room}}
"""


def doctor(folder: Path, port: int, inflight: int) -> tuple[int, dict[str, dict[str, str]]]:
    """Run the doctor; return its exit code and its findings about the broker."""
    path = folder / "attwin.yaml"
    path.write_text(CONFIG.format(port=port, inflight=inflight), encoding="utf-8")
    command = [sys.executable, "-m", "attwin", "doctor", "--config", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, {found["about"]: found for found in json.loads(done.stdout)["findings"]}


@pytest.mark.parametrize(
    ("extra", "inflight", "code", "window", "queue"),
    [
        pytest.param("max_inflight_messages 20\nmax_queued_messages 1000", 20, 0, "warning", "warning", id="defaults"),
        pytest.param("max_inflight_messages 20\nmax_queued_messages 0", 500, 1, "error", "ok", id="a window too small"),
        pytest.param("", 1000, 0, "ok", "ok", id="as we ship it"),
    ],
)
def test_the_doctor_finds_the_limits_of_a_broker(
    tmp_path: Path, extra: str, inflight: int, code: int, window: str, queue: str
) -> None:
    """No broker tells its limits; they are measured, and what to do is said."""
    with Mosquitto(tmp_path, extra=extra) as broker:
        found_code, findings = doctor(tmp_path, broker.port, inflight)

    assert {about: found["level"] for about, found in findings.items() if about != "dropped"} == {
        "broker": "ok", "window": window, "queue": queue,
    }  # fmt: skip
    assert found_code == code
    if extra:
        assert findings["window"]["text"].startswith("20 unacknowledged")


def test_what_the_broker_says_it_has_dropped_is_shown(tmp_path: Path) -> None:
    """No sum of the agent can contain it. Here the doctor's own measurement made the broker drop."""
    with Mosquitto(tmp_path, extra="max_queued_messages 100\nsys_interval 1") as broker:
        doctor(tmp_path, broker.port, 20)
        found: dict[str, dict[str, str]] = {}

        def has_dropped() -> bool:
            found.update(doctor(tmp_path, broker.port, 20)[1])
            return found.get("dropped", {}).get("level") == "warning"

        wait_until(has_dropped, "the broker has told")

    assert "messages were dropped for clients that were slow or away" in found["dropped"]["text"]


def test_a_broker_that_is_away_is_an_error(tmp_path: Path) -> None:
    """The doctor says where it looked."""
    port = free_port()

    code, findings = doctor(tmp_path, port, 20)

    assert (code, findings["broker"]["level"]) == (1, "error")
    assert str(port) in findings["broker"]["text"]


def test_a_database_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    """Beside what is found out about the broker."""
    (tmp_path / "twin.db").touch(mode=0o644)

    _, findings = doctor(tmp_path, free_port(), 20)

    assert findings["file"]["level"] == "warning"
    assert "chmod 640" in findings["file"]["text"]


def test_the_shipped_broker_configuration_is_one(tmp_path: Path) -> None:
    """Mosquitto starts with it, and the doctor finds nothing wrong."""
    shipped = Path(__file__).parents[2] / "config" / "mosquitto.conf"
    lines = [
        line
        for line in shipped.read_text(encoding="utf-8").splitlines()
        if not line.startswith(("listener", "allow_anonymous", "persistence_location", "#"))
    ]
    own = "\n".join([*lines, f"persistence_location {tmp_path}/"])
    with Mosquitto(tmp_path, extra=own) as broker:
        code, findings = doctor(tmp_path, broker.port, 1000)

    assert (code, {found["level"] for found in findings.values()}) == (0, {"ok"})
