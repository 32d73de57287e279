"""What a broker does with a client that is slow, and with one that is away: measured, because no broker tells."""

import contextlib
import threading
import time
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from attwin.adapters.mqtt_link import BrokerAddress
from attwin.core.errors import LinkDownError

_SECONDS = 10.0
_QUIET_SECONDS = 0.5
_WINDOW_PROBE = 200
_QUEUE_PROBE = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLimits:
    """What was measured.

    Attributes:
        round_trip_ms: From a publication to its acknowledgement.
        window: How many unacknowledged messages are sent; None for at least ``probed_window``.
        queue: How many messages are kept for a client that is away; None for at least ``probed_queue``.
        probed_window, probed_queue: How far it was probed.
    """

    round_trip_ms: float
    window: int | None
    queue: int | None
    probed_window: int = _WINDOW_PROBE
    probed_queue: int = _QUEUE_PROBE


def probe_broker(address: BrokerAddress, topic: str) -> BrokerLimits:
    """Measure a broker.

    Args:
        address: Where it is; the client id gets an ending of its own.
        topic: One that nobody else uses, to publish to.

    Raises:
        LinkDownError: It cannot be reached, or refuses.
    """
    publisher = _Client(address, "publisher", clean=True)
    reader = _Client(address, "reader", clean=True)
    try:
        publisher.connect()
        reader.connect()
        reader.close()
        reader = _Client(address, "reader", clean=False)
        reader.connect()
        reader.subscribe(topic)
        started = time.monotonic()
        publisher.publish(topic, 1)
        round_trip_ms = (time.monotonic() - started) * 1000
        publisher.publish(topic, _WINDOW_PROBE - 1)
        window = reader.count_until_quiet()
        reader.acknowledge_all()
        reader.close()
        publisher.publish(topic, _QUEUE_PROBE)
        reader = _Client(address, "reader", clean=False)
        reader.acknowledge_at_once = True
        reader.connect()
        queue = reader.count_until_quiet()
    finally:
        reader.close()
        publisher.close()
        # a clean connection makes the broker forget the session
        with contextlib.suppress(LinkDownError):
            last = _Client(address, "reader", clean=True)
            last.connect()
            last.close()
    return BrokerLimits(
        round_trip_ms=round_trip_ms,
        window=window if window < _WINDOW_PROBE else None,
        queue=queue if queue < _QUEUE_PROBE else None,
    )


class _Client:
    """A client in a thread of paho's own."""

    def __init__(self, address: BrokerAddress, name: str, *, clean: bool) -> None:
        self.acknowledge_at_once = False
        self._address = address
        self._arrived: list[tuple[int, int]] = []
        self._answer = threading.Event()
        self._refusal = ""
        self._lock = threading.Lock()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{address.client_id}-{name}",
            protocol=mqtt.MQTTv311,
            clean_session=clean,
            manual_ack=True,
        )
        self._client.max_inflight_messages_set(_QUEUE_PROBE)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        if address.username:
            self._client.username_pw_set(address.username, address.password or None)
        if address.tls:
            self._client.tls_set_context(address.tls)

    def connect(self) -> None:
        try:
            self._client.connect(self._address.host, self._address.port, keepalive=self._address.keepalive_s)
        except (OSError, ValueError) as error:
            raise LinkDownError(f"{self._address!r}: {error}") from error
        self._client.loop_start()
        self._wait(self._answer)

    def subscribe(self, topic: str) -> None:
        self._answer.clear()
        self._client.subscribe(topic, 1)
        self._wait(self._answer)

    def publish(self, topic: str, count: int) -> None:
        sent = [self._client.publish(topic, b"probe", qos=1) for _ in range(count)]
        for message in sent:
            try:
                message.wait_for_publish(_SECONDS)
            except (RuntimeError, ValueError) as error:
                raise LinkDownError(f"{self._address!r}: {error}") from error
            if not message.is_published():
                raise LinkDownError(f"{self._address!r}: a publication to `{topic}` is not acknowledged")

    def count_until_quiet(self) -> int:
        """Return how many messages have arrived when no more come."""
        before = -1
        deadline = time.monotonic() + _SECONDS
        while len(self._arrived) != before and time.monotonic() < deadline:
            before = len(self._arrived)
            time.sleep(_QUIET_SECONDS)
        return len(self._arrived)

    def acknowledge_all(self) -> None:
        """Acknowledge what has arrived, and what comes then."""
        self.acknowledge_at_once = True
        with self._lock:
            for mid, qos in self._arrived:
                self._client.ack(mid, qos)
        self.count_until_quiet()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _wait(self, answer: threading.Event) -> None:
        if not answer.wait(_SECONDS) or self._refusal:
            self.close()
            raise LinkDownError(f"{self._address!r}: {self._refusal or 'the broker does not answer'}")

    def _on_connect(
        self, _client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _props: object
    ) -> None:
        self._refusal = f"the broker refuses us: {reason}" if reason.is_failure else ""
        self._answer.set()

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, _mid: int, answers: list[ReasonCode], _props: object
    ) -> None:
        self._refusal = f"the broker refuses the subscription: {answers[0]}" if answers[0].is_failure else ""
        self._answer.set()

    def _on_message(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        with self._lock:
            self._arrived.append((message.mid, message.qos))
            if self.acknowledge_at_once:
                client.ack(message.mid, message.qos)
