"""The demo: a broker, a publisher, the agent and an upstream subscriber, each the real one, in a folder of its own."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from attwin.adapters.control_socket import ask
from attwin.adapters.mqtt_watcher import Arrival, Watcher
from attwin.core.errors import AgentAwayError, AttwinError
from attwin.wiring.alerting import alert_events
from attwin.wiring.reading import control_of, count_rows, sums_of, twins_of

_START_SECONDS = 20.0
_DRAIN_SECONDS = 10.0
_STOP_SECONDS = 10.0
_GATEWAY = "demo"
_SAMPLE = Path(__file__).parent.parent / "data" / "occupancy.csv"

_CONFIG = """\
version: 1
gateway: {{id: {gateway}, site: office, zone: Europe/Brussels}}
broker: {{url: "mqtt://127.0.0.1:{port}"}}
upstream: {{url: "mqtt://127.0.0.1:{port}", twin_every: 1s, twin_change: 0.01, health_every: 5s}}
store: {{path: twin.db}}
kinds:
  room:
    model: builtin:occupancy
    metrics:
      temperature: {{unit: Cel, min: -20, max: 60}}
      humidity: {{unit: "%RH", min: 0, max: 100}}
      light: {{unit: lx, min: 0, max: 20000}}
      co2: {{unit: ppm, min: 200, max: 10000}}
      humidity_ratio: {{unit: kg/kg, min: 0, max: 0.1}}
sources:
  - topic: sensors/{{entity}}/{{metric}}
    kind: room
rules:
  - name: in-use
    kind: room
    when: {{attention: true, above: 0.7, clear_below: 0.3}}
    for: 3m
    severity: info
  - name: stuffy
    kind: room
    when: {{metric: co2, above: 1000, clear_below: 900}}
    for: 5m
"""


class DemoError(AttwinError):
    """A part of the demo did not start, or died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What can be seen of the demo at a moment.

    Attributes:
        twins: As ``attwin twin list`` has them.
        events: Alert events since the last moment.
        arrivals: What arrived upstream since the last moment.
        status: The agent's health.
    """

    twins: list[dict[str, object]]
    events: list[dict[str, object]]
    arrivals: list[Arrival]
    status: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The numbers of a demo that has ended.

    Attributes:
        published: Readings that the broker acknowledged.
        stored, duplicate, rejected: What the agent did with them.
        scores: Rows of scores in the database.
        alerts: Alerts that opened.
        upstream: Messages that arrived upstream.
        runtime: What ran the model.
    """

    published: int
    stored: int
    duplicate: int
    rejected: int
    scores: int
    alerts: int
    upstream: int
    runtime: str

    def adds_up(self) -> bool:
        """Return whether every published reading is accounted for."""
        return self.published == self.stored + self.duplicate + self.rejected


class Demo:
    """A running demo. Make it with ``running_demo``."""

    def __init__(self, folder: Path, broker: str, agent: "_Child", publisher: "_Child", watcher: Watcher) -> None:
        self.broker = broker
        self._database = folder / "twin.db"
        self._agent = agent
        self._publisher = publisher
        self._watcher = watcher
        self._last_event = 0
        self._arrived = 0
        self._runtime = ""

    def is_playing(self) -> bool:
        """Return whether the publisher has something left.

        Raises:
            DemoError: The agent died.
        """
        self._agent.demand_alive()
        return self._publisher.process.poll() is None

    def look(self) -> Moment:
        """Return what can be seen now, and what is new since the last look."""
        self._last_event, events = alert_events(self._database, after=self._last_event)
        arrivals = self._watcher.take()
        self._arrived += len(arrivals)
        try:
            status = ask(control_of(self._database), {"verb": "status"})
        except AgentAwayError:
            status = {}
        models = status.get("models")
        if isinstance(models, dict) and models:
            self._runtime = str(next(iter(models.values()))["runtime"])
        return Moment(twins=twins_of(self._database), events=events, arrivals=arrivals, status=status)

    def finish(self) -> Summary:
        """Stop the publisher, let the agent take what is left, stop it, and add up.

        Raises:
            DemoError: A part does not end as it should.
        """
        published = json.loads(self._publisher.end().splitlines()[-1])["published"]
        deadline = time.monotonic() + _DRAIN_SECONDS
        while _total(sums_of(self._database), "messages_received") < published and time.monotonic() < deadline:
            time.sleep(0.1)
        self._agent.end()
        self.look()
        sums = sums_of(self._database)
        return Summary(
            published=published,
            stored=_total(sums, "readings_stored"),
            duplicate=_total(sums, "readings_duplicate"),
            rejected=_total(sums, "readings_rejected") + _total(sums, "messages_rejected"),
            scores=count_rows(self._database, "scores"),
            alerts=count_rows(self._database, "alerts"),
            upstream=self._arrived,
            runtime=self._runtime,
        )


@contextmanager
def running_demo(folder: Path, *, speed: float, embedded: bool) -> Iterator[Demo]:
    """Start everything in ``folder``, yield the demo, and end what still runs.

    Args:
        folder: For the configuration, the database and the logs.
        speed: How much faster than the recording to play.
        embedded: Take the embedded broker even where a Mosquitto is installed.

    Raises:
        DemoError: A part does not start.
    """
    port = _free_port()
    config = folder / "attwin.yaml"
    config.write_text(_CONFIG.format(port=port, gateway=_GATEWAY), encoding="utf-8")
    attwin = [sys.executable, "-m", "attwin"]
    with ExitStack() as started:
        broker, name = _broker(folder, port, embedded=embedded)
        started.callback(broker.kill)
        _wait_for_port(port, broker)
        watcher = Watcher("127.0.0.1", port, f"attwin/{_GATEWAY}/#")
        started.callback(watcher.close)
        agent = _Child("agent", [*attwin, "run", "--config", str(config)], folder)
        started.callback(agent.kill)
        _wait_for_agent(folder / "twin.db", agent)
        publisher = _Child(
            "publisher",
            [
                *(*attwin, "publish", str(_SAMPLE), "--json", "--broker", f"mqtt://127.0.0.1:{port}"),
                *("--entity", "office", "--zone", "Europe/Brussels", "--speed", str(speed), "--rate", "0"),
                *(
                    "--metric",
                    "temperature=Temperature",
                    "--metric",
                    "humidity=Humidity",
                    "--metric",
                    "light=Light",
                ),
                *("--metric", "co2=CO2", "--metric", "humidity_ratio=HumidityRatio"),
            ],
            folder,
        )
        started.callback(publisher.kill)
        yield Demo(folder, name, agent, publisher, watcher)


class _Child:
    """A process with its output in files of the demo's folder."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self._out, self._log = folder / f"{name}.out", folder / f"{name}.log"
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self.process = _start(command, out, log)

    def demand_alive(self) -> None:
        """Raise a DemoError with the end of the log where the process has ended."""
        if self.process.poll() is not None:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            raise DemoError(f"the {self.name} ended with {self.process.returncode}:\n" + "\n".join(said))

    def end(self) -> str:
        """End the process as a user would, and return what it printed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise DemoError(f"the {self.name} did not end within {_STOP_SECONDS:g} s") from None
        if code:
            self.demand_alive()
        return self._out.read_text(encoding="utf-8")

    def kill(self) -> None:
        """End the process whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _start(command: list[str], out: IO[bytes], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    # a session of its own: Ctrl-C reaches the demo alone, which then ends the others in order
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True)  # noqa: S603 -- our own programs and the broker


def _broker(folder: Path, port: int, *, embedded: bool) -> tuple[_Child, str]:
    mosquitto = shutil.which("mosquitto", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    if mosquitto and not embedded:
        config = folder / "mosquitto.conf"
        lines = (
            f"listener {port} 127.0.0.1",
            "allow_anonymous true",
            "max_queued_messages 0",
            "set_tcp_nodelay true",
        )
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return _Child("broker", [mosquitto, "-c", str(config)], folder), "mosquitto"
    return _Child("broker", [sys.executable, "-m", "attwin.wiring.demo_broker", str(port)], folder), "amqtt (embedded)"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int, broker: _Child) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        broker.demand_alive()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise DemoError(f"the broker does not listen on port {port}")


def _wait_for_agent(database: Path, agent: _Child) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        agent.demand_alive()
        with contextlib.suppress(AgentAwayError):
            if ask(control_of(database), {"verb": "status"})["broker"] == "up":
                return
        time.sleep(0.05)
    raise DemoError("the agent does not come up")


def _total(sums: dict[str, object], name: str) -> int:
    return int(str(sums.get(name, 0)))
