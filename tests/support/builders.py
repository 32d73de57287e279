"""Values with only what a test is about."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from attwin.core.catalogue import Catalogue, Kind, Metric
from attwin.core.drift import HistogramSpec, Reference, ReferenceSpec
from attwin.core.features import Statistic
from attwin.core.manifest import MASK_CONVENTION, FeatureSpec, FileSpec, Limits, Manifest, MetricSpec, OperatorSpec
from attwin.core.outgoing import LANES, OutgoingMessage
from attwin.core.quantise import Quantisation
from attwin.core.types import ReadingBatch, readings
from attwin.ports import Store
from attwin.runtime.drift import DriftKind

T0_MS = 1_423_000_000_000
SCORE_QUANTISATION = Quantisation(scale=1 / 256, zero_point=-128)


def a_batch(
    *, values: Sequence[float] = (20.0,), times_ms: Sequence[int] | None = None, series: Sequence[int] | None = None
) -> ReadingBatch:
    """Return readings, by default of series 0, a second apart."""
    count = len(values)
    times = [T0_MS + 1000 * i for i in range(count)] if times_ms is None else times_ms
    numbers = [0] * count if series is None else series
    return readings(np.array(numbers, np.int32), np.array(times, np.int64), np.array(values, np.float64))


def a_kind(
    *,
    name: str = "room",
    metrics: Sequence[str] = ("temperature", "co2"),
    windows_ms: Sequence[int] = (60_000,),
    step_ms: int = 1000,
    lateness_ms: int = 0,
    low: float = -np.inf,
    high: float = np.inf,
) -> Kind:
    """Return a kind whose metrics share unit and range."""
    return Kind(
        name=name,
        metrics=tuple(Metric(name=m, unit="1", low=low, high=high) for m in metrics),
        windows_ms=tuple(windows_ms),
        step_ms=step_ms,
        lateness_ms=lateness_ms,
    )


def a_catalogue(*kinds: Kind, entities: int = 1, most: int = 100) -> Catalogue:
    """Return a catalogue with entities e0, e1, ... of the first kind."""
    catalogue = Catalogue(kinds or (a_kind(),), most_entities=most)
    for number in range(entities):
        catalogue.add(f"e{number}", 0)
    return catalogue


def a_manifest(
    *,
    metrics: Sequence[str] = ("temperature", "co2"),
    windows_ms: Sequence[int] = (60_000,),
    statistics: Sequence[str] = ("last", "mean"),
    lateness_ms: int = 0,
    kind: str = "room",
    scale: float = 1.0,
) -> Manifest:
    """Return a manifest with every statistic of every window of every metric."""
    features = [
        FeatureSpec(metric=m, window_ms=w, statistic=Statistic(s), mean=0.0, scale=scale)
        for m in metrics
        for w in windows_ms
        for s in statistics
    ]
    return Manifest(
        format=1,
        name="test",
        version=1,
        kind=kind,
        created="2026-01-01T00:00:00+00:00",
        minimum_agent="0.1.0",
        step_ms=1000,
        lateness_ms=lateness_ms,
        metrics=[MetricSpec(name=m, unit="1") for m in metrics],
        windows_ms=list(windows_ms),
        features=features,
        masks=list(metrics),
        mask_convention=MASK_CONVENTION,
        input=Quantisation(scale=0.05, zero_point=0),
        output=SCORE_QUANTISATION,
        operators=[OperatorSpec(name="FULLY_CONNECTED", version=4)],
        files={name: FileSpec(size=0, sha256="") for name in ("model.tflite", "golden.npz", "reference.json")},
        tolerance=0.01,
        before=None,
        after=None,
        limits=Limits(latency_us=1e6, file_bytes=1_000_000),
        label="something",
    )


def a_full_manifest(*, lateness_ms: int = 0) -> Manifest:
    """Return a manifest that asks for all there is: buckets, categories, a baseline and the clock."""
    plain = a_manifest(metrics=("temperature", "visitor"), statistics=("last",), lateness_ms=lateness_ms, scale=40.0)
    temperature = plain.features[0]
    features = [
        temperature,
        *(replace(temperature, statistic=Statistic.MEAN, bucket=k) for k in (0, 5, 11)),
        *(replace(temperature, statistic=s, baseline="running", scale=2.0) for s in (Statistic.LAST, Statistic.STD)),
        replace(temperature, statistic=Statistic.MEAN, bucket=11, baseline="running", scale=2.0),
        *(replace(plain.features[1], categories=names, scale=0.5) for names in (["new"], ["new", "other"])),
    ]
    return replace(
        plain,
        metrics=[
            MetricSpec(name="temperature", unit="1", mean=20.0, scale=5.0),
            MetricSpec(name="visitor", unit="1", categories=["new", "other", "returning"]),
        ],
        features=features,
        clock=["hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "weekend"],
        zone="Europe/Brussels",
        baseline_ms=6 * 3_600_000,
        baseline_prior_ms=60_000,
    )


def a_drift_kind(*, limit: float = 0.25, usual: float | None = None, model: str = "a") -> DriftKind:
    """Return a kind whose model was trained with temperatures of 0 to 10, all alike often."""
    temperature = HistogramSpec(
        edges=[float(i) for i in range(11)],
        counts=[100] * 10,
        metric="temperature",
        window_ms=60_000,
        statistic="last",
        usual=usual,
    )
    score = HistogramSpec(edges=[0.0, 0.5, 1.0], counts=[500, 500], usual=usual)
    reference = Reference(
        ReferenceSpec(features=[temperature], score=score), a_manifest(statistics=["last"]).input_keys()
    )
    return DriftKind(name="room", model=model, reference=reference, limit=limit)


def taken(store: Store, limit: int) -> list[OutgoingMessage]:
    """Return up to ``limit`` messages that wait, and let them be on their way, lane by lane."""
    found: list[OutgoingMessage] = []
    for lane in LANES:
        found += store.take_outgoing(lane, limit - len(found), 10**9)
    return found


def unsent(store: Store) -> int:
    """Return how many messages wait and are not on their way."""
    return sum(map(store.unsent_outgoing, LANES))
