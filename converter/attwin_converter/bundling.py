"""From a checked file to a bundle: the proof on held-out rows, golden samples, the reference, the card."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attwin.core.manifest import Figures, InputBuilder, Manifest, RuntimeSpec
from attwin.wiring.models import load_model, pack_arrays, write_bundle
from attwin_converter.card import render
from attwin_converter.dataset import Part
from attwin_converter.exporting import Exported
from attwin_converter.findings import Finding, summary_of
from attwin_converter.golden import golden_of
from attwin_converter.measure import figures_of
from attwin_converter.parts import Dataset
from attwin_converter.pool import Features, dropped, inputs_of
from attwin_converter.progress import Progress
from attwin_converter.reference import reference_of
from attwin_converter.report import Report, Scored, Tried, Without
from attwin_converter.reporting import share_of, warnings_of
from attwin_converter.runtimes import Runtime, check_file

_QUANTA = 8
"""Largest difference of a golden score, in quanta of the output. Runtimes round the logit differently by one of its
quanta, which the steep part of the sigmoid makes up to five of the output's (four were seen)."""
_FLOAT_TOLERANCE = 1e-3
_DRAWS, _MOST_ROWS = 3, 5_000
CLOCK_NAME = "clock"
_SPLITS = {"file": "by file", "time": "by time", "group": "by entity", "stratified": "at random, by label"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """Rows with their features.

    Attributes:
        part: The rows.
        share: The features of the model. Shape (N, F + C).
        raw: The same before any baseline. Shape (N, F + C).
    """

    part: Part
    share: Features
    raw: Features


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A model that was checked, and the rows that prove it.

    Attributes:
        manifest: The model's inputs.
        exported: The file.
        dataset: The rows.
        findings: What looks wrong with them.
        train, test: The same with the features of the model.
    """

    manifest: Manifest
    exported: Exported
    dataset: Dataset
    findings: Sequence[Finding]
    train: Held
    test: Held


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Origin:
    """How a model was chosen, as ``Report`` has it; nothing of an imported one.

    Attributes:
        folds, tried, validation, out_of_fold: See there.
        warnings: More of them.
    """

    folds: Sequence[str] = ()
    tried: Sequence[Tried] = ()
    validation: Figures | None = None
    out_of_fold: Scored | None = None
    warnings: Sequence[str] = ()


def conclude(out: Path, made: Made, origin: Origin, runtime: Runtime, progress: Progress) -> Manifest:
    """Prove a model on its test rows, and write its bundle.

    Args:
        out: The file.
        made: The model.
        origin: How it was chosen.
        runtime: Says what each metric is worth.
        progress: Told how it goes.

    Returns:
        The manifest with the proof.

    Raises:
        BundleError: The runtime of this environment refuses the file.
    """
    progress.stage("proving and writing the bundle", 2)
    exported, test, settings = made.exported, made.test, made.dataset.settings
    manifest = proved(made.manifest, exported, test.part.label)
    without = without_each(manifest, exported.model, test, runtime, settings.training.seed)
    progress.step("importance")
    report = Report(
        manifest=manifest,
        source=summary_of(made.dataset),
        split=_SPLITS[settings.split.by],
        shares=[share_of("train", made.dataset.train, settings), share_of("test", made.dataset.test, settings)],
        findings=made.findings,
        folds=origin.folds,
        tried=origin.tried,
        validation=origin.validation,
        without=without,
        layers=exported.layers,
        saturated=saturated_share(manifest, test.share),
        out_of_fold=origin.out_of_fold,
        test=Scored(label=test.part.label, score=exported.checked[0].scores),
        warnings=[*warnings_of(manifest, origin.validation, settings, made.dataset.train), *origin.warnings],
    )
    bundle(out, manifest, exported.model, made.train, test, report)
    progress.step("written")
    return manifest


def proved(manifest: Manifest, exported: Exported, label: NDArray[np.float32]) -> Manifest:
    """Return the manifest with what was found by converting and checking.

    Args:
        manifest: The model's inputs.
        exported: The file.
        label: Of the rows that it was checked on. Shape (N,).
    """
    first = exported.checked[0]
    return dataclasses.replace(
        manifest,
        input=first.input,
        output=first.output,
        precision=exported.precision,
        operators=list(exported.operators),
        tolerance=_QUANTA * first.output.scale if first.output else _FLOAT_TOLERANCE,
        before=None if exported.keras is None else figures_of(label, exported.keras, manifest.threshold),
        after=figures_of(label, first.scores, manifest.threshold),
        runtimes=[
            RuntimeSpec(
                name=one.runtime.name,
                version=one.runtime.version,
                worst=float(np.abs(one.scores - exported.original).max()),
                latency_us=round(one.latency_us, 3),
                memory_kb=one.memory_kb,
            )
            for one in exported.checked
        ],
    )


def bundle(out: Path, manifest: Manifest, model: bytes, train: Held, test: Held, report: Report) -> None:
    """Write a bundle.

    Args:
        out: The file.
        manifest: The contract.
        model: The .tflite file.
        train: The rows that drift is measured from.
        test: The rows that golden samples are taken of.
        report: What the card shows.

    Raises:
        BundleError: The runtime of this environment refuses the file.
    """
    scorer = load_model(model, inputs=manifest.input_count)
    golden = golden_of(manifest, scorer, test.part)
    scores = scorer.score(inputs_of(manifest, train.share))
    reference = reference_of(manifest, train.raw, scores, train.part.wide.time_ms)
    write_bundle(
        out,
        manifest,
        model=model,
        golden=pack_arrays(golden),
        reference=json.dumps(reference).encode(),
        card=render(report).encode(),
    )


def saturated_share(manifest: Manifest, share: Features) -> float:
    """Return the share of the inputs that int8 cannot hold, 0 for other precisions."""
    if manifest.input is None:
        return 0.0
    inputs = InputBuilder(manifest).build(share)[0]
    quanta = inputs / manifest.input.scale + manifest.input.zero_point
    return float(((quanta < -128.5) | (quanta > 127.5)).mean())  # noqa: PLR2004 -- what rounds to an int8


def without_each(manifest: Manifest, model: bytes, test: Held, runtime: Runtime, seed: int) -> list[Without]:
    """Return what each metric, and the clock, is worth on test rows, by the exported file.

    Args:
        manifest: The contract.
        model: The .tflite file.
        test: The rows; some thousand of them are drawn.
        runtime: Runs the file.
        seed: Of what is drawn.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(test.share))[:_MOST_ROWS])
    share, label = test.share[rows], test.part.label[rows]
    metrics = manifest.metric_names()
    names = [*metrics, *([CLOCK_NAME] if manifest.clock else [])]
    variants = [share]
    for name in names:
        variants += [_shuffled(manifest, share, name, rng.permutation(len(rows))) for _ in range(_DRAWS)]
    for place in range(len(metrics)):
        lost = np.zeros((len(rows), len(metrics)), np.bool_)
        lost[:, place] = True
        variants.append(dropped(manifest, share, lost))
    inputs = np.concatenate([inputs_of(manifest, variant) for variant in variants])
    [checked] = check_file(model, inputs, [runtime])
    whole, *others = (figures_of(label, score, manifest.threshold) for score in np.split(checked.scores, len(variants)))
    shuffled = [others[place * _DRAWS : (place + 1) * _DRAWS] for place in range(len(names))]
    missing: list[Figures | None] = [*others[len(names) * _DRAWS :], None]
    return [
        Without(
            metric=name,
            shuffled=float(np.mean([found.brier for found in draws])) - whole.brier,
            missing=figures,
        )
        for name, draws, figures in zip(names, shuffled, missing, strict=False)
    ]


def _shuffled(manifest: Manifest, share: Features, name: str, order: NDArray[np.int64]) -> Features:
    mixed = share.copy()
    columns = [place for place, spec in enumerate(manifest.features) if spec.metric == name]
    if name == CLOCK_NAME and not columns:
        columns = list(range(len(manifest.features), share.shape[1]))
    mixed[:, columns] = share[order][:, columns]
    return mixed
