"""Facts about models that ask for buckets, categories, a baseline and the clock, from readings to scores."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from attwin.adapters.clock import SystemClock
from attwin.core.catalogue import Catalogue, Kind, Metric
from attwin.core.errors import BundleError, BundleMismatchError
from attwin.core.manifest import Manifest, MetricSpec, check
from attwin.core.types import Quality, ReadingBatch, readings
from attwin.runtime.selftest import replay_golden, self_test
from attwin.runtime.twin import KindModel, Scores, Twin
from attwin.wiring.offline import Wide, score_rows
from support.builders import T0_MS, a_full_manifest, a_manifest
from support.fakes import MeanScorer

LATER_MS = T0_MS + 10**10
HOUR_MS = 3_600_000
RELATIVE = slice(4, 7)
"""The columns of the features with a baseline."""
Event = tuple[int, int, float, int]
"""Series, milliseconds after T0, value, quality."""
EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 200_000), st.integers(0, 2).map(float), st.sampled_from([0, 1, 2, 2])),
    max_size=40,
)


def a_twin(manifest: Manifest | None = None, *, entities: int = 2) -> Twin:
    """Return a twin of rooms whose model asks for all there is."""
    manifest = manifest or a_full_manifest()
    kind = Kind(
        name=manifest.kind,
        metrics=tuple(Metric(name=m.name, unit=m.unit) for m in manifest.metrics),
        windows_ms=tuple(manifest.windows_ms),
        step_ms=manifest.step_ms,
        lateness_ms=manifest.lateness_ms,
    )
    catalogue = Catalogue([kind], most_entities=10)
    for number in range(entities):
        catalogue.add(f"e{number}", 0)
    return Twin(catalogue, {0: KindModel(manifest, MeanScorer(), [0, 1])}, [], most_ahead_ms=1000)


def a_batch(events: list[Event]) -> ReadingBatch:
    """Return readings of events."""
    series, after, value, quality = zip(*events, strict=True) if events else ((), (), (), ())
    batch = readings(np.array(series, np.int32), np.array(after, np.int64) + T0_MS, np.array(value, np.float64))
    return dataclasses.replace(batch, quality=np.array(quality, np.uint8))


def take(twin: Twin, events: list[Event]) -> list[Scores]:
    """Let events arrive together."""
    return twin.take(a_batch(events), now_ms=LATER_MS).scores


def table(made: list[Scores]) -> dict[tuple[int, int], list[float]]:
    """Return the features of every score by entity and time."""
    rows: dict[tuple[int, int], list[float]] = {}
    for scores in made:
        for entity, time_ms, features in zip(scores.entity, scores.time_ms, scores.features, strict=True):
            rows[int(entity), int(time_ms)] = features.tolist()
    return rows


def same(found: dict[tuple[int, int], list[float]], expected: dict[tuple[int, int], list[float]]) -> None:
    """Fail unless two tables are the same to the bit."""
    assert sorted(found) == sorted(expected)
    for key, row in found.items():
        np.testing.assert_array_equal(row, expected[key])


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, cuts=st.lists(st.integers(0, 40), max_size=4))
def test_features_do_not_depend_on_how_readings_were_grouped(events: list[Event], cuts: list[int]) -> None:
    """Sorted by time so that none is late: one batch, several, or one a reading give the same bits."""
    events = sorted(events, key=lambda event: event[1])
    bounds = sorted({0, len(events), *(min(cut, len(events)) for cut in cuts)})
    grouped, single = a_twin(), a_twin()

    in_groups = [s for a, b in pairwise(bounds) for s in take(grouped, events[a:b])] + grouped.finish()
    one_by_one = [s for event in events for s in take(single, [event])] + single.finish()

    same(table(in_groups), table(one_by_one))


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, others=EVENTS, cut_ms=st.integers(0, 200_000))
def test_what_comes_after_a_score_does_not_change_it(events: list[Event], others: list[Event], cut_ms: int) -> None:
    """Features at T are those of the readings before T, whatever follows."""
    before = [event for event in events if event[1] < cut_ms]
    one, other = a_twin(), a_twin()

    first, second = (
        table(take(twin, before + [e for e in later if e[1] >= cut_ms]) + twin.finish())
        for twin, later in ((one, events), (other, others))
    )

    # the second in which the cut lies has readings of both
    end_ms = (T0_MS + cut_ms) // 1000 * 1000
    known = {key: row for key, row in first.items() if key[1] <= end_ms}
    same({key: row for key, row in second.items() if key[1] <= end_ms}, known)


def test_the_present_second_is_not_usual_yet() -> None:
    """A jump is measured against what was before it, and only the next score knows of it."""
    minutes: list[Event] = [(0, 60_000 * k, 20.0, 2) for k in range(120)]
    jump_ms = 60_000 * 120
    twin, calm = a_twin(entities=1), a_twin(entities=1)

    found = table(take(twin, [*minutes, (0, jump_ms, 30.0, 2)]) + twin.finish())
    expected = table(take(calm, [*minutes, (0, jump_ms, 25.0, 2)]) + calm.finish())

    at = (0, T0_MS + jump_ms + 1000)
    assert found[at][4] == pytest.approx(2 * expected[at][4], rel=1e-5)
    assert found[at][4] > 10


@pytest.mark.parametrize("quality", [Quality.BAD, Quality.UNCERTAIN], ids=["bad", "uncertain"])
def test_a_sensor_that_cannot_be_trusted_does_not_move_what_is_usual(quality: np.uint8) -> None:
    """However long it says something else: once it is well again, it is measured as before."""
    good: list[Event] = [(0, 60_000 * k, 20.0 + k % 3, 2) for k in range(120)]
    wrong: list[Event] = [(0, HOUR_MS * 3 + 60_000 * k, 90.0, int(quality)) for k in range(120)]
    after: list[Event] = [(0, HOUR_MS * 24, 21.0, 2)]
    twin, spared = a_twin(entities=1), a_twin(entities=1)

    found = table(take(twin, good + wrong + after) + twin.finish())
    expected = table(take(spared, good + after) + spared.finish())

    at = (0, T0_MS + HOUR_MS * 24 + 1000)
    np.testing.assert_array_equal(found[at], expected[at])
    moved = a_twin(entities=1)
    trusted = table(take(moved, good + [(s, t, v, 2) for s, t, v, _ in wrong] + after) + moved.finish())
    assert abs(trusted[at][4] - expected[at][4]) > 1


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, cut=st.integers(0, 40))
def test_a_restart_gives_the_same_features(events: list[Event], cut: int) -> None:
    """The snapshot has the baselines, and which of the readings that are held back can be trusted."""
    events = sorted(events, key=lambda event: event[1])
    whole, before, after = a_twin(), a_twin(), a_twin()
    expected = table(take(whole, events) + whole.finish())

    first = take(before, events[:cut])
    assert after.load(before.dump())
    found = table([*first, *take(after, events[cut:]), *after.finish()])

    same(found, expected)


def test_a_snapshot_of_a_model_without_such_features_stays_as_it_is() -> None:
    """Its layout is the same from version to version, so that a newer agent takes it over, and it has no baselines."""
    twin = a_twin(a_manifest(metrics=("temperature", "co2"), statistics=("last", "mean"), scale=40.0))

    arrays = twin.dump()

    assert arrays["layout"].tobytes().hex() == "5a6f4e28f8ab7920b5bd5ddead969da275bd981155398ba77f959cc188a3a07d"
    assert not [name for name in arrays if name.startswith("baselines")]


def with_version(manifest: Manifest) -> Manifest:
    """Return the next version of a model, trained anew."""
    features = [dataclasses.replace(spec, mean=spec.mean + 0.5) for spec in manifest.features]
    return dataclasses.replace(manifest, version=manifest.version + 1, features=features)


def test_what_is_usual_outlives_another_version_of_the_model() -> None:
    """The windows are made anew from the journal, which is played again without counting twice."""
    minutes: list[Event] = [(0, 60_000 * k, 50.0 + k % 2, 2) for k in range(300)]
    twin, later = a_twin(entities=1), a_twin(with_version(a_full_manifest()), entities=1)
    take(twin, minutes)

    fits = later.load(twin.dump())
    later.replay(a_batch(minutes[-60:]))
    last = (0, 60_000 * 300, 50.0, 2)
    found, expected = table(take(later, [last]) + later.finish()), table(take(twin, [last]) + twin.finish())

    assert not fits
    at = (0, T0_MS + 60_000 * 300 + 1000)
    np.testing.assert_array_equal(found[at], expected[at])
    fresh = a_twin(entities=1)
    assert abs(table(take(fresh, [last]) + fresh.finish())[at][4] - expected[at][4]) > 1


def test_what_was_usual_for_another_unit_is_not_taken_over() -> None:
    """Degrees are not measured against what was usual in Fahrenheit."""
    manifest = a_full_manifest()
    metrics = [MetricSpec(name="temperature", unit="Cel", mean=20.0, scale=5.0), manifest.metrics[1]]
    other = dataclasses.replace(with_version(manifest), metrics=metrics)
    twin, later, fresh = a_twin(entities=1), a_twin(other, entities=1), a_twin(other, entities=1)
    take(twin, [(0, 60_000 * k, 50.0, 2) for k in range(300)])

    later.load(twin.dump())

    last = (0, HOUR_MS * 6, 50.0, 2)
    same(table(take(later, [last]) + later.finish()), table(take(fresh, [last]) + fresh.finish()))


def test_a_clock_that_is_put_right_does_not_cost_what_is_usual() -> None:
    """Readings and windows are made anew; that it is 50 degrees here is still known, and goes on being learned."""
    twin = a_twin(entities=1)
    take(twin, [(0, HOUR_MS * 100 + 60_000 * k, 50.0, 2) for k in range(300)])

    twin.clear(newest_ms=LATER_MS)
    found = table(take(twin, [(0, 60_000 * k, 50.0, 2) for k in range(300)]) + twin.finish())

    assert abs(found[0, T0_MS + 1000][4]) < 2
    assert abs(found[0, T0_MS + 60_000 * 299 + 1000][4]) < abs(found[0, T0_MS + 1000][4])


def test_a_forgotten_entity_leaves_nothing_usual_behind() -> None:
    """The next one in its place begins as the population."""
    twin, fresh = a_twin(entities=1), a_twin(entities=1)
    take(twin, [(0, 60_000 * k, 50.0, 2) for k in range(300)])

    twin.forget(0)
    twin.catalogue.add("next", 0)

    first = (0, HOUR_MS * 6, 50.0, 2)
    same(table(take(twin, [first]) + twin.finish()), table(take(fresh, [first]) + fresh.finish()))


def test_a_metric_that_the_model_does_not_know_has_no_baseline() -> None:
    """A kind may have more metrics than its model, in another order."""
    manifest = a_full_manifest()
    names = ("noise", "visitor", "dust", "temperature")
    kind = Kind(
        name="room",
        metrics=tuple(Metric(name=name, unit="1") for name in names),
        windows_ms=tuple(manifest.windows_ms),
        step_ms=1000,
        lateness_ms=0,
    )
    catalogue = Catalogue([kind], most_entities=1)
    catalogue.add("e0", 0)
    twin = Twin(catalogue, {0: KindModel(manifest, MeanScorer(), [3, 1])}, [], most_ahead_ms=1000)
    plain = a_twin(entities=1)
    own: list[Event] = [(0, 60_000 * k, 20.0 + k % 5, 2) for k in range(50)]

    found = take(twin, [(3, t, v, q) for _, t, v, q in own] + [(s, t, 500.0, 2) for _, t, _, _ in own for s in (0, 2)])

    same(table(found + twin.finish()), table(take(plain, own) + plain.finish()))


def test_a_file_gives_the_features_that_the_agent_gives() -> None:
    """Scores of rows offline and of readings as they arrive agree to the bit, with all there is."""
    rng = np.random.default_rng(1)
    count, manifest = 400, a_full_manifest(lateness_ms=2000)
    time_ms = T0_MS + np.cumsum(rng.integers(500, 90_000, count))
    values = np.stack([rng.normal(25, 5, count), rng.integers(0, 3, count).astype(np.float64)], axis=1)
    values[rng.random((count, 2)) < 0.2] = np.nan
    entity = rng.integers(0, 2, count).astype(np.int32)
    wide = Wide(entities=["e0", "e1"], entity=entity, time_ms=time_ms, values=values, order=np.arange(count))
    live = a_twin(manifest)

    offline = score_rows(wide, manifest, MeanScorer())

    row, metric = np.nonzero(~np.isnan(values))
    made: list[Scores] = []
    for start in range(0, len(row), 7):
        part = slice(start, start + 7)
        batch = readings(
            (entity[row[part]] * 2 + metric[part]).astype(np.int32), time_ms[row[part]], values[row, metric][part]
        )
        made += live.take(batch, now_ms=LATER_MS).scores
    expected = table([*made, *live.finish()])
    known = [i for i in range(count) if not np.isnan(values[i]).all()]
    assert len(known) > 300
    for i in known:
        np.testing.assert_array_equal(offline.features[i], expected[int(entity[i]), int(offline.score_ms[i])])


def golden_of(manifest: Manifest) -> dict[str, NDArray[np.generic]]:
    """Return golden samples of one entity over two days and of one over minutes, some readings missing."""
    rng = np.random.default_rng(0)
    count = 200
    every_ms = np.repeat([14 * 60_000, 7_000], count)
    time_ms = np.repeat(T0_MS + np.tile(np.arange(count), 2) * every_ms, 2)
    metric = np.tile(np.array([0, 1], np.int32), 2 * count)
    value = np.where(metric == 0, rng.normal(22, 3, 4 * count), rng.integers(0, 3, 4 * count))
    kept = rng.random(4 * count) < 0.9
    golden: dict[str, NDArray[np.generic]] = {
        "entity": np.repeat(np.array([0, 1], np.int32), 2 * count)[kept],
        "metric": metric[kept],
        "time_ms": time_ms[kept],
        "value": value[kept],
    }
    features, scores, _ = replay_golden(manifest, MeanScorer(), golden)
    return golden | {"features": features, "scores": scores}


def on_feature(place: int, **changes: object) -> Callable[[Manifest], Manifest]:
    """Return a change of one feature."""

    def change(manifest: Manifest) -> Manifest:
        features = list(manifest.features)
        features[place] = dataclasses.replace(features[place], **changes)  # type: ignore[arg-type]  # whatever is wanted
        return dataclasses.replace(manifest, features=features)

    return change


def on_temperature(**changes: object) -> Callable[[Manifest], Manifest]:
    """Return a change of the first metric."""

    def change(manifest: Manifest) -> Manifest:
        first = dataclasses.replace(manifest.metrics[0], **changes)  # type: ignore[arg-type]  # whatever is wanted
        return dataclasses.replace(manifest, metrics=[first, manifest.metrics[1]])

    return change


def on_manifest(**changes: object) -> Callable[[Manifest], Manifest]:
    """Return a change of the manifest itself."""
    return lambda manifest: dataclasses.replace(manifest, **changes)  # type: ignore[arg-type]  # whatever is wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(on_feature(3, bucket=10), r"temperature.mean\[10\]", id="another bucket"),
        pytest.param(on_feature(3, bucket=None), "temperature.mean of", id="the whole window"),
        pytest.param(on_feature(7, categories=["other"]), "visitor.last=other", id="another category"),
        pytest.param(on_feature(7, categories=None), "visitor.last of", id="the code itself"),
        pytest.param(on_feature(4, baseline=None), "temperature.last", id="no baseline"),
        pytest.param(on_feature(0, baseline="running"), "temperature.last", id="a baseline"),
        pytest.param(on_manifest(baseline_ms=7 * HOUR_MS), "temperature.last", id="another time constant"),
        pytest.param(on_manifest(baseline_prior_ms=90_000), "temperature.last", id="another prior"),
        pytest.param(on_manifest(baseline_hold_ms=1_000), "temperature.last", id="another hold"),
        pytest.param(on_temperature(mean=21.0), "temperature.last", id="another population mean"),
        pytest.param(on_temperature(scale=6.0), "temperature.last", id="another population scale"),
        pytest.param(on_manifest(zone="Europe/London"), "clock.hour_sin", id="another zone"),
        pytest.param(
            on_manifest(clock=["hour_cos", "hour_sin", "weekday_sin", "weekday_cos", "weekend"]),
            "clock.hour_cos",
            id="the clock in another order",
        ),
        pytest.param(on_manifest(clock=["hour_sin"]), "10.* golden features where .*14", id="less of the clock"),
    ],
)
def test_golden_samples_find_a_feature_that_was_changed(change: Callable[[Manifest], Manifest], message: str) -> None:
    """A manifest that is sound in itself, but not that of the training, is refused by its golden samples."""
    manifest = a_full_manifest()
    golden = golden_of(manifest)
    assert self_test(manifest, MeanScorer(), golden, SystemClock()).worst == 0
    changed = change(manifest)
    check(changed)

    with pytest.raises(BundleMismatchError, match=message):
        self_test(changed, MeanScorer(), golden, SystemClock())


def test_the_categories_in_another_order_are_found_by_the_golden_samples() -> None:
    """Codes of another order mean other categories."""
    manifest = a_full_manifest()
    other = dataclasses.replace(manifest.metrics[1], categories=["returning", "new", "other"])

    with pytest.raises(BundleMismatchError, match=r"visitor\.last=new"):
        self_test(
            dataclasses.replace(manifest, metrics=[manifest.metrics[0], other]),
            MeanScorer(),
            golden_of(manifest),
            SystemClock(),
        )


def test_a_zone_that_the_machine_lacks_is_an_error_of_the_bundle() -> None:
    """Before anything is scored."""
    with pytest.raises(BundleError, match="zone `Moon/Tycho`, which this machine does not know"):
        KindModel(dataclasses.replace(a_full_manifest(), zone="Moon/Tycho"), MeanScorer(), [0, 1])
