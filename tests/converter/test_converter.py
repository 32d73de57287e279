"""Facts about data sets, training, and what the exported file is worth."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from attwin.core.errors import DataError, SettingsError
from attwin_converter import worker
from attwin_converter.dataset import load_dataset
from attwin_converter.parts import read_parts
from attwin_converter.worker import WorkerError, run_worker

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
training: {{families: [logistic]}}
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
