"""Facts about the reference of a bundle."""

import json

import msgspec
import numpy as np

from attwin.core.drift import Reference, ReferenceSpec
from attwin_converter.reference import reference_of
from support.builders import a_manifest

DAY_MS = 86_400_000
MANIFEST = a_manifest(statistics=["last"])


def a_reference(days: int, scores: int = 300) -> ReferenceSpec:
    """Return the reference of days whose temperature rises from day to day, and whose CO2 is like that of any other."""
    rng = np.random.default_rng(1)
    day = np.repeat(np.arange(days), scores)
    features = np.stack([day + rng.random(len(day)), rng.random(len(day))], axis=1).astype(np.float32)
    features[::7, 1] = np.nan
    score = rng.random(len(day)).astype(np.float32)
    plain = reference_of(MANIFEST, features, score, day * DAY_MS + np.arange(len(day)))
    return msgspec.json.decode(json.dumps(plain), type=ReferenceSpec)


def test_it_says_how_far_days_of_training_are_from_each_other() -> None:
    """An input that differs from day to day is usually far; one that does not, and the score, are not."""
    spec = a_reference(4)

    found = Reference(spec, MANIFEST.input_keys())

    assert found.names == ("temperature.last_1m", "co2.last_1m", "score")
    assert found.usual[0] > 2
    assert found.usual[1:].max() < 0.1
    assert [one.missing for one in spec.features] == [0, 172]


def test_one_day_says_nothing_of_others() -> None:
    """Nor do days of few scores: then the limit alone counts."""
    assert [one.usual for one in a_reference(1).features] == [None, None]
    assert [one.usual for one in a_reference(3, scores=199).features] == [None, None]
