"""Facts about the inputs of a model."""

import dataclasses

import numpy as np
import pytest

from attwin.core.errors import BundleError
from attwin.core.features import Statistic
from attwin.core.manifest import (
    InputBuilder,
    Manifest,
    check,
    features_of,
    input_problems,
    population_of,
    with_population,
)
from support.builders import a_full_manifest, a_manifest

NAN = np.nan


def a_manifest_with_a_count() -> Manifest:
    """Return two metrics with last and count of one window, mean 10 and scale 2."""
    manifest = a_manifest(statistics=("last", "count"))
    features = [dataclasses.replace(spec, mean=10.0, scale=2.0) for spec in manifest.features]
    return dataclasses.replace(manifest, features=features)


def test_inputs_are_standardised_clipped_and_flagged() -> None:
    """(x - mean) / scale, at most four from 0; a missing feature is 0 and its metric's flag is 1."""
    features = np.array([[12, 10, 8, 10], [100, 10, -100, 10], [NAN, 0, 11, 10]], np.float32)

    inputs, missing = InputBuilder(a_manifest_with_a_count()).build(features)

    assert inputs.tolist() == [
        [1, 0, -1, 0, 0, 0],
        [4, 0, -4, 0, 0, 0],
        [0, -4, 0.5, 0, 1, 0],
    ]
    assert missing.tolist() == [[False, False], [False, False], [True, False]]


def test_a_model_without_flags_and_saturation_is_given_its_inputs_as_they_are() -> None:
    """As one that was trained elsewhere may want them; a missing feature is still 0."""
    manifest = dataclasses.replace(a_manifest_with_a_count(), masks=[], saturation=None)

    inputs, missing = InputBuilder(manifest).build(np.array([[100, 10, NAN, 10]], np.float32))

    assert inputs.tolist() == [[45, 0, 0, 0]]
    assert missing.shape == (1, 0)


def test_what_is_wrong_with_inputs_has_its_place() -> None:
    """A contract of an imported model says it line by line."""
    manifest = a_manifest()
    broken = dataclasses.replace(manifest.features[1], scale=0.0)
    wrong = dataclasses.replace(
        manifest, features=[manifest.features[0], broken], clock=["noon"], masks=["noise"], saturation=0.0
    )

    assert sorted(where for where, _ in input_problems(wrong)) == ["clock", "features[1]", "masks", "saturation"]
    assert input_problems(manifest) == []


def test_a_manifest_that_contradicts_itself_tells_every_contradiction() -> None:
    """All that is wrong is in one message."""
    manifest = a_manifest()
    wrong = dataclasses.replace(manifest, windows_ms=[7], masks=["noise"], mask_convention="zero")

    with pytest.raises(BundleError) as caught:
        check(wrong)

    for part in ("mask convention `zero`", "a window of 7 ms", "not in `windows_ms`", "unknown metric noise"):
        assert part in str(caught.value)
    check(manifest)


def test_features_are_numbered_as_the_manifest_orders_them() -> None:
    """Metric, window and statistic of each input, by place."""
    manifest = a_manifest(windows_ms=(60_000, 120_000), statistics=("max",))

    assert [(f.metric, f.tier) for f in features_of(manifest)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_the_clock_stands_between_features_and_flags_as_it_is() -> None:
    """Neither standardised nor clipped, and never missing."""
    manifest = dataclasses.replace(a_manifest_with_a_count(), clock=["hour_sin", "weekend"])
    features = np.array([[NAN, 0, NAN, 0, 0.25, 1.0]], np.float32)

    inputs, missing = InputBuilder(manifest).build(features)

    assert inputs.tolist() == [[0, -4, 0, -4, 0.25, 1.0, 1, 1]]
    assert missing.tolist() == [[True, True]]
    assert inputs.shape[1] == manifest.input_count


def test_a_manifest_that_asks_for_all_there_is_can_be_computed() -> None:
    """Categories become codes in the metric's order; a metric without a baseline has no population."""
    manifest = a_full_manifest()

    check(manifest)

    assert [f.codes for f in features_of(manifest)][-2:] == [(0,), (0, 1)]
    assert [f.bucket for f in features_of(manifest)][:4] == [None, 0, 5, 11]
    population = population_of(manifest)
    assert population is not None
    assert population.mean[0] == 20.0
    assert np.isnan(population.mean[1])
    assert population_of(a_manifest()) is None


def on_feature(place: int, **changes: object) -> Manifest:
    """Return the full manifest with one feature changed."""
    manifest = a_full_manifest()
    features = list(manifest.features)
    features[place] = dataclasses.replace(features[place], **changes)  # type: ignore[arg-type]  # whatever a test needs
    return dataclasses.replace(manifest, features=features)


def on_metric(place: int, **changes: object) -> Manifest:
    """Return the full manifest with one metric changed."""
    manifest = a_full_manifest()
    metrics = list(manifest.metrics)
    metrics[place] = dataclasses.replace(metrics[place], **changes)  # type: ignore[arg-type]  # whatever a test needs
    return dataclasses.replace(manifest, metrics=metrics)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        pytest.param(on_feature(1, bucket=12), r"temperature.mean\[12\]: bucket 12; a window has 0 to 11", id="bucket"),
        pytest.param(on_feature(1, bucket=-1), "bucket -1", id="bucket below 0"),
        pytest.param(on_feature(0, bucket=1), "only a mean can be that of one bucket", id="last of a bucket"),
        pytest.param(on_feature(7, categories=["old"]), "categories old; the metric has new, other", id="category"),
        pytest.param(
            on_feature(0, categories=["new"]), "categories new; the metric has none", id="a number's category"
        ),
        pytest.param(on_feature(7, categories=[]), "an empty list of categories", id="no category"),
        pytest.param(on_feature(7, statistic=Statistic.MAX), "only a last value can be one of", id="max of categories"),
        pytest.param(on_feature(0, baseline="median"), "baseline `median`; known: running", id="baseline"),
        pytest.param(on_feature(7, baseline="running"), "neither a level nor a deviation", id="baseline of categories"),
        pytest.param(on_feature(0, baseline="running", statistic=Statistic.COUNT), "neither a level", id="of a count"),
        pytest.param(on_metric(0, mean=None), "a baseline without mean and scale", id="no population"),
        pytest.param(on_metric(0, scale=0.0), "metric temperature with mean 20.0 and scale 0.0", id="zero scale"),
        pytest.param(on_metric(0, mean=NAN), "metric temperature with mean nan", id="mean that is no number"),
        pytest.param(on_metric(1, categories=["new"]), "two or more different ones", id="one category"),
        pytest.param(
            on_metric(1, categories=["new", "other", "new"]), "two or more different ones", id="a category twice"
        ),
        pytest.param(
            dataclasses.replace(a_full_manifest(), clock=["minute"]), "clock features minute; known", id="clock"
        ),
        pytest.param(dataclasses.replace(a_full_manifest(), baseline_ms=59_000), "forgets within a window", id="fast"),
        pytest.param(
            dataclasses.replace(a_full_manifest(), baseline_prior_ms=0), "count for 0 ms", id="population that is none"
        ),
        pytest.param(
            dataclasses.replace(a_full_manifest(), baseline_hold_ms=0), "readings count for 0 ms", id="no hold"
        ),
    ],
)
def test_a_feature_that_cannot_be_computed_is_refused(manifest: Manifest, message: str) -> None:
    """With what was found and what is allowed."""
    with pytest.raises(BundleError, match=message):
        check(manifest)


def test_the_population_is_that_of_the_training_readings() -> None:
    """Mean and deviation of what was measured; a metric that never changes has the scale 1, an empty one none."""
    manifest = a_manifest(metrics=("a", "b", "c"))
    values = np.array([[1.0, 5.0, NAN], [3.0, 5.0, NAN], [NAN, 5.0, NAN]])

    found = with_population(manifest, values).metrics

    assert [(m.mean, m.scale) for m in found] == [(2.0, 1.0), (5.0, 1.0), (None, None)]


def test_what_a_feature_is_called() -> None:
    """Metric, statistic, bucket and categories."""
    manifest = a_full_manifest()

    titles = [manifest.input_title(column) for column in (0, 1, 7, 8, 9)]

    assert titles == [
        "temperature.last",
        "temperature.mean[0]",
        "visitor.last=new",
        "visitor.last=new|other",
        "clock.hour_sin",
    ]
