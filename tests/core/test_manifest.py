"""Facts about the inputs of a model."""

import dataclasses

import numpy as np
import pytest

from attwin.core.errors import BundleError
from attwin.core.manifest import InputBuilder, Manifest, check, features_of
from support.builders import a_manifest

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
