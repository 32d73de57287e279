"""Training from end to end: from a CSV to a bundle that proves itself in the agent, and on after an interruption."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from attwin.adapters.bundle_zip import read_bundle

pytestmark = pytest.mark.tflite
DATASET = """\
version: 1
name: small
kind: room
{rows}
metrics: {{level: {{}}, noise: {{}}}}
label: {{column: {label}, meaning: busy}}
training: {{families: [{family}], folds: 3, seeds: 1, tolerance: 0.05}}
"""
SERIES = """\
entity: room
split: {by: time, files: [data.csv], at: '1970-01-01 04:00:00', embargo: 0}
features: {windows: [2m], statistics: [last]}"""
INDEPENDENT = """\
rows: independent
split: {by: stratified, files: [data.csv], test_share: 0.33}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with rows a minute apart in which a high level means busy, more or less."""
    rng = np.random.default_rng(1)
    level = rng.normal(0, 1, 360)
    busy = (level + rng.normal(0, 0.3, 360) > 0).astype(int)
    share = np.round(1 / (1 + np.exp(-2 * level)), 4)
    lines = [f"{60 * i},{level[i]:.4f},{rng.normal():.4f},{busy[i]},{share[i]}" for i in range(360)]
    (tmp_path / "data.csv").write_text("time,level,noise,busy,share\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def command(folder: Path, family: str, rows: str = INDEPENDENT, label: str = "busy") -> list[str]:
    """Return the command that trains on the rows of a folder."""
    text = DATASET.format(family=family, rows=rows, label=label)
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")
    tool = [sys.executable, "-m", "attwin_converter.cli", "train", str(folder / "dataset.yaml")]
    return [*tool, "--out", str(folder / "m.zip"), "--json"]


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=115)


def test_a_bundle_is_what_the_agent_computes_and_goes_on_without_a_metric(folder: Path) -> None:
    """It verifies, its card is in it, and where its only good metric is missing the score is unsure."""
    done = run(*command(folder, "logistic", SERIES))
    assert done.returncode == 0, done.stderr
    verified = run(sys.executable, "-m", "attwin", "model", "verify", str(folder / "m.zip"), "--json")

    said, bundle = json.loads(done.stdout), read_bundle(folder / "m.zip")
    assert json.loads(verified.stdout)["worst"] == 0
    after = bundle.manifest.after
    assert after is not None
    assert (said["train_rows"], after.rows, after.accuracy > 0.85) == (240, 120, True)
    assert len(bundle.manifest.runtimes) >= 1
    assert said["chosen"] in bundle.card
    assert {"logistic 0.001, newest, clock, normalised", "logistic 0.0001, windows"} < {
        r["name"] for r in said["tried"]
    }
    assert not (folder / "m.zip.work").exists()
    blind = folder / "blind.csv"
    blind.write_text("time,level,noise\n600,,0.1\n660,3,0.1\n", encoding="utf-8")
    scored = run(
        sys.executable, "-m", "attwin", "score", "--bundle", str(folder / "m.zip"), str(blind), "--json",
    )  # fmt: skip
    unsure, sure = (json.loads(line) for line in scored.stdout.splitlines())
    assert (unsure["missing"], sure["missing"]) == ("level", "")
    assert abs(unsure["score"] - 0.5) < 0.35 < sure["score"] - 0.5


def test_a_regression_learns_a_share(folder: Path) -> None:
    """A label between 0 and 1 has an error and no AUC."""
    done = run(*command(folder, "logistic", label="share"))
    assert done.returncode == 0, done.stderr

    after = read_bundle(folder / "m.zip").manifest.after

    assert after is not None
    assert (after.auc, after.brier < 0.01) == (None, True)


def test_trees_teach_a_network_that_a_line_cannot_follow(folder: Path) -> None:
    """The distilled family alone, through training, conversion and proof."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 360))
    lines = [f"{60 * i},{a[i]:.4f},{b[i]:.4f},{int(a[i] * b[i] > 0)}" for i in range(360)]
    (folder / "data.csv").write_text("time,level,noise,busy\n" + "\n".join(lines) + "\n", encoding="utf-8")

    done = run(*command(folder, "distilled"))
    assert done.returncode == 0, done.stderr

    after = read_bundle(folder / "m.zip").manifest.after
    assert after is not None
    assert after.accuracy > 0.8


def test_the_same_command_goes_on_after_an_interruption(folder: Path) -> None:
    """What was fitted is there when it is asked for again, and is not fitted again."""
    # where tests run in the background, SIGINT is ignored
    run_it = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from attwin_converter.cli import main; main()"
    )
    asked = [sys.executable, "-c", run_it, *command(folder, "logistic")[3:]]
    first = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = folder / "m.zip.work"
    for _ in range(1_000):
        if len(list(work.glob("*/done.npz"))) > 1:
            break
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=60) != 0
    before = {path: path.stat().st_mtime_ns for path in work.glob("*/done.npz")}
    assert len(before) > 1
    assert not (folder / "m.zip").exists()

    again = run(*command(folder, "logistic"), "--work", str(work))

    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(work.glob("*/done.npz"))) > len(before)
