"""The sensor side: readings in, acknowledgements out when they are durable."""

from collections.abc import Sequence

import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode

from attwin.adapters.mqtt_client import ReadAheadClient
from attwin.adapters.mqtt_link import BrokerAddress, MqttLink
from attwin.core.errors import LinkDownError
from attwin.ports import Clock, Messages

_MOST_WAITING = 4_000
_MOST_WAITING_BYTES = 8_000_000
"""What is read ahead of the round; the rest stays with the kernel and the broker."""


class MqttSensorLink(MqttLink):
    """Implements ``ports.SensorLink``."""

    def __init__(
        self,
        address: BrokerAddress,
        clock: Clock,
        *,
        filters: Sequence[tuple[str, int]],
        leftovers: Sequence[str] = (),
        most_payload: int,
    ) -> None:
        """Make the link.

        Args:
            address: The broker.
            clock: For deadlines.
            filters: What to subscribe to, each with its QoS.
            leftovers: What was subscribed to before and is not wanted any more; a session remembers it.
            most_payload: Longer payloads are cut there.
        """
        self._filters = list(filters)
        self._leftovers = list(leftovers)
        self._subscribed = False
        self._before: list[Messages] = []
        self._telling: dict[int, int] = {}
        self._told: list[int] = []
        super().__init__(address, clock, most_payload=most_payload)

    def furnish(self, client: ReadAheadClient) -> None:
        """Hear the answers to subscriptions and to what is published."""
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish

    def on_accepted(self, *, session_present: bool) -> None:
        """Subscribe; a broker that still has the session takes it as no change. Drop what is not wanted any more."""
        if session_present and self._leftovers:
            self._client.unsubscribe(self._leftovers)
        self._client.subscribe(self._filters)

    def on_lost(self) -> None:
        """Forget the subscriptions. Messages that were read stay: they are handled, but cannot be acknowledged."""
        self._subscribed = False
        if len(self._client.messages):
            # their packet ids mean nothing on the next connection
            left, self._client.messages = self._client.messages, Messages()
            left.connection = self.connections
            self._before.append(left)

    def is_up(self) -> bool:
        """Return whether the broker has accepted us and our subscriptions."""
        return self._accepted and self._subscribed

    def problem(self) -> str:
        """Return why no readings can arrive, empty while they can."""
        return "waiting for the subscriptions" if self._accepted and not self._subscribed else super().problem()

    def wants_read(self) -> bool:
        """Return whether there is room: the rest waits with the kernel and the broker."""
        size = self._client.messages.size + sum(messages.size for messages in self._before)
        return self.waiting() < _MOST_WAITING and size < _MOST_WAITING_BYTES

    def take(self) -> Messages:
        """Return what arrived since the last call, of the oldest connection that left something."""
        if self._before:
            return self._before.pop(0)
        taken, self._client.messages = self._client.messages, Messages()
        taken.connection = self.connections
        return taken

    def waiting(self) -> int:
        """Return how many messages wait; ``take`` returns those of one connection."""
        return len(self._client.messages.topics) + sum(map(len, self._before))

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, _mid: int, answers: list[ReasonCode], _props: object
    ) -> None:
        refused = [f for (f, _), answer in zip(self._filters, answers, strict=True) if answer.is_failure]
        if refused:
            raise LinkDownError(f"the broker refuses the subscription to {', '.join(refused)}")
        self._subscribed = True

    def acknowledge(self, packet_ids: Sequence[int], connection: int) -> None:
        """Send the PUBACKs of one connection; those of an older connection are left out."""
        if packet_ids and self._accepted and connection == self.connections:
            self._guarded(lambda: self._client.send_acknowledgements(packet_ids))

    def tell(self, number: int, topic: str, payload: bytes, retain: bool) -> bool:  # noqa: FBT001 -- as the reactor gives it
        """Publish at QoS 1; False where the link is down."""
        if not self._accepted:
            return False

        def publish() -> None:
            self._telling[self._client.publish(topic, payload, qos=1, retain=retain).mid] = number

        self._guarded(publish)
        return True

    def take_told(self) -> list[int]:
        """Return the numbers of what the broker has acknowledged since the last call."""
        told, self._told = self._told, []
        return told

    def on_replaced(self) -> None:
        """Forget what was told over a connection that is gone: who told it tries again."""
        self._telling.clear()

    def _on_publish(self, _client: mqtt.Client, _data: object, mid: int, _reason: object, _props: object) -> None:
        number = self._telling.pop(mid, None)
        if number is not None:
            self._told.append(number)

    def reply(self, topic: str, payload: bytes) -> None:
        """Publish to the sensors at QoS 0, where the link is up."""
        if self._accepted:
            self._guarded(lambda: self._client.publish(topic, payload, qos=0))
