"""From the start of the agent to its first score, with days of history in the database, clean and after kill -9.

An agent learns its entities, then its journal is filled with merged segments and an hour of plain ones, as so many
readings a second would have filled it. While it is away readings wait at the broker; the first score that it publishes
of them ends the time.

usage: python bench/restart.py [--days 7] [--rate 100] [--rounds 3] [--folder DIR]
"""

import argparse
import contextlib
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from attwin.core.journal import Segment, encode, encode_sorted
from ingest import METRICS, AgentUnderTest, broker
from load import Publisher, paced, reading

ENTITIES = 25
AWAY_S = 6
TARGET_S = 2.0
PATIENCE_S = 60.0
COMMITS_A_SECOND = 10
MERGED_COMMITS = 200
"""As many commits are merged into a segment."""


def fill(database: Path, days: float, rate: int) -> int:
    """Fill the journal with readings up to now; return how many."""
    chance = np.random.default_rng(1)
    now_ms = time.time_ns() // 1_000_000
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        keys = np.array([key for (key,) in connection.execute("select id from series order by id")])
        (number,) = connection.execute("select max(id) from journal").fetchone()
        (boot,) = connection.execute("select max(id) from boots").fetchone()
        start_ms, hour_ago_ms = now_ms - round(days * 86_400_000), now_ms - 3_600_000
        commit_ms = 1_000 // COMMITS_A_SECOND
        total = last_merged = 0
        while start_ms < now_ms:
            merged = start_ms < hour_ago_ms
            lasts_ms = commit_ms * (MERGED_COMMITS if merged else 1)
            count = rate * lasts_ms // 1_000
            times = start_ms + np.arange(count) * lasts_ms // count
            segment = Segment(
                series_key=keys[np.arange(total, total + count) % len(keys)],
                time_ms=times,
                value=np.round(chance.normal(20, 3, count), 2),
                quality=np.full(count, 2, np.uint8),
                reason=np.zeros(count, np.uint16),
            )
            number += 1
            last_merged = number if merged else last_merged
            body = encode_sorted(segment) if merged else encode(segment)
            connection.execute(
                "insert into journal (id, created_ms, readings, first_ms, last_ms, body, counts, boot, merged) "
                "values (?, ?, ?, ?, ?, ?, '[]', ?, ?)",
                (number, start_ms, count, int(times[0]), int(times[-1]), body, boot, merged),
            )
            start_ms, total = start_ms + lasts_ms, total + count
        # the newest snapshot has seen all of it
        connection.execute("update snapshot set journal_id = ?", (number,))
        for position, at in (("audited", number), ("rolled", number), ("merged", last_merged)):
            connection.execute("update meta set value = ? where name = ?", (str(at), f"{position}_journal_id"))
    return total


def first_score_s(folder: Path, port: int) -> tuple[AgentUnderTest, float]:
    """Start an agent for which readings wait; return it, and after how long its first score of them was upstream."""
    publisher, since_ms = Publisher(port), time.time_ns() // 1_000_000
    for number in paced(2 * ENTITIES, AWAY_S):
        publisher.send(*reading(number, ENTITIES))
    publisher.close()
    with subprocess.Popen(
        ["mosquitto_sub", "-p", str(port), "-t", "attwin/bench/twin/#", "-q", "1", "-F", "%p"],
        stdout=subprocess.PIPE, text=True,
    ) as watcher:  # fmt: skip
        time.sleep(0.5)
        started = time.monotonic()
        agent = AgentUnderTest(folder, port, ENTITIES, waits=False)
        for line in watcher.stdout or []:
            if line.strip() and json.loads(line).get("attention_ms", 0) > since_ms:
                break
            if time.monotonic() - started > PATIENCE_S:
                sys.exit("no score has come")
        took = time.monotonic() - started
        watcher.kill()
    return agent, took


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--rate", type=int, default=100, help="readings a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the database lies; a real file system, not tmpfs")
    options = parser.parse_args()
    times: dict[str, list[float]] = {"clean": [], "kill -9": []}
    with tempfile.TemporaryDirectory(prefix="attwin-restart-", dir=options.folder) as name, broker(Path(name)) as port:
        folder = Path(name)
        agent = AgentUnderTest(folder, port, ENTITIES)
        publisher = Publisher(port)
        for number in paced(options.rate, 5):
            publisher.send(*reading(number, ENTITIES))
        time.sleep(1)
        agent.stop()
        count = fill(folder / "twin.db", options.days, options.rate)
        size_mb = (folder / "twin.db").stat().st_size / 2**20
        for _ in range(options.rounds):
            for end, found in times.items():
                agent, took = first_score_s(folder, port)
                found.append(took)
                # after a kill the journal's tail is replayed: let there be one
                for number in paced(options.rate, 15):
                    publisher.send(*reading(number, ENTITIES))
                if end == "clean":
                    agent.kill()
                else:
                    agent.stop()
        publisher.close()
    print(f"restart: {count:,} readings in the journal, {size_mb:.0f} MB, {len(METRICS) * ENTITIES} series at work")
    for end, found in times.items():
        middle, most = statistics.median(found), max(found)
        print(f"restart: {end}: {middle:.2f} s to the first score, most {most:.2f} s (target {TARGET_S:g})")
    sys.exit(0 if all(max(found) <= TARGET_S for found in times.values()) else 1)


if __name__ == "__main__":
    main()
