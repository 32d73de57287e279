"""Facts about what readings do to the twin."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attwin.core.catalogue import Catalogue
from attwin.core.rules import Basis, Rule, Subject
from attwin.core.types import ReadingBatch, Reason, readings
from attwin.runtime.twin import KindModel, Taken, Twin, wave_ends
from support.builders import T0_MS, a_kind, a_manifest
from support.fakes import MeanScorer

LATER_MS = T0_MS + 10**9
EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30_000), st.floats(-100, 100, width=32)), max_size=40)


def a_twin(*, lateness_ms: int = 0, rules: Sequence[Rule] = ()) -> Twin:
    """Return three rooms with a model that scores by the mean of its inputs."""
    manifest = a_manifest(lateness_ms=lateness_ms, scale=40.0)
    catalogue = Catalogue([a_kind(lateness_ms=lateness_ms, low=-50.0, high=90.0)], most_entities=10)
    for number in range(3):
        catalogue.add(f"e{number}", 0)
    return Twin(catalogue, {0: KindModel(manifest, MeanScorer(), [0, 1])}, rules, most_ahead_ms=1000)


def a_batch(events: list[tuple[int, int, float]]) -> ReadingBatch:
    """Return readings of (series, ms after T0, value)."""
    series, after, value = zip(*events, strict=True) if events else ((), (), ())
    return readings(np.array(series, np.int32), np.array(after, np.int64) + T0_MS, np.array(value, np.float64))


def scores_of(twin: Twin, taken: list[Taken]) -> list[tuple[int, int, float]]:
    """Return (entity, time, score) of everything scored, in order of entity and time."""
    made = [scores for one in taken for scores in one.scores] + twin.finish()
    rows = [row for s in made for row in zip(s.entity.tolist(), s.time_ms.tolist(), s.score.tolist(), strict=True)]
    return sorted(rows)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, cuts=st.lists(st.integers(0, 40), max_size=4), lateness=st.sampled_from([0, 1500]))
def test_scores_do_not_depend_on_how_readings_were_grouped(
    events: list[tuple[int, int, float]], cuts: list[int], lateness: int
) -> None:
    """One batch, several or one a reading: the same fate of every reading, and the same scores."""
    bounds = sorted({0, len(events), *(min(cut, len(events)) for cut in cuts)})
    grouped, single = a_twin(lateness_ms=lateness), a_twin(lateness_ms=lateness)

    in_groups = [grouped.take(a_batch(events[a:b]), now_ms=LATER_MS) for a, b in pairwise(bounds)]
    one_by_one = [single.take(a_batch([event]), now_ms=LATER_MS) for event in events]

    fates = [[(d, r) for t in run for d, r in zip(t.duplicate, t.late, strict=True)] for run in (in_groups, one_by_one)]
    assert fates[0] == fates[1]
    found, expected = scores_of(grouped, in_groups), scores_of(single, one_by_one)
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in expected], abs=1e-5)


@pytest.mark.parametrize("large", [1e20, 3e38, 1e300, 1.7e308])
def test_no_finite_reading_is_too_large_to_be_scored(large: float) -> None:
    """What overflows in a window or a feature saturates the model's input; a score is always a number from 0 to 1."""
    catalogue = Catalogue([a_kind()], most_entities=1)
    catalogue.add("e0", 0)
    manifest = a_manifest(statistics=["mean", "std", "min", "max", "last", "count", "slope"], scale=1e-3)
    twin = Twin(catalogue, {0: KindModel(manifest, MeanScorer(), [0, 1])}, [], most_ahead_ms=1000)
    values = [1.0, large, -large, large, large, 2.0]

    taken = twin.take(a_batch([(0, 5_000 * i, value) for i, value in enumerate(values)]), now_ms=LATER_MS)

    scores = [score for _, _, score in scores_of(twin, [taken])]
    assert len(scores) == len(values)
    assert all(0 <= score <= 1 for score in scores)


@settings(max_examples=40, deadline=None)
@given(events=EVENTS)
def test_every_reading_is_stored_duplicate_or_late(events: list[tuple[int, int, float]]) -> None:
    """The sums of the audit hold for whatever arrives."""
    taken = a_twin().take(a_batch(events), now_ms=LATER_MS)

    assert len(taken.stored) + int(taken.duplicate.sum()) + int(taken.late.sum()) == len(events)
    assert not (taken.duplicate & taken.late).any()


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, cut=st.integers(0, 40))
def test_a_snapshot_and_the_journals_tail_give_the_same_twin(events: list[tuple[int, int, float]], cut: int) -> None:
    """After a restart the twin goes on as if nothing had happened."""
    whole, before = a_twin(), a_twin()
    expected = scores_of(whole, [whole.take(a_batch(events), now_ms=LATER_MS)])

    first = before.take(a_batch(events[:cut]), now_ms=LATER_MS)
    for made in first.scores:
        before.note_scores(made)
    after = a_twin()
    assert after.load(before.dump())
    second = after.take(a_batch(events[cut:]), now_ms=LATER_MS)

    rows = [r for s in first.scores for r in zip(s.entity.tolist(), s.time_ms.tolist(), s.score.tolist(), strict=True)]
    found = sorted([*rows, *scores_of(after, [second])])
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in expected], abs=1e-5)


def test_a_snapshot_of_another_layout_is_not_taken() -> None:
    """Another entity in a place, and nothing is mixed up: the twin stays as it is."""
    twin, other = a_twin(), a_twin()
    twin.dump()
    other.catalogue.entity_key[1] = 99

    assert not other.load(twin.dump())
    assert np.isnan(other.score).all()


def test_a_snapshot_fits_when_entities_were_learned_after_it() -> None:
    """What was known comes back; what came later begins empty and goes on."""
    before, after = a_twin(), a_twin()
    before.take(a_batch([(0, 0, 20.0)]), now_ms=LATER_MS)
    after.catalogue.add("e3", 0)

    assert after.load(before.dump())
    taken = after.take(a_batch([(0, 0, 20.0), (6, 0, 5.0), (0, 2000, 21.0)]), now_ms=LATER_MS)

    assert taken.duplicate.tolist() == [True, False, False]
    assert after.value[[0, 6]].tolist() == [21.0, 5.0]
    assert [s.entity.tolist() for s in taken.scores] == [[0]]


def test_a_dead_metric_does_not_silence_its_twin() -> None:
    """With one metric missing there is a score, which says what was missing."""
    twin = a_twin()
    taken = twin.take(a_batch([(0, 0, 20.0), (0, 1000, 21.0)]), now_ms=LATER_MS)

    twin.note_scores(taken.scores[0])

    assert twin.missing_names(0) == "co2"
    assert 0 < twin.score[0] < 1


def test_an_impossible_value_is_stored_and_masked() -> None:
    """A reading out of range is kept for the record and does not move the score."""
    clean, dirty = a_twin(), a_twin()
    good = [(0, 0, 20.0), (1, 0, 30.0), (0, 2000, 20.0)]

    expected = scores_of(clean, [clean.take(a_batch(good), now_ms=LATER_MS)])
    taken = dirty.take(a_batch([(0, 1, 500.0), *good]), now_ms=LATER_MS)

    assert len(taken.stored) == 4
    assert taken.stored.quality.tolist() == [0, 2, 2, 2]
    assert scores_of(dirty, [taken]) == expected


def test_a_reading_ahead_of_the_clock_closes_no_tick() -> None:
    """One wrong clock must not make everybody else late."""
    twin = a_twin()
    twin.take(a_batch([(0, 0, 1.0)]), now_ms=T0_MS)

    ahead = twin.take(a_batch([(0, 10**8, 1.0)]), now_ms=T0_MS)
    normal = twin.take(a_batch([(0, 500, 2.0)]), now_ms=T0_MS)

    assert (len(ahead.stored), ahead.scores) == (1, [])
    assert (len(normal.stored), normal.late.any()) == (1, False)


def test_a_score_does_not_depend_on_who_came_first_within_a_second() -> None:
    """The last value of a second is the latest, not the last to arrive."""
    events = [(0, 100, 1.0), (0, 900, 9.0), (0, 2000, 0.0)]
    straight, swapped = a_twin(), a_twin()

    found = scores_of(straight, [straight.take(a_batch(events), now_ms=LATER_MS)])
    other = scores_of(swapped, [swapped.take(a_batch([events[1], events[0], events[2]]), now_ms=LATER_MS)])

    assert found == other


def test_a_minute_has_one_row_and_it_is_its_last_score() -> None:
    """Rows of scores: an entity's last of every minute that ended."""
    twin = a_twin()
    start = -(T0_MS % 60_000) + 60_000
    taken = twin.take(
        a_batch([(0, start + after, 20.0) for after in (0, 30_000, 59_500, 61_000, 62_000)]), now_ms=LATER_MS
    )

    rows = twin.note_scores(taken.scores[0])

    assert [(row.entity, row.time_ms) for row in rows] == [(0, T0_MS + start + 31_000)]


def test_one_call_of_the_model_scores_all_that_is_due() -> None:
    """However many ticks a batch closes, the model runs once."""
    twin = a_twin()
    scorer = twin.models[0].scorer
    assert isinstance(scorer, MeanScorer)

    twin.take(a_batch([(s, 1000 * k, 1.0) for k in range(20) for s in (0, 2, 4)]), now_ms=LATER_MS)

    assert scorer.calls == 1


def test_an_alert_of_a_forgotten_entity_does_not_silence_the_next_in_its_place() -> None:
    """The rule's state goes with the entity: the newcomer's own breach is a transition."""
    rule = Rule(
        name="hot",
        kind=0,
        subject=Subject(basis=Basis.METRIC, name="temperature", column=0),
        above=True,
        threshold=50,
        clear=40,
        for_ms=0,
        severity="info",
    )
    twin = a_twin(rules=[rule])
    first = twin.take(a_batch([(0, 0, 60.0)]), now_ms=LATER_MS)

    twin.forget(0)
    twin.catalogue.add("next", 0)
    second = twin.take(a_batch([(0, 1000, 61.0)]), now_ms=LATER_MS)

    assert [len(first.transitions), len(second.transitions)] == [1, 1]


def test_wave_ends() -> None:
    """A run of rising entities is a wave."""
    assert wave_ends(np.array([0, 2, 5, 2, 5, 5], np.int32)) == [3, 5, 6]
    assert wave_ends(np.empty(0, np.int32)) == []


def test_a_forgotten_entity_leaves_its_place_clean() -> None:
    """The next entity in the place starts from nothing."""
    twin = a_twin()
    taken = twin.take(a_batch([(0, 0, 20.0), (0, 5000, 21.0)]), now_ms=LATER_MS)
    twin.note_scores(taken.scores[0])

    twin.forget(0)
    place = twin.catalogue.add("next", 0)
    again = twin.take(a_batch([(0, 0, 20.0)]), now_ms=LATER_MS)

    assert place == 0
    assert np.isnan(twin.score[0])
    assert (again.duplicate.any(), again.late.any()) == (False, False)


def test_a_snapshot_of_an_earlier_version_knows_no_reasons() -> None:
    """It is taken over all the same; the next readings have theirs."""
    first, second = a_twin(), a_twin()
    first.take(a_batch([(0, 0, 1000.0)]), now_ms=LATER_MS)
    arrays = first.dump()
    del arrays["twin.reason"]

    assert second.load(arrays)
    second.take(a_batch([(1, 5000, 1000.0)]), now_ms=LATER_MS)

    assert (second.quality[:2].tolist(), second.reason[:2].tolist()) == ([0, 0], [0, int(Reason.OUT_OF_RANGE)])
