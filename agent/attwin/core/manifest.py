"""The manifest of a bundle: a model's contract with the gateway.

Everything the gateway needs to compute the model's inputs from raw readings, and to prove that it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import BundleError
from attwin.core.features import Feature, Statistic
from attwin.core.quantise import Quantisation
from attwin.core.windows import BUCKETS, TIERS

FORMAT = 1
MASK_CONVENTION = "mean_and_flag"
"""A missing feature takes the training mean; one flag a metric says that the whole metric was missing."""

MODEL, GOLDEN, REFERENCE = "model.tflite", "golden.npz", "reference.json"
MANIFEST = "manifest.json"
MOST_TOLERANCE = 0.1
"""A golden score that may be off by more proves nothing."""
MOST_DEVIATIONS = np.float32(4)
"""Inputs saturate this many scales from the mean, in training as in serving: a rare outlier must not make the quanta of
int8 coarse for everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """A metric that the model was trained on."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """One input of the model.

    Attributes:
        metric: The metric's name.
        window_ms: The window's length.
        statistic: What is computed over it.
        mean: Of the training rows; what a missing value becomes.
        scale: The standard deviation of the training rows, which divides.
        transform: Reserved, None in this format.
        categories: Reserved, None in this format.
        baseline: Reserved for normalising each entity by itself, None in this format.
    """

    metric: str
    window_ms: int
    statistic: Statistic
    mean: float
    scale: float
    transform: str | None = None
    categories: list[str] | None = None
    baseline: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpec:
    """What a member of the bundle must be."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSpec:
    """An operator of the model file and its version."""

    name: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How good the model is on held-out rows."""

    rows: int
    accuracy: float
    brier: float
    auc: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the gateway holds the model to.

    Attributes:
        latency_us: Longest acceptable time of one row in a batch of 64 [us].
        file_bytes: Largest acceptable model file.
    """

    latency_us: float
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The contract, ``format`` 1.

    Attributes:
        name, version: The model's name, and a number that only rises.
        kind: The kind of entity that it scores.
        created: ISO 8601 time, UTC.
        minimum_agent: The oldest agent version that may load it.
        step_ms, lateness_ms: The event-time grid of the training rows.
        metrics: What it was trained on.
        windows_ms: One or two windows.
        features: The inputs, in order; the flags of ``masks`` follow them.
        masks: Metric names, one flag each.
        mask_convention: ``MASK_CONVENTION``.
        clock: Reserved for clock features, empty in this format.
        input, output: The quantisation of the model's tensors.
        operators: What the runtime must know.
        files: Size and hash of every other member.
        tolerance: Largest acceptable difference of a golden score.
        before, after: Figures of the Keras model and of the exported file, on the same rows.
        limits: What the gateway holds the model to.
        label: What 1.0 means.
    """

    format: int
    name: str
    version: int
    kind: str
    created: str
    minimum_agent: str
    step_ms: int
    lateness_ms: int
    metrics: list[MetricSpec]
    windows_ms: list[int]
    features: list[FeatureSpec]
    masks: list[str]
    mask_convention: str
    input: Quantisation
    output: Quantisation
    operators: list[OperatorSpec]
    files: dict[str, FileSpec]
    tolerance: float
    before: Figures | None
    after: Figures | None
    limits: Limits
    label: str
    clock: list[str] = field(default_factory=list)

    def metric_names(self) -> list[str]:
        """Return the names of the metrics in the order of training."""
        return [metric.name for metric in self.metrics]

    def input_keys(self) -> list[tuple[str, int, str]]:
        """Return metric, window [ms] and statistic of the features, in their order."""
        return [(feature.metric, feature.window_ms, feature.statistic) for feature in self.features]


def check(manifest: Manifest) -> None:
    """Refuse a manifest that contradicts itself or asks for what this agent cannot compute.

    Raises:
        BundleError: Says what was found and what is allowed.
    """
    names = manifest.metric_names()
    problems = [
        (manifest.format != FORMAT, f"format {manifest.format}; this agent reads {FORMAT}"),
        (
            manifest.mask_convention != MASK_CONVENTION,
            f"mask convention `{manifest.mask_convention}`; known: {MASK_CONVENTION}",
        ),
        (bool(manifest.clock), "clock features, which format 1 reserves"),
        (
            not 1 <= len(manifest.windows_ms) <= TIERS,
            f"{len(manifest.windows_ms)} windows; a kind has 1 to {TIERS}",
        ),
        (not manifest.features, "no features"),
        (not 0 <= manifest.tolerance <= MOST_TOLERANCE, f"a tolerance of {manifest.tolerance:g}"),
        (manifest.step_ms < 1 or manifest.lateness_ms < 0, "a grid without a step, or a negative lateness"),
        (
            manifest.output.scale <= 0 or manifest.input.scale <= 0,
            "a quantisation scale that is not positive",
        ),
        (set(manifest.files) != {MODEL, GOLDEN, REFERENCE}, f"files {sorted(manifest.files)}"),
    ]
    problems += [
        (window % BUCKETS != 0 or window // BUCKETS < manifest.step_ms, f"a window of {window} ms")
        for window in manifest.windows_ms
    ]
    for feature in manifest.features:
        what = f"feature {feature.metric}.{feature.statistic}"
        problems += [
            (feature.metric not in names, f"{what} of a metric that is not in `metrics`"),
            (feature.window_ms not in manifest.windows_ms, f"{what} over a window not in `windows_ms`"),
            (not (feature.scale > 0 and np.isfinite(feature.mean)), f"{what} with scale {feature.scale}"),
            (
                bool(feature.transform or feature.categories or feature.baseline),
                f"{what}: reserved field set",
            ),
        ]
    problems += [(name not in names, f"mask of unknown metric {name}") for name in manifest.masks]
    found = [text for wrong, text in problems if wrong]
    if found:
        raise BundleError("the manifest has " + "; ".join(found))


def features_of(manifest: Manifest) -> tuple[Feature, ...]:
    """Return the features by number, metrics in the order of the manifest."""
    place = {name: index for index, name in enumerate(manifest.metric_names())}
    return tuple(
        Feature(
            metric=place[spec.metric],
            tier=manifest.windows_ms.index(spec.window_ms),
            statistic=spec.statistic,
        )
        for spec in manifest.features
    )


class InputBuilder:
    """Turns features into the inputs of a model: standardised, missing ones masked, flags appended."""

    def __init__(self, manifest: Manifest) -> None:
        self._mean = np.array([spec.mean for spec in manifest.features], np.float32)
        self._scale = np.array([spec.scale for spec in manifest.features], np.float32)
        self._columns = mask_columns(manifest.features, manifest.masks)

    def build(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the inputs, shape (R, F + M), and which metrics were missing, shape (R, M)."""
        absent = np.isnan(features)
        missing = np.stack(
            [absent[:, columns].all(axis=1) if columns else absent[:, :0].any(axis=1) for columns in self._columns],
            axis=1,
        )
        with np.errstate(over="ignore"):
            standard = np.where(absent, np.float32(0), (features - self._mean) / self._scale)
        standard = np.minimum(np.maximum(standard, np.float32(-MOST_DEVIATIONS)), np.float32(MOST_DEVIATIONS))
        return np.concatenate([standard, missing], axis=1, dtype=np.float32), missing


def mask_columns(features: Sequence[FeatureSpec], masks: Sequence[str]) -> list[list[int]]:
    """Return, for each masked metric, the feature columns that are NaN when the metric is missing.

    A count is 0 then, not NaN, so it says nothing here.
    """
    return [
        [i for i, f in enumerate(features) if f.metric == name and f.statistic is not Statistic.COUNT] for name in masks
    ]
