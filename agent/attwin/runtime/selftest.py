"""The self-test of a model: raw readings must give the features and the scores that its bundle promises."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.core.catalogue import Catalogue, Kind, Metric
from attwin.core.errors import BundleError, BundleMismatchError
from attwin.core.manifest import Manifest
from attwin.core.types import readings
from attwin.ports import Clock, Scorer
from attwin.runtime.twin import KindModel, Scores, Twin

_LATENCY_ROWS = 64
_LATENCY_MS = 50
_FEATURE_TOLERANCE = 1e-3
"""Of a feature's scale: float32 sums differ in their last bits between machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What a self-test found.

    Attributes:
        rows: Golden scores that were compared.
        worst: The largest difference of a score.
        latency_us: Time of a row in a batch of 64 [us].
        runtime: What ran the model.
    """

    rows: int
    worst: float
    latency_us: float
    runtime: str


def kind_of(manifest: Manifest) -> Kind:
    """Return the kind that a model describes by itself, without ranges."""
    return Kind(
        name=manifest.kind,
        metrics=tuple(Metric(name=m.name, unit=m.unit, categories=tuple(m.categories or ())) for m in manifest.metrics),
        windows_ms=tuple(manifest.windows_ms),
        step_ms=manifest.step_ms,
        lateness_ms=manifest.lateness_ms,
    )


def twin_of(manifest: Manifest, scorer: Scorer) -> Twin:
    """Return an empty twin with this one model, for replaying readings."""
    catalogue = Catalogue([kind_of(manifest)], most_entities=1_000_000)
    model = KindModel(manifest, scorer, range(len(manifest.metrics)))
    return Twin(catalogue, {0: model}, [], most_ahead_ms=0)


def replay_golden(
    manifest: Manifest, scorer: Scorer, golden: Mapping[str, NDArray[np.generic]]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return features, scores and score times of the golden readings, ordered by entity and time.

    Raises:
        BundleError: The golden file lacks a column or does not fit the manifest.
    """
    try:
        entity, metric = golden["entity"].astype(np.int32), golden["metric"].astype(np.int32)
        time_ms, value = golden["time_ms"].astype(np.int64), golden["value"].astype(np.float64)
    except (KeyError, ValueError, TypeError) as error:
        raise BundleError(f"golden.npz lacks a column of readings: {error}") from error
    if len({len(entity), len(metric), len(time_ms), len(value)}) != 1 or not len(entity):
        raise BundleError("golden.npz has columns of different lengths, or none")
    if metric.max() >= len(manifest.metrics) or metric.min() < 0 or entity.min() < 0 or entity.max() > len(entity):
        raise BundleError("golden.npz names a metric or an entity that does not exist")
    twin = twin_of(manifest, scorer)
    for number in range(int(entity.max()) + 1):
        twin.catalogue.add(f"golden{number}", 0)
    series = twin.catalogue.first_series[entity] + metric
    scores, _ = twin.replay(readings(series.astype(np.int32), time_ms, value))
    made = [*scores, *twin.finish()]
    return _in_order(made)


def self_test(manifest: Manifest, scorer: Scorer, golden: Mapping[str, NDArray[np.generic]], clock: Clock) -> SelfTest:
    """Compare what this machine computes with what the bundle promises.

    Raises:
        BundleMismatchError: Features or scores differ by more than the tolerance.
        BundleError: The golden file is not usable, or the model is too slow.
    """
    features, scores, _ = replay_golden(manifest, scorer, golden)
    try:
        promised_features, promised = golden["features"].astype(np.float32), golden["scores"].astype(np.float32)
    except (KeyError, ValueError, TypeError) as error:
        raise BundleError(f"golden.npz lacks features or scores: {error}") from error
    if features.shape != promised_features.shape or scores.shape != promised.shape:
        raise BundleMismatchError(f"{features.shape} golden features where {promised_features.shape} are promised")
    scale = np.array([spec.scale for spec in manifest.features] + [1.0] * len(manifest.clock), np.float32)
    off = np.abs(features - promised_features) / scale > _FEATURE_TOLERANCE
    off |= np.isnan(features) != np.isnan(promised_features)
    if off.any():
        row, column = (int(place) for place in np.argwhere(off)[0])
        raise BundleMismatchError(
            f"feature {manifest.input_title(column)} of golden row {row} is {features[row, column]:.6g} here, "
            f"{promised_features[row, column]:.6g} is promised"
        )
    worst = float(np.abs(scores - promised).max())
    if not worst <= manifest.tolerance:
        raise BundleMismatchError(f"a golden score is off by {worst:.4f}; the tolerance is {manifest.tolerance:.4f}")
    latency_us = _latency_us(scorer, manifest.input_count, clock)
    if latency_us > manifest.limits.latency_us:
        raise BundleError(f"a row takes {latency_us:.1f} us here; the limit is {manifest.limits.latency_us:.1f}")
    return SelfTest(rows=len(scores), worst=worst, latency_us=latency_us, runtime=scorer.runtime)


def _latency_us(scorer: Scorer, inputs: int, clock: Clock) -> float:
    rows = np.zeros((_LATENCY_ROWS, inputs), np.float32)
    scorer.score(rows)
    started, runs = clock.monotonic_ms(), 0
    while clock.monotonic_ms() - started < _LATENCY_MS:
        scorer.score(rows)
        runs += 1
    return (clock.monotonic_ms() - started) * 1000 / (runs * _LATENCY_ROWS)


def _in_order(made: list[Scores]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    entity = np.concatenate([s.entity for s in made])
    time_ms = np.concatenate([s.time_ms for s in made])
    order = np.lexsort((time_ms, entity))
    features = np.concatenate([s.features for s in made])[order]
    return features, np.concatenate([s.score for s in made])[order], time_ms[order]
