"""What the agent costs under loads that are not saturation: each figure beside its target.

cpu      CPU at 200 messages a second, in percent of a core, beside a subscriber that only counts them
senml    readings a second and core, 50 readings a SenML message
latency  from publication to the alert upstream, open loop at 1,000 messages a second and at half of what can be kept up
memory   resident memory at 1,000 entities x 8 metrics
writes   bytes written to disk a reading at 1,000 readings a second, with both settings of `store.writes`, beside one
         row a reading with as many commits
syscalls system calls a message at saturation, counted by strace, without and with TLS
growth   CPU a reading and memory at 100 to 100,000 series

usage: python bench/load.py FIGURE... [--seconds 60] [--folder DIR]
"""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from history import HOUR_MS, a_store
from ingest import EVENT_START_S, METRICS, PATIENCE_S, AgentUnderTest, bare, broker, cpu_s, free_port, packet, together

SENML = """\
  - topic: senml/{entity}
    kind: room
    payload: {format: senml}
"""
PACK = 50
ALERTS, ALERTS_A_SECOND = 3_000, 50


class Publisher:
    """A raw publisher that never waits: messages leave at their times."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        name = f"load{time.monotonic_ns()}".encode()
        self._socket.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack(">H", len(name)) + name))
        self._socket.recv(4)
        threading.Thread(target=self._drain, daemon=True).start()
        self._number = 0

    def send(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1."""
        self._number = self._number % 65_000 + 1
        head = struct.pack(">H", len(topic)) + topic.encode() + struct.pack(">H", self._number)
        self._socket.sendall(packet(0x32, head + payload))

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(65_536):
                pass

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def paced(rate: float, seconds: float) -> Iterator[int]:
    """Yield numbers at a rate, by the clock and not by what came before."""
    started = time.monotonic()
    for number in range(int(rate * seconds)):
        wait = started + number / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        yield number


def reading(number: int, entities: int, metrics: Sequence[str] = METRICS, base: str = "sensors") -> tuple[str, bytes]:
    """Return the topic and payload of a reading timed now."""
    topic = f"{base}/e{number % entities}/{metrics[number // entities % len(metrics)]}"
    return topic, json.dumps({"time": round(time.time(), 3), "value": random.randrange(90)}).encode()  # noqa: S311 -- a load


def cpu_at_200(folder: Path, port: int, seconds: float) -> None:
    """Measure the CPU at a typical load, beside a subscriber that only counts the same messages."""
    agent = AgentUnderTest(folder, port, 50)
    share = share_at_200(agent.process.pid, port, "sensors", seconds)
    agent.stop()
    with bare(port, 2**62) as counting:
        least = share_at_200(counting.pid, port, "compare", seconds)
    print(
        f"cpu: {share:.2f} % of a core at 200 messages/s (target 1.5), {agent.memory:.0f} MB; a bare subscriber that "
        f"counts {least:.2f} %, ratio {share / least:.2f}"
    )


def share_at_200(pid: int, port: int, base: str, seconds: float) -> float:
    """Return what a process needs while 200 messages a second are published, in percent of a core."""
    publisher = Publisher(port)
    for number in paced(200, 3):
        publisher.send(*reading(number, 50, base=base))
    before, started = cpu_s(pid), time.monotonic()
    for number in paced(200, seconds):
        publisher.send(*reading(number, 50, base=base))
    share = 100 * (cpu_s(pid) - before) / (time.monotonic() - started)
    publisher.close()
    return share


def senml_rate(folder: Path, port: int) -> None:
    """Measure readings a second and core with packs of 50."""
    agent = AgentUnderTest(folder, port, 1_000, extra=SENML)
    frames, count, packs = [], 0, 4_000
    for number in range(packs):
        start = EVENT_START_S + number // 1_000 * 4
        records = [
            {"n": METRICS[k % 4], "v": round(random.random() * 99, 2), "t": k // 4 * 0.25}  # noqa: S311 -- a load
            for k in range(PACK)
        ]
        records[0] |= {"bn": f"e{number % 1_000}/", "bt": start}
        topic = f"senml/e{number % 1_000}".encode()
        head = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number % 65_000 + 1)
        frames.append(packet(0x32, head + json.dumps(records).encode()))
        count += PACK
    best = 0.0
    for part in range(2):
        # the first half warms up: it learns the entities
        half = frames[part * packs // 2 : (part + 1) * packs // 2]
        wanted = int(str(agent.counter("readings_stored"))) + count // 2
        before = cpu_s(agent.process.pid)
        with socket.create_connection(("127.0.0.1", port)) as load:
            name = f"pack{part}".encode()
            load.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack(">H", len(name)) + name))
            for start in range(0, len(half), 50):
                load.sendall(b"".join(half[start : start + 50]))
                time.sleep(0.005)
            while int(str(agent.counter("readings_stored"))) < wanted:
                time.sleep(0.2)
        best = count / 2 / (cpu_s(agent.process.pid) - before)
    agent.stop()
    print(f"senml: {best:,.0f} readings a second and core (target 400,000), {agent.memory:.0f} MB")


def alert_latency(folder: Path, port: int) -> None:
    """Measure the time from the publication of a reading to its alert upstream, open loop, at two rates."""
    agent = AgentUnderTest(folder, port, 1_000, inflight=1_000)
    agent.us(port, range(-4_000, 0), 1_000)
    started = time.monotonic()
    agent.us(port, range(60_000), 1_000)
    sustainable = 60_000 / (time.monotonic() - started)
    for name, rate in (("1,000 messages/s", 1_000.0), ("half of the sustainable rate", sustainable / 2)):
        delays, missing = delays_ms(port, rate)
        p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
        print(
            f"latency: {name} ({rate:,.0f}/s): p50 {p50:.1f} ms (target 25), p99 {p99:.1f} ms (target 100), "
            f"{len(delays)} alerts, {missing} missing"
        )
    agent.stop()


def delays_ms(port: int, rate: float) -> tuple[list[float], int]:
    """Publish for as long as the alerts take at ``ALERTS_A_SECOND``; return their delays, sorted, and how many lack."""
    arrived: dict[float, float] = {}
    watcher = subprocess.Popen(
        ["mosquitto_sub", "-p", str(port), "-t", "attwin/bench/events", "-q", "1", "-F", "%p"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def collect() -> None:
        for line in watcher.stdout or []:
            after = json.loads(line)["after"]
            if after["state"] == "active":
                arrived.setdefault(after["value"], time.time())

    threading.Thread(target=collect, daemon=True).start()
    time.sleep(0.5)
    publisher, sent = Publisher(port), {}
    every = max(1, round(rate / (2 * ALERTS_A_SECOND)))
    # every hot temperature is another value; a cold one of the same entity ends its alert
    for number in paced(rate, ALERTS / ALERTS_A_SECOND):
        turn, is_alert = divmod(number, every)
        if is_alert == 0:
            value = 0.5 if turn % 2 else 1_000 + turn / 1e4
            body = json.dumps({"time": round(time.time(), 3), "value": value}).encode()
            if value > 1:
                sent[value] = time.time()
            publisher.send(f"sensors/e{turn // 2 % 1_000}/temperature", body)
        else:
            topic, body = reading(number, 1_000)
            publisher.send(topic.replace("temperature", "light"), body)
    time.sleep(2)
    watcher.kill()
    publisher.close()
    return sorted(1000 * (arrived[v] - sent[v]) for v in sent if v in arrived), len(sent.keys() - arrived.keys())


def memory(folder: Path, port: int) -> None:
    """Measure the memory of 1,000 entities with 8 metrics, after a burst and a minute of readings."""
    more = ("motion", "noise", "pressure")
    agent = AgentUnderTest(folder, port, 1_000, more_metrics=more)
    metrics = (*METRICS, "humidity_ratio", *more)
    agent.us(port, range(20_000), 1_000)
    publisher = Publisher(port)
    for number in paced(1_000, 70):
        publisher.send(*reading(number, 1_000, metrics))
    publisher.close()
    agent.stop()
    print(f"memory: {agent.memory:.1f} MB resident at 1,000 entities x {len(metrics)} metrics (target 64)")


def written(pid: int) -> int:
    """Return the bytes that a process has caused to be written to a disk."""
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


def bytes_a_reading(folder: Path, port: int, seconds: float) -> None:
    """Measure what is written to disk a reading."""
    for writes, target in (("default", 150), ("frugal", 40)):
        own = folder / writes
        own.mkdir()
        agent = AgentUnderTest(own, port, 250, store=f"store: {{writes: {writes}}}", name=f"bench-{writes}")
        publisher = Publisher(port)
        for number in paced(1_000, 5):
            publisher.send(*reading(number, 250))
        before = written(agent.process.pid)
        for number in paced(1_000, seconds):
            publisher.send(*reading(number, 250))
        time.sleep(1.5)
        count = int(1_000 * seconds)
        figure = (written(agent.process.pid) - before) / count
        publisher.close()
        agent.stop()
        merging = merged_bytes(own / "twin.db")
        print(
            f"writes: {writes} {figure + merging:.0f} bytes a reading (target {target}) over {seconds:.0f} s, "
            f"{merging:.0f} of them by the merges that are due an hour later"
        )
    naive = naive_bytes(folder / "naive.db", int(1_000 * min(seconds, 20)))
    print(f"writes: one row a reading in a table with an index, a commit every 100 ms: {naive:.0f} bytes a reading")


def merged_bytes(path: Path) -> float:
    """Return the bytes a reading that merging a journal writes, all at once and not an hour later."""
    store = a_store(path)
    connection = store._connection  # noqa: SLF001 -- bytes of merges, without the hour
    (count,) = connection.execute("select sum(readings) from journal").fetchone()
    before, later_ms = written(os.getpid()), round(time.time() * 1_000) + 3 * HOUR_MS
    while store._upkeep._merging.work(later_ms):  # type: ignore[union-attr] # noqa: SLF001 -- the same
        pass
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    figure = (written(os.getpid()) - before) / count
    store.close()
    return figure


def naive_bytes(path: Path, count: int) -> float:
    """Return the bytes a reading of one row a reading, ten commits a second."""
    before = written(os.getpid())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute(
            "create table readings (id integer primary key, entity text, metric text, t real, value real)"
        )
        connection.execute("create index by_entity on readings (entity, metric, t)")
        for start in range(0, count, 100):
            connection.execute("begin")
            rows = [(f"e{n % 250}", METRICS[n // 250 % 4], start + n / 1000, float(n)) for n in range(100)]
            connection.executemany("insert into readings (entity, metric, t, value) values (?, ?, ?, ?)", rows)
            connection.execute("commit")
    return (written(os.getpid()) - before) / count


def system_calls(folder: Path) -> None:
    """Count system calls a message at saturation, without and with TLS."""
    for program in ("strace", "openssl"):
        if shutil.which(program) is None:
            sys.exit(f"no {program}: apt-get install {program}")
    key, certificate, tls_port = folder / "key.pem", folder / "cert.pem", free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o644)  # Mosquitto gives up root
    folder.chmod(0o755)
    listener = f"listener {tls_port} 127.0.0.1\nallow_anonymous true\ncertfile {certificate}\nkeyfile {key}\n"
    with broker(folder, more=listener) as port:
        for name, tls in (("plain", None), ("TLS", (tls_port, certificate))):
            own = folder / name
            own.mkdir()
            agent = AgentUnderTest(own, port, 1_000, name=f"bench-{name.lower()}", tls=tls)
            agent.us(port, range(4_000), 1_000)
            report, count = own / "strace.txt", 50_000
            with subprocess.Popen(
                ["strace", "-f", "-c", "-o", report, "-p", str(agent.process.pid)], stderr=subprocess.DEVNULL
            ) as tracer:
                time.sleep(1)
                agent.us(port, range(4_000, 4_000 + count), 1_000)
                tracer.terminate()
            agent.stop()
            lines = report.read_text(encoding="utf-8").splitlines()
            # % time, seconds, usecs a call, calls, perhaps errors, "total"
            calls = int(next(line for line in lines[::-1] if line.endswith("total")).split()[3])
            print(f"syscalls: {name} {calls / count:.2f} a message (target 1.5; paho 7.5)")


def growth(folder: Path, port: int) -> None:
    """Measure CPU a reading and memory at ever more series.

    There is one score in four readings at all of them, and no twin is published after the warm-up: the readings come
    faster than they say, so that few entities would publish once in thousands of readings and many once in four.
    """
    points, memory = [], []
    for entities in (25, 250, 2_500, 25_000):
        own = folder / str(entities)
        own.mkdir()
        agent = AgentUnderTest(own, port, entities, name=f"bench-{entities}", twin_every="1d")
        warm_up = 2 * entities * len(METRICS)
        agent.us(port, range(warm_up), entities, together)
        # every twin has a score now, and is published for the only time
        deadline = time.monotonic() + PATIENCE_S
        while agent.counter("broker") != "up" or agent.counter("outbox_waiting"):
            if time.monotonic() > deadline:
                sys.exit(f"{agent.counter('outbox_waiting')} messages still wait for upstream")
            time.sleep(0.5)
        cost = statistics.median(
            agent.us(port, range(warm_up + i * 100_000, warm_up + (i + 1) * 100_000), entities, together)
            for i in range(3)
        )
        points.append((math.log(4 * entities), math.log(cost)))
        memory.append((5 * entities, agent.memory_mb()))
        agent.stop()
        print(f"growth: {4 * entities:7,} series {cost:5.1f} us a reading, {memory[-1][1]:.0f} MB")
    xs, ys = zip(*points, strict=True)
    slope = statistics.linear_regression(xs, ys).slope
    bytes_a_series = (memory[-1][1] - memory[1][1]) * 2**20 / (memory[-1][0] - memory[1][0])
    print(
        f"growth: CPU grows with series to the power {slope:.3f} (flat is 0); {bytes_a_series:.0f} bytes a series (600)"
    )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "figures", nargs="+", choices=("cpu", "senml", "latency", "memory", "writes", "syscalls", "growth")
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--folder", type=Path, help="where databases lie; a real file system, not tmpfs")
    options = parser.parse_args()
    for figure in options.figures:
        with tempfile.TemporaryDirectory(prefix="attwin-load-", dir=options.folder) as name, broker(Path(name)) as port:
            folder = Path(name)
            match figure:
                case "cpu":
                    cpu_at_200(folder, port, options.seconds)
                case "senml":
                    senml_rate(folder, port)
                case "latency":
                    alert_latency(folder, port)
                case "memory":
                    memory(folder, port)
                case "writes":
                    bytes_a_reading(folder, port, options.seconds)
                case "syscalls":
                    system_calls(folder)
                case "growth":
                    growth(folder, port)


if __name__ == "__main__":
    main()
