"""Real programs: a broker, the agent, a subscriber."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from attwin.core.errors import AttwinError
from attwin.wiring.reading import status_of

_LONGEST_S = 20.0


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(fact: Callable[[], object], what: str, seconds: float = _LONGEST_S) -> None:
    """Wait until a fact holds; fail with what it was."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


class Mosquitto:
    """A broker that keeps sessions in memory."""

    def __init__(self, folder: Path, *, port: int | None = None, extra: str = "", address: str = "127.0.0.1") -> None:
        path = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if path is None:
            pytest.fail("no mosquitto: run `make test`, which installs it, or apt-get install mosquitto")
        self.port = port or free_port()
        self.address = address
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} {address}\nallow_anonymous true\nuser root\n"
            + (extra or "max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true")
            + "\n",
            encoding="utf-8",
        )
        self._path = path
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address as the configuration wants it."""
        return f"mqtt://{self.address}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until it listens."""
        with (self._folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen([self._path, "-c", str(self._config)], stdout=log, stderr=log)
        wait_until(self._listens, "the broker listens")

    def stop(self) -> None:
        """Stop."""
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def log(self) -> str:
        """Return what it logged."""
        return (self._folder / "mosquitto.log").read_text(encoding="utf-8")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 1):
            return True
        return False


class Client:
    """A client that publishes and collects."""

    def __init__(self, port: int, subscribe: str = "", *, address: str = "127.0.0.1") -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.subscribed = not subscribe
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _d, m: self.messages.append((m.topic, bytes(m.payload), m.retain))
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.connect(address, port)
        self._client.loop_start()
        if subscribe:
            self._client.subscribe(subscribe, 1)
            wait_until(lambda: self.subscribed, "the subscription is granted")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait for the acknowledgement."""
        self._client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(_LONGEST_S)

    def bodies(self, ending: str) -> list[dict[str, object]]:
        """Return the JSON payloads of topics that end like this."""
        return [json.loads(payload) for topic, payload, _ in list(self.messages) if topic.endswith(ending) and payload]


class Agent:
    """``attwin run`` as a process."""

    def __init__(self, config: Path, *, database: Path | None = None) -> None:
        self.config = config
        self.database = database or config.with_name("twin.db")
        self.environment: dict[str, str] = {}
        self.wrapper: list[str] = []
        self._log = config.with_name("agent.log")
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def launch(self) -> None:
        """Start, and wait for nothing."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, sys.executable, "-m", "attwin", "run", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    def start(self) -> None:
        """Start, and wait until it answers and has tried its broker."""
        self.launch()
        wait_until(lambda: self.gone() or self._has_tried(), "the agent answers")
        assert not self.gone(), self.log()

    def gone(self) -> bool:
        """Return whether the process has ended."""
        return self.process is None or self.process.poll() is not None

    def log(self) -> str:
        """Return what it logged."""
        return self._log.read_text(encoding="utf-8")

    def ask(self, *command: str) -> dict[str, object]:
        """Return the one JSON object that a command prints; empty where it fails."""
        rows = self.rows(*command)
        return rows[0] if rows else {}

    def rows(self, *command: str) -> list[dict[str, object]]:
        """Return the JSON objects that a command prints, one a line."""
        done = subprocess.run(
            [sys.executable, "-m", "attwin", *command, "--config", str(self.config), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        return [json.loads(line) for line in done.stdout.splitlines()] if done.returncode == 0 else []

    def wait_for(self, counter: str, count: int) -> None:
        """Wait until a counter of ``attwin status`` has reached a number."""
        wait_until(lambda: int(str(self.status().get(counter, 0))) >= count, f"{counter} is {count}")

    def status(self) -> dict[str, object]:
        """Return what ``attwin status`` knows, without starting a process for it."""
        try:
            return status_of(self.database)
        except AttwinError:
            return {}

    def _has_tried(self) -> bool:
        broker = self.status().get("broker", "")
        return broker == "up" or "refused" in str(broker)

    def stop(self) -> float:
        """Stop as systemd would; return how long it took."""
        assert self.process
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0, self.log()
        return time.monotonic() - started

    def freeze(self, *, at_rest: bool = True) -> None:
        """Stop without an end; wait until no thread is in a call of the kernel any more, where that is asked for."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.process.pid}/task")
        if at_rest:
            wait_until(lambda: all(_state(thread) == "T" for thread in threads.iterdir()), "the agent stands still")

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill without warning."""
        assert self.process
        self.process.kill()
        self.process.wait(10)


def _state(thread: Path) -> str:
    """Return the state of a thread: T for one that is stopped."""
    return (thread / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
