"""Facts about days: what is counted, judged once, told, and known again after a restart."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from attwin.adapters.clock import SystemClock
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.alerts import AlertFacts
from attwin.core.drift import LEAST_SCORES
from attwin.ports import AlertChange, Commit
from attwin.runtime.alerts import AlertBook
from attwin.runtime.drift import DAY_MS, SHOWN_DAYS, DriftKind, DriftWatch
from attwin.runtime.twin import KindModel, Scores, Twin
from attwin.wiring.restore import restore
from support.builders import T0_MS, a_batch, a_catalogue, a_drift_kind, a_kind, a_manifest, taken

DAY0 = T0_MS // DAY_MS
SCALE = 100.0
INPUT = "temperature.last_1m"
Row = tuple[int, float]


def made(rows: Sequence[Row]) -> Scores:
    """Return scores of (time, temperature)."""
    time_ms, value = zip(*rows, strict=True)
    features = np.stack([np.array(value, np.float32), np.full(len(rows), np.nan, np.float32)], axis=1)
    return Scores(
        kind=0,
        entity=np.zeros(len(rows), np.int32),
        time_ms=np.array(time_ms, np.int64),
        score=np.where(np.array(value) % 2 < 1, 0.2, 0.8).astype(np.float32),
        missing=np.zeros((len(rows), 2), np.bool_),
        features=features,
        raw=features,
    )


def a_day(day: int, *, shift: float = 0.0, scores: int = LEAST_SCORES) -> list[Row]:
    """Return the scores of a day until its evening, whose temperatures are those of training, shifted."""
    start_ms = (DAY0 + day) * DAY_MS
    return [(start_ms + number * 250_000, number % 10 + 0.5 + shift) for number in range(scores)]


class Watch:
    """A watch and the alerts that it makes."""

    def __init__(self, kind: DriftKind | None = None, active: Sequence[AlertFacts] = ()) -> None:
        self.drift = DriftWatch({0: kind or a_drift_kind()})
        self.book = AlertBook([], a_catalogue(), active, next_alert=1 + len(active))

    def see(self, *days: list[Row]) -> list[AlertChange]:
        """Take the scores of days, and return what changes once the last of them has begun."""
        for rows in days:
            if rows:
                self.drift.add(made(rows))
        changes = [self.drift.announce(day, self.book) for day in self.drift.judge()]
        return [change for change in changes if change]


EVENTS = st.lists(st.tuples(st.integers(0, 12 * 24), st.floats(-5, 15, width=32)), max_size=60)


@given(events=EVENTS, cuts=st.lists(st.integers(0, 60), max_size=5), looks=st.lists(st.integers(0, 60), max_size=5))
def test_counts_do_not_depend_on_how_scores_were_grouped(
    events: list[tuple[int, float]], cuts: list[int], looks: list[int]
) -> None:
    """In any order of days, at once or one by one, judged and looked at in between: the same newest days."""
    rows = [(T0_MS + hour * 3_600_000, value) for hour, value in events]
    bounds = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    grouped, single = Watch(), Watch()

    for start, stop in pairwise(bounds):
        grouped.drift.add(made(rows[start:stop]))
    grouped.drift.judge()
    for number, row in enumerate(rows):
        single.drift.add(made([row]))
        if number in looks:
            single.drift.judge()
            single.drift.report()
    single.drift.judge()

    found, expected = (watch.drift.dump() for watch in (grouped, single))
    order, expected_order = found["drift0.day"].argsort(), expected["drift0.day"].argsort()
    assert found["drift0.day"][order].tolist() == sorted({time_ms // DAY_MS for time_ms, _ in rows})[-SHOWN_DAYS:]
    assert found["drift0.counts"][order].tolist() == expected["drift0.counts"][expected_order].tolist()


def test_a_day_like_training_raises_nothing() -> None:
    """Nor does one that a few scores moved."""
    assert Watch().see(a_day(0), a_day(1, shift=0.2), a_day(2)) == []


def test_a_day_far_from_training_raises_an_alert_that_says_what_and_by_how_much() -> None:
    """It is about the kind, and of the day's own time."""
    watch = Watch()

    (change,) = watch.see(a_day(0, shift=100.0), a_day(2, scores=1))

    facts = change.after
    assert (facts.rule, facts.entity, facts.severity, facts.state) == ("drift", "room", "warning", "active")
    assert facts.subject.startswith(f"{INPUT} {facts.value:.2f}")
    assert facts.value > 4
    assert facts.threshold == 0.25
    assert (facts.since_ms, facts.time_ms) == (DAY0 * DAY_MS, (DAY0 + 1) * DAY_MS)


def test_an_alert_ends_with_a_later_day_that_is_like_training() -> None:
    """Days that are as far change nothing, nor do days with few scores."""
    watch = Watch()
    assert len(watch.see(a_day(0, shift=100.0), a_day(2, scores=1))) == 1

    assert watch.see(a_day(3, shift=100.0), a_day(5, scores=LEAST_SCORES - 1)) == []
    assert watch.see(a_day(6), a_day(7, scores=1)) == []
    (change,) = watch.see(a_day(8, scores=1))

    assert change.after.state == "cleared"
    assert change.after.value < 0.1
    assert change.after.time_ms == (DAY0 + 7) * DAY_MS
    assert not watch.book.active


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        pytest.param(a_day(0, shift=100.0, scores=LEAST_SCORES - 1), a_drift_kind(), id="few scores"),
        pytest.param(a_day(0, shift=100.0), a_drift_kind(limit=np.inf), id="off"),
        pytest.param(a_day(0, shift=100.0), a_drift_kind(usual=9.0), id="days of training were as far"),
    ],
)
def test_no_alert(first: list[Row], kind: DriftKind) -> None:
    """Where there is too little to go by, nobody asked, or days of training had the same."""
    assert Watch(kind).see(first, a_day(2, scores=1)) == []


def test_a_day_is_over_an_hour_after_its_end() -> None:
    """Entities that lag behind by less count; the day that runs is never judged."""
    watch = Watch()
    end_ms = (DAY0 + 1) * DAY_MS

    assert watch.see(a_day(0, shift=100.0), [(end_ms + 3_599_000, 1.0)]) == []
    assert len(watch.see([(end_ms + 3_600_000, 1.0)])) == 1


def test_of_few_scores_nothing_is_said() -> None:
    """Only how many there are."""
    watch = Watch()
    watch.see(a_day(0, scores=LEAST_SCORES - 1), a_day(1))

    report = watch.drift.report()["room"]

    assert isinstance(report, list)
    assert [(day["day"], day["running"], day["scores"], list(day["psi"])) for day in report] == [
        ("2015-02-04", True, LEAST_SCORES, [INPUT, "score"]),
        ("2015-02-03", False, LEAST_SCORES - 1, []),
    ]


def test_a_restart_in_the_middle_of_a_day_goes_on() -> None:
    """Counts come back with the snapshot; another model begins anew."""
    whole, before, after, other = Watch(), Watch(), Watch(), Watch(a_drift_kind(model="b"))
    morning, evening = a_day(0, scores=150), a_day(0, shift=3.0, scores=150)
    whole.see(morning, evening)
    before.see(morning)

    for watch in (after, other):
        watch.drift.load(before.drift.dump(), {})
        watch.see(evening)

    assert after.drift.report() == whole.drift.report()
    assert [day.scores for day in other.drift.changed()] == [150]


def test_days_to_come_are_forgotten_once_the_clock_is_right() -> None:
    """What a wrong clock made must not keep the days that are from being judged."""
    watch = Watch()
    watch.see(a_day(0, shift=100.0), a_day(5000), a_day(5002, scores=1))

    watch.drift.forget_after((DAY0 + 1) * DAY_MS)

    assert [day.day_ms // DAY_MS - DAY0 for day in watch.drift.changed()] == [0]
    assert len(watch.see(a_day(1, shift=100.0), a_day(3, scores=1))) == 1


class OddScorer:
    """Scores even temperatures 0.2 and odd ones 0.8, as ``made`` does."""

    runtime = "fake"

    def score(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one score a row."""
        return np.where(inputs[:, 0] * SCALE % 2 < 1, 0.2, 0.8).astype(np.float32)


class Gateway:
    """A twin, its store and its days, without a loop."""

    def __init__(self, path: Path, kind: DriftKind) -> None:
        catalogue = a_catalogue(a_kind(), entities=0)
        self.store = SqliteStore(path, catalogue, gateway="g", durability="normal")
        self.twin = Twin(catalogue, {0: KindModel(a_manifest(scale=SCALE), OddScorer(), [0, 1])}, [], most_ahead_ms=0)
        self.drift = DriftWatch({0: kind})
        clock = SystemClock()
        self.now_ms = clock.now_ms()
        self.book = restore(self.store, self.twin, ["room"], {"e0": "room"}, [], "attwin/g", clock, self.drift)

    def take(self, *days: list[Row], snapshot: bool = False) -> list[AlertChange]:
        """Take temperatures, and return the alerts that changed."""
        changes = []
        for rows in days:
            batch = a_batch(values=[value for _, value in rows], times_ms=[time_ms for time_ms, _ in rows])
            taken = self.twin.take(batch, now_ms=2**42)
            for scores in taken.scores:
                self.twin.note_scores(scores)
                self.drift.add(scores)
            over = self.drift.judge()
            found = [change for day in over if (change := self.drift.announce(day, self.book))]
            counts = {("s", "readings_stored", ""): len(taken.stored)}
            self.store.commit(Commit(now_ms=self.now_ms, stored=taken.stored, counts=counts, alerts=found, drift=over))
            changes += found
        if snapshot:
            arrays = self.twin.dump() | self.drift.dump()
            changed = self.drift.changed()
            self.store.save_snapshot(arrays, now_ms=1, missing_names=self.twin.missing_names, drift=changed)
        return changes

    def rows(self) -> list[tuple[object, ...]]:
        """Return what the database says of days."""
        query = "select day_ms / 86400000, scores, is_over, round(psi, 6) from drift where input = ? order by day_ms"
        return list(self.store._connection.execute(query, (INPUT,)).fetchall())


@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "journal alone"])
def test_a_restart_judges_no_day_twice(tmp_path: Path, snapshot: bool) -> None:  # noqa: FBT001 -- a test's parameter
    """The alert is active again, the scores of the journal's tail are counted once, and the day is not judged anew."""
    first, kind = Gateway(tmp_path / "twin.db", a_drift_kind()), a_drift_kind()
    assert len(first.take(a_day(0, shift=100.0, scores=300), a_day(1), snapshot=snapshot)) == 1
    first.take(a_day(1, shift=0.1, scores=LEAST_SCORES + 100)[LEAST_SCORES:])
    expected = first.drift.report()
    first.store.close()

    second = Gateway(tmp_path / "twin.db", kind)

    assert list(second.book.active) == [("drift", "room")]
    assert second.drift.judge() == []
    assert second.drift.report() == expected
    assert [change.after.state for change in second.take(a_day(3))] == ["cleared"]
    second.take(snapshot=True)
    assert [row[:3] for row in second.rows()] == [(DAY0, 300, 1), (DAY0 + 1, 300, 1), (DAY0 + 3, 199, 0)]
    second.store.close()


@pytest.mark.parametrize(
    "kind", [a_drift_kind(model="b"), a_drift_kind(limit=np.inf)], ids=["another model", "switched off"]
)
def test_an_alert_ends_at_a_start_that_does_not_want_it(tmp_path: Path, kind: DriftKind) -> None:
    """What it was about no longer serves, or nobody asks; upstream is told."""
    first = Gateway(tmp_path / "twin.db", a_drift_kind())
    first.take(a_day(0, shift=100.0), a_day(1), snapshot=True)
    first.store.close()

    second = Gateway(tmp_path / "twin.db", kind)

    assert not second.book.active
    topics = [message.topic for message in taken(second.store, 10)]
    assert topics == ["attwin/g/events", "attwin/g/alert/room/drift"]
    second.store.close()
