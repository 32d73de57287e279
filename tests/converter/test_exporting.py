"""The way from a Keras model to a file that every runtime computes as Keras does: all precisions, and fine-tuning."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from attwin_converter import exporting
from attwin_converter.dataset import TrainingSettings
from attwin_converter.exporting import Exported, ParityError, export
from attwin_converter.fitting import Rows
from attwin_converter.progress import Progress
from attwin_converter.runtimes import Checked, Runtime, check_file, runtimes
from attwin_converter.tasks import prepared
from attwin_converter.worker import run_worker

pytestmark = pytest.mark.tflite
INPUTS = 4
TRAINING = TrainingSettings(tolerance=0.02)


def rows_of(seed: int, count: int = 600) -> Rows:
    """Return rows whose label is whether the first inputs have the same sign, which no line tells."""
    rng = np.random.default_rng(seed)
    inputs = np.clip(rng.normal(size=(count, INPUTS)), -4, 4).astype(np.float32)
    label = (inputs[:, 0] * inputs[:, 1] > 0).astype(np.float32)
    return {"inputs": inputs, "label": label, "weight": np.ones(count, np.float32)}


@pytest.fixture(scope="module")
def among() -> Sequence[Runtime]:
    """Return the runtimes of this environment."""
    return runtimes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a Keras model: the mean of two dense networks, its logit scaled."""
    plan = {
        "family": "dense", "seeds": [1, 2], "epochs": 15, "batch": 32, "rate": 3e-3, "penalty": 1e-4,
        "width": INPUTS, "steps": 12, "channels": 0, "slope": 0.9, "offset": 0.1,
    }  # fmt: skip
    task = prepared(tmp_path_factory.mktemp("work"), "dense", "model", plan, rows_of(1))
    run_worker(task.step, task.folder, seconds=100)
    return task.folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """Return a folder of one's own with a copy of the model."""
    shutil.copy(trained / "model.keras", tmp_path)
    return tmp_path


def exported_from(
    folder: Path,
    among: Sequence[Runtime],
    training: TrainingSettings,
    tuning: Rows | None,
    losses: list[float] | None = None,
) -> Exported:
    """Export the model of a folder, compared on rows that it has not seen; note the losses of fine-tuning."""
    held_out = rows_of(2)

    def step(said: str) -> None:
        if losses is not None and said.startswith("loss "):
            losses.append(float(said.split()[1]))

    return export(
        folder,
        held_out["inputs"],
        held_out["label"],
        rows_of(1)["inputs"],
        tuning,
        training,
        among,
        Progress(stage=lambda _name, _steps: None, step=step),
    )


@pytest.mark.parametrize(
    ("precision", "worst", "is_quantised"),
    [
        pytest.param("int8", 0.12, True, id="int8"),
        pytest.param("float16", 0.002, False, id="float16"),
        pytest.param("dynamic", 0.12, False, id="dynamic"),
    ],
)
def test_a_file_computes_what_keras_does_in_every_runtime(
    folder: Path, among: Sequence[Runtime], precision: str, worst: float, *, is_quantised: bool
) -> None:
    """Each in a process of its own; int8 takes and gives int8 and knows what it does to each layer, others do not."""
    found = exported_from(folder, among, replace(TRAINING, precision=precision), None)

    assert [one.runtime for one in found.checked] == list(among)
    for one in found.checked:
        assert np.abs(one.scores - found.keras).max() < worst
        assert (one.input is not None, one.output is not None) == (is_quantised, is_quantised)
        assert one.latency_us > 0
    assert (found.precision, found.was_tuned) == (precision, False)
    assert bool(found.layers) == is_quantised
    assert "FULLY_CONNECTED" in [operator.name for operator in found.operators]
    assert ((found.keras > 0.5) == (rows_of(2)["label"] > 0.5)).mean() > 0.9


@pytest.mark.parametrize(
    ("turned", "is_refused"), [pytest.param(1, False, id="one row"), pytest.param(2, True, id="two rows")]
)
def test_of_few_rows_one_may_turn(turned: int, *, is_refused: bool) -> None:
    """One of eighty is more than any tolerance, and no sign of a bad file."""
    label = np.tile(np.array([0, 1], np.float32), 40)
    keras = label * 0.2 + 0.4
    scores = keras.copy()
    scores[: 2 * turned : 2] = 0.51
    one = Checked(
        runtime=Runtime(name="tflite-runtime", version="2", python=""), scores=scores, input=None, output=None,
        latency_us=1.0, memory_kb=1, low=0.0, high=1.0,
    )  # fmt: skip
    exported = Exported(
        model=b"", precision="int8", keras=keras, checked=[one], operators=[], layers=[], was_tuned=False
    )

    assert bool(exporting._losses(exported, label, 0.01)) == is_refused


class Lossy:
    """Runs files as they are, but the first ones come out worse."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, model: bytes, rows: NDArray[np.float32], among: Sequence[Runtime]) -> list[Checked]:
        """Take the place of ``check_file``."""
        checked = check_file(model, rows, among)
        if self.left:
            self.left -= 1
            checked[-1] = replace(checked[-1], scores=1 - checked[-1].scores)
        return checked


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lossy]:
    """Let the first conversion lose."""
    stand_in = Lossy(1)
    monkeypatch.setattr(exporting, "check_file", stand_in)
    return stand_in


def test_a_file_that_loses_too_much_is_not_handed_over(folder: Path, among: Sequence[Runtime], lossy: Lossy) -> None:
    """One runtime suffices; the table names each of them and the original."""
    with pytest.raises(ParityError) as raised:
        exported_from(folder, among, TRAINING, None)

    said = str(raised.value)
    assert f"int8 in {among[-1].name} is worse by more than the tolerance, 0.02; no bundle was written" in said
    assert [line.split()[0] for line in said.splitlines()[2:]] == ["Keras", *(one.name for one in among)]
    assert lossy.left == 0


def test_what_int8_costs_too_much_is_tuned_with_its_rounding(
    folder: Path, among: Sequence[Runtime], lossy: Lossy
) -> None:
    """Fine-tuning changes the weights and costs no accuracy; the model stays one of plain layers."""
    before = (folder / "model.keras").read_bytes()

    losses: list[float] = []

    found = exported_from(folder, among, TRAINING, rows_of(1), losses)

    assert found.was_tuned
    assert len(losses) == 10
    assert losses[-1] < losses[0]
    assert lossy.left == 0
    assert (folder / "model.keras").read_bytes() != before
    label = rows_of(2)["label"]
    for one in found.checked:
        assert ((one.scores > 0.5) == (label > 0.5)).mean() > 0.9
    assert {operator.name for operator in found.operators} <= {
        "FULLY_CONNECTED",
        "ADD",
        "LOGISTIC",
        "MUL",
        "CONCATENATION",
    }
