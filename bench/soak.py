"""Does the agent leak? Memory over an hour of everything that sensors do, and its slope after the warm-up.

Two hundred messages a second from 1,000 entities: readings with and without a time, repetitions, one in a hundred that
is none, values that raise and end alerts, retained messages, and a connection that is cut every minute. The journal is
kept for ten minutes only, so that expiry is part of it.

usage: python bench/soak.py [--minutes 75] [--warm-up 15] [--folder DIR] [--json]
"""

import argparse
import json
import random
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path

from ingest import METRICS, AgentUnderTest, broker, packet
from load import Publisher, paced

ENTITIES = 1_000
RATE = 200
TARGET_MB_AN_HOUR = 1.0
SAMPLE_S = 10
STORE = "store: {keep: {journal: 10m, rollups: 20m, scores: 20m}}"


def a_message(number: int) -> tuple[str, bytes]:
    """Return one message of the mixture."""
    topic = f"sensors/e{number % ENTITIES}/{METRICS[number // ENTITIES % len(METRICS)]}"
    if number % 100 == 0:
        return topic, random.randbytes(40)  # noqa: S311 -- a load
    value = 120.0 if number % 5_000 == 1 else round(random.uniform(0, 90), 2)  # noqa: S311 -- the same
    if number % 10 == 0:
        return topic, str(value).encode()
    at_s = time.time() - (60 if number % 50 == 3 else 0)  # noqa: PLR2004 -- some come a minute late
    return topic, json.dumps({"time": round(at_s, 3), "value": value}).encode()


def cut_off(port: int) -> None:
    """Take the agent's place at the broker for a moment, so that it has to connect again."""
    import socket  # noqa: PLC0415 -- only here

    name = b"attwin-bench"
    with socket.create_connection(("127.0.0.1", port)) as rival:
        rival.sendall(packet(0x10, b"\x00\x04MQTT\x04\x00\x00\x3c" + struct.pack(">H", len(name)) + name))
        rival.recv(4)


def main() -> None:
    """Run the soak and print the slope."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--warm-up", type=float, default=15, help="minutes that do not count")
    parser.add_argument("--folder", type=Path, help="where the database lies; a real file system, not tmpfs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    samples: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="attwin-soak-", dir=options.folder) as name, broker(Path(name)) as port:
        agent = AgentUnderTest(Path(name), port, ENTITIES, inflight=100, store=STORE)
        publisher = Publisher(port)
        for number in paced(RATE, 60 * options.minutes):
            publisher.send(*a_message(number))
            if number % (RATE * SAMPLE_S) == 0:
                samples.append((number / RATE / 3600, agent.memory_mb()))
                if not options.json:
                    print(f"\r{number / RATE / 60:6.1f} min {samples[-1][1]:6.1f} MB", end="", flush=True)
            if number % (RATE * 60) == RATE * 30:
                cut_off(port)
        publisher.close()
        time.sleep(2)
        facts = {key: agent.counter(key) for key in ("messages_received", "readings_stored", "messages_rejected")}
        agent.stop()
    settled = [sample for sample in samples if sample[0] * 60 >= options.warm_up]
    slope = statistics.linear_regression(*zip(*settled, strict=True)).slope
    figures = {
        "slope_mb_an_hour": round(slope, 2),
        "target": TARGET_MB_AN_HOUR,
        "start_mb": round(settled[0][1], 1),
        "end_mb": round(settled[-1][1], 1),
        "most_mb": round(max(size for _, size in settled), 1),
        "minutes": options.minutes,
        "messages": int(RATE * 60 * options.minutes),
        **facts,
    }
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"\nsoak: {slope:+.2f} MB an hour (target {TARGET_MB_AN_HOUR}) after {options.warm_up:g} min; {figures}")
    sys.exit(0 if slope < TARGET_MB_AN_HOUR else 1)


if __name__ == "__main__":
    main()
