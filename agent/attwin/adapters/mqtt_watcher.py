"""An upstream subscriber that only looks."""

import ssl
import threading
from dataclasses import dataclass
from functools import partial

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from attwin.core.errors import LinkDownError

_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message that arrived."""

    topic: str
    payload: bytes
    retained: bool


class Watcher:
    """Subscribes and keeps what arrives until it is taken."""

    def __init__(
        self,
        host: str,
        port: int,
        topic_filter: str,
        *,
        username: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Connect and subscribe.

        Args:
            host: The broker.
            port: Its port.
            topic_filter: What to subscribe to.
            username: Empty for none.
            password: Of the user.
            tls: None for a plain connection.

        Raises:
            LinkDownError: The broker cannot be reached, or refuses.
        """
        self._answered = threading.Event()
        self._refusal = ""
        self._lock = threading.Lock()
        self._arrivals: list[Arrival] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = partial(self._on_connect, topic_filter)
        self._client.on_subscribe = self._on_subscribe
        if username:
            self._client.username_pw_set(username, password or None)
        if tls:
            self._client.tls_set_context(tls)
        self._client.on_message = self._on_message
        try:
            self._client.connect(host, port)
        except (OSError, ValueError) as error:
            raise LinkDownError(f"{host}:{port}: {error}; is a broker running there?") from error
        self._client.loop_start()
        if not self._answered.wait(_CONNECT_SECONDS) or self._refusal:
            self.close()
            raise LinkDownError(f"{host}:{port}: {self._refusal or 'the broker does not answer'}")

    def take(self) -> list[Arrival]:
        """Return what arrived since the last call."""
        with self._lock:
            taken, self._arrivals = self._arrivals, []
        return taken

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, topic_filter: str, client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _props: object
    ) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refuses: {reason}"
            self._answered.set()
            return
        try:
            client.subscribe(topic_filter, 1)
        except ValueError:
            self._refusal = f"`{topic_filter}` is no topic filter such as sensors/# or sensors/+/co2"
            self._answered.set()

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, _mid: int, answers: list[ReasonCode], _props: object
    ) -> None:
        if answers[0].is_failure:
            self._refusal = f"the broker refuses the subscription: {answers[0]}"
        self._answered.set()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        arrival = Arrival(topic=message.topic, payload=bytes(message.payload), retained=message.retain)
        with self._lock:
            self._arrivals.append(arrival)
