"""Facts about the access lists that are shipped, at a real broker: what is not allowed does not arrive."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from support.processes import Mosquitto, wait_until

ROOT = Path(__file__).parents[2]
USERS = ("office-1", "office-2", "operator", "viewer")


class User:
    """A client with a name, which remembers what it hears."""

    def __init__(self, port: int, name: str) -> None:
        self.heard: list[str] = []
        self._granted = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(name, name)
        self._client.on_message = lambda _c, _d, message: self.heard.append(message.topic)
        self._client.on_subscribe = lambda *_: setattr(self, "_granted", True)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("#", 1)
        wait_until(lambda: self._granted, f"{name} has subscribed")

    def publish(self, topic: str) -> None:
        """Publish; the broker acknowledges also what it drops."""
        self._client.publish(topic, b"{}", qos=1).wait_for_publish(5)

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def users(tmp_path: Path) -> Iterator[dict[str, User]]:
    """All users of a broker with the access list of upstream."""
    passwords = tmp_path / "passwords"
    passwords.touch()
    passwords.chmod(0o600)
    for name in USERS:
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), name, name], check=True, capture_output=True)
    extra = f"password_file {passwords}\nacl_file {ROOT / 'config' / 'mosquitto-upstream.acl'}"
    broker = Mosquitto(tmp_path, extra=extra)
    config = tmp_path / "mosquitto.conf"
    config.write_text(config.read_text(encoding="utf-8").replace("allow_anonymous true", "allow_anonymous false"))
    with broker:
        made = {name: User(broker.port, name) for name in USERS}
        yield made
        for user in made.values():
            user.close()


def test_only_operators_ask_and_each_agent_speaks_for_itself(users: dict[str, User]) -> None:
    """An agent hears what is asked of it, and nothing of another; a viewer only looks."""
    forbidden = {
        "office-1": ("attwin/office-1/request/update", "attwin/office-2/info", "attwin/office-2/request/update"),
        "viewer": ("attwin/office-1/request/update", "attwin/office-1/update/block/t/0"),
        "operator": ("attwin/office-1/info", "attwin/office-1/events"),
    }
    for name, topics in forbidden.items():
        for topic in topics:
            users[name].publish(topic)
    allowed = {
        "operator": ("attwin/office-1/request/update", "attwin/office-1/update/block/t/0"),
        "office-1": ("attwin/office-1/info", "attwin/office-1/update/want"),
    }
    for name, topics in allowed.items():
        for topic in topics:
            users[name].publish(topic)
    told = [*allowed["operator"], *allowed["office-1"]]
    wait_until(lambda: len(users["viewer"].heard) >= len(told), "the viewer hears all that is allowed")

    assert sorted(users["viewer"].heard) == sorted(told)
    assert users["office-1"].heard == list(allowed["operator"])
    assert users["office-2"].heard == []
