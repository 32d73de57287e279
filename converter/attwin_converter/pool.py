"""The features of all candidates, computed once by the code that serves, and each candidate's share of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

import attwin
from attwin.core.baseline import RUNNING
from attwin.core.clock_features import CLOCK
from attwin.core.errors import DataError
from attwin.core.features import Statistic
from attwin.core.local_time import MS_PER_DAY
from attwin.core.manifest import (
    LOG,
    MASK_CONVENTION,
    FeatureSpec,
    InputBuilder,
    Limits,
    Manifest,
    MetricSpec,
    signed_log,
    with_population,
)
from attwin.core.quantise import Quantisation
from attwin.core.windows import BUCKETS, TIERS
from attwin.wiring.offline import NoScorer, Wide, score_rows
from attwin_converter.candidates import Candidate
from attwin_converter.dataset import DatasetSettings

Features = NDArray[np.float32]
_LEAST_SCALE = 1e-6
_RARE_SHARE = 0.005
_SKEWED = 2.0
_READINGS_A_BUCKET, _READINGS_A_HOLD = 2, 2
_WEEKS_MS = 28 * MS_PER_DAY
_SLOWER = 5.0
"""How much longer a gateway may take than the workstation."""
_BYTES_A_KB = 1024
_UNKNOWN = Quantisation(scale=1.0, zero_point=0)


class Pool:
    """Every feature that any of some candidates is given."""

    def __init__(self, settings: DatasetSettings, tried: Sequence[Candidate], train: Wide) -> None:
        """Find out what to compute.

        Args:
            settings: The data set, its categories as they were found.
            tried: The candidates.
            train: The training rows.

        Raises:
            DataError: A metric has no reading in any of them.
        """
        _demand_readings(settings, train.values)
        usual_ms = _usual_gap_ms(settings, train)
        sequence_ms = _long_enough(settings, BUCKETS * max(settings.score_every, _READINGS_A_BUCKET * usual_ms))
        self._shares = {one: _features_of(settings, one, train.values, sequence_ms) for one in tried}
        # each once, in the order of first use
        plain = {_key(spec): replace(spec, baseline=None) for share in self._shares.values() for spec in share}
        self._features = list(plain.values())
        self._place = {key: place for place, key in enumerate(plain)}
        self._is_normalised = any(candidate.normalised for candidate in tried)
        self._clock = _clock_of(train) if any(candidate.clock for candidate in tried) else []
        # the same for every candidate, whatever its windows are
        hold_ms = _long_enough(settings, _READINGS_A_HOLD * usual_ms)
        self._draft = with_population(replace(draft_of(settings), baseline_hold_ms=hold_ms), train.values)

    @property
    def look_back_ms(self) -> int:
        """How long before a score the oldest reading may lie that any candidate is given."""
        return max(spec.window_ms for spec in self._features) + self._draft.lateness_ms

    def features(self, wide: Wide) -> Features:
        """Return all features at every row, computed as the agent computes them. Shape (N, F).

        First as they are, then against what is usual for each entity, if any candidate asks for that, then the clock.
        """
        count = len(self._features)
        raw = np.empty((len(wide.time_ms), count), np.float32)
        relative, clock = raw.copy(), raw[:, :0]
        for windows in _in_pairs(sorted({spec.window_ms for spec in self._features})):
            mine = [place for place, spec in enumerate(self._features) if spec.window_ms in windows]
            specs = [self._features[place] for place in mine]
            if self._is_normalised:
                specs = [_normalised(spec) for spec in specs]
            manifest = replace(self._draft, features=specs, windows_ms=windows, clock=self._clock)
            found = score_rows(wide, manifest, NoScorer())
            raw[:, mine], relative[:, mine] = found.raw[:, : len(mine)], found.features[:, : len(mine)]
            clock = found.features[:, len(mine) :]
        return np.concatenate([raw, relative, clock] if self._is_normalised else [raw, clock], axis=1)

    def share(self, candidate: Candidate, features: Features, *, is_raw: bool = False) -> Features:
        """Return the columns of a candidate, or what they are before any baseline."""
        count = 0 if is_raw else len(self._features)
        columns = [self._place[_key(spec)] + (count if spec.baseline else 0) for spec in self._shares[candidate]]
        if candidate.clock:
            columns += range(features.shape[1] - len(self._clock), features.shape[1])
        return features[:, columns]

    def shape(self, candidate: Candidate) -> dict[str, int]:
        """Return what the layers of a model depend on: its inputs, and the sequence that comes first among them."""
        share = self._shares[candidate]
        buckets = sum(spec.bucket is not None for spec in share)
        clock = len(self._clock) if candidate.clock else 0
        width = len(share) + clock + len(self._draft.masks)
        return {"width": width, "steps": BUCKETS, "channels": buckets // BUCKETS}

    def manifest(self, candidate: Candidate, share: Features) -> Manifest:
        """Return the contract of a candidate, as far as it is known before there is a model.

        Args:
            candidate: It.
            share: Its columns at the rows that it is trained on, which give mean, scale and transform.

        """
        specs = self._shares[candidate]
        return replace(
            self._draft,
            windows_ms=sorted({spec.window_ms for spec in specs}),
            features=[_fitted(spec, column) for spec, column in zip(specs, share.T[: len(specs)], strict=True)],
            clock=self._clock if candidate.clock else [],
        )


def inputs_of(manifest: Manifest, share: Features) -> NDArray[np.float32]:
    """Return what the model is given. Shape (N, I)."""
    return InputBuilder(manifest).build(share)[0]


def groups_of(manifest: Manifest) -> list[int]:
    """Return which inputs belong together, by number: those of one metric with its flag, and those of the clock."""
    names = manifest.metric_names()
    of_features = [names.index(spec.metric) for spec in manifest.features]
    return [*of_features, *(len(names) for _ in manifest.clock), *(names.index(name) for name in manifest.masks)]


def dropped(manifest: Manifest, share: Features, lost: NDArray[np.bool_]) -> Features:
    """Return features as they are where whole metrics are missing.

    Args:
        manifest: Of the candidate.
        share: Its columns. Shape (N, F + C).
        lost: Which of the manifest's metrics are missing in each row. Shape (N, M).
    """
    names = manifest.metric_names()
    holes = share.copy()
    for column, spec in enumerate(manifest.features):
        rows = lost[:, names.index(spec.metric)]
        holes[rows, column] = 0.0 if spec.statistic is Statistic.COUNT else np.nan
    return holes


def _key(spec: FeatureSpec) -> tuple[str, int, str]:
    return spec.metric, spec.window_ms, spec.measured


def _demand_readings(settings: DatasetSettings, values: NDArray[np.float64]) -> None:
    for name, column in zip(settings.metrics, values.T, strict=True):
        if np.isnan(column).all():
            raise DataError(f"metric {name} has no reading in any training row")


def _usual_gap_ms(settings: DatasetSettings, train: Wide) -> int:
    """Return the median time between readings of an entity; 0 of independent rows, and where no two are of one."""
    if settings.is_independent:
        return 0
    order = np.lexsort((train.time_ms, train.entity))
    gap_ms = np.diff(train.time_ms[order])[np.diff(train.entity[order]) == 0]
    return round(float(np.median(gap_ms[gap_ms > 0]))) if (gap_ms > 0).any() else 0


def _long_enough(settings: DatasetSettings, least_ms: int) -> int:
    """Return the longest window, or a time that is longer."""
    return max(*settings.features.windows, least_ms)


def _clock_of(train: Wide) -> list[str]:
    """Return what a clock may say: few weeks are learned by heart by their weekdays, which tells nothing of others."""
    span_ms = int(train.time_ms.max()) - int(train.time_ms.min())
    return [name for name in CLOCK if span_ms >= _WEEKS_MS or not name.startswith("weekday")]


def _in_pairs(windows: Sequence[int]) -> list[list[int]]:
    """Return windows in groups of as many as a kind may have."""
    return [list(windows[start : start + TIERS]) for start in range(0, len(windows), TIERS)]


def _features_of(
    settings: DatasetSettings, candidate: Candidate, readings: NDArray[np.float64], sequence_ms: int
) -> list[FeatureSpec]:
    """Return the features of a candidate, not standardised; of sequences one bucket follows the other."""
    windows = settings.features.windows
    numbers = [name for name, metric in settings.metrics.items() if not metric.categories]
    asked: list[tuple[str, int, Statistic, int | None]]
    if candidate.given == "buckets":
        asked = [(name, sequence_ms, Statistic.MEAN, bucket) for bucket in range(BUCKETS) for name in numbers]
    elif candidate.given == "newest":
        asked = [(name, min(windows), Statistic.LAST, None) for name in numbers]
    else:
        asked = [
            (name, window, Statistic(statistic), None)
            for name in numbers
            for window in windows
            for statistic in settings.features.statistics
        ]
    of_numbers = [
        FeatureSpec(metric=name, window_ms=window, statistic=statistic, bucket=bucket, mean=0.0, scale=1.0)
        for name, window, statistic, bucket in asked
    ]
    if candidate.normalised:
        of_numbers = [_normalised(spec) for spec in of_numbers]
    of_categories = [
        FeatureSpec(
            metric=name, window_ms=min(windows), statistic=Statistic.LAST, categories=[category], mean=0.0, scale=1.0
        )
        for place, (name, metric) in enumerate(settings.metrics.items())
        for code, category in enumerate(metric.categories)
        if np.mean(readings[:, place] == code) >= _RARE_SHARE
    ]
    return of_numbers + of_categories


def _normalised(spec: FeatureSpec) -> FeatureSpec:
    """Return a feature measured against what is usual for its entity, where that means anything."""
    has_usual = not spec.categories and spec.statistic is not Statistic.COUNT
    return replace(spec, baseline=RUNNING) if has_usual else spec


def _fitted(spec: FeatureSpec, column: Features) -> FeatureSpec:
    """Return a feature with transform, mean and scale of some rows."""
    known = column[np.isfinite(column)].astype(np.float64)
    if not len(known):
        return replace(spec, mean=0.0, scale=1.0)
    transform = None
    if not (spec.baseline or spec.categories) and spec.statistic is not Statistic.SLOPE:
        bent = signed_log(known)
        if abs(_skewness(known)) > max(_SKEWED, abs(_skewness(bent))):
            transform, known = LOG, bent
    mean, scale = float(known.mean()), float(known.std())
    if scale <= _LEAST_SCALE * max(1.0, abs(mean)):
        scale = 1.0
    return replace(spec, transform=transform, mean=mean, scale=scale)


def _skewness(x: NDArray[np.float64]) -> float:
    """Return the third standardised moment."""
    about = x - x.mean()
    spread = float(np.sqrt(np.mean(about**2)))
    return float(np.mean(about**3)) / spread**3 if spread > 0 else 0.0


def draft_of(settings: DatasetSettings) -> Manifest:
    """Return the contract of a data set without features, as far as it is known before there is a model."""
    return Manifest(
        format=1,
        name=settings.name,
        version=settings.model_version,
        kind=settings.kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        minimum_agent=attwin.__version__,
        step_ms=settings.score_every,
        lateness_ms=settings.lateness,
        metrics=[
            MetricSpec(name=name, unit=metric.unit, categories=list(metric.categories) or None)
            for name, metric in settings.metrics.items()
        ],
        windows_ms=list(settings.features.windows),
        features=[],
        masks=list(settings.metrics),
        mask_convention=MASK_CONVENTION,
        input=_UNKNOWN,
        output=_UNKNOWN,
        operators=[],
        files={},
        tolerance=0.0,
        before=None,
        after=None,
        limits=Limits(
            latency_us=_SLOWER * settings.budget.latency_us, file_bytes=settings.budget.file_kb * _BYTES_A_KB
        ),
        label=settings.label.words,
        zone=settings.time.zone,
        baseline_ms=settings.features.baseline,
    )
