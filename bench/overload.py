"""Does the agent hold on when sensors send twice what it can take? Losses, memory and alerts, held to part of a core.

A control group holds the agent to a quarter of a core. A burst tells how many messages a second it takes then; twice
as many come for a minute, whatever becomes of them. One in a hundred is malformed. Entities of their own raise and
end alerts meanwhile. When all of it has been worked off:

lost     messages published that are in no sum of the agent, and differences of its sums (``attwin audit``)
memory   the largest resident size from the burst on, beside the size after a warm-up
alerts   from the agent's receipt of a reading to the arrival of its alert at a subscriber upstream. The readings carry
         no time, so the alert's time is that of receipt, by the clock that stamps the arrival too. The agent takes
         that time when it has read, before it processes: what a read itself takes is left out, a few ms of CPU.

The sensors' broker may queue all of it, but sends ``--window`` messages ahead of their acknowledgement, as
config/mosquitto.conf and the agent's `broker.inflight` say: so what the agent cannot take yet stays with the broker.
With 0 the broker sends everything at once, and the buffers of TCP and of the broker's socket hold it instead; the
agent then commits rounds as large as it makes them. Upstream is a broker of its own, for it is elsewhere.

usage: python bench/overload.py [--seconds 60] [--share 25] [--window 1000] [--folder DIR] [--json]; needs root
"""

import argparse
import contextlib
import json
import math
import os
import platform
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ingest import METRICS, AgentUnderTest, broker, packet
from load import Publisher, paced

ENTITIES = 1_000
ALARMS = 20
"""Entities that raise alerts, in turn."""
ALERTS_A_SECOND = 2
CONNECTIONS = 40
SLICES_A_SECOND = 100
WARM_UP_RATE = 2_000
WARM_UP_S = 10
BURST = 300_000
MALFORMED_EVERY = 100
TIMES = 2
LEAST_TIMES = 1.8
"""A broker or a machine that lets less through has not overloaded the agent enough."""
PERIOD_US = 100_000
MOST_INFLIGHT = 65_535
STUCK_S = 20.0
TARGET_LOST = 0
TARGET_MB = 20.0
TARGET_ALERT_S = 1.0


class Load:
    """Sensors that publish readings at a rate, over several connections, each with entities of its own.

    Attributes:
        good, malformed: How many messages were published.
    """

    def __init__(self, port: int) -> None:
        """Connect."""
        self.good = self.malformed = 0
        self._number = 0
        self._sockets = []
        for place in range(CONNECTIONS):
            name = f"load{place}".encode()
            sensor = socket.create_connection(("127.0.0.1", port))
            sensor.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack(">H", len(name)) + name))
            sensor.recv(4)
            threading.Thread(target=_drain, args=(sensor,), daemon=True).start()
            self._sockets.append(sensor)
        length = len(_payload(time.time(), b"10"))
        self._heads = [_head(f"sensors/e{n % ENTITIES}/{METRICS[n // ENTITIES]}", length) for n in range(4 * ENTITIES)]
        self._ids = [struct.pack(">H", n + 1) for n in range(65_000)]

    def send(self, count: int) -> None:
        """Publish messages timed now at QoS 1; waits only where the connections take no more."""
        first, self._number = self._number, self._number + count
        now = time.time()
        payloads = [_payload(now, b"%d" % value) for value in range(10, 99)]
        parts: list[list[bytes]] = [[] for _ in self._sockets]
        for number in range(first, first + count):
            malformed = number % MALFORMED_EVERY == number // ENTITIES % MALFORMED_EVERY
            self.malformed += malformed
            parts[number % CONNECTIONS] += (
                self._heads[number % len(self._heads)],
                self._ids[number % len(self._ids)],
                random.randbytes(len(payloads[0])) if malformed else payloads[number * 7 % len(payloads)],  # noqa: S311 -- a load
            )
        self.good = self._number - self.malformed
        for sensor, part in zip(self._sockets, parts, strict=True):
            sensor.sendall(b"".join(part))

    def close(self) -> None:
        """Hang up."""
        for sensor in self._sockets:
            sensor.close()


class Alarms:
    """Sensors whose readings, all without a time, raise and end one alert after the other.

    Attributes:
        sent: How many readings were published; every one of them causes an event.
    """

    def __init__(self, port: int) -> None:
        """Connect."""
        self.sent = 0
        self._publisher = Publisher(port)

    def send(self) -> None:
        """Publish the reading that is next: one that raises an alert, or one that ends it."""
        number, ends = divmod(self.sent, 2)
        value = 1 - (number + 1) / 1e6 if ends else 1_000 + number
        self._publisher.send(f"sensors/alarm{number % ALARMS}/temperature", json.dumps({"value": value}).encode())
        self.sent += 1

    def close(self) -> None:
        """Hang up."""
        self._publisher.close()


def _payload(at_s: float, value: bytes) -> bytes:
    """Return a reading; all have one length."""
    return b'{"time":%.3f,"value":%b}' % (at_s, value)


def _head(topic: str, length: int) -> bytes:
    """Return what precedes the packet id of a PUBLISH at QoS 1 with a payload of ``length`` bytes."""
    name = struct.pack(">H", len(topic)) + topic.encode()
    return packet(0x32, name + bytes(2 + length))[: -2 - length]


def _drain(sensor: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sensor.recv(65_536):
            pass


@contextlib.contextmanager
def held_to(percent: float) -> Iterator[Path]:
    """Make a control group that holds what is in it to ``percent`` of a core, and remove it at the end.

    Yields:
        Its folder; ``cgroup.procs`` there takes processes in.
    """
    quota_us = round(PERIOD_US * percent / 100)
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    first = [Path(m[1]) for m in mounts if m[2] == "cgroup" and "cpu" in m[3].split(",")]
    second = [Path(m[1]) for m in mounts if m[2] == "cgroup2" and "cpu" in _words(Path(m[1], "cgroup.controllers"))]
    if not first + second:
        sys.exit("no control group with a CPU quota: no cgroup hierarchy with the controller `cpu` is mounted")
    root = (first + second)[0]
    group = root / f"attwin-overload-{os.getpid()}"
    try:
        group.mkdir()
        try:
            if first:
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US), encoding="ascii")
                (group / "cpu.cfs_quota_us").write_text(str(quota_us), encoding="ascii")
            else:
                if "cpu" not in _words(root / "cgroup.subtree_control"):
                    (root / "cgroup.subtree_control").write_text("+cpu", encoding="ascii")
                (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}", encoding="ascii")
        except OSError:
            group.rmdir()
            raise
    except OSError as error:
        sys.exit(f"no control group with a CPU quota: {error}; this benchmark needs root, outside of a container")
    try:
        yield group
    finally:
        # it can be removed when it is empty
        for pid in _words(group / "cgroup.procs"):
            with contextlib.suppress(OSError):
                (root / "cgroup.procs").write_text(pid, encoding="ascii")
        group.rmdir()


def _words(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").split()


def throttled(group: Path) -> float:
    """Return in how many percent of its periods a control group was held back."""
    words = _words(group / "cpu.stat")
    facts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    return 100 * facts["nr_throttled"] / max(1, facts["nr_periods"])


def sums(agent: AgentUnderTest) -> dict[str, int]:
    """Return what the agent has counted, from its database: asking it would cost it time."""
    from attwin.wiring.reading import sums_of  # noqa: PLC0415 -- so that --help needs nothing

    return {name: int(str(count)) for name, count in sums_of(agent.config.with_name("twin.db")).items()}


def wait_for(agent: AgentUnderTest, received: int) -> float:
    """Wait until the agent has as many messages, or gets no more; return how many it took a second meanwhile."""
    started = moved = time.monotonic()
    before = last = sums(agent).get("messages_received", 0)
    while last < received and time.monotonic() - moved < STUCK_S:
        if agent.process.poll() is not None:
            sys.exit("the agent has stopped")
        time.sleep(0.2)
        now = sums(agent).get("messages_received", 0)
        if now != last:
            last, moved = now, time.monotonic()
    return (last - before) / max(moved - started, 1e-9)


def resident_mb(pid: int, name: str) -> float:
    """Return the resident memory, that of now (VmRSS) or the largest (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def delays_s(file: Path) -> list[float]:
    """Return from receipt to arrival upstream for every event, shortest first; one that comes twice counts once."""
    arrived: dict[str, float] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        at_s, _, body = line.partition(" ")
        event = json.loads(body)
        arrived.setdefault(event["id"], float(at_s) - event["after"]["time_ms"] / 1000)
    return sorted(arrived.values())


def unaccounted(agent: AgentUnderTest, load: Load, alarms: Alarms) -> dict[str, int]:
    """Return what does not add up, by name; nothing where nothing was lost."""
    from attwin.wiring.auditing import audit_of  # noqa: PLC0415 -- so that --help needs nothing

    found = sums(agent)
    published = load.good + load.malformed + alarms.sent
    differences = {
        "messages received": published - found.get("messages_received", 0),
        "readings stored": load.good + alarms.sent - found.get("readings_stored", 0),
        "messages rejected": load.malformed - found.get("messages_rejected", 0),
    }
    differences |= {f"{s.source}: {s.what}": s.difference for s in audit_of(agent.config.with_name("twin.db"))}
    return {name: difference for name, difference in differences.items() if difference}


def overload(agent: AgentUnderTest, port: int, group: Path, seconds: float, *, quiet: bool) -> dict[str, object]:
    """Warm up, find out what the agent takes, and send twice as much; return the figures without the alerts."""
    pid = agent.process.pid
    load, alarms = Load(port), Alarms(port)
    for _ in paced(SLICES_A_SECOND, WARM_UP_S):
        load.send(WARM_UP_RATE // SLICES_A_SECOND)
    for _ in range(2 * ALARMS):
        alarms.send()
    wait_for(agent, load.good + load.malformed + alarms.sent)
    (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
    before = resident_mb(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # forgets the largest size so far
    for _ in range(BURST // 1_000):
        load.send(1_000)
    takes = wait_for(agent, load.good + load.malformed + alarms.sent)
    if not quiet:
        print(f"takes {takes:,.0f} messages/s, {before:.1f} MB before, now {resident_mb(pid, 'VmRSS'):.1f} MB")
    started, first = time.monotonic(), sums(agent)["messages_received"]
    sent = load.good + load.malformed
    for number in paced(SLICES_A_SECOND, seconds):
        if number % (SLICES_A_SECOND // ALERTS_A_SECOND // 2) == 0:
            alarms.send()
        load.send(round(TIMES * takes / SLICES_A_SECOND))
    took = time.monotonic() - started
    offered = (load.good + load.malformed - sent) / took
    taken = (sums(agent)["messages_received"] - first) / took
    if not quiet:
        print(f"offered {offered:,.0f} messages/s for {took:.0f} s, {taken:,.0f}/s taken meanwhile")
    wait_for(agent, load.good + load.malformed + alarms.sent)
    drained = time.monotonic() - started - took
    time.sleep(2)
    wrong = unaccounted(agent, load, alarms)
    load.close()
    alarms.close()
    return {
        "takes_a_second": round(takes),
        "offered_a_second": round(offered),
        "taken_a_second": round(taken),
        "seconds": round(took, 1),
        "drained_s": round(drained, 1),
        "messages": load.good + load.malformed + alarms.sent,
        "malformed": load.malformed,
        "lost": sum(map(abs, wrong.values())),
        "unaccounted": wrong,
        "rss_before_mb": round(before, 1),
        "rss_most_mb": round(resident_mb(pid, "VmHWM"), 1),
        "rss_more_mb": round(resident_mb(pid, "VmHWM") - before, 1),
        "throttled_percent": round(throttled(group)),
        "events_expected": alarms.sent,
    }


def run(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """Start what takes part, overload the agent, and return the figures."""
    for name in ("sensors", "upstream"):
        (folder / name).mkdir()
    inflight = min(options.window or MOST_INFLIGHT, MOST_INFLIGHT)
    with (
        broker(folder / "sensors", inflight=options.window) as port,
        broker(folder / "upstream") as upstream,
        (folder / "events").open("wb") as events,
        held_to(options.share) as group,
        subprocess.Popen(
            ["mosquitto_sub", "-p", str(upstream), "-t", "attwin/bench/events", "-q", "1", "-F", "%U %p"],
            stdout=events,
        ) as watcher,
    ):
        agent = None
        try:
            agent = AgentUnderTest(folder, port, ENTITIES + ALARMS, inflight=inflight, upstream=upstream)
            figures = overload(agent, port, group, options.seconds, quiet=options.json)
            agent.stop()
        finally:
            watcher.kill()
            if agent is not None and agent.process.poll() is None:
                agent.process.kill()
                agent.process.wait()
    delays = delays_s(folder / "events")
    figures["events"] = len(delays)
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        place = max(0, math.ceil(share * len(delays)) - 1)
        figures[f"alert_{name}_s"] = round(delays[place], 3) if delays else None
    return figures


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--share", type=float, default=25, help="percent of a core")
    parser.add_argument("--window", type=int, default=1_000, help="messages in flight; 0 for no limit")
    parser.add_argument("--folder", type=Path, help="where the database lies; a real file system, not tmpfs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attwin-overload-", dir=options.folder) as name:
        figures = run(Path(name), options)
    figures |= {"window": options.window, "share_percent": options.share, "python": platform.python_version()}
    missed = []
    if figures["offered_a_second"] < LEAST_TIMES * figures["takes_a_second"]:
        missed.append(f"no overload: the broker took less than {LEAST_TIMES} times what the agent takes")
    if figures["lost"] > TARGET_LOST:
        missed.append(f"lost: {figures['unaccounted']}")
    if figures["rss_more_mb"] > TARGET_MB:
        missed.append("memory")
    if figures["events"] < figures["events_expected"] or figures["alert_max_s"] > TARGET_ALERT_S:
        missed.append("alerts")
    if options.json:
        print(json.dumps({**figures, "missed": missed}))
    else:
        print(
            f"overload: {figures['offered_a_second']:,} messages/s for {figures['seconds']:.0f} s, "
            f"{figures['takes_a_second']:,} taken at {options.share:g} % of a core, "
            f"all of {figures['messages']:,} worked off {figures['drained_s']:.0f} s later; "
            f"{figures['lost']} lost (target {TARGET_LOST}), "
            f"memory {figures['rss_more_mb']:+.1f} MB to {figures['rss_most_mb']:.0f} MB (target +{TARGET_MB:g}); "
            f"alerts p50 {figures['alert_p50_s']} s, p99 {figures['alert_p99_s']} s, "
            f"max {figures['alert_max_s']} s (target {TARGET_ALERT_S:g}), "
            f"{figures['events']} of {figures['events_expected']} arrived"
        )
        for problem in missed:
            print(f"missed: {problem}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
