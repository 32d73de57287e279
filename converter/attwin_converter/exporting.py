"""From a Keras model to a file that every claimed runtime computes as Keras does; or from a file that exists."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import AttwinError
from attwin.core.manifest import OperatorSpec
from attwin_converter.converting import LAYERS, OPERATORS, SCORES
from attwin_converter.dataset import TrainingSettings
from attwin_converter.examining import FOUND, TFLITE, demand_scores
from attwin_converter.fitting import PLAN, Rows, give
from attwin_converter.measure import figures_of
from attwin_converter.progress import Progress
from attwin_converter.report import LayerLoss
from attwin_converter.runtimes import Checked, Runtime, check_file
from attwin_converter.worker import run_worker

_CONVERT_SECONDS, _TUNE_SECONDS, _EXAMINE_SECONDS = 600.0, 3_600.0, 300.0
_TUNE_EPOCHS, _TUNE_RATE = 10, 1e-4
_ROUNDING = 1e-6
_MOST_CALIBRATION = 2_000


class ParityError(AttwinError):
    """In a runtime the file is worse than its original by more than the tolerance; no bundle is written."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exported:
    """A file that was checked.

    Attributes:
        model: The .tflite file.
        precision: One of ``manifest.PRECISIONS``.
        keras: What the Keras model makes of the rows. Shape (N,). None for a file without one.
        checked: What the file makes of them, in every runtime.
        operators: What a runtime must know.
        layers: What int8 does to each tensor; empty for other precisions.
        was_tuned: Whether it took fine-tuning with fake quantisation.
    """

    model: bytes
    precision: str
    keras: NDArray[np.float32] | None
    checked: Sequence[Checked]
    operators: Sequence[OperatorSpec]
    layers: Sequence[LayerLoss]
    was_tuned: bool

    @property
    def original(self) -> NDArray[np.float32]:
        """Scores to compare with: Keras's, or without a Keras model those of the first runtime. Shape (N,)."""
        return self.checked[0].scores if self.keras is None else self.keras


def export(
    folder: Path,
    rows: NDArray[np.float32],
    label: NDArray[np.float32],
    calibration: NDArray[np.float32],
    tuning: Rows | None,
    training: TrainingSettings,
    among: Sequence[Runtime],
    progress: Progress,
) -> Exported:
    """Convert ``model.keras`` in a folder, and compare the file with it in every runtime.

    Where int8 loses more than the tolerance, the model is fine-tuned with fake quantisation and converted again.

    Args:
        folder: Has the model.
        rows: Held-out inputs to compare on. Shape (N, I).
        label: Theirs. Shape (N,).
        calibration: Rows that say how wide every tensor's values are. Shape (K, I).
        tuning: ``inputs``, ``label`` and ``weight`` to fine-tune with; None where nobody has them.
        training: The precision, and what may be lost.
        among: The runtimes.
        progress: Told of every conversion and check.

    Raises:
        WorkerError: Conversion failed, crashed or took too long.
        ModelError: The model makes no scores, or TFLite has no operator for a part of it.
        BundleError: A runtime refuses the file.
        ParityError: It loses too much.
    """
    progress.stage(f"converting to {training.precision} and checking it", 2)
    exported = _converted(folder, rows, calibration, training, among, progress)
    if not _losses(exported, label, training.tolerance):
        return exported
    if training.precision == "int8" and tuning is not None:
        progress.stage("fine-tuning with fake quantisation", _TUNE_EPOCHS + 2)
        plan = {"epochs": _TUNE_EPOCHS, "rate": _TUNE_RATE, "batch": training.batch, "seed": training.seed}
        give(folder, plan, tuning)
        run_worker(
            "tune",
            folder,
            seconds=_TUNE_SECONDS,
            on_report=lambda report: progress.step(f"loss {report['loss']:.4f}"),
        )
        exported = _converted(folder, rows, calibration, training, among, progress, was_tuned=True)
    _demand_parity(exported, label, training.tolerance)
    return exported


def take(
    model: bytes,
    rows: NDArray[np.float32],
    label: NDArray[np.float32],
    tolerance: float,
    among: Sequence[Runtime],
    progress: Progress,
) -> Exported:
    """Check a .tflite file as it is, in every runtime.

    Args:
        model: The file.
        rows: Held-out inputs to compare on. Shape (N, I).
        label: Theirs. Shape (N,).
        tolerance: By how much one runtime may be worse than the first.
        among: The runtimes.
        progress: Told of every check.

    Raises:
        WorkerError: Looking into it failed.
        ModelError: It is damaged, has other inputs, makes no scores, or asks for an operator that no gateway has.
        BundleError: A runtime refuses it.
        ParityError: The runtimes do not agree.
    """
    progress.stage("checking the file", 2)
    with tempfile.TemporaryDirectory(prefix="attwin-import-") as name:
        folder = Path(name)
        (folder / TFLITE).write_bytes(model)
        (folder / PLAN).write_text(json.dumps({"inputs": rows.shape[1]}), encoding="utf-8")
        run_worker("examine", folder, seconds=_EXAMINE_SECONDS)
        found = json.loads((folder / FOUND).read_text(encoding="utf-8"))
    progress.step("looked into")
    checked = check_file(model, rows, among)
    progress.step("checked")
    for one in checked:
        demand_scores(one.low, one.high, quantum=one.output.scale if one.output else None)
    exported = Exported(
        model=model,
        precision=found["precision"],
        keras=None,
        checked=checked,
        operators=[OperatorSpec(**operator) for operator in found["operators"]],
        layers=[],
        was_tuned=False,
    )
    _demand_parity(exported, label, tolerance)
    return exported


def calibration_of(inputs: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return some rows of inputs, in order, that say how wide every tensor's values are."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(inputs), min(_MOST_CALIBRATION, len(inputs)), replace=False)
    return inputs[np.sort(chosen)]


def _converted(
    folder: Path,
    rows: NDArray[np.float32],
    calibration: NDArray[np.float32],
    training: TrainingSettings,
    among: Sequence[Runtime],
    progress: Progress,
    *,
    was_tuned: bool = False,
) -> Exported:
    give(folder, {"precision": training.precision}, {"calibration": calibration, "scored": rows})
    run_worker("convert", folder, seconds=_CONVERT_SECONDS)
    model = (folder / TFLITE).read_bytes()
    progress.step(f"{len(model)} bytes")
    checked = check_file(model, rows, among)
    progress.step("checked")
    operators = json.loads((folder / OPERATORS).read_text(encoding="utf-8"))
    layers = json.loads((folder / LAYERS).read_text(encoding="utf-8"))
    return Exported(
        model=model,
        precision=training.precision,
        keras=np.load(folder / SCORES),
        checked=checked,
        operators=[OperatorSpec(**operator) for operator in operators],
        layers=[LayerLoss(**layer) for layer in layers],
        was_tuned=was_tuned,
    )


def _demand_parity(exported: Exported, label: NDArray[np.float32], tolerance: float) -> None:
    worse = _losses(exported, label, tolerance)
    if worse:
        raise ParityError(
            f"{exported.precision} in {', '.join(worse)} is worse by more than the tolerance, {tolerance:g}; no bundle "
            f"was written.\n{_table(exported, label)}"
        )


def _losses(exported: Exported, label: NDArray[np.float32], tolerance: float) -> list[str]:
    """Return the runtimes in which the file loses more accuracy or gains more error than it may.

    One row may always turn: of few rows it is more than any tolerance.
    """
    most = max(tolerance, (1 + _ROUNDING) / len(label))
    before = figures_of(label, exported.original)
    after = {one.runtime.name: figures_of(label, one.scores) for one in exported.checked}
    return [
        name
        for name, found in after.items()
        if before.accuracy - found.accuracy > most or found.brier - before.brier > tolerance
    ]


def _table(exported: Exported, label: NDArray[np.float32]) -> str:
    scores = {} if exported.keras is None else {"Keras": exported.keras}
    scores |= {f"{one.runtime.name} {one.runtime.version}": one.scores for one in exported.checked}
    lines = [f"{'':<24}  accuracy  mean squared error  largest difference of a score"]
    for name, score in scores.items():
        found, worst = figures_of(label, score), float(np.abs(score - exported.original).max())
        lines.append(f"{name:<24}  {found.accuracy:8.4f}  {found.brier:18.4f}  {worst:29.4f}")
    return "\n".join(lines)
