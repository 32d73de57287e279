"""A connection to an MQTT broker by paho-mqtt, driven by the agent's loop.

The loop owns the sockets; no paho thread runs. While a client is down, a helper thread resolves the name, connects and
shakes hands, and the loop leaves that client alone until the thread has ended.
"""

import contextlib
import random
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from attwin.adapters.mqtt_client import ReadAheadClient
from attwin.core.errors import LinkDownError
from attwin.ports import CONNECTING, Clock

_FIRST_WAIT_MS = 500
_LONGEST_WAIT_MS = 30_000
_CONNECT_SECONDS = 10.0
_ANSWER_MS = 10_000
_SESSION_SECONDS = 7 * 86_400
_STUCK_MS = 60_000
"""A connection attempt that takes longer is given up: a name server may never answer."""
_SILENT_KEEPALIVES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where and how to connect.

    Attributes:
        host, port: The broker.
        client_id: Unique at the broker, lasting.
        username, password: Empty for none.
        tls: None for a plain connection.
        protocol: "3.1.1" or "5".
        keepalive_s: MQTT keep-alive.
        inflight: How many unacknowledged messages either side may send.
        clean: Whether the broker forgets the session when the connection ends.
    """

    host: str
    port: int
    client_id: str
    username: str
    password: str
    tls: ssl.SSLContext | None
    protocol: str
    keepalive_s: int
    inflight: int
    clean: bool = False

    def __repr__(self) -> str:
        return f"{self.host}:{self.port}"


class MqttLink:
    """Keeps one client connected. The base of the sensor and the upstream link.

    The client is supervised: where nothing moves for long, or a connection attempt does not end, it is
    given up for a new one, which takes over what waits.
    """

    def __init__(self, address: BrokerAddress, clock: Clock, *, most_payload: int) -> None:
        self.address = address
        self.connections = 0
        self._most_payload = most_payload
        self._clock = clock
        self._accepted = False
        self._problem = CONNECTING
        self._connecting: threading.Thread | None = None
        self._failure: Exception | None = None
        self._wait_ms = _FIRST_WAIT_MS
        self._next_try_ms = 0
        self._answer_by_ms = 0
        self._given_up_at_ms = 0
        self._is_held = False
        self._client = self._new_client()

    def fileno(self) -> int | None:
        """Return the socket to watch, None while there is none."""
        if self._connecting:
            return None
        sock = self._client.socket()
        return None if sock is None else sock.fileno()

    def wants_read(self) -> bool:
        """Return whether there is room for more to be read."""
        return True

    def wants_write(self) -> bool:
        """Return whether something waits to be sent."""
        return self._connecting is None and self._client.want_write()

    def on_readable(self) -> None:
        """Read what has arrived."""
        self._guarded(self._client.loop_read)

    def on_writable(self) -> None:
        """Send what waits."""
        self._guarded(self._client.loop_write)

    def is_up(self) -> bool:
        """Return whether the broker has accepted us."""
        return self._accepted

    def problem(self) -> str:
        """Return why the link is down, empty while it is up."""
        return "" if self._accepted else self._problem

    def furnish(self, client: ReadAheadClient) -> None:
        """Give a new client what the link needs of it. For subclasses."""

    def tick(self) -> None:
        """Keep the connection alive, or get a new one."""
        now = self._clock.monotonic_ms()
        if self._connecting:
            if not self._connecting.is_alive():
                self._connecting = None
                self._connect_ended()
            elif now > self._given_up_at_ms:
                self._connecting = None
                self._replace_client(f"{self.address!r}: connecting has not ended for {_STUCK_MS // 1000} s")
            return
        silent_ms = now - self._client.heard_ms
        if self._accepted and silent_ms > _SILENT_KEEPALIVES * 1000 * self.address.keepalive_s:
            self._replace_client(f"{self.address!r}: nothing was heard for {silent_ms // 1000} s")
        elif self._client.socket() is not None:
            self._guarded(self._client.loop_misc)
            if not self._accepted and self._clock.monotonic_ms() > self._answer_by_ms:
                self._guarded(self._give_up)
        elif self._clock.monotonic_ms() >= self._next_try_ms and not self._is_held:
            # what is left of the connection before belongs to no packet of the next one
            self._client.forget_rest()
            self._connecting = threading.Thread(
                target=self._connect, args=(self._client,), name=f"connect {self.address!r}", daemon=True
            )
            self._failure = None
            self._given_up_at_ms = now + _STUCK_MS
            self._connecting.start()

    def close(self) -> None:
        """Say goodbye and close."""
        if self._connecting:
            self._client.give_up()
        elif self._client.socket() is not None:
            self._guarded(self._client.disconnect)
            self._guarded(self._client.loop_write)

    def on_accepted(self, *, session_present: bool) -> None:
        """Do what a new connection needs. For subclasses."""

    def on_limits(self, receive_maximum: int | None, largest_packet: int | None) -> None:
        """Note what the broker of version 5 takes, before ``on_accepted``. For subclasses."""

    def on_ended(self, code: int) -> None:
        """Note with which reason code the broker ends the connection, before ``on_lost``. For subclasses."""

    def is_reliable(self) -> bool:
        """Return whether a connection that is accepted is taken for a good one. For subclasses."""
        return True

    def on_lost(self) -> None:
        """Forget what belonged to the connection. For subclasses."""

    def _new_client(self) -> ReadAheadClient:
        address = self.address
        is_v5 = address.protocol == "5"
        client = ReadAheadClient(
            CallbackAPIVersion.VERSION2,
            client_id=address.client_id,
            protocol=mqtt.MQTTv5 if is_v5 else mqtt.MQTTv311,
            clean_session=None if is_v5 else address.clean,
            manual_ack=True,
        )
        client.prepare(self._clock, self._most_payload)
        if address.username:
            client.username_pw_set(address.username, address.password or None)
        if address.tls:
            client.tls_set_context(address.tls)
        client.suppress_exceptions = False
        client.connect_timeout = _CONNECT_SECONDS
        client.max_inflight_messages_set(address.inflight)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        self.furnish(client)
        return client

    def _replace_client(self, problem: str) -> None:
        """Give a client up that does not move, and go on with a new one that takes over what was read."""
        old, was_up = self._client, self._accepted
        old.on_connect = old.on_disconnect = None
        with contextlib.suppress(OSError, ValueError):
            old.give_up()
        self._client = self._new_client()
        self._client.messages = old.messages
        self._failure = None
        self._back_off(problem)
        if was_up:
            self.on_lost()
        self.on_replaced()

    def on_replaced(self) -> None:
        """Give the new client what the old one had in flight. For subclasses."""

    def _connect(self, client: ReadAheadClient) -> None:
        """Connect, in the helper thread; touches nothing but the client that the loop leaves alone."""
        properties = None
        if self.address.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it untyped
            properties.SessionExpiryInterval = 0 if self.address.clean else _SESSION_SECONDS
            properties.ReceiveMaximum = self.address.inflight
        try:
            client.connect(
                self.address.host,
                self.address.port,
                keepalive=self.address.keepalive_s,
                clean_start=self.address.clean if properties else mqtt.MQTT_CLEAN_START_FIRST_ONLY,
                properties=properties,
            )
        except (OSError, ValueError, struct.error, MQTTException) as error:
            if client is self._client:
                self._failure = error

    def _connect_ended(self) -> None:
        self._answer_by_ms = self._clock.monotonic_ms() + _ANSWER_MS
        if self._failure is not None:
            self._client.hang_up()
            self._back_off(f"{self.address!r}: {_explain(self._failure)}")

    def _give_up(self) -> None:
        raise LinkDownError("whoever listens there does not answer as a broker does")

    def _back_off(self, problem: str) -> None:
        self._accepted = False
        self._problem = problem
        self._next_try_ms = self._clock.monotonic_ms() + round(self._wait_ms * random.uniform(0.5, 1))  # noqa: S311 -- jitter, not a secret
        self._wait_ms = min(self._wait_ms * 2, _LONGEST_WAIT_MS)

    def _guarded(self, action: Callable[[], object]) -> None:
        """Call into paho; a broken connection is a state, not an exception."""
        try:
            action()
        except (OSError, ValueError, IndexError, struct.error, MQTTException, LinkDownError) as error:
            self._problem = f"{self.address!r}: {_explain(error)}"
            self._drop()

    def _drop(self) -> None:
        was_up, self._accepted = self._accepted, False
        self._client.hang_up()
        self._back_off(self._problem)
        if was_up:
            self.on_lost()

    def _on_connect(
        self,
        _client: mqtt.Client,
        _data: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            raise LinkDownError(f"the broker refuses us: {reason}")
        self._accepted, self._problem = True, ""
        if self.is_reliable():
            self._wait_ms = _FIRST_WAIT_MS
        self.connections += 1
        self.on_limits(
            getattr(properties, "ReceiveMaximum", None),
            getattr(properties, "MaximumPacketSize", None),
        )
        self.on_accepted(session_present=flags.session_present)

    def _on_disconnect(
        self, _client: mqtt.Client, _data: object, flags: mqtt.DisconnectFlags, reason: ReasonCode, _props: object
    ) -> None:
        was_up, self._accepted = self._accepted, False
        said = f": {reason}" if flags.is_disconnect_packet_from_server else ""
        if said:
            self.on_ended(reason.value)
        self._back_off(f"the connection to {self.address!r} was lost{said}")
        if was_up:
            self.on_lost()


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
