"""The manifest of a bundle: a model's contract with the gateway.

Everything the gateway needs to compute the model's inputs from raw readings, and to prove that it does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from attwin.core.baseline import RUNNING, Population
from attwin.core.clock_features import CLOCK
from attwin.core.durations import format_duration
from attwin.core.errors import BundleError
from attwin.core.features import Feature, Statistic
from attwin.core.local_time import MS_PER_DAY
from attwin.core.quantise import Quantisation
from attwin.core.windows import BUCKETS, TIERS

Real = TypeVar("Real", np.float32, np.float64)
FORMAT = 1
MASK_CONVENTION = "mean_and_flag"
"""A missing feature takes the training mean; one flag a metric says that the whole metric was missing."""

MODEL, GOLDEN, REFERENCE, CARD = "model.tflite", "golden.npz", "reference.json", "card.html"
MANIFEST = "manifest.json"
MOST_TOLERANCE = 0.1
"""A golden score that may be off by more proves nothing."""
LOG = "log"
PRECISIONS = ("int8", "float16", "dynamic", "float32")
"""How a model file holds its weights: int8 throughout, with int8 inputs and output; as float16; as int8 while it
computes in float32; or as float32. The last three take and give float32."""
MOST_DEVIATIONS = 4.0
"""Inputs saturate this many scales from the mean, in training as in serving: a rare outlier must not make the quanta of
int8 coarse for everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """A metric that the model was trained on.

    Attributes:
        name, unit: As on the gateway.
        categories: What its values 0, 1, ... stand for; None for a number.
        mean, scale: Mean and standard deviation of the training readings themselves, for features with a baseline:
            what an entity without a history is measured against.
    """

    name: str
    unit: str
    categories: list[str] | None = None
    mean: float | None = None
    scale: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """One input of the model.

    Attributes:
        metric: The metric's name.
        window_ms: The window's length.
        statistic: What is computed over it.
        mean: Of the training rows; what a missing value becomes.
        scale: The standard deviation of the training rows, which divides.
        transform: ``log`` where sign(x) log(1 + |x|) is standardised instead of x, for metrics whose largest values are
            far above the usual ones; None for x itself.
        categories: For ``last`` of a metric with categories: 1.0 where the newest value is one of these, else 0.0.
        baseline: ``running`` where the feature is measured against what is usual for the entity itself
            (``core.baseline``): (x - mean) / scale of its own metric; std and slope, which an offset does not change,
            are divided alone. None for the feature as it is.
        bucket: For ``mean``: of this bucket of the window alone, 0 for the oldest, 11 for the one that is open at
            the score. None for the whole window.
    """

    metric: str
    window_ms: int
    statistic: Statistic
    mean: float
    scale: float
    transform: str | None = None
    categories: list[str] | None = None
    baseline: str | None = None
    # not in repr, which says whether a snapshot of an earlier version fits
    bucket: int | None = field(default=None, repr=False)

    @property
    def measured(self) -> str:
        """What is computed of the metric's window, before any baseline."""
        part = "" if self.bucket is None else f"[{self.bucket}]"
        which = f"={'|'.join(self.categories)}" if self.categories else ""
        return f"{self.statistic}{part}{which}"

    @property
    def computed(self) -> str:
        """What is computed of the metric's window."""
        return f"{self.measured}{' of its usual' if self.baseline else ''}"

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.metric}.{self.computed}"


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
    """How good the model is on held-out rows.

    Attributes:
        rows: How many they are.
        accuracy: The share on the right side of 0.5.
        brier: The mean squared error; of labels 0 and 1 the Brier score.
        auc: The area under the ROC curve; None where labels are not 0 and 1, or all the same.
        average_precision: The area under the curve of precision and recall, as ``auc``.
        f1: At the manifest's ``threshold``, as ``auc``.
    """

    rows: int
    accuracy: float
    brier: float
    auc: float | None
    average_precision: float | None = None
    f1: float | None = None

    @property
    def words(self) -> str:
        """All of it in a line."""
        parts = [
            f"accuracy {self.accuracy:.4f} ({round(self.accuracy * self.rows):,} of {self.rows:,})",
            f"{'mean squared error' if self.auc is None else 'Brier'} {self.brier:.4f}",
        ]
        named = (("AUC", self.auc), ("average precision", self.average_precision), ("F1", self.f1))
        return ", ".join(parts + [f"{name} {value:.4f}" for name, value in named if value is not None])


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSpec:
    """A runtime in which the exported file has been checked.

    Attributes:
        name, version: Of the runtime, one of ``adapters.tflite.RUNTIMES``.
        worst: The largest difference of a score of held-out rows from the Keras model's, or from the first runtime's
            where there is none.
        latency_us: Time of one row in a batch of 64 on the workstation [us].
        memory_kb: What loading the model and scoring such a batch added to the process [KiB].
    """

    name: str
    version: str
    worst: float
    latency_us: float
    memory_kb: int


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
        features: The inputs, in order; those of ``clock`` follow them, then the flags of ``masks``.
        masks: Metric names, one flag each.
        mask_convention: ``MASK_CONVENTION``.
        clock: Names out of ``clock_features.CLOCK``: the local time of the score. They are inputs as they are, neither
            standardised nor ever missing.
        zone: Whose local time, an IANA name.
        baseline_ms: The time constant by which a running baseline forgets. One that learns quickly hides states that
            last as long.
        baseline_prior_ms: For how much observed time the training rows count in a running baseline.
        baseline_hold_ms: For how long a reading counts as observed if no other follows; the longest window unless told.
        precision: One of ``PRECISIONS``.
        input, output: The quantisation of the model's tensors; None where they are float32.
        operators: What the runtime must know.
        files: Size and hash of every other member.
        tolerance: Largest acceptable difference of a golden score.
        before, after: Figures of the Keras model and of the exported file, on the same rows; None for no Keras model.
        runtimes: Where the exported file has been checked.
        threshold: The score from which on calling it 1 gave the best F1 on rows of training that the model had not
            seen; None where labels are not 0 and 1.
        saturation: How many scales from the mean inputs saturate; None where they do not, as a model that was trained
            elsewhere may want it.
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
    input: Quantisation | None
    output: Quantisation | None
    operators: list[OperatorSpec]
    files: dict[str, FileSpec]
    tolerance: float
    before: Figures | None
    after: Figures | None
    limits: Limits
    label: str
    precision: str = "int8"
    runtimes: list[RuntimeSpec] = field(default_factory=list)
    threshold: float | None = None
    saturation: float | None = MOST_DEVIATIONS
    clock: list[str] = field(default_factory=list)
    zone: str = "UTC"
    baseline_ms: int = 3 * MS_PER_DAY
    baseline_prior_ms: int = MS_PER_DAY
    baseline_hold_ms: int | None = None

    def metric_names(self) -> list[str]:
        """Return the names of the metrics in the order of training."""
        return [metric.name for metric in self.metrics]

    @property
    def input_count(self) -> int:
        """How many inputs the model has."""
        return len(self.features) + len(self.clock) + len(self.masks)

    def input_title(self, column: int) -> str:
        """Return what messages call a column of the features, those of the clock behind the others."""
        count = len(self.features)
        return self.features[column].title if column < count else f"clock.{self.clock[column - count]}"

    def feature_names(self) -> list[str]:
        """Return the name of every feature, such as ``co2.mean_5m``, before any baseline; those of the clock last."""
        names = [f"{f.metric}.{f.measured}_{format_duration(f.window_ms)}" for f in self.features]
        return names + [f"clock.{name}" for name in self.clock]

    def input_keys(self) -> list[tuple[str, int, str]]:
        """Return metric, window [ms] and what is computed of it before any baseline, for every feature in order."""
        return [(feature.metric, feature.window_ms, feature.measured) for feature in self.features]


def check(manifest: Manifest) -> None:
    """Refuse a manifest that contradicts itself or asks for what this agent cannot compute.

    Raises:
        BundleError: Says what was found and what is allowed.
    """
    tensors = (manifest.input, manifest.output)
    problems = [
        (manifest.format != FORMAT, f"format {manifest.format}; this agent reads {FORMAT}"),
        (
            manifest.mask_convention != MASK_CONVENTION,
            f"mask convention `{manifest.mask_convention}`; known: {MASK_CONVENTION}",
        ),
        (not 0 <= manifest.tolerance <= MOST_TOLERANCE, f"a tolerance of {manifest.tolerance:g}"),
        (manifest.step_ms < 1 or manifest.lateness_ms < 0, "a grid without a step, or a negative lateness"),
        (
            manifest.precision not in PRECISIONS,
            f"precision `{manifest.precision}`; known: {', '.join(PRECISIONS)}",
        ),
        (
            any((tensor is None) == (manifest.precision == "int8") for tensor in tensors),
            f"a quantisation of input and output that does not go with precision {manifest.precision}",
        ),
        (
            any(tensor is not None and tensor.scale <= 0 for tensor in tensors),
            "a quantisation scale that is not positive",
        ),
        (
            not 0 <= (manifest.threshold or 0.0) <= 1,
            f"a threshold of {manifest.threshold}",
        ),
        (set(manifest.files) | {CARD} != {MODEL, GOLDEN, REFERENCE, CARD}, f"files {sorted(manifest.files)}"),
    ]
    problems += [found for metric in manifest.metrics for found in _metric_problems(metric)]
    found = [text for wrong, text in problems if wrong] + [text for _, text in input_problems(manifest)]
    if found:
        raise BundleError("the manifest has " + "; ".join(found))


def input_problems(manifest: Manifest) -> list[tuple[str, str]]:
    """Return what is wrong with the inputs that a manifest asks for.

    Returns:
        The place of each, such as ``features`` or ``features[2]``, and the problem.
    """
    names = manifest.metric_names()
    windows, most = manifest.windows_ms, manifest.saturation
    clock = f"clock features {', '.join(manifest.clock)}; known: {', '.join(CLOCK)}"
    problems = [
        (not manifest.features, "features", "no features"),
        (not 1 <= len(windows) <= TIERS, "features", f"{len(windows)} windows; a kind has 1 to {TIERS}"),
        (not set(manifest.clock) <= set(CLOCK), "clock", clock),
        (most is not None and not most > 0, "saturation", f"a saturation of {most}"),
    ]
    problems += [
        (
            window % BUCKETS != 0 or window // BUCKETS < manifest.step_ms,
            "features",
            f"a window of {window} ms; it has {BUCKETS} buckets, none shorter than {manifest.step_ms} ms",
        )
        for window in windows
    ]
    for place, feature in enumerate(manifest.features):
        where, what = f"features[{place}]", f"feature {feature.title}"
        metric = next((metric for metric in manifest.metrics if metric.name == feature.metric), None)
        problems += [
            (metric is None, where, f"{what} of a metric that is not in `metrics`"),
            (feature.window_ms not in windows, where, f"{what} over a window not in `windows_ms`"),
            (not (feature.scale > 0 and np.isfinite(feature.mean)), where, f"{what} with scale {feature.scale}"),
            (feature.transform not in (None, LOG), where, f"{what}: transform `{feature.transform}`; known: {LOG}"),
        ]
        if metric:
            problems += [(True, where, f"{what}: {problem}") for problem in _feature_problems(feature, metric)]
    problems += [(True, "features", problem) for problem in _baseline_problems(manifest)]
    problems += [(name not in names, "masks", f"mask of unknown metric {name}") for name in manifest.masks]
    return [(where, text) for wrong, where, text in problems if wrong]


def _metric_problems(metric: MetricSpec) -> list[tuple[bool, str]]:
    named = metric.categories
    return [
        (
            named is not None and not 1 < len(set(named)) == len(named),
            f"metric {metric.name} with the categories {named}; two or more different ones are wanted",
        ),
        (
            not (np.isfinite(metric.mean or 0) and (metric.scale is None or 0 < metric.scale < np.inf)),
            f"metric {metric.name} with mean {metric.mean} and scale {metric.scale}",
        ),
    ]


def _feature_problems(feature: FeatureSpec, metric: MetricSpec) -> list[str]:
    """Return what is wrong with what a feature asks for beyond its statistic."""
    known = metric.categories or []
    asked = feature.categories
    unknown = [name for name in asked or () if name not in known]
    bucket, based = feature.bucket, feature.baseline is not None
    has_population = metric.mean is not None and metric.scale is not None
    problems = [
        (bucket is not None and feature.statistic is not Statistic.MEAN, "only a mean can be that of one bucket"),
        (not 0 <= (bucket or 0) < BUCKETS, f"bucket {bucket}; a window has 0 to {BUCKETS - 1}"),
        (bool(unknown), f"categories {', '.join(unknown)}; the metric has {', '.join(known) or 'none'}"),
        (asked == [], "an empty list of categories"),
        (asked is not None and feature.statistic is not Statistic.LAST, "only a last value can be one of categories"),
        (based and feature.baseline != RUNNING, f"baseline `{feature.baseline}`; known: {RUNNING}"),
        (
            based and (feature.statistic is Statistic.COUNT or bool(known)),
            "a baseline for what is neither a level nor a deviation",
        ),
        (
            feature.transform is not None and (based or asked is not None),
            "a transform of what is measured against a baseline, or is 0 or 1",
        ),
        (based and not has_population, "a baseline without mean and scale of the metric"),
    ]
    return [text for wrong, text in problems if wrong]


def _baseline_problems(manifest: Manifest) -> Iterator[str]:
    if any(feature.baseline for feature in manifest.features):
        if manifest.baseline_ms < max(manifest.windows_ms, default=0):
            yield f"a baseline of {manifest.baseline_ms} ms, which forgets within a window"
        if manifest.baseline_prior_ms < 1:
            yield f"a baseline whose training rows count for {manifest.baseline_prior_ms} ms"
        if manifest.baseline_hold_ms is not None and manifest.baseline_hold_ms < 1:
            yield f"a baseline whose readings count for {manifest.baseline_hold_ms} ms"


def features_of(manifest: Manifest) -> tuple[Feature, ...]:
    """Return the features by number, metrics in the order of the manifest."""
    place = {name: index for index, name in enumerate(manifest.metric_names())}
    categories = [metric.categories or [] for metric in manifest.metrics]
    return tuple(
        Feature(
            metric=place[spec.metric],
            tier=manifest.windows_ms.index(spec.window_ms),
            statistic=spec.statistic,
            bucket=spec.bucket,
            codes=tuple(categories[place[spec.metric]].index(name) for name in spec.categories or ()),
            is_relative=spec.baseline is not None,
        )
        for spec in manifest.features
    )


def population_of(manifest: Manifest) -> Population | None:
    """Return what running baselines begin with, None where no feature has one."""
    wanted = {feature.metric for feature in manifest.features if feature.baseline}
    if not wanted:
        return None

    def column(values: Sequence[float | None]) -> NDArray[np.float64]:
        own = zip(manifest.metrics, values, strict=True)
        return np.array([np.nan if v is None or m.name not in wanted else v for m, v in own])

    return Population(
        mean=column([metric.mean for metric in manifest.metrics]),
        scale=column([metric.scale for metric in manifest.metrics]),
        prior_ms=manifest.baseline_prior_ms,
        constant_ms=manifest.baseline_ms,
        longest_ms=manifest.baseline_hold_ms or max(manifest.windows_ms),
    )


def with_population(manifest: Manifest, values: NDArray[np.float64]) -> Manifest:
    """Return the manifest with mean and scale of each metric, for features with a baseline.

    Args:
        manifest: As yet without them.
        values: The training readings, NaN for none. Shape (N, M).

    Returns:
        A metric that never changes has the scale 1, one without a reading has neither mean nor scale.
    """
    metrics = []
    for metric, column in zip(manifest.metrics, values.T, strict=True):
        known = column[np.isfinite(column)]
        mean, scale = (float(known.mean()), float(known.std())) if len(known) else (None, None)
        metrics.append(replace(metric, mean=mean, scale=1.0 if scale == 0 else scale))
    return replace(manifest, metrics=metrics)


class InputBuilder:
    """Turns features into the inputs of a model: standardised, missing ones masked, flags appended.

    Features of the clock stand behind the others, and go between them and the flags as they are.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._mean = np.array([spec.mean for spec in manifest.features], np.float32)
        self._scale = np.array([spec.scale for spec in manifest.features], np.float32)
        self._columns = mask_columns(manifest.features, manifest.masks)
        self._logged = [place for place, spec in enumerate(manifest.features) if spec.transform == LOG]
        most = np.finfo(np.float32).max if manifest.saturation is None else manifest.saturation
        self._most = np.float32(most)

    def build(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the inputs, shape (R, F + C + M), and which metrics were missing, shape (R, M).

        Args:
            features: As ``KindModel.features`` returns them. Shape (R, F + C).
        """
        features, clock = features[:, : len(self._mean)], features[:, len(self._mean) :]
        absent = np.isnan(features)
        missing = np.zeros((len(features), len(self._columns)), np.bool_)
        for place, columns in enumerate(self._columns):
            if columns:
                missing[:, place] = absent[:, columns].all(axis=1)
        if self._logged:
            features = features.copy()
            features[:, self._logged] = signed_log(features[:, self._logged])
        with np.errstate(over="ignore"):
            standard = np.where(absent, np.float32(0), (features - self._mean) / self._scale)
        standard = np.minimum(np.maximum(standard, -self._most), self._most)
        return np.concatenate([standard, clock, missing], axis=1, dtype=np.float32), missing


def signed_log(x: NDArray[Real]) -> NDArray[Real]:
    """Return sign(x) log(1 + |x|): about x near 0, and its logarithm far from it."""
    bent: NDArray[Real] = np.copysign(np.log1p(np.abs(x)), x)
    return bent


def mask_columns(features: Sequence[FeatureSpec], masks: Sequence[str]) -> list[list[int]]:
    """Return, for each masked metric, the feature columns that are NaN when the metric is missing.

    A count is 0 then, not NaN, so it says nothing here.
    """
    return [
        [i for i, f in enumerate(features) if f.metric == name and f.statistic is not Statistic.COUNT] for name in masks
    ]
