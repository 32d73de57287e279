"""The upstream side: messages of the outbox out, their acknowledgements in."""

import json

import paho.mqtt.client as mqtt

from attwin.adapters.mqtt_client import ReadAheadClient
from attwin.adapters.mqtt_link import BrokerAddress, MqttLink
from attwin.core.outgoing import OutgoingMessage
from attwin.ports import Clock

_MOST_PAYLOAD = 65_536
_QOS = 1


class MqttUpLink(MqttLink):
    """Implements ``ports.UpLink``.

    What was in flight when a connection broke is sent again by paho on the next one, with the same id, so a receiver
    that ignores ids it has seen sees everything once.
    """

    def __init__(self, address: BrokerAddress, clock: Clock, *, base: str, info: dict[str, object]) -> None:
        self._base = base
        self._info = info
        self._in_flight: dict[int, OutgoingMessage] = {}
        self._delivered: list[OutgoingMessage] = []
        super().__init__(address, clock, most_payload=_MOST_PAYLOAD)

    def furnish(self, client: ReadAheadClient) -> None:
        """Hear acknowledgements, and leave a last will."""
        client.on_publish = self._on_publish
        client.will_set(f"{self._base}/available", b"offline", qos=_QOS, retain=True)

    def on_replaced(self) -> None:
        """Send what was in flight again, with the same ids."""
        in_flight, self._in_flight = list(self._in_flight.values()), {}
        for message in in_flight:
            self.send(message)

    def on_accepted(self, *, session_present: bool) -> None:
        """Say that the gateway is there, and what it is."""
        del session_present
        self._client.publish(f"{self._base}/available", b"online", qos=_QOS, retain=True)
        self._client.publish(f"{self._base}/info", json.dumps(self._info).encode(), qos=_QOS, retain=True)

    def free_places(self) -> int:
        """Return how many more messages may be in flight; 0 while the link is down."""
        return self.address.inflight - len(self._in_flight) if self._accepted else 0

    def send(self, message: OutgoingMessage) -> None:
        """Send a message that the outbox holds."""
        info = self._client.publish(message.topic, message.payload, qos=_QOS, retain=message.retain)
        self._in_flight[info.mid] = message

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0 what the outbox cannot hold, where the link is up."""
        if self._accepted:
            self._guarded(lambda: self._client.publish(topic, payload, qos=0))

    def take_delivered(self) -> list[OutgoingMessage]:
        """Return what upstream has acknowledged since the last call."""
        taken, self._delivered = self._delivered, []
        return taken

    def close(self) -> None:
        """Say that the gateway stopped on purpose, and close; with no room to say so, leave it to the last will."""
        if self._accepted and len(self._in_flight) >= self.address.inflight:
            self._client.hang_up()
        elif self._accepted:
            self._guarded(lambda: self._client.publish(f"{self._base}/available", b"stopped", qos=_QOS, retain=True))
        super().close()

    def _on_publish(self, _client: mqtt.Client, _data: object, mid: int, _reason: object, _props: object) -> None:
        message = self._in_flight.pop(mid, None)
        if message is not None:
            self._delivered.append(message)
