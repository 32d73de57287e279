"""A broker that speaks TLS."""

import json
from pathlib import Path

from attwin.wiring.auditing import audit_of
from support.certificates import certificate
from support.processes import Agent, Client, Mosquitto, free_port, wait_until

CONFIG = """\
version: 1
gateway: {{id: g}}
broker: {{url: "mqtts://localhost:{port}", ca_file: "{ca}"}}
upstream: {{url: "mqtts://localhost:{port}", ca_file: "{ca}"}}
kinds:
  room: {{metrics: {{co2: {{unit: ppm}}}}}}
sources:
  - {{topic: "s/{{entity}}/{{metric}}", kind: room}}
rules:
  - {{name: stuffy, kind: room, when: {{metric: co2, above: 1999, clear_below: 1}}}}
"""


def test_a_burst_over_tls_is_taken_as_fast_as_over_a_plain_line(tmp_path: Path) -> None:
    """Every message is a record of its own; two thousand are stored, and an alert is upstream, within the wait."""
    made, key = certificate(tmp_path)
    port = free_port()
    listener = (
        f"max_queued_messages 0\nset_tcp_nodelay true\n"
        f"listener {port} 127.0.0.1\nallow_anonymous true\ncertfile {made}\nkeyfile {key}"
    )
    (tmp_path / "attwin.yaml").write_text(CONFIG.format(port=port, ca=made), encoding="utf-8")
    with Mosquitto(tmp_path, extra=listener) as broker, Agent(tmp_path / "attwin.yaml") as agent:
        with Client(broker.port, "attwin/g/events") as sensor:
            for number in range(2_001):
                sensor.publish(f"s/e{number % 20}/co2", json.dumps({"value": number, "time": 1_700_000_000 + number}))
            agent.wait_for("readings_stored", 2_001)
            wait_until(lambda: sensor.messages, "the alert is upstream")
        agent.stop()

    assert all(s.difference == 0 for s in audit_of(tmp_path / "twin.db"))
