"""What an outage of upstream costs, and what the outbox sends in a day of normal work.

drain  100,000 aggregates wait, and the agent is killed five times while upstream is away; then upstream comes back:
       what is lost, out of order or twice, how fast it drains, beside a bare paho publisher with the same window, and
       how long the alerts of the outage and an alert in the middle of the drain take. Then all of it again, with the
       five kills while it drains.
bytes  1,000 entities send a reading a second, and events are injected into some of them: bytes to upstream a thousand
       readings, counted in the connection, and how many events an upstream can see in the alerts and aggregates that
       arrive; beside the bytes of forwarding every reading as it came.

usage: python bench/outbox.py FIGURE... [--messages 100000] [--seconds 600] [--folder DIR]
"""

import argparse
import contextlib
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest import broker, cpu_s, free_port
from load import Publisher, paced

CONFIG = """\
version: 1
gateway: {{id: bench}}
broker: {{url: "mqtt://127.0.0.1:{near}", inflight: 1000}}
upstream: {{url: "mqtt://127.0.0.1:{far}", {more}}}
limits: {{entities: 2000}}
kinds:
  room: {{metrics: {{value: {{unit: "1", min: 0, max: 100}}}}}}
sources:
  - {{topic: "sensors/{{entity}}/{{metric}}", kind: room}}
rules:
  - {{name: high, kind: room, when: {{metric: value, above: 90, clear_below: 80}}, severity: {severity}}}
"""
KILLS = 5
WINDOW = 100
ALERTS = 20
TARGET_RATE, TARGET_URGENT_S = 5_000, 1.0
TARGET_BYTES, TARGET_RECALL = 2_000, 0.95
ENTITIES = 1_000
EVENT_S = 30
STRONG, MILD = 95.0, 75.0
"""What an event raises a value to: one that the rule alerts on, and one that only aggregates show."""
SEEN_ABOVE = 65.0
"""The rest of the values is 40 with a scatter of 3: no minute of it has a value like this."""
BARE = """
import sys, time, paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
port, count, window, payload = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.stdin.buffer.read()
done = 0
def published(*_):
    global done
    done += 1
client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bare")
client.max_inflight_messages_set(window)
client.on_publish = published
client.connect("127.0.0.1", port)
client.loop_start()
started = time.monotonic()
for number in range(count):
    # paho gives a packet id of one that waits to another after 65,535
    while number - done > 10 * window:
        time.sleep(0.0002)
    client.publish("bare/aggregates", payload, qos=1)
while done < count:
    time.sleep(0.001)
print(count / (time.monotonic() - started))
client.disconnect()
"""


class AgentProcess:
    """The agent on its own configuration."""

    def __init__(self, folder: Path, near: int, far: int, *, more: str = "health_every: 1d", severity: str) -> None:
        self.config, self.database = folder / "attwin.yaml", folder / "twin.db"
        text = CONFIG.format(near=near, far=far, more=more, severity=severity)
        self.config.write_text(text, encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it is connected to its sensors."""
        command = [sys.executable, "-m", "attwin", "run", "--config", self.config, "--log-level", "error"]
        self.process = subprocess.Popen(command)
        self.wait(lambda facts: facts.get("broker") == "up", "the agent does not start")

    def facts(self) -> dict[str, object]:
        """Return the agent's status."""
        from attwin.core.errors import AttwinError  # noqa: PLC0415 -- so that --help needs nothing
        from attwin.wiring.reading import status_of  # noqa: PLC0415 -- the same

        try:
            return status_of(self.database)
        except AttwinError:
            return {}

    def wait(self, fact: Callable[[dict[str, object]], bool], problem: str, seconds: float = 120.0) -> None:
        """Wait for a fact of the status."""
        deadline = time.monotonic() + seconds
        while not fact(self.facts()):
            if time.monotonic() > deadline:
                sys.exit(problem)
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill without warning."""
        if self.process:
            self.process.kill()
            self.process.wait(20)

    def stop(self) -> None:
        """Stop."""
        if self.process:
            self.process.terminate()
            self.process.wait(20)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message at the subscriber."""

    time_s: float
    topic: str
    payload: str


@contextlib.contextmanager
def subscriber(port: int, file: Path) -> Iterator[None]:
    """Let a subscriber of its own write all that arrives into a file, which keeps up with any rate."""
    with file.open("ab") as out:
        command = ["mosquitto_sub", "-p", str(port), "-t", "attwin/#", "-q", "1", "-F", "%U %t %p"]
        with subprocess.Popen(command, stdout=out) as process:
            time.sleep(0.3)
            try:
                yield
            finally:
                process.terminate()


def arrived(file: Path) -> list[Arrived]:
    """Return what a subscriber wrote."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        time_s, topic, payload = line.split(" ", 2)
        rows.append(Arrived(float(time_s), topic, payload))
    return rows


def aggregate(number: int) -> dict[str, object]:
    """Return the body of an aggregate of ten entities."""
    names = [f"e{number % 100 * 10 + place}" for place in range(10)]
    return {"from_ms": number * 60_000, "every_ms": 60_000, "n": number, "entity": names, "mean": [40.1] * 10}


def fill(database: Path, numbers: range) -> None:
    """Let aggregates wait, while the agent does not run."""
    from attwin.adapters.sqlite_store import SqliteStore  # noqa: PLC0415 -- so that --help needs nothing
    from attwin.core.catalogue import Catalogue  # noqa: PLC0415 -- the same
    from attwin.core.outgoing import aggregates_draft  # noqa: PLC0415 -- the same
    from attwin.ports import Commit  # noqa: PLC0415 -- the same

    store = SqliteStore(database, Catalogue([], most_entities=1), gateway="bench", durability="full")
    for start in range(numbers.start, numbers.stop, 1_000):
        part = range(start, min(start + 1_000, numbers.stop))
        drafts = [aggregates_draft("attwin/bench", aggregate(number)) for number in part]
        store.commit(Commit(now_ms=time.time_ns() // 1_000_000, drafts=drafts))
    store.close()


def raise_alerts(near: int, first: int, count: int) -> None:
    """Publish readings of new entities that raise alerts."""
    publisher = Publisher(near)
    for number in range(first, first + count):
        publisher.send(f"sensors/hot{number}/value", b"99")
    time.sleep(0.5)
    publisher.close()


def drain(folder: Path, near: int, count: int) -> None:
    """Measure both drains."""
    for kills_while_draining in (False, True):
        own = folder / str(kills_while_draining)
        own.mkdir()
        drain_once(own, near, count, kills_while_draining=kills_while_draining)


def drain_once(folder: Path, near: int, count: int, *, kills_while_draining: bool) -> None:
    """Let messages wait, let upstream come back, and print what became of them."""
    far, file = free_port(), folder / "arrived"
    agent = AgentProcess(folder, near, far, more=f"inflight: {WINDOW}, health_every: 1d", severity="critical")
    share = count // KILLS
    for kill in range(KILLS):
        fill(agent.database, range(kill * share, (kill + 1) * share))
        agent.start()
        raise_alerts(near, kill * ALERTS // KILLS, ALERTS // KILLS)
        wanted = (kill + 1) * ALERTS // KILLS
        agent.wait(lambda facts, wanted=wanted: facts.get("alerts_active") == wanted, "the alerts are not raised")
        if not kills_while_draining:
            agent.kill()
        else:
            agent.stop()
    with broker(folder, port=far), subscriber(far, file):
        agent.start()
        before = cpu_s(agent.process.pid) if agent.process else 0.0
        late_s = 0.0
        if kills_while_draining:
            for kill in range(KILLS):
                left = count - (kill + 1) * count // (KILLS + 1)
                agent.wait(lambda facts, left=left: int(str(facts.get("outbox_waiting", count))) < left, "no drain")
                agent.kill()
                agent.start()
        else:
            half = count // 2
            agent.wait(lambda facts: int(str(facts.get("outbox_waiting", count))) < half, "no drain")
            late_s = time.time()
            raise_alerts(near, ALERTS, 1)
        agent.wait(lambda facts: facts.get("outbox_waiting") == 0, "not everything leaves")
        cpu = cpu_s(agent.process.pid) - before if agent.process else 0.0
        agent.stop()
        time.sleep(1)
        report_drain(arrived(file), agent, count, late_s, cpu, kills_while_draining=kills_while_draining)
        if not kills_while_draining:
            rate = bare_rate(far, count)
            print(f"drain: a bare paho publisher, QoS 1, window {WINDOW}: {rate:,.0f} messages/s")


def report_drain(
    rows: list[Arrived], agent: AgentProcess, count: int, late_s: float, cpu: float, *, kills_while_draining: bool
) -> None:
    """Print losses, order, repetitions, rate and latencies."""
    from attwin.core.receiver import Receiver  # noqa: PLC0415 -- so that --help needs nothing
    from attwin.wiring.auditing import audit_of  # noqa: PLC0415 -- the same

    receiver, highest, disorder = Receiver(), dict[str, int](), 0
    by_id: dict[str, str] = {}
    contradictions = 0
    for row in rows:
        for heard in receiver.take(row.topic, row.payload.encode(), retained=False):
            if heard.what == "message":
                disorder += heard.number < highest.get(heard.lane, 0)
                highest[heard.lane] = max(heard.number, highest.get(heard.lane, 0))
            if heard.number:
                body = json.dumps({**heard.body, "resend": None}, sort_keys=True)
                contradictions += by_id.setdefault(heard.body["id"], body) != body
    bodies = [json.loads(row.payload)["n"] for row in rows if '"n":' in row.payload]
    lost = count - len(set(bodies)) + receiver.missing
    differences = [found for found in audit_of(agent.database) if found.difference]
    when = "while it drains" if kills_while_draining else "during the outage"
    print(
        f"drain: {count:,} aggregates and {ALERTS} alerts, {KILLS} kills {when}: {lost} lost, {disorder} out of order, "
        f"{receiver.counts['duplicate']} twice ({contradictions} with another content), "
        f"{receiver.counts['resend']} marked as resent, {len(differences)} differences of the sums"
    )
    if kills_while_draining:
        return
    flow = [row.time_s for row in rows if row.topic.endswith("/aggregates")]
    online = next(row.time_s for row in rows if row.payload == "online")
    alerts = [
        row.time_s - online for row in rows if row.topic.endswith("/events") and row.time_s < flow[len(flow) // 4]
    ]
    late = max(row.time_s for row in rows if row.topic.endswith("/events")) - late_s
    rate = len(flow) / (flow[-1] - flow[0])
    print(f"drain: {rate:,.0f} messages/s (target {TARGET_RATE:,}), {1e6 * cpu / count:.1f} us of CPU a message")
    print(
        f"drain: {len(alerts)} alerts of the outage within {max(alerts):.3f} s of the connection, "
        f"one in the middle of the drain {late:.3f} s after its reading (target {TARGET_URGENT_S:g})"
    )


def bare_rate(port: int, count: int) -> float:
    """Return the messages a second of a bare publisher of the same payloads."""
    payload = json.dumps({"id": "bench:0123abcd:aggregates:12345", **aggregate(12_345)}, separators=(",", ":")).encode()
    command = [sys.executable, "-c", BARE, str(port), str(count), str(WINDOW)]
    done = subprocess.run(command, input=payload, capture_output=True, check=True, timeout=120)
    return float(done.stdout)


class Relay:
    """Passes a connection on, and counts its bytes.

    Attributes:
        sent: Bytes towards the broker.
        answered: Bytes from it.
    """

    def __init__(self, target: int) -> None:
        self.sent = self.answered = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._pass, args=(near, far, "sent"), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, "answered"), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counter: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
                setattr(self, counter, getattr(self, counter) + len(data))
        target.close()


@dataclass(frozen=True, slots=True)
class Event:
    """What was injected."""

    entity: int
    from_s: float
    level: float


def events_of(seconds: float, chance: random.Random) -> list[Event]:
    """Return events, no two of an entity: one in 200 entities and minutes, half of them mild."""
    count = round(ENTITIES / 200 * seconds / 60)
    chosen = chance.sample(range(ENTITIES), min(count, ENTITIES))
    last_s = max(1.0, seconds - 2 * EVENT_S)
    return [
        Event(entity, chance.uniform(0, last_s), STRONG if place % 2 else MILD) for place, entity in enumerate(chosen)
    ]


def upstream_bytes(folder: Path, near: int, seconds: float) -> None:
    """Measure what goes upstream, and what it shows."""
    chance = random.Random(7)  # noqa: S311 -- a load
    events = {event.entity: event for event in events_of(seconds, chance)}
    with broker(folder) as far, subscriber(far, folder / "arrived"):
        relay = Relay(far)
        more = "aggregates: {metrics: [value]}"
        agent = AgentProcess(folder, near, relay.port, more=more, severity="warning")
        agent.start()
        agent.wait(lambda facts: facts.get("upstream") == "up", "no upstream")
        publisher, forwarded, count = Publisher(near), 0, 0
        started = time.time()
        for number in paced(ENTITIES, seconds):
            entity, now = number % ENTITIES, time.time()
            event = events.get(entity)
            level = event.level if event and event.from_s <= now - started < event.from_s + EVENT_S else 40.0
            topic = f"sensors/e{entity}/value"
            payload = json.dumps(
                {"time": round(now, 3), "value": round(chance.gauss(level, 3 if level < MILD else 1), 2)}
            )
            publisher.send(topic, payload.encode())
            # topic and payload, their frame, and the prefix of the gateway
            forwarded += len("attwin/bench/") + len(topic) + len(payload) + 6
            count += 1
        time.sleep(3)
        publisher.close()
        if agent.process is None or agent.process.poll() is not None or agent.facts().get("upstream") != "up":
            sys.exit(f"the agent or its upstream went away: {agent.facts()}")
        agent.wait(lambda facts: facts.get("readings_stored") == count, "not all readings are stored")
        agent.stop()
        time.sleep(1)
        rows = arrived(folder / "arrived")
    seen = sum(is_seen(event, rows, started) for event in events.values())
    by_topic: dict[str, int] = {}
    for row in rows:
        name = row.topic.split("/")[2]
        by_topic[name] = by_topic.get(name, 0) + len(row.topic) + len(row.payload)
    own, all_of_it = 1_000 * relay.sent / count, 1_000 * forwarded / count
    print(
        f"bytes: {own:,.0f} bytes to upstream a 1,000 readings over {seconds:.0f} s (target {TARGET_BYTES:,}), "
        f"{1_000 * relay.answered / count:,.0f} back; every reading forwarded {all_of_it:,.0f}, {all_of_it / own:.0f} x"
    )
    print(f"bytes: by topic {dict(sorted(by_topic.items(), key=lambda item: -item[1]))} of {count:,} readings")
    print(
        f"bytes: {seen} of {len(events)} events seen upstream, recall {seen / len(events):.3f} (target {TARGET_RECALL})"
    )


def is_seen(event: Event, rows: list[Arrived], started: float) -> bool:
    """Return whether an alert or an aggregate that arrived shows an event."""
    name = f"e{event.entity}"
    begin, end = (started + event.from_s) * 1_000, (started + event.from_s + EVENT_S) * 1_000
    for row in rows:
        if row.topic.endswith("/events"):
            after = json.loads(row.payload)["after"]
            if after["entity"] == name and begin - 2_000 <= after["since_ms"] <= end:
                return True
        elif row.topic.endswith("/aggregates"):
            body = json.loads(row.payload)
            is_meant = name in body.get("entity", ()) and begin - body["every_ms"] <= body["from_ms"] <= end
            if is_meant and body["value"]["max"][body["entity"].index(name)] >= SEEN_ABOVE:
                return True
    return False


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="+", choices=("drain", "bytes"))
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--folder", type=Path, help="where databases lie; a real file system, not tmpfs")
    options = parser.parse_args()
    for figure in options.figures:
        with (
            tempfile.TemporaryDirectory(prefix="attwin-outbox-", dir=options.folder) as name,
            broker(Path(name)) as near,
        ):
            if figure == "drain":
                drain(Path(name), near, options.messages)
            else:
                upstream_bytes(Path(name), near, options.seconds)


if __name__ == "__main__":
    main()
