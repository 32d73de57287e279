"""A first configuration from a real broker, that the agent then runs with."""

import json
import subprocess
import sys
import time
from pathlib import Path

from support.certificates import certificate
from support.processes import Agent, Client, Mosquitto, free_port


def init(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``attwin init``."""
    command = [sys.executable, "-m", "attwin", "init", "--out", str(folder / "attwin.yaml"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_init_writes_reads_what_it_saw(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Sensors publish, init looks, the agent stores."""
    base = f"i{time.monotonic_ns()}"
    with Client(mosquitto.port) as sensor:
        sensor.publish(f"{base}/lab/co2", "700", retain=True)
        sensor.publish(f"{base}/hall/temperature", '{"value": 20.5}', retain=True)
        options = ("--broker", mosquitto.url, "--topic", f"{base}/#", "--seconds", "1", "--gateway", base)
        done = init(tmp_path, *options)
        assert done.returncode == 0, done.stderr
        again = init(tmp_path, *options)
        assert (again.returncode, "--force" in again.stderr) == (1, True)
        text = (tmp_path / "attwin.yaml").read_text(encoding="utf-8")
        assert "700 in 1 reading" in text
        with Agent(tmp_path / "attwin.yaml") as agent:
            sensor.publish(f"{base}/lab/co2", "710")
            sensor.publish(f"{base}/hall/temperature", '{"value": 21}')
            agent.wait_for("readings_stored", 4)
            agent.stop()
        for topic in ("lab/co2", "hall/temperature"):
            sensor.publish(f"{base}/{topic}", b"", retain=True)


def test_lists_lines_and_objects_are_recognised(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """The configuration is right, and an agent with it takes the very messages that were seen, all of them."""
    base, now = f"i{time.monotonic_ns()}", int(time.time())
    rows = [{"device": "lab", "co2": 700, "noise": 41}, {"device": "hall", "co2": 650, "noise": 38}]
    messages = {
        f"{base}/csv/lab": f"{now};20.5;45\n{now + 1};20.6;45",
        f"{base}/csv/hall": f"{now};19.5;50",
        f"{base}/gateway/all": json.dumps({"ts": now * 1000, "readings": rows}),
        f"{base}/object/lab": json.dumps({"time": now, "temperature": 21, "air": {"light": 300}}),
        f"{base}/plain/lab/people": "3",
    }
    with Client(mosquitto.port) as sensor:
        for topic, payload in messages.items():
            sensor.publish(topic, payload, retain=True)
        done = init(tmp_path, "--broker", mosquitto.url, "--topic", f"{base}/#", "--seconds", "1", "--gateway", base)
        assert done.returncode == 0, done.stderr
        assert "13 readings" in done.stdout
        assert "not taken" not in done.stdout
        check = [sys.executable, "-m", "attwin", "config", "check", "--config", str(tmp_path / "attwin.yaml")]
        assert subprocess.run(check, check=False).returncode == 0
        with Agent(tmp_path / "attwin.yaml") as agent:
            agent.wait_for("readings_stored", 13)
            status = agent.status()
            agent.stop()
        for topic in messages:
            sensor.publish(topic, b"", retain=True)
    assert (status.get("readings_rejected"), status.get("messages_rejected")) == (None, None)


def test_nothing_to_read_is_said(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """No file is written where no reading was seen, or no broker answers."""
    silent = init(tmp_path, "--broker", mosquitto.url, "--topic", "nobody/here", "--seconds", "0.3")
    away = init(tmp_path, "--broker", "mqtt://127.0.0.1:1", "--seconds", "0.3")
    wrong = init(tmp_path, "--broker", "http://x", "--seconds", "0.3")
    odd = init(tmp_path, "--broker", mosquitto.url, "--topic", "a/#/b", "--seconds", "0.3")
    name = init(tmp_path, "--broker", mosquitto.url, "--gateway", "a b/c", "--seconds", "0.3")

    assert [done.returncode for done in (silent, away, wrong, odd, name)] == [1, 1, 1, 1, 2]
    assert "is no topic filter" in odd.stderr
    assert "Traceback" not in odd.stderr
    assert "none with a reading" in silent.stderr
    assert "is a broker running there" in away.stderr
    assert not (tmp_path / "attwin.yaml").exists()


def test_a_file_that_exists_is_said_before_listening(tmp_path: Path) -> None:
    """Also where there is no broker, or nothing to hear."""
    (tmp_path / "attwin.yaml").write_text("mine", encoding="utf-8")

    done = init(tmp_path, "--broker", "mqtt://127.0.0.1:1", "--seconds", "60")

    assert (done.returncode, "--force replaces it" in done.stderr) == (1, True)
    assert (tmp_path / "attwin.yaml").read_text(encoding="utf-8") == "mine"


def test_a_broker_that_speaks_tls_is_heard_and_written_down(tmp_path: Path) -> None:
    """With the certificate to trust; one that is not trusted is refused."""
    made, key = certificate(tmp_path)
    port = free_port()
    listener = f"listener {port} 127.0.0.1\nallow_anonymous true\ncertfile {made}\nkeyfile {key}"
    with Mosquitto(tmp_path, extra=listener) as broker, Client(broker.port) as sensor:
        sensor.publish("s/lab/co2", "700", retain=True)
        options = ("--broker", f"mqtts://localhost:{port}", "--seconds", "1", "--gateway", "tls")
        stranger = init(tmp_path, *options)
        done = init(tmp_path, *options, "--ca-file", str(made))

    assert (stranger.returncode, "certificate verify failed" in stranger.stderr) == (1, True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ca_file: {made}" in (tmp_path / "attwin.yaml").read_text(encoding="utf-8")
