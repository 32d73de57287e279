"""paho with its own way of reading and of acknowledging.

paho reads a packet in three system calls and makes an object of every message. This client reads all that has arrived
at once, over TLS too, and takes PUBLISH packets apart itself; every other packet goes to paho. It leans on private
names of paho (``_sock_recv``, ``_in_packet``, ``_packet_handle``, ``_packet_queue``, ``_create_socket_connection``,
``_ssl_wrap_socket``, ``_send_connect``): the version is bounded and tests hold them.
"""

import socket
import struct
import threading
from collections.abc import Callable, Sequence

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import MQTTErrorCode

from attwin.adapters.tls_socket import TlsSocket
from attwin.core.errors import LinkDownError
from attwin.ports import Clock, Messages

_READ_BYTES = 131_072
_MOST_READS, _ENOUGH = 2, 1_000
"""Small messages fill a round with one read. Of large ones a second is taken, as a round costs the same however few."""
_PUBLISH, _PUBACK = 0x30, 0x40
_QOS1, _RETAIN = 0x02, 0x01
_QOS_BITS = 0x06
_MOST_HEADER = 65_600
"""More than the longest topic and its frame; a PUBLISH cut behind it still has its topic."""


class ReadAheadClient(mqtt.Client):
    """paho with its own way of reading."""

    def prepare(self, clock: Clock, most_payload: int) -> None:
        """Set what the constructor of paho has no place for."""
        self.messages = Messages()
        self._wall = clock
        self._most_payload = most_payload
        self.heard_ms = clock.monotonic_ms()
        self._v5 = self._protocol == mqtt.MQTTv5
        self._is_connecting = self._is_given_up = False
        self.on_puback: Callable[[int, int], None] | None = None
        self._giving_up = threading.Lock()
        self.forget_rest()

    def forget_rest(self) -> None:
        """Forget the part of a packet that a broken connection left."""
        self._rest = b""
        self._skip = 0

    def hang_up(self) -> None:
        """Close the socket without a farewell, for which paho has no public way."""
        if self._sock is not None:
            self._sock_close()

    def give_up(self) -> None:
        """Hang up for good, also while another thread connects: that one says nothing to the broker any more.

        A CONNECT that is late would take the client id from the client that came after this one.
        """
        with self._giving_up:
            self._is_given_up = True
            # a socket that is being connected belongs to the thread that does so
            if not self._is_connecting:
                self.hang_up()

    def reconnect(self) -> MQTTErrorCode:
        """Connect.

        Raises:
            ConnectionAbortedError: The client was given up.
        """
        self._is_connecting = True
        try:
            return super().reconnect()
        finally:
            with self._giving_up:
                self._is_connecting = False
                if self._is_given_up:
                    self.hang_up()

    def _create_socket_connection(self) -> socket.socket:
        connected = super()._create_socket_connection()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> TlsSocket:  # type: ignore[override] # paho asks no more of it
        if self._ssl_context is None:
            raise ValueError("TLS without a context")
        return TlsSocket(tcp_sock, self._ssl_context, self._host, limit_s=self._connect_timeout)

    def _send_connect(self, keepalive: int) -> MQTTErrorCode:
        with self._giving_up:
            if self._is_given_up:
                raise ConnectionAbortedError("given up before it was connected")
            return super()._send_connect(keepalive)

    def want_write(self) -> bool:
        """Return whether something waits to be sent, also what is only encrypted yet."""
        return super().want_write() or (isinstance(self._sock, TlsSocket) and self._sock.has_unsent())

    def loop_write(self) -> MQTTErrorCode:
        """Send what waits."""
        if isinstance(self._sock, TlsSocket):
            try:
                self._sock.flush()
            except BlockingIOError:
                return mqtt.MQTT_ERR_SUCCESS
            except OSError:
                return self._loop_rc_handle(mqtt.MQTT_ERR_CONN_LOST)
        return super().loop_write()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002 -- paho's signature
        """Read what there is, up to a bound, and handle every whole packet in it."""
        for _ in range(_MOST_READS):
            if self._sock is None:
                return mqtt.MQTT_ERR_NO_CONN
            try:
                data = self._sock_recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                return self._loop_rc_handle(mqtt.MQTT_ERR_CONN_LOST)
            self._take(data)
            if len(data) < _READ_BYTES or len(self.messages) >= _ENOUGH:
                break
        return mqtt.MQTT_ERR_SUCCESS

    def _take(self, data: bytes) -> None:
        """Take what was read."""
        self._last_bytes_received = mqtt.time_func()
        self.heard_ms = self._wall.monotonic_ms()
        if self._skip:
            self._skip, data = max(0, self._skip - len(data)), data[self._skip :]
        self._rest = self._take_packets(self._rest + data if self._rest else data)

    def _take_packets(self, data: bytes) -> bytes:
        """Handle the whole packets at the front of ``data`` and return what is left of it."""
        at, end = 0, len(data)
        while end - at >= 2:  # noqa: PLR2004 -- the shortest packet
            length, body = data[at + 1], at + 2
            if length & 0x80:
                length, body = _long_length(data, at)
                if not body:
                    break
            stop = body + length
            if data[at] & 0xF0 == _PUBLISH:
                if stop > end and end - body <= self._most_payload + _MOST_HEADER:
                    break
                self._take_publish(data[at], data, body, stop)
                self._skip = max(0, stop - end)
            elif stop > end:
                break
            elif data[at] == _PUBACK and self.on_puback and length > 1:
                # version 5 leaves a reason out that is plain success
                self.on_puback(data[body] << 8 | data[body + 1], data[body + 2] if length > 2 else 0)  # noqa: PLR2004 -- an id alone
            else:
                self._hand_over(data[at], data[body:stop])
                if self._sock is None:
                    return b""
            at = min(stop, end)
        return data[at:]

    def _take_publish(self, head: int, data: bytes, body: int, stop: int) -> None:
        """Note a PUBLISH packet whose body is ``data[body:stop]``, of which a huge one may still lack its end."""
        qos = 2 if head & _QOS_BITS else 0  # bytes of a packet id
        at = body + 2 + (data[body] << 8 | data[body + 1]) if stop - body > 1 else stop + 1
        if at + qos > stop:
            raise LinkDownError("the broker sent a malformed PUBLISH packet")
        topic = data[body + 2 : at]
        packet_id = data[at] << 8 | data[at + 1] if qos else 0
        at += qos
        if self._v5:
            size, after = _long_length(data, at - 1) if at < stop else (0, 0)
            at = after + size
            if not after or at > stop:
                raise LinkDownError("the broker sent a malformed PUBLISH packet")
        # properties may be longer than what is waited for; then the payload is not here, and all of it is too long
        is_here = at - body <= _MOST_HEADER
        length = stop - at if is_here else max(stop - body, self._most_payload + 1)
        payload = data[at : min(stop, at + self._most_payload)] if is_here else b""
        self.messages.add(topic, payload, length=length, flags=head, packet_id=packet_id)

    def _hand_over(self, head: int, body: bytes) -> None:
        """Give a packet to paho as if paho had read it."""
        self._in_packet = {
            "command": head,
            "have_remaining": 1,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": len(body),
            "packet": bytearray(body),
            "to_process": 0,
            "pos": 0,
        }
        code = self._packet_handle()
        if code > 0:
            self._loop_rc_handle(code)

    def send_publications(self, messages: Sequence[tuple[str, bytes, bool, int]]) -> None:
        """Queue messages of QoS 1 as one piece of bytes; ``on_puback`` hears their answers.

        paho makes an object with a lock of every message, and keeps it until it is acknowledged.

        Args:
            messages: Topic, payload, whether it is retained, packet id.
        """
        packets = []
        for topic, payload, retain, packet_id in messages:
            name = topic.encode()
            ending = struct.pack(">HB", packet_id, 0) if self._v5 else struct.pack(">H", packet_id)
            length = 2 + len(name) + len(ending) + len(payload)
            head = bytes([_PUBLISH | _QOS1 | (_RETAIN if retain else 0)]) + _as_long(length)
            packets += [head, struct.pack(">H", len(name)), name, ending, payload]
        self._packet_queue(mqtt.PUBLISH, b"".join(packets), 0, 1)

    def send_acknowledgements(self, packet_ids: Sequence[int]) -> None:
        """Queue the PUBACKs of all ids as one piece of bytes."""
        ids = np.array(packet_ids, np.uint16)
        packets = np.empty((len(ids), 4), np.uint8)
        packets[:, 0], packets[:, 1] = 0x40, 0x02
        packets[:, 2], packets[:, 3] = ids >> 8, ids & 0xFF
        self._packet_queue(mqtt.PUBACK, packets.tobytes(), 0, 1)


def _as_long(length: int) -> bytes:
    """Return a length as a variable byte integer."""
    size = bytearray()
    while length > 0x7F:  # noqa: PLR2004 -- seven bits a byte
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes(size)


def _long_length(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable byte integer after ``data[at]`` and where it ends; (0, 0) where its end is missing.

    Raises:
        LinkDownError: It is longer than four bytes.

    Source: MQTT 3.1.1, section 2.2.3.
    """
    value = 0
    for place in range(4):
        if at + 1 + place >= len(data):
            return 0, 0
        byte = data[at + 1 + place]
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, at + 2 + place
    raise LinkDownError("the broker sent a packet length of more than four bytes")
