"""The upstream side: messages of the outbox out, the broker's answers in."""

import json
import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from attwin.adapters.mqtt_client import ReadAheadClient
from attwin.adapters.mqtt_link import BrokerAddress, MqttLink
from attwin.core.answers import LOST
from attwin.core.outgoing import OutgoingMessage
from attwin.ports import Answer, Clock, Loss, Messages

_LAST_WORDS_S = 0.5
"""How long a broker has to hear why the gateway is away."""
_MOST_PAYLOAD = 65_536
_QOS = 1
_MOST_IDS = 65_535
_FRAME_BYTES = 16
"""More than the header, the two lengths, the packet id and the properties of a PUBLISH take."""
REQUESTS = ("request/+", "update/block/+/+")
"""What the gateway can be asked, and the blocks that it asks for itself, below its base."""
HELD = "asleep until the next connection is due"


class MqttUpLink(MqttLink):
    """Implements ``ports.UpLink``.

    The outbox is the session: what was in flight when a connection broke goes back into it, and is sent again with the
    same id. So the broker is asked to keep none.
    """

    def __init__(self, address: BrokerAddress, clock: Clock, *, base: str, info: dict[str, object]) -> None:
        self._base = base
        self._info = info
        self._in_flight: dict[int, OutgoingMessage | None] = {}
        self._answers: list[Answer] = []
        self._losses: list[Loss] = []
        self._packet_id = 0
        self._window = address.inflight
        self._largest: int | None = None
        self._ended_by = LOST
        self._fruitless = False
        super().__init__(replace(address, clean=True), clock, most_payload=_MOST_PAYLOAD)

    def furnish(self, client: ReadAheadClient) -> None:
        """Hear answers, and leave a last will."""
        client.on_puback = self._on_puback
        client.will_set(f"{self._base}/available", b"offline", qos=_QOS, retain=True)

    def on_limits(self, receive_maximum: int | None, largest_packet: int | None) -> None:
        """Send no more, and nothing larger, than the broker takes."""
        self._window = min(self.address.inflight, receive_maximum or self.address.inflight)
        self._largest = largest_packet

    def on_accepted(self, *, session_present: bool) -> None:
        """Say that the gateway is there, and what it is."""
        del session_present
        self._publish([(f"{self._base}/available", b"online"), (f"{self._base}/info", json.dumps(self._info).encode())])
        self._client.subscribe([(f"{self._base}/{name}", _QOS) for name in REQUESTS])

    def on_ended(self, code: int) -> None:
        """Remember why the broker ends the connection."""
        self._ended_by = code

    def is_reliable(self) -> bool:
        """Return whether the connection before brought anything: who is thrown out again and again waits longer."""
        return not self._fruitless

    def on_lost(self) -> None:
        """Say that what was in flight did not arrive."""
        lost = [message for message in self._in_flight.values() if message]
        self._answers += [Answer(message, LOST) for message in lost]
        if lost:
            self._losses.append(Loss(len(lost), self._ended_by))
            self._fruitless = True
        self._in_flight, self._ended_by = {}, LOST
        # their packet ids mean nothing on the next connection; who asked asks again
        self._client.messages = Messages()

    def free_places(self) -> int:
        """Return how many more messages may be in flight; 0 while the link is down."""
        return max(0, self._window - len(self._in_flight)) if self._accepted else 0

    def window(self) -> int:
        """Return how many messages may be in flight at once."""
        return self._window

    def largest_bytes(self) -> int | None:
        """Return how large a topic and a payload together may be; None where the broker does not say."""
        return None if self._largest is None else self._largest - _FRAME_BYTES

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        """Send messages that the outbox holds."""
        packets = []
        for message in messages:
            packet_id = self._next_packet_id()
            self._in_flight[packet_id] = message
            packets.append((message.topic, message.as_sent, message.retain, packet_id))
        self._guarded(lambda: self._client.send_publications(packets))

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0 what the outbox cannot hold, where the link is up."""
        if self._accepted:
            self._guarded(lambda: self._client.publish(topic, payload, qos=0))

    def take_requests(self) -> Messages:
        """Return what was asked of the gateway since the last call. Who asks repeats it until it is answered."""
        taken, self._client.messages = self._client.messages, Messages()
        packet_ids = [packet_id for packet_id in taken.packet_ids if packet_id]
        if packet_ids and self._accepted:
            self._guarded(lambda: self._client.send_acknowledgements(packet_ids))
        return taken

    def describe(self, info: Mapping[str, object]) -> None:
        """Say anew what the gateway is, now and whenever the link comes up."""
        self._info = dict(info)
        if self._accepted:
            self._publish([(f"{self._base}/info", json.dumps(self._info).encode())])

    def take_answers(self) -> list[Answer]:
        """Return what became of messages since the last call."""
        taken, self._answers = self._answers, []
        return taken

    def take_losses(self) -> list[Loss]:
        """Return the ends of connections since the last call."""
        taken, self._losses = self._losses, []
        return taken

    def hold(self, *, closed: bool) -> None:
        """Keep the link closed until it is let go again; close it with a word where it is open."""
        if closed == self._is_held:
            return
        self._is_held = closed
        if closed:
            self._leave(b"asleep")
            self._problem = HELD
        else:
            self._next_try_ms = self._clock.monotonic_ms()

    def close(self) -> None:
        """Say that the gateway stopped on purpose, and close; with no room to say so, leave it to the last will."""
        if self._accepted and not self.free_places():
            self._client.hang_up()
        elif self._accepted:
            self._publish([(f"{self._base}/available", b"stopped")])
            self._hear_the_last()
        super().close()

    def _hear_the_last(self) -> None:
        """Read what is answered, for a moment: a socket closed with answers unread takes along what was sent."""
        deadline = time.monotonic() + _LAST_WORDS_S
        while self._in_flight and time.monotonic() < deadline:
            descriptor = self.fileno()
            if descriptor is None:
                return
            if select.select([descriptor], [], [], _LAST_WORDS_S / 10)[0]:
                self.on_readable()
            if self.wants_write():
                self.on_writable()

    def _leave(self, word: bytes) -> None:
        """Say why the gateway is away, and close the connection."""
        if self._connecting:
            self._replace_client(HELD)
        elif self._accepted:
            self._publish([(f"{self._base}/available", word)])
            super().close()
            self._drop()

    def _publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish what the outbox does not hold, retained."""
        packets = []
        for topic, payload in messages:
            packet_id = self._next_packet_id()
            self._in_flight[packet_id] = None
            packets.append((topic, payload, True, packet_id))
        self._guarded(lambda: self._client.send_publications(packets))

    def _next_packet_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % _MOST_IDS + 1
            if self._packet_id not in self._in_flight:
                return self._packet_id

    def _on_puback(self, packet_id: int, code: int) -> None:
        message = self._in_flight.pop(packet_id, None)
        if message is not None:
            self._fruitless = False
            self._answers.append(Answer(message, code))
