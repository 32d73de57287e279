"""Facts about rolling up, merging, expiring and staying within the budget, on a real file."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attwin.adapters import sqlite_checking, sqlite_merging, sqlite_upkeep
from attwin.adapters.sqlite_store import SqliteStore
from attwin.adapters.sqlite_upkeep import Keep
from attwin.core.audit import Sum
from attwin.core.catalogue import Catalogue
from attwin.core.columns import NEVER_MS
from attwin.core.errors import StoreDamagedError
from attwin.core.journal import Block, Segment, decode, encode_sorted, joined_segments, parts_of
from attwin.core.types import Quality, ReadingBatch
from attwin.ports import Commit, DriftDay, ScoreRow
from attwin.wiring.auditing import audit_of
from support.builders import T0_MS, a_batch, a_catalogue

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
KEEP = Keep(
    journal_ms=7 * DAY_MS,
    rollups_ms=30 * DAY_MS,
    scores_ms=30 * DAY_MS,
    alerts_ms=30 * DAY_MS,
    budget_bytes=10**12,
    free_bytes=0,
)
START_MS = T0_MS - T0_MS % HOUR_MS
REGROUPED_MS = START_MS + 130 * 60_000


class Upkept:
    """A store with a history, and its upkeep."""

    def __init__(self, folder: Path, keep: Keep = KEEP) -> None:
        self.path = folder / "twin.db"
        self.catalogue: Catalogue = a_catalogue()
        self.store = SqliteStore(self.path, self.catalogue, gateway="g", durability="normal", keep=keep)
        self.store.begin_boot("b", 0, now_ms=START_MS)

    def commit(self, batch: ReadingBatch, at_ms: int, deliveries: Sequence[tuple[int, int]] = ()) -> None:
        """Store readings at a time."""
        counts = {("s", name, ""): len(batch) for name in ("readings_decoded", "readings_stored")}
        self.store.commit(Commit(now_ms=at_ms, stored=batch, counts=counts, deliveries=deliveries))

    def fill(self, minutes: int, *, every_ms: int = 10_000) -> int:
        """Store a temperature every few seconds; return how many."""
        times = list(range(START_MS, START_MS + minutes * 60_000, every_ms))
        for number, time_ms in enumerate(times):
            self.commit(a_batch(values=[float(number)], times_ms=[time_ms]), time_ms, [(number + 1, number)])
        return len(times)

    def snapshot(self, now_ms: int) -> None:
        """Save a snapshot, without which nothing is merged."""
        columns = {
            "time_ms": NEVER_MS,
            "value": np.nan,
            "quality": 0,
            "reason": 0,
            "score_ms": NEVER_MS,
            "score": np.nan,
        }
        arrays = {f"twin.{name}": np.full(2, value) for name, value in columns.items()}
        self.store.save_snapshot(arrays, now_ms=now_ms, missing_names=str)

    def work(self, now_ms: int, *, times_are_final: bool = True) -> int:
        """Work until nothing is left to do; return how many slices it took."""
        slices = 0
        while self.store.upkeep(now_ms=now_ms, times_are_final=times_are_final):
            slices += 1
            assert slices < 10_000
        return slices

    def query(self, text: str) -> list[tuple[object, ...]]:
        """Return what the database holds."""
        return list(self.store._connection.execute(text).fetchall())

    def history(self) -> list[tuple[int, float]]:
        """Return (time, value) of all readings that the journal has."""
        return [p for s in self.store.segments_after(0) for p in zip(s.time_ms.tolist(), s.value.tolist(), strict=True)]


@pytest.fixture
def upkept(tmp_path: Path) -> Iterator[Upkept]:
    """A store with upkeep."""
    own = Upkept(tmp_path)
    yield own
    own.store.close()


def test_minutes_are_rolled_up_once(upkept: Upkept) -> None:
    """Bad readings do not count; a minute that comes in two parts is one row."""
    upkept.fill(1)
    upkept.snapshot(START_MS + 60_000)
    upkept.work(START_MS + 60_000)
    bad = replace(a_batch(values=[999.0], times_ms=[START_MS + 5]), quality=np.array([Quality.BAD], np.uint8))
    upkept.commit(bad, START_MS + 60_000)
    upkept.commit(a_batch(values=[-2.0], times_ms=[START_MS + 59_999]), START_MS + 60_001)
    upkept.snapshot(START_MS + 61_000)
    upkept.work(START_MS + 61_000)

    assert upkept.query("select entity, metric, count, mean, low, high, last from readable_rollups") == [
        ("e0", "temperature", 7, pytest.approx(13 / 7), -2.0, 5.0, -2.0)
    ]


def test_a_minute_in_many_slices_is_written_once(upkept: Upkept) -> None:
    """So its page is not written over and over; what a kill takes is rolled up again."""
    times = [[START_MS + 6_000 * commit + n for n in range(3_000)] for commit in range(9)]
    for own in times:
        upkept.commit(a_batch(values=[1.0] * len(own), times_ms=own), own[-1])
    upkept.snapshot(START_MS + 60_000)
    written: list[str] = []
    upkept.store._connection.set_trace_callback(written.append)

    for _ in range(5):
        upkept.store.upkeep(now_ms=START_MS + 60_000, times_are_final=True)
    before = upkept.query("select count(*) from rollups")
    upkept.work(START_MS + 60_000)

    assert before == [(0,)]
    assert sum(text.startswith("insert into rollups") for text in written) == 1
    assert upkept.query("select count, total from rollups") == [(27_000, 27_000.0)]


def test_nothing_is_rolled_up_before_its_time_is_right(upkept: Upkept) -> None:
    """While the clock is not trusted, readings wait for their true minute."""
    upkept.fill(1)
    upkept.snapshot(START_MS + 60_000)

    assert upkept.work(START_MS + 10 * DAY_MS, times_are_final=False) == 0
    assert upkept.query("select count(*) from rollups") == [(0,)]


def test_segments_of_an_hour_are_merged_and_nothing_is_lost(upkept: Upkept) -> None:
    """Fewer rows, fewer bytes, the same readings; what is younger than an hour stays, for windows that are refilled."""
    upkept.fill(175)
    before = upkept.history()
    (rows_before, bytes_before), *_ = upkept.query("select count(*), sum(length(body)) from journal")
    now_ms = START_MS + 175 * 60_000
    upkept.snapshot(now_ms)

    upkept.work(now_ms)

    assert sorted(upkept.history()) == sorted(before)
    (rows, size, young), *_ = upkept.query("select count(*), sum(length(body)), sum(merged = 0) from journal")
    assert rows < rows_before / 2
    assert size < bytes_before
    # less than a full slice waits with them
    assert 360 <= int(str(young)) < 360 + 200
    refilled = [t for s in upkept.store.segments_after(upkept.store.recent_position(now_ms)) for t in s.time_ms]
    assert sum(time_ms >= now_ms - HOUR_MS for time_ms in refilled) == 360
    assert [found.difference for found in audit_of(upkept.path)] == [0] * 4


def merged_sizes(upkept: Upkept) -> list[tuple[int, int]]:
    """Return (how often it was merged, readings) of every segment that was."""
    return [(int(str(m)), int(str(n))) for m, n in upkept.query(
        "select merged, readings from journal where merged > 0 order by id")]  # fmt: skip


def test_an_hour_that_is_complete_is_merged_again(upkept: Upkept) -> None:
    """It is one segment, sorted by series; the hour that is not complete waits; nothing is lost."""
    for minute in range(155):
        for place in range(6):
            time_ms = START_MS + minute * 60_000 + place * 10_000
            upkept.commit(a_batch(values=[minute, place], times_ms=[time_ms] * 2, series=[1, 0]), time_ms)
    before = upkept.history()
    (newest,) = upkept.query("select max(id) from journal")[0]
    now_ms = START_MS + 155 * 60_000
    upkept.snapshot(now_ms)

    upkept.work(now_ms)

    assert merged_sizes(upkept) == [(2, 720), (1, 400)]
    assert sorted(upkept.history()) == sorted(before)
    body = upkept.query("select body from journal where merged = 2")[0][0]
    keys = decode(body).series_key.tolist()  # type: ignore[arg-type] # a blob
    assert keys == sorted(keys)
    assert upkept.query("select max(id) from journal") == [(newest,)]
    assert [found.difference for found in audit_of(upkept.path)] == [0] * 4


def test_what_is_merged_again_is_bounded(upkept: Upkept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy hour becomes several segments, so that one never takes more memory."""
    monkeypatch.setattr(sqlite_merging, "_MOST_MERGED", 50)
    monkeypatch.setattr(sqlite_merging, "_MOST_REGROUPED", 120)
    before = upkept.fill(130)
    now_ms = START_MS + 130 * 60_000
    upkept.snapshot(now_ms)

    upkept.work(now_ms)

    assert [size for level, size in merged_sizes(upkept) if level == 2] == [100, 100, 100, 60]
    assert len(upkept.history()) == before


def regroup_in_part(upkept: Upkept, monkeypatch: pytest.MonkeyPatch) -> int:
    """Store two hours, merge them once and begin the second time; return how many readings there are."""
    monkeypatch.setattr(sqlite_merging, "_MOST_MERGED", 50)
    count = upkept.fill(130)
    upkept.snapshot(REGROUPED_MS)
    begun: list[int] = []
    sorted_blocks = sqlite_merging.sorted_blocks

    def blocks(parts: Sequence[Segment]) -> Iterator[Block]:
        begun.append(len(parts))
        yield from sorted_blocks(parts)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_merging, "sorted_blocks", blocks)
        patch.setattr(sqlite_merging, "_BLOCKS_A_SLICE", 1)
        while not begun:
            assert upkept.store.upkeep(now_ms=REGROUPED_MS, times_are_final=True)
    assert {level for level, _ in merged_sizes(upkept)} == {1}
    return count


def test_a_kill_while_an_hour_is_merged_again_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is replaced before all of it is: the next start begins that hour anew."""
    own = Upkept(tmp_path)
    count = regroup_in_part(own, monkeypatch)
    own.store.close()

    again = Upkept(tmp_path)
    again.work(REGROUPED_MS)

    assert merged_sizes(again)[0] == (2, 360)
    assert len(again.history()) == count
    again.store.close()


def test_what_was_dropped_while_it_was_merged_again_stays_dropped(
    upkept: Upkept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before is not put back, and the sums hold."""
    count = regroup_in_part(upkept, monkeypatch)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_upkeep, "_MOST_DROPPED", 50)
        upkept.store.upkeep(now_ms=START_MS + KEEP.journal_ms + HOUR_MS + 1, times_are_final=True)
    upkept.work(REGROUPED_MS)

    assert merged_sizes(upkept)[0] == (2, 310)
    assert store_sum(upkept).parts == {"in the journal": count - 50, "expired": 50}
    assert store_sum(upkept).difference == 0


def test_a_damaged_segment_is_counted_when_it_is_merged_again(upkept: Upkept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage that came after the first merge."""
    monkeypatch.setattr(sqlite_merging, "_MOST_MERGED", 50)
    upkept.fill(130)
    now_ms = START_MS + 130 * 60_000
    upkept.snapshot(now_ms)
    while len(merged_sizes(upkept)) < 4:
        upkept.store.upkeep(now_ms=now_ms, times_are_final=True)
    upkept.store._connection.execute("update journal set body = zeroblob(50) where id = (select min(id) from journal)")

    upkept.work(now_ms)

    store = next(found for found in audit_of(upkept.path) if found.source == "store")
    assert (store.parts["damaged"], store.difference) == (50, 0)


def test_deliveries_are_known_after_they_were_merged(upkept: Upkept) -> None:
    """A broker may deliver again what it could not for hours: a merge is no reason to store it twice."""
    count = upkept.fill(155)
    now_ms = START_MS + 155 * 60_000
    upkept.snapshot(now_ms)

    upkept.work(now_ms)

    known = upkept.store.load_deliveries(4_096)
    assert {level for level, _ in merged_sizes(upkept)} == {1, 2}
    assert all(known.is_repeated(number + 1, number) for number in range(count))


def test_deliveries_that_nobody_looks_up_are_not_kept(tmp_path: Path) -> None:
    """Of what is merged only those stay that are among the newest of the journal."""
    own = Upkept(tmp_path, replace(KEEP, deliveries=500))
    count = own.fill(130)
    own.snapshot(REGROUPED_MS)

    own.work(REGROUPED_MS)

    known = own.store.load_deliveries(500)
    assert [known.is_repeated(n + 1, n) for n in range(count)] == [n >= count - 500 for n in range(count)]
    # of 780 the last 420 are in rows that are not merged yet
    assert own.query("select sum(length(deliveries)) / 6 from journal where merged > 0") == [(80,)]
    own.store.close()


@pytest.mark.parametrize("is_put_right", [True, False], ids=["put right", "never put right"])
def test_a_clock_from_the_future_does_not_stop_the_merging(upkept: Upkept, *, is_put_right: bool) -> None:
    """Commits of a year ahead are merged with the rest, and what came after them is."""
    year_ms = 365 * DAY_MS
    upkept.store.begin_boot("ahead", 0, now_ms=START_MS + year_ms)
    for number in range(5):
        upkept.commit(a_batch(times_ms=[START_MS + number]), START_MS + year_ms + number)
    if is_put_right:
        upkept.store.mend_times(-year_ms, now_ms=START_MS)
    else:
        upkept.store.begin_boot("right", 0, now_ms=START_MS)
    count = 5 + upkept.fill(60)
    now_ms = START_MS + 5 * HOUR_MS
    upkept.snapshot(now_ms)

    upkept.work(now_ms)

    assert merged_sizes(upkept) == [(1, 5), (1, 200), (1, 160)]
    assert len(upkept.history()) == count
    assert store_sum(upkept).difference == 0


FLIPS = {"more": "readings + 64", "none": "0"}


@pytest.mark.parametrize("level", [0, 1], ids=["merged", "merged again"])
@pytest.mark.parametrize("flip", FLIPS)
def test_a_segment_is_believed_before_its_row_when_it_is_merged(
    upkept: Upkept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, flip: str, level: int
) -> None:
    """A bit that flipped beside a segment costs no reading, and the sums hold."""
    monkeypatch.setattr(sqlite_merging, "_MOST_MERGED", 50)
    count = upkept.fill(130)
    upkept.snapshot(REGROUPED_MS)
    while not upkept.query("select 1 from rollups") or len(merged_sizes(upkept)) < 4 * level:
        assert upkept.store.upkeep(now_ms=REGROUPED_MS, times_are_final=True)
    upkept.store._connection.execute(
        f"update journal set readings = {FLIPS[flip]} where id = (select min(id) + 7 * (merged = 0) from journal)"
    )

    upkept.work(REGROUPED_MS)

    assert merged_sizes(upkept)[0] == (2, 360)
    assert store_sum(upkept).parts == {"in the journal": count}
    assert store_sum(upkept).difference == 0
    assert len(upkept.history()) == count
    assert caplog.text.count("state=mended") == 1


def test_what_is_old_expires_and_is_counted(upkept: Upkept) -> None:
    """The journal goes after its days, roll-ups and scores after theirs; the sums still add up."""
    count = upkept.fill(30)
    upkept.store.commit(Commit(now_ms=START_MS, scores=[ScoreRow(entity=0, time_ms=START_MS, score=0.5, missing="")]))
    upkept.snapshot(START_MS + HOUR_MS)
    upkept.work(START_MS + HOUR_MS)

    upkept.commit(a_batch(values=[1.0], times_ms=[START_MS]), START_MS + 8 * DAY_MS)
    upkept.snapshot(START_MS + 8 * DAY_MS)
    upkept.work(START_MS + 8 * DAY_MS)
    after_week = upkept.query("select (select count(*) from journal), (select count(*) from rollups)")
    upkept.work(START_MS + 31 * DAY_MS)

    # the newest row stays, so that its number is not given again
    assert after_week == [(1, 30)]
    assert upkept.query("select (select count(*) from rollups), (select count(*) from scores)") == [(0, 0)]
    store = next(found for found in audit_of(upkept.path) if found.source == "store")
    assert store.parts == {"in the journal": 1, "expired": count}
    assert store.difference == 0


def test_a_merged_hour_is_kept_until_its_last_reading_is_old(upkept: Upkept) -> None:
    """Nothing is kept for less than was told; what is merged is kept for an hour more at most."""
    count = upkept.fill(180)
    upkept.snapshot(START_MS + 4 * HOUR_MS)
    upkept.work(START_MS + 4 * HOUR_MS)

    upkept.work(START_MS + KEEP.journal_ms + HOUR_MS - 1)
    before = len(upkept.history())
    upkept.work(START_MS + KEEP.journal_ms + HOUR_MS + 1)

    assert (before, len(upkept.history())) == (count, count - 360)
    assert store_sum(upkept).parts["expired"] == 360


def test_days_of_drift_are_kept_as_long_as_scores(upkept: Upkept) -> None:
    """A day is replaced by what is known of it later; which day was judged last is known for longer than its rows."""
    day = DriftDay(
        kind="room",
        model="m",
        day_ms=START_MS,
        is_over=False,
        scores=300,
        inputs=("co2.last_5m", "score"),
        psi=(0.5, 0.1),
        usual=(0.0, 0.2),
    )
    upkept.snapshot(START_MS)
    upkept.store.save_snapshot(upkept.store.load_snapshot()[0], now_ms=START_MS, missing_names=str, drift=[day])
    upkept.store.commit(Commit(now_ms=START_MS, drift=[replace(day, is_over=True, scores=400)]))

    upkept.work(START_MS + 29 * DAY_MS)
    kept = upkept.query("select input, psi, usual, scores, is_over from drift order by input")
    upkept.work(START_MS + 31 * DAY_MS)

    assert kept == [("co2.last_5m", 0.5, 0.0, 400, 1), ("score", 0.1, 0.2, 400, 1)]
    assert upkept.query("select count(*) from drift") == [(0,)]
    assert upkept.store.drift_judged() == {("room", "m"): START_MS}


def test_what_is_old_expires_after_a_look_at_a_clock_from_the_future(upkept: Upkept) -> None:
    """Roll-ups too, of which upkeep thinks once a minute."""
    upkept.work(START_MS + 365 * DAY_MS)
    upkept.fill(1)
    upkept.snapshot(START_MS + HOUR_MS)
    upkept.work(START_MS + HOUR_MS)

    upkept.work(START_MS + 31 * DAY_MS)

    assert upkept.query("select count(*) from rollups") == [(0,)]


def test_the_budget_is_kept_and_alerts_and_the_outbox_are_not_touched(tmp_path: Path) -> None:
    """The oldest readings go first; what was dropped is counted."""
    own = Upkept(tmp_path, replace(KEEP, budget_bytes=200_000))
    count = own.fill(600, every_ms=5_000)
    own.snapshot(START_MS + 600 * 60_000)

    own.work(START_MS + 600 * 60_000)

    used = own.query("select (p.page_count - f.freelist_count) * s.page_size from pragma_page_count() p, "
                     "pragma_freelist_count() f, pragma_page_size() s")  # fmt: skip
    assert int(str(used[0][0])) <= 200_000
    store = next(found for found in audit_of(own.path) if found.source == "store")
    assert store.difference == 0
    assert 0 < store.parts["dropped for space"] < count
    oldest = own.history()[0][0] if own.history() else None
    assert oldest is None or oldest > START_MS
    own.store.close()


def test_a_slice_drops_little(tmp_path: Path) -> None:
    """What is deleted is overwritten, so a slice takes a segment that is large, or small ones of so many readings."""
    own = Upkept(tmp_path, replace(KEEP, budget_bytes=1))
    for number in range(4):
        own.commit(a_batch(values=[1.0] * 15_000), START_MS + number)
    own.snapshot(START_MS)

    assert own.store.upkeep(now_ms=START_MS, times_are_final=False)

    assert own.query("select count(*) from journal") == [(3,)]
    own.store.close()


def test_readings_newer_than_the_snapshot_are_never_dropped(tmp_path: Path) -> None:
    """The twin could not be rebuilt without them; the floor is said by `doctor`, not paid by the journal's tail."""
    own = Upkept(tmp_path, replace(KEEP, budget_bytes=1))
    count = own.fill(5)

    own.work(START_MS + DAY_MS)

    assert len(own.history()) == count
    own.store.close()


def test_a_damaged_segment_is_counted_when_it_is_merged(upkept: Upkept) -> None:
    """What cannot be read any more is in the sums as damaged."""
    upkept.fill(5)
    upkept.store._connection.execute("update journal set body = x'00' where id = 3")
    upkept.snapshot(START_MS + 5 * 60_000)

    upkept.work(START_MS + DAY_MS)

    store = next(found for found in audit_of(upkept.path) if found.source == "store")
    assert (store.parts["damaged"], store.difference) == (1, 0)


def test_what_was_stored_by_a_wrong_clock_is_kept_by_the_right_one(upkept: Upkept) -> None:
    """Readings that seem to be of 2024 are of today once their boot's times are put right."""
    now_ms = START_MS + 700 * DAY_MS
    count = upkept.fill(5)
    upkept.store.mend_times(now_ms - START_MS, now_ms=now_ms)
    upkept.snapshot(now_ms)

    upkept.work(now_ms)

    assert len(upkept.history()) == count


def test_the_budget_is_kept_while_the_clock_is_not_trusted(tmp_path: Path) -> None:
    """Readings that wait for their true minute do not fill the disk."""
    own = Upkept(tmp_path, replace(KEEP, budget_bytes=200_000))
    own.fill(600, every_ms=5_000)
    own.snapshot(START_MS)

    assert own.work(START_MS, times_are_final=False) > 0

    store = next(found for found in audit_of(own.path) if found.source == "store")
    assert store.parts["dropped for space"] > 0
    assert store.difference == 0
    own.store.close()


def test_sums_that_overflow_do_not_stop_the_upkeep(upkept: Upkept) -> None:
    """The largest numbers of either sign in one minute, in two slices."""
    for sign in (1.0, -1.0):
        upkept.commit(a_batch(values=[sign * 1e308] * 3, times_ms=[START_MS] * 3), START_MS)
        upkept.snapshot(START_MS + 1)
        upkept.work(START_MS + 1)

    assert upkept.query("select count, low, high from rollups") == [(6, -1e308, 1e308)]


def check(upkept: Upkept, now_ms: int = START_MS, slices: int = 50) -> None:
    """Let upkeep go through the journal, too early for any merge."""
    for _ in range(slices):
        assert not upkept.store.upkeep(now_ms=now_ms, times_are_final=False)


def store_sum(upkept: Upkept) -> Sum:
    """Return the sum of what was stored."""
    return next(found for found in audit_of(upkept.path) if found.source == "store")


BREAKS = {
    "zeros": "update journal set body = zeroblob(length(body)) where id = 3",
    "a byte of the columns": (
        "update journal set body = cast(substr(body, 1, 25) || x'7f' || substr(body, 27) as blob) where id = 3"
    ),
    "the start of its times": (
        "update journal set body = cast(substr(body, 1, 10) || x'00' || substr(body, 12) as blob) where id = 3"
    ),
    "its count": (
        "update journal set body = cast(substr(body, 1, 3) || x'01' || substr(body, 5) as blob) where id = 3"
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_damaged_segment_is_found_by_reading_the_journal_through(
    upkept: Upkept, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """Long before it is merged: counted, said once, and the others stay."""
    for number in range(5):
        upkept.commit(a_batch(values=[1.5, number]), START_MS + number)
    upkept.store._connection.execute(BREAKS[broken])

    check(upkept)
    check(upkept, START_MS + 8 * DAY_MS)

    assert (store_sum(upkept).parts["damaged"], store_sum(upkept).difference) == (2, 0)
    assert len(upkept.history()) == 8
    assert upkept.query("select readings, length(body) from journal where id = 3") == [(0, 0)]
    assert caplog.text.count("state=lost") == 1


@pytest.mark.parametrize("broken", BREAKS)
def test_a_damaged_segment_is_never_merged(upkept: Upkept, broken: str) -> None:
    """Nor is it rolled up: it is counted, and the others stay as they are."""
    for number in range(5):
        upkept.commit(a_batch(values=[1.5, number]), START_MS + number)
    upkept.store._connection.execute(BREAKS[broken])
    upkept.snapshot(START_MS + DAY_MS)

    upkept.work(START_MS + DAY_MS)

    assert (store_sum(upkept).parts["damaged"], store_sum(upkept).difference) == (2, 0)
    assert {time_ms for time_ms, _ in upkept.history()} == {T0_MS, T0_MS + 1_000}
    assert merged_sizes(upkept) == [(1, 8)]
    assert upkept.query("select sum(count) from rollups") == [(8,)]


def test_the_journal_is_read_through_after_a_look_at_a_clock_from_the_future(upkept: Upkept) -> None:
    """The next week is one of the clock that is right."""
    for number in range(3):
        upkept.commit(a_batch(), START_MS + number)
    check(upkept, START_MS + 56 * 365 * DAY_MS)
    upkept.store._connection.execute(BREAKS["zeros"])

    check(upkept, START_MS)

    assert store_sum(upkept).parts["damaged"] == 1


@pytest.mark.parametrize("column", ["readings", "first_ms", "last_ms"])
def test_a_row_that_does_not_say_what_its_segment_holds_is_put_right(
    upkept: Upkept, caplog: pytest.LogCaptureFixture, column: str
) -> None:
    """Nothing is lost by a bit that flipped beside the segment; without this the sums would be false."""
    upkept.commit(a_batch(values=[1.0, 2.0]), START_MS)
    before = upkept.query("select * from journal")
    upkept.store._connection.execute(f"update journal set {column} = {column} + 64")

    check(upkept)

    assert upkept.query("select * from journal") == before
    assert store_sum(upkept).difference == 0
    assert "state=mended" in caplog.text


@pytest.mark.parametrize("kind", ["leaf", "overflow"])
def test_a_page_of_zeros_in_the_journal_is_noticed(tmp_path: Path, kind: str) -> None:
    """Where SQLite finds it, the next start mends the file; where only the segment can, it is counted."""
    own = Upkept(tmp_path)
    noise = np.random.default_rng(1)
    for number in range(10):
        own.commit(a_batch(values=noise.random(2_000).tolist()), START_MS + number)
    # what was counted is in the table of sums then, else it would be lost with the readings
    own.snapshot(START_MS)
    pages = own.query(f"select pageno from dbstat where name = 'journal' and pagetype = '{kind}' order by path desc")
    own.store.close()
    with own.path.open("rb+") as file:
        file.seek((int(str(pages[0][0])) - 1) * 4_096)
        file.write(bytes(4_096))

    again = Upkept(tmp_path)
    if kind == "leaf":
        with pytest.raises(StoreDamagedError):
            check(again)
        again.store.close()
        again = Upkept(tmp_path)
        lost = store_sum(again).parts["lost in a damaged file"]
    else:
        check(again)
        lost = store_sum(again).parts["damaged"]

    assert lost % 2_000 == 0
    assert lost > 0
    assert (lost + len(again.history()), store_sum(again).difference) == (20_000, 0)
    again.store.close()


def test_a_slice_of_the_check_is_bounded(upkept: Upkept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large segment is checked block by block, small ones a few at a time; the end is reached all the same."""
    monkeypatch.setattr(sqlite_checking, "_MOST_CHECKED", 5_000)
    for _ in range(100):
        upkept.commit(a_batch(), START_MS)
    upkept.commit(a_batch(values=[1.0] * 12_000, times_ms=[START_MS] * 12_000), START_MS)
    upkept.commit(a_batch(), START_MS)
    large = encode_sorted(joined_segments(list(upkept.store.segments_after(100))))
    upkept.store._connection.execute("update journal set body = ?, readings = 12001 where id = 101", (large,))
    upkept.store._connection.execute("update journal set body = zeroblob(50) where id = 102")
    steps = []

    def parts(body: bytes) -> Iterator[Segment]:
        for part in parts_of(body):
            steps[-1] += len(part.time_ms)
            yield part

    monkeypatch.setattr(sqlite_checking, "parts_of", parts)
    while not store_sum(upkept).parts.get("damaged"):
        steps.append(0)
        check(upkept, slices=1)

    assert sum(steps) == 12_101
    assert max(steps) < 5_000 + 4_096
    assert len(steps) >= 3
