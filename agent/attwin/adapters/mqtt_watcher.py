"""An upstream subscriber that only looks."""

import threading
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from attwin.core.errors import LinkDownError


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message that arrived."""

    topic: str
    payload: bytes
    retained: bool


class Watcher:
    """Subscribes and keeps what arrives until it is taken."""

    def __init__(self, host: str, port: int, topic_filter: str) -> None:
        """Connect.

        Raises:
            LinkDownError: The broker cannot be reached.
        """
        self._lock = threading.Lock()
        self._arrivals: list[Arrival] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(topic_filter, 1)
        self._client.on_message = self._on_message
        try:
            self._client.connect(host, port)
        except OSError as error:
            raise LinkDownError(f"{host}:{port}: {error}") from error
        self._client.loop_start()

    def take(self) -> list[Arrival]:
        """Return what arrived since the last call."""
        with self._lock:
            taken, self._arrivals = self._arrivals, []
        return taken

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        arrival = Arrival(topic=message.topic, payload=bytes(message.payload), retained=message.retain)
        with self._lock:
            self._arrivals.append(arrival)
