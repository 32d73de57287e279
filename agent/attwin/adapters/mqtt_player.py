"""Publishes readings as sensors would: one message a reading, in step with their times."""

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from attwin.core.errors import LinkDownError

_CONNECT_SECONDS = 10.0
_DRAIN_SECONDS = 30.0
_MOST_IN_FLIGHT = 100
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One reading to publish.

    Attributes:
        after_s: How long after the start it is due.
        topic: Where.
        value: What.
        time_ms: When it was measured; None for the moment of sending.
    """

    after_s: float
    topic: str
    value: float
    time_ms: int | None


class Player:
    """A connected publisher."""

    def __init__(self, host: str, port: int, *, username: str = "", password: str = "") -> None:
        """Connect.

        Raises:
            LinkDownError: The broker cannot be reached, or refuses.
        """
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._where = f"{host}:{port}"
        self._answered = threading.Event()
        self._room = threading.Semaphore(_MOST_IN_FLIGHT)
        self._refusal = ""
        self._client.on_connect = self._on_connect
        self._client.on_publish = lambda *_: self._room.release()
        if username:
            self._client.username_pw_set(username, password or None)
        try:
            self._client.connect(host, port)
        except (OSError, ValueError) as error:
            raise LinkDownError(f"{self._where}: {error}; is a broker running there?") from error
        self._client.loop_start()
        if not self._answered.wait(_CONNECT_SECONDS) or self._refusal:
            self.close()
            raise LinkDownError(f"{self._where}: {self._refusal or 'the broker does not answer'}")

    def play(self, readings: Iterable[Play], *, qos: int, stop: threading.Event, done: Callable[[], object]) -> int:
        """Publish readings when they are due, until they end or ``stop`` is set; return how many the broker has.

        Raises:
            LinkDownError: The broker does not take them any more.
        """
        started = time.monotonic()
        last: list[mqtt.MQTTMessageInfo] = []
        count = 0
        for reading in readings:
            if stop.wait(max(0.0, started + reading.after_s - time.monotonic())):
                break
            if not self._acquire(stop):
                if stop.is_set():
                    break
                raise LinkDownError(
                    f"{self._where}: no acknowledgement for {_DRAIN_SECONDS:g} s after {count} readings"
                )
            time_ms = time.time_ns() // 1_000_000 if reading.time_ms is None else reading.time_ms
            payload = json.dumps({"value": reading.value, "time": time_ms / 1000})
            last = [*last[-_MOST_IN_FLIGHT:], self._client.publish(reading.topic, payload, qos=qos)]
            count += 1
            done()
        for info in last:
            info.wait_for_publish(_DRAIN_SECONDS)
            if not info.is_published():
                raise LinkDownError(f"{self._where}: the last of {count} readings were not acknowledged")
        return count

    def _acquire(self, stop: threading.Event) -> bool:
        """Wait for room in the window, but not after ``stop``."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while not self._room.acquire(timeout=_LOOK_SECONDS):
            if stop.is_set() or time.monotonic() > deadline:
                return False
        return True

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, _props: object) -> None:
        self._refusal = str(reason) if reason.is_failure else ""
        self._answered.set()
