"""Gateways over MQTT: who is there, what they are asked, what they want, and what they answer."""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from attwin.core.errors import LinkDownError
from attwin.core.topics import quote_id, unquote_id
from attwin.settings.model import BrokerSettings
from attwin.wiring.brokers import address_of

_BASE = "attwin"
_QOS = 1
_CONNECT_S = 10.0
_MOST_BLOCK = 65_536
_TRANSACTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_RANGES = 64
_TOPICS = ("info", "available", "response/update", "response/rollback", "update/want")


@dataclass(slots=True, kw_only=True)
class Gateway:
    """A gateway as it says of itself.

    Attributes:
        id: Its id.
        available: ``online``, ``stopped``, ``offline`` or ``asleep``; empty where it has not said.
        info: What it is.
    """

    id: str
    available: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def site(self) -> str:
        """The site it belongs to, empty for none."""
        return str(self.info.get("site", ""))

    @property
    def root_version(self) -> int:
        """The version of the root that it trusts."""
        version = self._updates().get("root", 0)
        return version if isinstance(version, int) else 0

    def version(self, line: str) -> int | None:
        """Return which version serves on a line; None where it has no such line."""
        lines = self._updates().get("lines", {})
        version = lines.get(line) if isinstance(lines, dict) else None
        return version if isinstance(version, int) else None

    def _updates(self) -> Mapping[str, Any]:
        updates = self.info.get("updates", {})
        return updates if isinstance(updates, dict) else {}


Answered = Callable[[str, dict[str, Any]], None]
"""Is told what a gateway answers to an update."""


class Fleet:
    """A connection to the broker upstream.

    Blocks of files are sent by the thread of the connection, as gateways ask for them; everything else is told in the
    thread that calls ``step``.
    """

    def __init__(self, broker: BrokerSettings, client_id: str) -> None:
        """Connect.

        Raises:
            LinkDownError: The broker cannot be reached, or refuses.
        """
        self.gateways: dict[str, Gateway] = {}
        self._files: dict[str, bytes] = {}
        self._sent: dict[tuple[str, str], int] = {}
        self._answers: list[tuple[str, str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._refusal = ""
        address = address_of(broker, client_id)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        if address.username:
            self._client.username_pw_set(address.username, address.password or None)
        if address.tls:
            self._client.tls_set_context(address.tls)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        try:
            self._client.connect(address.host, address.port)
        except (OSError, ValueError) as error:
            raise LinkDownError(f"{address.host}:{address.port}: {error}; is a broker running there?") from error
        self._client.loop_start()
        if not self._connected.wait(_CONNECT_S) or self._refusal:
            self.close()
            raise LinkDownError(f"{address.host}:{address.port}: {self._refusal or 'the broker does not answer'}")

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def offer(self, sha256: str, body: bytes) -> None:
        """Send blocks of a file to whoever asks for them."""
        with self._lock:
            self._files[sha256] = body

    def ask(self, gateway: str, verb: str, request: Mapping[str, object]) -> None:
        """Ask something of a gateway."""
        body = json.dumps(request, separators=(",", ":")).encode()
        self._client.publish(f"{_BASE}/{quote_id(gateway)}/request/{verb}", body, qos=_QOS)

    def take_answers(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return (gateway, verb, answer) since the last call, in order."""
        with self._lock:
            taken, self._answers = self._answers, []
        return taken

    def sent(self, gateway: str, sha256: str) -> int:
        """Return how much of a file a gateway has asked for at most, from its beginning [bytes]."""
        with self._lock:
            return self._sent.get((gateway, sha256), 0)

    def known(self) -> list[Gateway]:
        """Return the gateways that have said who they are, by their ids."""
        with self._lock:
            return sorted(self.gateways.values(), key=lambda gateway: gateway.id)

    def listen(self, seconds: float) -> None:
        """Wait for gateways to say who they are."""
        time.sleep(seconds)

    def _on_connect(
        self,
        client: mqtt.Client,
        _data: object,
        _flags: object,
        reason: ReasonCode,
        _props: object,
    ) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refuses: {reason}"
        else:
            client.subscribe([(f"{_BASE}/+/{topic}", _QOS) for topic in _TOPICS])
        self._connected.set()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        _, name, *rest = message.topic.split("/")
        gateway, what = unquote_id(name), "/".join(rest)
        if what == "available":
            with self._lock:
                self._gateway(gateway).available = message.payload.decode(errors="replace")
            return
        try:
            body = json.loads(message.payload)
        except ValueError:
            return
        if not isinstance(body, dict):
            return
        if what == "update/want":
            self._send_blocks(name, gateway, body)
            return
        with self._lock:
            if what == "info":
                self._gateway(gateway).info = body
            else:
                self._answers.append((gateway, what.removeprefix("response/"), body))

    def _gateway(self, gateway: str) -> Gateway:
        return self.gateways.setdefault(gateway, Gateway(id=gateway))

    def _send_blocks(self, name: str, gateway: str, want: Mapping[str, Any]) -> None:
        """Send the blocks that a gateway wants, no more of each than a block may have."""
        sha256, transaction = str(want.get("sha256")), str(want.get("transaction"))
        with self._lock:
            body = self._files.get(sha256)
        if body is None or not _TRANSACTION.fullmatch(transaction):
            return
        for offset, length in _ranges(want.get("ranges")):
            block = body[offset : offset + min(length, _MOST_BLOCK)]
            self._client.publish(f"{_BASE}/{name}/update/block/{transaction}/{offset}", block, qos=_QOS)
            with self._lock:
                known = self._sent.get((gateway, sha256), 0)
                self._sent[gateway, sha256] = max(known, offset + len(block))


def _ranges(given: object) -> list[tuple[int, int]]:
    """Return the ranges that a gateway wants; none where they are no ranges."""
    items = given[:_MOST_RANGES] if isinstance(given, list) else []
    pairs = [item for item in items if isinstance(item, list) and all(isinstance(n, int) and n >= 0 for n in item)]
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == len(("offset", "length"))]
