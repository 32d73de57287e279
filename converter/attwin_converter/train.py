"""From a described data set to a bundle: features, training, int8, proof, golden samples."""

import dataclasses
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import attwin
from attwin.core.errors import AttwinError, DataError
from attwin.core.features import Statistic
from attwin.core.manifest import (
    MASK_CONVENTION,
    FeatureSpec,
    Figures,
    InputBuilder,
    Limits,
    Manifest,
    MetricSpec,
    OperatorSpec,
)
from attwin.core.quantise import Quantisation
from attwin.wiring.models import load_model, pack_arrays, write_bundle
from attwin.wiring.offline import NoScorer, score_rows
from attwin_converter import keras_worker as names
from attwin_converter.dataset import DatasetSettings, Part
from attwin_converter.golden import golden_of
from attwin_converter.measure import figures_of
from attwin_converter.parts import read_parts
from attwin_converter.reference import reference_of
from attwin_converter.worker import run_worker

_LEAST_ROWS = 50
_MOST_CALIBRATION = 2_000
_TRAIN_SECONDS, _CONVERT_SECONDS = 3_600.0, 600.0
_LEAST_SCALE = 1e-6
_QUANTA = 8
"""Largest difference of a golden score, in quanta of the output. Runtimes round the logit differently by one of its
quanta, which the steep part of the sigmoid makes up to five of the output's (four were seen)."""
_LATENCY_US, _FILE_BYTES = 100.0, 1_000_000
_UNKNOWN = Quantisation(scale=1.0, zero_point=0)


class ParityError(AttwinError):
    """The exported file is worse than the Keras model by more than the tolerance; no bundle is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training gave.

    Attributes:
        before, after: Figures of the Keras model and of the exported file in the runtime, on the test rows.
        worst: The largest difference of a score between them.
        runtime: What ran the exported file.
        train_rows: How many rows were trained on.
        model_bytes: The size of the exported file.
    """

    before: Figures
    after: Figures
    worst: float
    runtime: str
    train_rows: int
    model_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Progress:
    """Who is told how the training goes.

    Attributes:
        stage: Told what begins, and in how many steps.
        step: Told that a step is done, and what it says.
    """

    stage: Callable[[str, int], None]
    step: Callable[[str], None]


def train(settings: DatasetSettings, out: Path, progress: Progress) -> Trained:
    """Train the model of a data set and write its bundle.

    Raises:
        DataError: The data is not what the description says.
        WorkerError: Training or conversion failed.
        ParityError: The exported file is worse than the Keras model by more than the tolerance.
        BundleError: The runtime refuses the exported file.
    """
    progress.stage("reading and computing features", 2)
    train_part, test_part = read_parts(settings)
    draft = _draft(settings)
    train_features = _features(draft, train_part)
    progress.step("train")
    test_features = _features(draft, test_part)
    progress.step("test")
    if len(train_features) < _LEAST_ROWS or len(set(train_part.label.tolist())) < 2:  # noqa: PLR2004 -- two classes
        raise DataError(
            f"{len(train_features)} rows to train on, with {len(set(train_part.label.tolist()))} different labels; "
            f"at least {_LEAST_ROWS} rows and both labels are needed"
        )
    manifest = _standardised(draft, train_features)
    rng = np.random.default_rng(settings.training.seed)
    inputs, label = _with_drops(manifest, train_features, train_part.label, settings.training.drop, rng)
    test_inputs = InputBuilder(manifest).build(test_features)[0]
    model, keras_scores, found = _train_and_convert(settings, inputs, label, test_inputs, rng, progress)

    progress.stage("checking the exported file in the runtime", 1)
    scorer = load_model(model, inputs=test_inputs.shape[1])
    scores = scorer.score(test_inputs)
    before, after = figures_of(test_part.label, keras_scores), figures_of(test_part.label, scores)
    trained = Trained(
        before=before,
        after=after,
        worst=float(np.abs(scores - keras_scores).max()),
        runtime=scorer.runtime,
        train_rows=len(train_features),
        model_bytes=len(model),
    )
    if before.accuracy - after.accuracy > settings.training.tolerance:
        raise ParityError(
            f"int8 costs too much: accuracy {before.accuracy:.4f} in Keras, {after.accuracy:.4f} in {scorer.runtime}; "
            f"training.tolerance is {settings.training.tolerance}. No bundle was written."
        )
    given, made = scorer.quantisation
    manifest = dataclasses.replace(
        manifest,
        input=given,
        output=made,
        operators=[OperatorSpec(**operator) for operator in found],
        tolerance=_QUANTA * made.scale,
        before=before,
        after=after,
    )
    golden = golden_of(manifest, scorer, test_part)
    train_scores = scorer.score(inputs[: len(train_features)])
    reference = reference_of(manifest, train_features, train_scores, train_part.wide.time_ms)
    body = json.dumps(reference).encode()
    write_bundle(out, manifest, model=model, golden=pack_arrays(golden), reference=body)
    progress.step(f"{after.accuracy:.4f}")
    return trained


def _train_and_convert(
    settings: DatasetSettings,
    inputs: NDArray[np.float32],
    label: NDArray[np.float32],
    test_inputs: NDArray[np.float32],
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[bytes, NDArray[np.float32], list[dict[str, Any]]]:
    """Return the exported file, the Keras model's scores of the test rows, and the operators of the file."""
    with tempfile.TemporaryDirectory(prefix="attwin-train-") as name:
        folder = Path(name)
        _write_arrays(folder, settings, inputs, label, test_inputs, rng)
        progress.stage("training", settings.training.epochs)
        run_worker(
            "train",
            folder,
            seconds=_TRAIN_SECONDS,
            on_report=lambda report: progress.step(f"loss {report['loss']:.4f}"),
        )
        progress.stage("converting to int8", 1)
        run_worker("convert", folder, seconds=_CONVERT_SECONDS)
        model = (folder / names.TFLITE).read_bytes()
        keras_scores = np.load(folder / names.SCORES)
        found = json.loads((folder / names.OPERATORS).read_text(encoding="utf-8"))
    progress.step(f"{len(model)} bytes")
    return model, keras_scores, found


def _draft(settings: DatasetSettings) -> Manifest:
    """Return the manifest as far as the description says it; features are not standardised yet."""
    features = [
        FeatureSpec(metric=metric, window_ms=window, statistic=Statistic(statistic), mean=0.0, scale=1.0)
        for metric in settings.metrics
        for window in settings.features.windows
        for statistic in settings.features.statistics
    ]
    return Manifest(
        format=1,
        name=settings.name,
        version=settings.model_version,
        kind=settings.kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        minimum_agent=attwin.__version__,
        step_ms=settings.score_every,
        lateness_ms=settings.lateness,
        metrics=[MetricSpec(name=name, unit=metric.unit) for name, metric in settings.metrics.items()],
        windows_ms=list(settings.features.windows),
        features=features,
        masks=list(settings.metrics),
        mask_convention=MASK_CONVENTION,
        input=_UNKNOWN,
        output=_UNKNOWN,
        operators=[],
        files={},
        tolerance=0.0,
        before=None,
        after=None,
        limits=Limits(latency_us=_LATENCY_US, file_bytes=_FILE_BYTES),
        label=settings.label.words,
    )


def _features(manifest: Manifest, part: Part) -> NDArray[np.float32]:
    """Return the features at every row, computed by the code that serves."""
    return score_rows(part.wide, manifest, NoScorer()).features


def _standardised(manifest: Manifest, features: NDArray[np.float32]) -> Manifest:
    """Return the manifest with mean and scale of the training rows; features of the clock need none."""
    features = features[:, : len(manifest.features)]
    empty = np.isnan(features).all(axis=0)
    if empty.any():
        spec = manifest.features[int(np.flatnonzero(empty)[0])]
        raise DataError(f"feature {spec.title} over {spec.window_ms} ms has no value in any training row")
    mean, scale = (
        np.nanmean(features, axis=0, dtype=np.float64),
        np.nanstd(features, axis=0, dtype=np.float64),
    )
    scale = np.where(scale > _LEAST_SCALE * np.maximum(1.0, np.abs(mean)), scale, 1.0)
    specs = [
        dataclasses.replace(spec, mean=float(m), scale=float(s))
        for spec, m, s in zip(manifest.features, mean, scale, strict=True)
    ]
    return dataclasses.replace(manifest, features=specs)


def _with_drops(
    manifest: Manifest,
    features: NDArray[np.float32],
    label: NDArray[np.float32],
    share: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the inputs of all rows, then of all rows again with metrics dropped at random."""
    builder = InputBuilder(manifest)
    whole = builder.build(features)[0]
    if not share:
        return whole, label
    dropped = rng.random((len(features), len(manifest.masks))) < share
    holes = features.copy()
    for metric, name in enumerate(manifest.masks):
        for column, spec in enumerate(manifest.features):
            if spec.metric == name:
                holes[dropped[:, metric], column] = 0.0 if spec.statistic is Statistic.COUNT else np.nan
    return np.concatenate([whole, builder.build(holes)[0]]), np.concatenate([label, label])


def _write_arrays(
    folder: Path,
    settings: DatasetSettings,
    inputs: NDArray[np.float32],
    label: NDArray[np.float32],
    test_inputs: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    calibration = rng.choice(len(inputs), min(_MOST_CALIBRATION, len(inputs)), replace=False)
    for name, array in (
        (names.TRAIN, inputs),
        (names.LABEL, label),
        (names.PREDICT, test_inputs),
        (names.CALIBRATION, inputs[np.sort(calibration)]),
    ):
        np.save(folder / name, array)
    training = settings.training
    plan = {"seed": training.seed, "epochs": training.epochs, "batch": training.batch}
    (folder / names.PLAN).write_text(json.dumps(plan), encoding="utf-8")
