"""CPU of the agent a QoS 1 message, beside a bare paho subscriber that only counts, on the same stream.

The agent does all its work: decoding, cleaning, windows and features, scoring every second of event time with the
int8 model, a rule, one durable transaction a round (synchronous=FULL), acknowledging after the commit. The subscriber
runs paho's ``loop_forever`` and counts. Both take turns on the same broker, each with a topic base of its own; the
figures are the medians of the rounds.

usage: python bench/ingest.py [--messages 100000] [--entities 1000] [--rounds 3] [--folder DIR] [--json]
"""

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

METRICS = ("temperature", "humidity", "light", "co2")
EVENT_START_S = 1_700_000_000
"""When the readings were measured; a round goes on where the one before ended, so that none is late."""

TARGET = 0.75
PATIENCE_S = 60.0
WINDOW = 2_000
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
CONFIG = """\
version: 1
gateway: {{id: {name}}}
broker: {{url: "{url}", {tls}inflight: {inflight}}}
upstream: {{url: "mqtt://127.0.0.1:{upstream}", twin_every: {twin_every}}}
limits: {{entities: {entities}}}
{store}
kinds:
  room:
    model: builtin:occupancy
    metrics:
      temperature: {{unit: Cel}}
      humidity: {{unit: "%RH"}}
      light: {{unit: lx}}
      co2: {{unit: ppm}}
      humidity_ratio: {{unit: kg/kg}}
{metrics}sources:
  - topic: sensors/{{entity}}/{{metric}}
    kind: room
{extra}rules:
  - name: hot
    kind: room
    when: {{metric: temperature, above: 99.99, clear_below: 1}}
"""
BARE = """
import sys, paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
wanted, seen = int(sys.argv[2]), 0
client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=mqtt.MQTTv311)
def count(client, userdata, message):
    global seen
    seen += 1
    if seen == wanted:
        print("done", flush=True)
client.on_message = count
client.on_subscribe = lambda *_: print("ready", flush=True)
client.connect("127.0.0.1", int(sys.argv[1]))
client.subscribe("compare/#", 1)
client.loop_forever()
"""


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def packet(kind: int, body: bytes) -> bytes:
    """Return an MQTT packet."""
    length, size = len(body), b""
    while True:
        length, low = divmod(length, 128)
        size += bytes([low | (128 if length else 0)])
        if not length:
            return bytes([kind]) + size + body


Place = tuple[int, int, float]
"""Which entity and metric a reading is of, and when in seconds after the start it was measured."""


def apart(number: int, entities: int) -> Place:
    """Return the place of a reading where all entities send their first metric, then all their second, and so on.

    The readings are a millisecond apart, so that with 1,000 entities each reading has a score of its own.
    """
    return number % entities, number // entities % len(METRICS), number / 1000


def together(number: int, entities: int) -> Place:
    """Return the place of a reading where an entity sends its metrics at once, and not twice in a second.

    So there is one score in four readings, however many entities there are.
    """
    count = len(METRICS)
    return number // count % entities, number % count, number / min(1000, count * entities)


def publish(port: int, base: str, numbers: range, entities: int, place: Callable[[int, int], Place] = apart) -> None:
    """Publish readings as fast as the broker acknowledges."""
    frames = []
    for number in numbers:
        entity, metric, time_s = place(number, entities)
        topic = f"{base}/e{entity}/{METRICS[metric]}".encode()
        reading = {"time": EVENT_START_S + time_s, "value": round(random.random() * 99, 2)}  # noqa: S311 -- a load, not a secret
        head = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number % 65_000 + 1)
        frames.append(packet(0x32, head + json.dumps(reading).encode()))
    push(port, frames)


def push(port: int, frames: list[bytes]) -> None:
    """Send QoS 1 publications, as fast as the broker acknowledges."""
    count = len(frames)
    with socket.create_connection(("127.0.0.1", port)) as broker:
        name = f"load{time.monotonic_ns()}".encode()
        broker.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack(">H", len(name)) + name))
        broker.recv(4)
        acknowledged = [0]

        def drain() -> None:
            while acknowledged[0] < 4 * count and (data := broker.recv(65_536)):
                acknowledged[0] += len(data)

        thread = threading.Thread(target=drain)
        thread.start()
        for first in range(0, count, 500):
            while 4 * first - acknowledged[0] > 4 * WINDOW:
                time.sleep(0.0005)
            broker.sendall(b"".join(frames[first : first + 500]))
        thread.join()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def broker(folder: Path, *, inflight: int = 0, more: str = "", port: int = 0) -> Iterator[int]:
    """Run a Mosquitto that queues without limit, and yield its port.

    Args:
        folder: For its configuration.
        inflight: How many unacknowledged messages it sends; 0 for no limit.
        more: More lines of its configuration.
        port: Where it listens; a free one unless told.
    """
    path = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if path is None:
        sys.exit("no mosquitto: apt-get install mosquitto")
    port = port or free_port()
    config = folder / f"mosquitto-{port}.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages {inflight}\nmax_queued_messages 0\n"
        "set_tcp_nodelay true\n" + more,
        encoding="utf-8",
    )
    with subprocess.Popen([path, "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(0.5)
            yield port
        finally:
            # also where a benchmark fails, or the wait for the process would never end
            process.terminate()


@contextlib.contextmanager
def bare(port: int, wanted: int) -> Iterator[subprocess.Popen[str]]:
    """Run the bare subscriber, which prints a line when it has received so many messages."""
    command = [sys.executable, "-c", BARE, str(port), str(wanted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            sys.exit("the bare subscriber did not start")
        try:
            yield process
        finally:
            process.kill()


def bare_us(port: int, numbers: range, entities: int) -> float:
    """Return the CPU microseconds a message of the bare subscriber."""
    with bare(port, len(numbers)) as process:
        before = cpu_s(process.pid)
        publish(port, "compare", numbers, entities)
        if process.stdout:
            process.stdout.readline()
        return (cpu_s(process.pid) - before) / len(numbers) * 1e6


class AgentUnderTest:
    """The agent as a process, warmed up."""

    def __init__(  # noqa: PLR0913 -- what the loads differ in
        self,
        folder: Path,
        port: int,
        entities: int,
        *,
        name: str = "bench",
        inflight: int = 65_535,
        store: str = "",
        extra: str = "",
        more_metrics: Sequence[str] = (),
        upstream: int | None = None,
        twin_every: str = "1m",
        tls: tuple[int, Path] | None = None,
        waits: bool = True,
    ) -> None:
        self.memory = 0.0
        self.config = folder / "attwin.yaml"
        metrics = "".join(f'      {metric}: {{unit: "1"}}\n' for metric in more_metrics)
        text = CONFIG.format(
            url=f"mqtts://localhost:{tls[0]}" if tls else f"mqtt://127.0.0.1:{port}",
            tls=f'ca_file: "{tls[1]}", ' if tls else "",
            upstream=upstream or port,
            twin_every=twin_every,
            entities=entities,
            name=name,
            inflight=inflight,
            store=store,
            extra=extra,
            metrics=metrics,
        )
        self.config.write_text(text, encoding="utf-8")
        attwin = Path(sys.executable).with_name("attwin")
        self.process = subprocess.Popen([attwin, "run", "--config", self.config, "--log-level", "warning"])
        while waits and self.counter("broker") != "up":
            if self.process.poll() is not None:
                sys.exit("the agent did not start")
            time.sleep(0.1)

    def counter(self, name: str) -> object:
        """Return one fact of the agent's status."""
        from attwin.core.errors import AttwinError  # noqa: PLC0415 -- so that --help needs nothing
        from attwin.wiring.reading import status_of  # noqa: PLC0415 -- the same

        try:
            return status_of(self.config.with_name("twin.db")).get(name, 0)
        except AttwinError:
            return 0

    def us(self, port: int, numbers: range, entities: int, place: Callable[[int, int], Place] = apart) -> float:
        """Return the CPU microseconds a message, from the first to after the last is stored and acknowledged."""
        wanted = int(str(self.counter("readings_stored"))) + len(numbers)
        before = cpu_s(self.process.pid)
        publish(port, "sensors", numbers, entities, place)
        deadline = time.monotonic() + PATIENCE_S
        while (stored := int(str(self.counter("readings_stored")))) < wanted:
            if time.monotonic() > deadline:
                sys.exit(f"{wanted - stored} of {len(numbers)} readings were not stored")
            time.sleep(0.2)
        return (cpu_s(self.process.pid) - before) / len(numbers) * 1e6

    def memory_mb(self) -> float:
        """Return the resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def kill(self) -> None:
        """Kill without warning."""
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> None:
        """Stop; the memory is that of the end."""
        self.memory = self.memory_mb()
        self.process.terminate()
        self.process.wait(20)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--entities", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the database lies; a real file system, not tmpfs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count, entities = options.messages, options.entities
    with tempfile.TemporaryDirectory(prefix="attwin-bench-", dir=options.folder) as name, broker(Path(name)) as port:
        agent = AgentUnderTest(Path(name), port, entities)
        warm_up = entities * len(METRICS)
        agent.us(port, range(warm_up), entities)
        rounds = []
        for number in range(options.rounds):
            numbers = range(warm_up + number * count, warm_up + (number + 1) * count)
            rounds.append((bare_us(port, numbers, entities), agent.us(port, numbers, entities)))
            if not options.json:
                print(f"round {number + 1}: bare {rounds[-1][0]:.1f} us, agent {rounds[-1][1]:.1f} us a message")
        memory, stored = agent.memory_mb(), agent.counter("readings_stored")
        agent.stop()
    plain, own = (statistics.median(column) for column in zip(*rounds, strict=True))
    figures = {
        "bare_us": round(plain, 1),
        "agent_us": round(own, 1),
        "ratio": round(own / plain, 2),
        "target": TARGET,
        "rss_mb": round(memory, 1),
        "messages": count,
        "entities": entities,
        "readings_stored": stored,
        "python": platform.python_version(),
    }
    if options.json:
        print(json.dumps(figures))
    else:
        print(
            f"bare {plain:.1f} us, agent {own:.1f} us a message, ratio {own / plain:.2f} (target {TARGET} or less); "
            f"{memory:.0f} MB resident; Python {platform.python_version()}"
        )
    sys.exit(0 if own / plain <= TARGET else 1)


if __name__ == "__main__":
    main()
