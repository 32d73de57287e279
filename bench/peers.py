"""attwin beside Node-RED, Pathway and thingsboard-gateway on the same stream of QoS 1 messages.

Every system has an environment, a Mosquitto without limits and a database of its own, and does as much of the common
work as it can: read JSON, store every reading, judge one rule, publish its alerts (``peer_kinds.py``). They take turns.
A round costs the CPU of the whole process tree, user and system, until everything is in the system's database and
published, and a second more. Readings are counted in the database, memory is the PSS of the tree after a round. At the
end each system gets 200 messages a second for a while, since a batch saves less there than at saturation.

The first run installs about 2 GB. A system that cannot be installed gets a row that says why. The exit code is 1 when a
target is missed or attwin lost something.

usage: python bench/peers.py [NAME...] [--messages 100000] [--rounds 3] [--environments DIR] [--folder DIR] [--json]
"""

import argparse
import contextlib
import json
import random
import shutil
import sqlite3
import statistics
import struct
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ingest import EVENT_START_S, METRICS, broker, packet, push
from load import Publisher, paced
from peer_kinds import PEERS, ROOT, Peer, PeerError
from process_tree import cpu_s, memory_mb, started

ENTITIES = 1_000
CYCLE = ENTITIES * len(METRICS)
"""After so many messages every series has got one; the warm-up is two of them."""

EVENTS_A_SECOND = 1_000
"""How many messages a second of event time has at saturation."""

HOT, COLD = 100.0, 40.0
RATE_TARGET = 1.7
MEMORY_TARGET = 0.5
SETTLE_S = 1.0
PATIENCE_S = 30.0
"""A round ends without the rest when nothing has arrived for so long."""

PACE, PACED_S = 200, 20.0
"""Messages a second of a typical load, and how long it lasts."""

LONGEST_S = 30.0
"""CPU seconds a round may cost; a system that needs more gets fewer messages."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one system did.

    Attributes:
        rate: Messages a CPU second, the median of the rounds.
        spread: The lowest and the highest rate of a round.
        share: Percent of a core at ``PACE`` messages a second.
        memory_mb: PSS of the process tree after a round, the median.
        idle_mb: The same before the first message of the warm-up.
        published: Messages sent to it, with the warm-up.
        stored: Readings that its database counts of them.
        alerts_due: Alerts that these had to cause; for a system that forwards all, the messages.
        problem: Why there are no figures.
    """

    name: str
    version: str = ""
    work: str = ""
    acknowledges: str = ""
    messages: int = 0
    rate: float = 0.0
    spread: tuple[float, float] = (0.0, 0.0)
    share: float = 0.0
    memory_mb: float = 0.0
    idle_mb: float = 0.0
    install_mb: float = 0.0
    published: int = 0
    stored: int = 0
    alerts_due: int = 0
    alerts: int = 0
    problem: str = ""

    def is_whole(self) -> bool:
        """Return whether everything was stored and published exactly once."""
        return not self.problem and self.stored == self.published and self.alerts == self.alerts_due


class Running:
    """A system at work, with its broker and one who writes down what it publishes."""

    def __init__(self, peer: Peer, folder: Path, messages: int, stack: contextlib.ExitStack) -> None:
        """Start and warm up.

        Raises:
            PeerError: It does not come to store anything.
        """
        folder.mkdir()
        self.peer = peer
        self._folder = folder
        self._port = stack.enter_context(broker(folder))
        listener = ["mosquitto_sub", "-p", str(self._port), "-q", "1", "-t", peer.outgoing]
        started(listener, folder, "published", stack)
        self._process = started(peer.command(folder, self._port), folder, "log", stack)
        self._rates: list[float] = []
        self._memory: list[float] = []
        self._share = 0.0
        self._await_first()
        self._stored_before, self._alerts_before = self._stored(), self._alerts()
        self._idle_mb = memory_mb(self._process.pid)
        self._next = CYCLE
        # the first cycle makes it know the entities; the second says what a message costs
        self._round(CYCLE)
        cost = self._round(CYCLE) / CYCLE
        self._messages = min(messages, max(CYCLE, int(LONGEST_S / cost) // 1_000 * 1_000))

    def _await_first(self) -> None:
        """Send a reading a second until one is stored: only then is it certain that the system listens."""
        deadline, number = time.monotonic() + 2 * PATIENCE_S, 0
        while not self._stored() or (self.peer.forwards_all and not self._alerts()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PeerError(f"does not start: {self._last_words()}")
            greeting = [message(*self.peer.greeting, 1)] if self.peer.greeting else []
            push(self._port, [*greeting, frame(number)])
            number += 1
            time.sleep(1)
        time.sleep(2)

    def _round(self, count: int) -> float:
        """Send messages and return the CPU seconds that they cost.

        Raises:
            PeerError: The system ended.
        """
        frames = [frame(number) for number in range(self._next, self._next + count)]
        before = cpu_s(self._process.pid)
        push(self._port, frames)
        self._next += count
        self._await_all()
        return cpu_s(self._process.pid) - before

    def _await_all(self) -> None:
        """Wait until everything is stored and published, or nothing moves any more."""
        seen, since = (0, 0), time.monotonic()
        while time.monotonic() < since + PATIENCE_S and self._process.poll() is None and not self._is_done():
            now = (self._stored(), self._alerts())
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.2)
        time.sleep(SETTLE_S)
        if self._process.poll() is not None:
            raise PeerError(f"ended in a round: {self._last_words()}")

    def measure(self) -> str:
        """Do a round that counts, and return its figures in words.

        Raises:
            PeerError: The system ended.
        """
        stored = self._stored()
        used = self._round(self._messages)
        self._rates.append((self._stored() - stored) / used)
        self._memory.append(memory_mb(self._process.pid))
        return f"{self.peer.name} {self._rates[-1]:,.0f} messages a CPU second, {self._memory[-1]:.0f} MB"

    def measure_paced(self) -> None:
        """Find out what a typical load costs.

        Raises:
            PeerError: The system ended.
        """
        publisher = Publisher(self._port)
        before, since = cpu_s(self._process.pid), time.monotonic()
        for index in paced(PACE, PACED_S):
            publisher.send(*reading(self._next, index * (1 / PACE - 1 / EVENTS_A_SECOND)))
            self._next += 1
        self._share = 100 * (cpu_s(self._process.pid) - before) / (time.monotonic() - since)
        publisher.close()
        self._await_all()

    def row(self) -> Row:
        """Return all figures."""
        peer = self.peer
        return Row(
            name=peer.name,
            version=peer.version(),
            work=peer.work,
            acknowledges=peer.acknowledges,
            messages=self._messages,
            rate=statistics.median(self._rates),
            spread=(min(self._rates), max(self._rates)),
            share=self._share,
            memory_mb=statistics.median(self._memory),
            idle_mb=self._idle_mb,
            install_mb=peer.size_mb(),
            published=self._next - CYCLE,
            stored=self._stored() - self._stored_before,
            alerts_due=self._alerts_due(),
            alerts=self._alerts() - self._alerts_before,
        )

    def _last_words(self) -> str:
        lines = (self._folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        told = [line for line in lines if "error" in line.lower()] or lines
        return told[-1][:200] if told else "nothing in its log"

    def _is_done(self) -> bool:
        enough = self._stored() - self._stored_before >= self._next - CYCLE
        return enough and self._alerts() - self._alerts_before >= self._alerts_due()

    def _stored(self) -> int:
        path = self._folder / self.peer.database
        with contextlib.suppress(sqlite3.Error):  # not there yet
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
                row = database.execute(self.peer.stored).fetchone()
            return int(row[0] or 0) if row else 0
        return 0

    def _alerts(self) -> int:
        lines = (self._folder / "published").read_text(encoding="utf-8").split("\n")[:-1]
        return sum(self.peer.published(json.loads(line)) for line in lines)

    def _alerts_due(self) -> int:
        numbers = range(CYCLE, self._next)
        return len(numbers) if self.peer.forwards_all else sum(is_hot(number) for number in numbers)


def is_hot(number: int) -> bool:
    """Return whether a message breaks the rule: every cycle other entities do, so that each is cold in between."""
    is_temperature = number // ENTITIES % len(METRICS) == 0
    return is_temperature and number % 100 == number // CYCLE % 100


def reading(number: int, later_s: float = 0.0) -> tuple[str, bytes]:
    """Return topic and payload of a message of the stream, measured later than its number says."""
    entity, metric = f"e{number % ENTITIES}", METRICS[number // ENTITIES % len(METRICS)]
    value = HOT if is_hot(number) else round(random.Random(number).random() * COLD, 2)  # noqa: S311 -- a load, not a secret
    time_s = round(EVENT_START_S + number / EVENTS_A_SECOND + later_s, 3)
    body = {"seq": number, "entity": entity, "metric": metric, "time": time_s, "value": value}
    return f"sensors/{entity}/{metric}", json.dumps(body).encode()


def frame(number: int) -> bytes:
    """Return a message of the stream as an MQTT packet."""
    return message(*reading(number), number % 65_000 + 1)


def message(topic: str, payload: bytes, identifier: int) -> bytes:
    """Return a QoS 1 publication as an MQTT packet."""
    return packet(0x32, struct.pack(">H", len(topic)) + topic.encode() + struct.pack(">H", identifier) + payload)


def compared(names: list[str], environments: Path, folder: Path, messages: int, rounds: int) -> list[Row]:
    """Install and start the systems, let them take turns, and return a row of each."""
    running: list[Running] = []
    rows: dict[str, Row] = {}
    with contextlib.ExitStack() as stack:
        for name in names:
            peer = PEERS[name](environments)
            try:
                peer.install()
                running.append(Running(peer, folder / name, messages, stack))
            except PeerError as error:
                rows[name] = Row(name=name, problem=str(error))
        for number in range(rounds + 1):
            for system in [system for system in running if system.peer.name not in rows]:
                try:
                    if number < rounds:
                        print(f"round {number + 1}: {system.measure()}", file=sys.stderr)
                    else:
                        system.measure_paced()
                except PeerError as error:
                    rows[system.peer.name] = Row(name=system.peer.name, problem=str(error))
        rows |= {system.peer.name: system.row() for system in running if system.peer.name not in rows}
    return [rows[name] for name in names]


def ratios(rows: list[Row]) -> tuple[str, float, float] | None:
    """Return the best other system, and attwin's rate and memory as multiples of its, where there are both."""
    own = next((row for row in rows if row.name == "attwin" and row.rate), None)
    others = [row for row in rows if row.name != "attwin" and row.rate]
    if own is None or not others:
        return None
    best = max(others, key=lambda row: row.rate)
    return best.name, own.rate / best.rate, own.memory_mb / best.memory_mb


def show(rows: list[Row], rounds: int) -> None:
    """Print the rows as a table of Markdown, and then what each does."""
    print(f"messages a CPU second: median (lowest to highest) of {rounds} rounds; memory: PSS at rest, after a round\n")
    print(
        "| system | messages a CPU second | a round | a core, 200/s | memory | installed | stored of published | sent |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        if row.problem:
            print(f"| {row.name} | {row.problem} | | | | | | |")
            continue
        low, high = row.spread
        what = "readings" if PEERS[row.name].forwards_all else "alerts"
        print(
            f"| {row.name} {row.version} | {row.rate:,.0f} ({low:,.0f} to {high:,.0f}) | {row.messages:,} | "
            f"{row.share:.1f} % | {row.idle_mb:.0f}, {row.memory_mb:.0f} MB | {row.install_mb:,.0f} MB | "
            f"{row.stored:,} of {row.published:,}{'' if row.is_whole() else ' (!)'} | "
            f"{row.alerts:,} of {row.alerts_due:,} {what} |"
        )
    print("\n| system | acknowledges | does |\n|---|---|---|")
    for row in rows:
        if not row.problem:
            print(f"| {row.name} | {row.acknowledges} | {row.work} |")


def main() -> None:
    """Compare, print the table and say whether the targets are reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(PEERS)}; all when none is given")
    parser.add_argument("--messages", type=int, default=100_000, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environments", type=Path, default=ROOT / ".bench-peers", help="where the systems are kept")
    parser.add_argument("--folder", type=Path, help="where databases lie; a real file system, not tmpfs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(PEERS):
        parser.error(f"not a system: {', '.join(sorted(unknown))}; known: {', '.join(PEERS)}")
    if shutil.which("mosquitto_sub") is None:
        sys.exit("no mosquitto_sub: apt-get install mosquitto-clients")
    with tempfile.TemporaryDirectory(prefix="attwin-peers-", dir=options.folder) as folder:
        rows = compared(
            options.names or list(PEERS), options.environments.resolve(), Path(folder), options.messages, options.rounds
        )
    found = ratios(rows)
    if options.json:
        best, rate, memory = found or (None, None, None)
        print(json.dumps({"rows": [asdict(row) for row in rows], "best": best, "rate": rate, "memory": memory}))
    else:
        show(rows, options.rounds)
    if found is None:
        sys.exit("attwin and one other system are needed for the ratios")
    best, rate, memory = found
    if not options.json:
        print(
            f"\nmessages a CPU second: {rate:.2f} x {best} (target {RATE_TARGET} or more); "
            f"memory: {memory:.2f} x {best} (target {MEMORY_TARGET} or less)"
        )
    whole = all(row.is_whole() for row in rows if row.name == "attwin")
    sys.exit(0 if rate >= RATE_TARGET and memory <= MEMORY_TARGET and whole else 1)


if __name__ == "__main__":
    main()
