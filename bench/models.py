"""What the models are worth that `attwin-convert train` chooses by itself, and what scoring them costs.

Every figure is of the exported file, scored by the agent's own code in its runtime (`attwin-convert evaluate`); the
settings are those of config/datasets, which leave all that is not of the data at its default.

- occupancy, occupancy-without-light: trained on the training file alone.
- shoppers: a stratified hold-out of 30 % of the rows, several times; the split's seed is the number of the repeat.
- scoring: a round of many entities with a dense model, windows to scores, beside the runtime alone on ready inputs.

usage: python bench/models.py [occupancy] [occupancy-without-light] [shoppers] [scoring] [--repeats 5] [--keep FOLDER]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from attwin.adapters.tflite import load_engine
from attwin.core.baseline import Baselines
from attwin.core.windows import Windows
from attwin.runtime.twin import KindModel
from attwin.wiring.models import bundle_path, load_bundle

DATASETS = Path(__file__).parents[1] / "config" / "datasets"
START_MS = 1_780_000_000_000 // 60_000 * 60_000
ENTITIES, ROUNDS, BATCH = 10_000, 15, 512
GAP = 0.002


def convert(*command: str) -> dict[str, Any]:
    """Run attwin-convert and return what it says; its progress goes to the terminal."""
    said = subprocess.run(
        [sys.executable, "-m", "attwin_converter.cli", *command, "--json"],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout
    return json.loads(said)


def trained(dataset: Path, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train on a data set, score its test rows with the bundle, and print what came of it."""
    started = time.perf_counter()
    made = convert("train", str(dataset), "--out", str(out))
    taken = time.perf_counter() - started
    figures = convert("evaluate", str(out), str(dataset))
    before = made["manifest"]["before"]
    lost = before["accuracy"] - figures["accuracy"]
    worse = figures["brier"] - before["brier"]
    seeds = made["seeds"]
    print(f"{out.stem}: {made['chosen']}, {seeds} averaged, {made['model_bytes']:,} bytes, {taken / 60:.1f} min")
    print(
        f"  {figures['runtime']}: {round(figures['accuracy'] * figures['rows']):,} of {figures['rows']:,} right "
        f"({figures['accuracy']:.4f}), Brier {figures['brier']:.4f}, AUC {figures['auc']:.4f}, "
        f"AP {figures['average_precision']:.4f}, F1 {figures['f1']:.4f}"
    )
    told("  lost by the export: accuracy", lost, GAP, is_most=True)
    told("  lost by the export: Brier", worse, GAP, is_most=True)
    return made, figures


def told(what: str, found: float, target: float, *, is_most: bool = False) -> None:
    """Print a figure beside its target."""
    is_reached = found <= target if is_most else found >= target
    print(f"{what} {found:.4f}, target {'<=' if is_most else '>='} {target:g}: {'reached' if is_reached else 'MISSED'}")


def occupancy(folder: Path, _repeats: int) -> None:
    """Print the figures with all metrics."""
    _, figures = trained(DATASETS / "occupancy.yaml", folder / "occupancy.zip")
    told("occupancy: accuracy", figures["accuracy"], 2609 / 2665)
    told("occupancy: Brier", figures["brier"], 0.021, is_most=True)


def without_light(folder: Path, _repeats: int) -> None:
    """Print the figures without the light sensor."""
    _, figures = trained(DATASETS / "occupancy-without-light.yaml", folder / "occupancy-without-light.zip")
    told("occupancy without light: accuracy", figures["accuracy"], 0.955)


def shoppers(folder: Path, repeats: int) -> None:
    """Print the means over several draws of the hold-out."""
    text = (DATASETS / "shoppers.yaml").read_text(encoding="utf-8")
    text = text.replace("../../", f"{DATASETS.parents[1]}/")
    found = []
    for seed in range(1, repeats + 1):
        dataset = folder / f"shoppers-{seed}.yaml"
        dataset.write_text(text.replace("test_share: 0.3", f"test_share: 0.3\n  seed: {seed}"), encoding="utf-8")
        found.append(trained(dataset, folder / f"shoppers-{seed}.zip")[1])
    for name, target in (("f1", 0.66), ("auc", 0.93), ("average_precision", 0.74)):
        values = [figures[name] for figures in found]
        spread = f"{min(values):.4f} to {max(values):.4f}"
        told(f"shoppers: mean {name} of {repeats} ({spread})", statistics.mean(values), target)


def scoring(_folder: Path, _repeats: int) -> None:
    """Print the time of a round of scores, beside that of the runtime alone."""
    bundle, scorer = load_bundle(bundle_path("builtin:occupancy"))
    manifest = bundle.manifest
    metrics = len(manifest.metrics)
    model = KindModel(manifest, scorer, range(metrics))
    windows, baselines = Windows(len(manifest.windows_ms), model.parts), Baselines()
    first = np.arange(ENTITIES, dtype=np.int32) * metrics
    series = np.arange(ENTITIES * metrics, dtype=np.int32)
    rng = np.random.default_rng(1)
    at_ms = np.full(ENTITIES, START_MS, np.int64)
    for minute in range(6):
        at_ms = np.full(ENTITIES, START_MS + 60_000 * minute, np.int64)
        readings_ms = np.repeat(at_ms, metrics)
        windows.apply(series, readings_ms, rng.normal(20, 5, len(series)), manifest.windows_ms)
    engine, runtime = load_engine(bundle.model)
    ready = rng.integers(-128, 128, (ENTITIES, manifest.input_count), np.int8)
    batches = [ready[start : start + BATCH] for start in range(0, ENTITIES, BATCH)]
    whole, bare = [], []
    for _ in range(ROUNDS + 2):
        before = time.perf_counter()
        _, features = model.features(windows, baselines, first, at_ms)
        model.score(features)
        whole.append(time.perf_counter() - before)
        before = time.perf_counter()
        for batch in batches:
            engine.run(batch)
        bare.append(time.perf_counter() - before)
    mine, alone = (statistics.median(taken[2:]) * 1e3 for taken in (whole, bare))
    layers = ", ".join(operator.name for operator in manifest.operators)
    print(f"scoring {ENTITIES:,} entities, {manifest.input_count} inputs, {layers}, {runtime}")
    print(f"  features, inputs and scores {mine:.1f} ms, the runtime alone in batches of {BATCH} {alone:.1f} ms")
    told("scoring: ratio", mine / alone, 2.0, is_most=True)


WHAT = {"occupancy": occupancy, "occupancy-without-light": without_light, "shoppers": shoppers, "scoring": scoring}


def main() -> None:
    """Run what was asked for and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[[], *WHAT], help="all unless told")
    parser.add_argument("--repeats", type=int, default=5, help="of shoppers")
    parser.add_argument("--keep", type=Path, help="where bundles stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attwin-models-") as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        for what in options.what or WHAT:
            WHAT[what](folder, options.repeats)


if __name__ == "__main__":
    main()
