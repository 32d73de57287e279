"""Facts about data sets, training, and what the exported file is worth."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.adapters.bundle_zip import read_bundle
from attwin.core.errors import DataError, SettingsError
from attwin_converter import worker
from attwin_converter.dataset import load_dataset
from attwin_converter.measure import auc, figures_of
from attwin_converter.parts import read_parts
from attwin_converter.worker import WorkerError, run_worker

ROOT = Path(__file__).parents[2]
OCCUPANCY = ROOT / "config" / "datasets" / "occupancy.yaml"

DATASET = """\
version: 1
name: small
kind: room
{entity}
metrics:
  level: {{}}
  noise: {{}}
label: {{column: busy, meaning: busy}}
split: {split}
features: {{windows: [2m], statistics: [last]}}
training: {{epochs: 40, batch: 16}}
"""


def small_csv(folder: Path, name: str = "data.csv", *, rows: int = 200, start: int = 0) -> Path:
    """Write rows a minute apart in which a high level means busy."""
    rng = np.random.default_rng(start)
    level = rng.normal(0, 1, rows)
    lines = [f"{(start + i) * 60},room,{level[i]:.4f},{rng.normal():.4f},{int(level[i] > 0)}" for i in range(rows)]
    path = folder / name
    path.write_text("time,who,level,noise,busy\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def dataset(folder: Path, *, split: str, entity: str = "entity: room") -> Path:
    """Write a description."""
    path = folder / "dataset.yaml"
    path.write_text(DATASET.format(split=split, entity=entity), encoding="utf-8")
    return path


def convert(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run attwin-convert."""
    return subprocess.run(
        [sys.executable, "-m", "attwin_converter.cli", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.mark.tflite
def test_the_occupancy_model_is_worth_its_figures(tmp_path: Path) -> None:
    """Trained on the training file alone: int8 in the runtime is within 0.002 of Keras on the test file."""
    out = tmp_path / "occupancy.zip"

    trained = convert("train", str(OCCUPANCY), "--out", str(out), "--json")
    assert trained.returncode == 0, trained.stderr
    evaluated = convert("evaluate", str(out), str(OCCUPANCY), "--json")
    assert evaluated.returncode == 0, evaluated.stderr

    said, figures = json.loads(trained.stdout), json.loads(evaluated.stdout)
    assert abs(said["before"]["accuracy"] - figures["accuracy"]) <= 0.002
    assert (figures["rows"], figures["accuracy"] > 0.96, figures["brier"] < 0.03) == (2665, True, True)
    assert figures["auc"] == pytest.approx(said["after"]["auc"])
    manifest = read_bundle(out).manifest
    assert manifest.after is not None
    assert manifest.after.accuracy == pytest.approx(figures["accuracy"])
    assert {operator.name for operator in manifest.operators} == {"FULLY_CONNECTED", "LOGISTIC"}


@pytest.mark.tflite
def test_a_small_data_set_split_by_time_gives_a_bundle_that_verifies(tmp_path: Path) -> None:
    """From CSV to a bundle that proves itself; masks mean something: without its metric the score is unsure."""
    small_csv(tmp_path)
    path = dataset(tmp_path, split="{by: time, files: [data.csv], at: '1970-01-01 02:00:00', embargo: 0}")
    out = tmp_path / "small.zip"

    done = convert("train", str(path), "--out", str(out))
    assert done.returncode == 0, done.stderr
    verified = subprocess.run(
        [sys.executable, "-m", "attwin", "model", "verify", str(out), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "120 rows trained on, 80 held out" in done.stdout
    assert json.loads(verified.stdout)["worst"] == 0
    blind = tmp_path / "blind.csv"
    blind.write_text("time,level,noise\n600,,0.1\n660,3,0.1\n", encoding="utf-8")
    scored = subprocess.run(
        [sys.executable, "-m", "attwin", "score", "--bundle", str(out), str(blind), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    unsure, sure = (json.loads(line) for line in scored.stdout.splitlines())
    assert (unsure["missing"], sure["missing"]) == ("level", "")
    assert abs(unsure["score"] - 0.5) < 0.35 < sure["score"] - 0.5


@pytest.mark.parametrize(
    ("split", "entity", "message"),
    [
        pytest.param(
            "{by: random}",
            "entity: r",
            "split.by: one of file, time, group, stratified, not `random`",
            id="random rows",
        ),
        pytest.param(
            "{by: file, train: [data.csv]}", "entity: r", "a split by file needs train and test", id="no test"
        ),
        pytest.param(
            "{by: file, train: [data.csv], test: [data.csv]}", "entity: r", "in train and in test", id="same file"
        ),
        pytest.param("{by: file, train: [x.csv], test: [data.csv]}", "entity: r", "no file `", id="missing file"),
        pytest.param("{by: time, files: [data.csv], at: noon}", "entity: r", "`noon` is no time", id="no time"),
        pytest.param("{by: group, files: [data.csv]}", "entity: r", "needs files and test_entities", id="no groups"),
        pytest.param("{by: file, train: [data.csv], test: []}", "", "either `entity: NAME`", id="no entity"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, split: str, entity: str, message: str) -> None:
    """The converter says what is wrong in which line, and exits 78."""
    small_csv(tmp_path)

    done = convert("train", str(dataset(tmp_path, split=split, entity=entity)), "--out", str(tmp_path / "o.zip"))

    assert (done.returncode, message in done.stderr) == (78, True), done.stderr
    assert not (tmp_path / "o.zip").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(",1\n", ",2\n", "label `busy` is `2`; a label is 0 or 1", id="three classes"),
        pytest.param(",0\n", ",maybe\n", "holds `maybe`, which is no number; a label is 0 or 1", id="text"),
        pytest.param(",0\n", ",\n", "label `busy` has no value", id="no label"),
        pytest.param("level,noise", "level,sound", "no column `noise`", id="missing column"),
    ],
)
def test_wrong_data_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """The message names file, line and column."""
    path = small_csv(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    settings = load_dataset(dataset(tmp_path, split="{by: time, files: [data.csv], at: '1970-01-01 02:00:00'}"))

    with pytest.raises(DataError, match=message):
        read_parts(settings)


def test_twelve_rows_are_too_few(tmp_path: Path) -> None:
    """A model is not made of nothing."""
    small_csv(tmp_path, rows=20)
    path = dataset(tmp_path, split="{by: time, files: [data.csv], at: '1970-01-01 00:12:00', embargo: 0}")

    done = convert("train", str(path), "--out", str(tmp_path / "o.zip"))

    assert (done.returncode, "12 rows to train on" in done.stderr) == (1, True), done.stderr


def test_a_split_by_group_keeps_entities_apart(tmp_path: Path) -> None:
    """No row of a test entity is trained on."""
    first, second = small_csv(tmp_path, "a.csv"), small_csv(tmp_path, "b.csv", start=1000)
    second.write_text(second.read_text(encoding="utf-8").replace(",room,", ",hall,"), encoding="utf-8")
    assert first.exists()
    settings = load_dataset(
        dataset(
            tmp_path, split="{by: group, files: [a.csv, b.csv], test_entities: [hall]}", entity="entity_column: who"
        )
    )

    train, test = read_parts(settings)

    for part, name in ((train, "room"), (test, "hall")):
        assert {part.wide.entities[e] for e in part.wide.entity.tolist()} == {name}
        assert len(part.label) == 200


def test_two_files_with_the_same_rows_are_refused(tmp_path: Path) -> None:
    """The same reading twice would train on what is tested."""
    small_csv(tmp_path, "a.csv")
    small_csv(tmp_path, "b.csv")
    settings = load_dataset(dataset(tmp_path, split="{by: time, files: [a.csv, b.csv], at: '1970-01-01 02:00:00'}"))

    with pytest.raises(DataError, match="the same entity at the same time"):
        read_parts(settings)


def test_an_unknown_setting_of_a_data_set_is_refused(tmp_path: Path) -> None:
    """The same strict reader as the agent's."""
    path = dataset(tmp_path, split="{by: file, train: [], test: []}")
    path.write_text(path.read_text(encoding="utf-8").replace("label:", "lable:"), encoding="utf-8")

    with pytest.raises(SettingsError, match="did you mean `label`"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV", id="crash"),
        pytest.param("raise ValueError('out of cheese')", "out of cheese", id="failure"),
        pytest.param("import time; time.sleep(60)", "took more than 1 s", id="endless"),
    ],
)
def test_a_worker_that_dies_is_an_error_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    """The TensorFlow converter can crash its process: the converter lives and says what happened."""
    script = tmp_path / "worker"
    script.write_text(f"#!{sys.executable}\n{code}\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(worker.sys, "executable", str(script))

    with pytest.raises(WorkerError, match=message):
        run_worker("convert", tmp_path, seconds=1)

    assert signal.getsignal(signal.SIGSEGV) is signal.SIG_DFL


PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=30)


@given(pairs=PAIRS)
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, int]]) -> None:
    """By definition: how often a positive row scores above a negative one, ties half."""
    label = np.array([y for y, _ in pairs], np.float32)
    score = np.array([s for _, s in pairs], np.float32) / 5

    ones, zeros = score[label == 1], score[label == 0]

    if not len(ones) or not len(zeros):
        assert auc(label, score) is None
        return
    order = (ones[:, None] > zeros).mean() + (ones[:, None] == zeros).mean() / 2
    assert auc(label, score) == pytest.approx(float(order))


def test_figures() -> None:
    """Accuracy at 0.5 and the mean squared error."""
    found = figures_of(np.array([1, 0, 1, 0], np.float32), np.array([0.5, 0.4, 0.0, 1.0], np.float32))

    assert (found.rows, found.accuracy, found.auc) == (4, 0.5, 0.25)
    assert found.brier == pytest.approx((0.25 + 0.16 + 1 + 1) / 4)
