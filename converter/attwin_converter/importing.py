"""From a model that was trained elsewhere to a bundle: its contract, its rows, the same checks, the same proof."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import BundleError, DataError
from attwin.core.manifest import Manifest
from attwin.wiring.offline import NoScorer, score_rows
from attwin_converter.bundling import Held, Made, Origin, conclude
from attwin_converter.contract import Contract
from attwin_converter.costs import cost_of
from attwin_converter.dataset import DatasetSettings, Part
from attwin_converter.examining import ModelError
from attwin_converter.exporting import Exported, calibration_of, export, take
from attwin_converter.findings import demand_sound
from attwin_converter.fitting import MODEL
from attwin_converter.material import LOST_SHARE
from attwin_converter.parts import read_dataset
from attwin_converter.pool import dropped, inputs_of
from attwin_converter.progress import Progress
from attwin_converter.runtimes import Runtime

_KERAS, _TFLITE = ".keras", ".tflite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import gave.

    Attributes:
        manifest: Of the bundle: it has the figures.
        model_bytes: The size of the model file.
        warnings: What its figures do not show, or show to be wrong.
    """

    manifest: Manifest
    model_bytes: int
    warnings: Sequence[str]


def import_model(model: Path, contract: Contract, out: Path, among: Sequence[Runtime], progress: Progress) -> Imported:
    """Check a model that was trained elsewhere, and write its bundle.

    Args:
        model: A .keras file, which is converted, or a .tflite file, which is taken as it is.
        contract: What its inputs are.
        out: The bundle.
        among: The runtimes in which it is checked.
        progress: Told how it goes.

    Raises:
        DataError: The file is neither, or the data is not what its description says.
        ModelError: The model does not fit the contract, makes no scores, cannot be converted, or is too expensive.
        WorkerError: Conversion failed, crashed or took too long.
        ParityError: A runtime is worse by more than the tolerance.
        BundleError: A runtime refuses the file.
    """
    demand_model_file(model)
    progress.stage("computing features", 2)
    dataset = read_dataset(contract.dataset)
    findings = demand_sound(dataset)
    manifest = contract.manifest(dataset.train.wide)
    train = _held(dataset.train, manifest)
    progress.step("train")
    test = _held(dataset.test, manifest)
    progress.step("test")
    try:
        exported = _exported(model, manifest, dataset.settings, train, test, among, progress)
    except (ModelError, BundleError) as error:
        raise type(error)(f"{model}: {error}") from error
    excess = cost_of(exported.model, exported.checked).excess(dataset.settings.budget)
    if excess:
        raise ModelError(f"{model}: {excess}; `budget` of the contract may allow more")
    made = Made(manifest=manifest, exported=exported, dataset=dataset, findings=findings, train=train, test=test)
    warnings = list(_warnings(exported, test.part.label))
    return Imported(
        manifest=conclude(out, made, Origin(warnings=warnings), among[0], progress),
        model_bytes=len(exported.model),
        warnings=warnings,
    )


def demand_model_file(model: Path) -> None:
    """Refuse what is no model file by its name.

    Raises:
        DataError: It is not there, or is neither .keras nor .tflite.
    """
    if model.suffix not in (_KERAS, _TFLITE):
        raise DataError(f"{model}: a model to import is a {_KERAS} or a {_TFLITE} file")
    if not model.is_file():
        raise DataError(f"{model}: no such file")


def _held(part: Part, manifest: Manifest) -> Held:
    found = score_rows(part.wide, manifest, NoScorer())
    return Held(part=part, share=found.features, raw=found.raw)


def _exported(
    model: Path,
    manifest: Manifest,
    settings: DatasetSettings,
    train: Held,
    test: Held,
    among: Sequence[Runtime],
    progress: Progress,
) -> Exported:
    """Return the file that goes into the bundle, checked on the test rows."""
    training, label = settings.training, test.part.label
    rows = inputs_of(manifest, test.share)
    if model.suffix == _TFLITE:
        return take(model.read_bytes(), rows, label, training.tolerance, among, progress)
    calibration = calibration_of(_seen(manifest, train, training.seed), training.seed)
    with tempfile.TemporaryDirectory(prefix="attwin-import-") as name:
        folder = Path(name)
        shutil.copy(model, folder / MODEL)
        # a model of others is converted or refused, and never trained further
        return export(folder, rows, label, calibration, None, training, among, progress)


def _seen(manifest: Manifest, train: Held, seed: int) -> NDArray[np.float32]:
    """Return the training rows as inputs, and the same with metrics missing at random, as a gateway will have them."""
    lost = np.random.default_rng(seed).random((len(train.share), len(manifest.metrics))) < LOST_SHARE
    holes = dropped(manifest, train.share, lost)
    return np.concatenate([inputs_of(manifest, train.share), inputs_of(manifest, holes)])


def _warnings(exported: Exported, label: NDArray[np.float32]) -> Iterator[str]:
    yield (
        "It was trained elsewhere. Whether it has seen the held-out rows cannot be told from its file; if it has, its "
        "figures are those of remembering."
    )
    error, constant = float(np.mean((exported.original - label) ** 2)), float(label.var())
    if error > constant:
        yield (
            f"On the held-out rows its mean squared error is {error:.4f}; always answering the mean label gives "
            f"{constant:.4f}. Are the inputs of the contract in the model's order, with its means and scales?"
        )
