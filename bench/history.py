"""How merging works, and what it is good for: reading one series over seven days of history.

Two hours of commits go through the upkeep of a real store, slice by slice. Then the segments of the first hour are
repeated for seven days, once as they were after the first merge and once as they are after the second, and one series
is read from each. ``python bench/history.py [readings a second] [series] [commits a second]``.
"""

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from attwin.adapters.sqlite_store import SqliteStore
from attwin.adapters.sqlite_upkeep import Keep
from attwin.core.catalogue import Catalogue, Kind, Metric
from attwin.core.journal import Segment, decode, encode

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
HOURS = 7 * 24
FOREVER = 10**15


def main(rate: int, series: int, commits: int) -> None:
    """Fill, merge, measure."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "twin.db"
        store = a_store(path)
        fill(store, rate, series, commits)
        once = merge(store, "first", 0)
        again = merge(store, "second", 1)
        store.close()
        for label, rows in (("once", once), ("twice", again)):
            copy = Path(folder) / f"{label}.db"
            repeat(copy, rows)
            read(copy, label, series // 2)
            copy.unlink()


def a_store(path: Path) -> SqliteStore:
    """Return a store that keeps everything."""
    kind = Kind(name="k", metrics=(Metric(name="m", unit="1"),), windows_ms=(), step_ms=1_000, lateness_ms=0)
    keep = Keep(
        journal_ms=FOREVER, rollups_ms=FOREVER, scores_ms=FOREVER, alerts_ms=FOREVER, budget_bytes=FOREVER, free_bytes=0
    )
    return SqliteStore(path, Catalogue([kind], most_entities=1), gateway="g", durability="full", keep=keep)


def fill(store: SqliteStore, rate: int, series: int, commits: int) -> None:
    """Add the commits of an hour, and some of the next one."""
    chance = np.random.default_rng(1)
    level = np.round(chance.normal(20, 5, series), 1)
    connection = store._connection  # noqa: SLF001 -- commits of two hours, without two hours
    connection.execute("begin")
    for number in range(int(3_600 * commits * 1.1)):
        at_ms = START_MS + number * 1_000 // commits
        first, end = number * rate // commits, (number + 1) * rate // commits
        if first == end:
            # fewer readings than commits: the agent commits only what there is
            continue
        count = end - first
        key = np.arange(first, end) % series
        segment = Segment(
            series_key=key + 1,
            time_ms=at_ms + np.sort(chance.integers(0, 1_000 // commits, count)),
            value=np.round(level[key] + chance.normal(0, 0.2, count), 1),
            quality=np.full(count, 2, np.uint8),
            reason=np.zeros(count, np.uint16),
        )
        connection.execute(
            "insert into journal (created_ms, readings, first_ms, last_ms, body, counts) values (?, ?, ?, ?, ?, '[]')",
            (at_ms, count, int(segment.time_ms[0]), int(segment.time_ms[-1]), encode(segment)),
        )
    for name in ("audited", "rolled"):
        connection.execute(f"update meta set value = (select max(id) from journal) where name = '{name}_journal_id'")
    connection.execute("commit")
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()


def merge(store: SqliteStore, label: str, level: int) -> list[tuple[object, ...]]:
    """Merge the first or the second time; return the rows of the first hour."""
    merging = store._upkeep._merging  # type: ignore[union-attr] # noqa: SLF001 -- one kind of upkeep alone
    now_ms = START_MS + 10 * HOUR_MS
    work = (lambda: merging._merge(now_ms)) if level == 0 else merging._regroup  # noqa: SLF001
    connection = store._connection  # noqa: SLF001
    slices, before = [], written()
    while True:
        start = time.perf_counter()
        if not work():
            break
        slices.append((time.perf_counter() - start) * 1_000)
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    rows = connection.execute(
        "select readings, created_ms, first_ms, last_ms, merged, body from journal where created_ms < ? order by id",
        (START_MS + HOUR_MS,),
    ).fetchall()
    (count,) = connection.execute("select sum(readings) from journal where merged > ?", (level,)).fetchone()
    size = sum(len(row[-1]) for row in rows) / sum(row[0] for row in rows)
    print(
        f"{label} merge: {len(rows)} segments of an hour, {size:.2f} bytes a reading, {len(slices)} slices, "
        f"median {statistics.median(slices):.1f} ms, 99 % {np.percentile(slices, 99):.1f} ms, longest "
        f"{max(slices):.1f} ms, {sum(slices) * 1_000 / count:.2f} us and "
        f"{(written() - before) / count:.1f} bytes written a reading"
    )
    return rows


def written() -> int:
    """Return the bytes that this process has caused to be written to a disk."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


def repeat(copy: Path, rows: list[tuple[object, ...]]) -> None:
    """Make a journal of seven days of the same hour."""
    store = a_store(copy)
    store.close()
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("begin")
        for hour in range(HOURS):
            shift = hour * HOUR_MS
            connection.executemany(
                f"insert into journal (readings, created_ms, first_ms, last_ms, merged, body, counts) "
                f"values (?, ? + {shift}, ? + {shift}, ? + {shift}, ?, ?, '[]')",
                rows,
            )
        connection.execute("commit")
    descriptor = os.open(copy, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def read(copy: Path, label: str, series_key: int) -> None:
    """Read one series twice: from the disk, and from the page cache."""
    with closing(sqlite3.connect(copy)) as connection:
        for where in ("disk", "memory"):
            start = time.perf_counter()
            count = sum(
                len(decode(body, series_key).value)
                for (body,) in connection.execute("select body from journal where readings > 0 order by id")
            )
            took = time.perf_counter() - start
            print(f"seven days merged {label}: {count} readings of a series in {took:.2f} s, from {where}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:] or ("100", "400", "10")))
