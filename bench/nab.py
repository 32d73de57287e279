"""The anomaly score on series of the Numenta Anomaly Benchmark, beside windowed Gaussian by the same scorer.

    python bench/nab.py FOLDER [--profile standard] [--json]

FOLDER holds data/, labels/combined_windows.json and config/profiles.json as github.com/numenta/NAB has them; series
that are not there are left out. One threshold is chosen on the whole corpus, as NAB does; beside it stands the score
with the threshold of each folder chosen on the others. The targets are more than 55, and less than 0.2 ms a record.

The score is that of Lavin and Ahmad 2015, "Evaluating Real-time Anomaly Detection Algorithms": of each window the first
detection counts, the more the earlier; what is outside counts against, the less the closer it follows a window.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.csv_table import read_table
from attwin.core.anomaly import Anomalies

PROBATION, MOST_PROBATION = 0.15, 750
_FAR = 3.0
_STEEP = 5.0
_GAUSSIAN_WINDOW, _GAUSSIAN_STEP = 6_400, 100
UTC = ZoneInfo("UTC")
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """A series with its windows.

    Attributes:
        name: Folder and file.
        time_ms, value: Shape (N,).
        windows: First and last row of each.
    """

    name: str
    time_ms: NDArray[np.int64]
    value: Scores
    windows: list[tuple[int, int]]

    @property
    def probation(self) -> int:
        """How many rows count for nothing."""
        return min(int(PROBATION * len(self.value)), MOST_PROBATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a detection and a miss count."""

    hit: float
    miss: float
    false: float


def read_corpus(folder: Path) -> list[Labelled]:
    """Return the series that are there."""
    windows = json.loads((folder / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    found = []
    for name, spans in sorted(windows.items()):
        path = folder / "data" / name
        if not path.exists():
            continue
        table = read_table(path)
        time_ms = table.times_ms("timestamp", UTC)
        bounds = np.array([[np.datetime64(text, "ms") for text in span] for span in spans], "datetime64[ms]")
        rows = [
            (int(np.searchsorted(time_ms, first)), int(np.searchsorted(time_ms, last, side="right")) - 1)
            for first, last in bounds.astype(np.int64).reshape(-1, 2).tolist()
        ]
        found.append(Labelled(name=name, time_ms=time_ms, value=table.numbers("value"), windows=rows))
    return found


def sigmoid(place: float) -> float:
    """Return what a detection is worth: near 1 at the left edge of a window, 0 at its right edge, then down to -1."""
    return -1.0 if place > _FAR else 2.0 / (1.0 + math.exp(_STEEP * place)) - 1.0


def worth(series: Labelled, weights: Weights) -> tuple[Scores, NDArray[np.int64]]:
    """Return what a detection counts at each row, and in which window it is: -1 for none, -2 for probation."""
    count = len(series.value)
    counts, window = np.zeros(count), np.full(count, -1)
    for row in range(count):
        inside = next((n for n, (first, last) in enumerate(series.windows) if first <= row <= last), None)
        if inside is not None:
            first, last = series.windows[inside]
            window[row] = inside
            counts[row] = weights.hit * sigmoid(-(last - row + 1) / (last - first + 1)) / sigmoid(-1.0)
            continue
        before = [span for span in series.windows if span[1] < row]
        place = (row - before[-1][1]) / (before[-1][1] - before[-1][0]) if before else math.inf
        counts[row] = weights.false * sigmoid(place)
    window[: series.probation] = -2
    return counts, window


def sweep(corpus: list[Labelled], scores: list[Scores], weights: Weights) -> tuple[float, float]:
    """Return the highest score of all thresholds, 0 for who finds nothing and 100 for the perfect one, and where."""
    best_of: dict[tuple[int, int], float] = {}
    rows = []
    for place, (series, own) in enumerate(zip(corpus, scores, strict=True)):
        counts, window = worth(series, weights)
        best_of |= {(place, number): -weights.miss for number in range(len(series.windows))}
        counted = np.flatnonzero(window >= -1)
        columns = (own[counted].tolist(), counts[counted].tolist(), window[counted].tolist())
        rows += [(*row, place) for row in zip(*columns, strict=True)]
    rows.sort(key=lambda row: -row[0])
    windows = len(best_of)
    now = best = -weights.miss * windows
    threshold = math.inf
    for number, (score, counts, window, place) in enumerate(rows):
        if window >= 0:
            gain = max(0.0, counts - best_of[place, window])
            best_of[place, window] += gain
            now += gain
        else:
            now += counts
        if now > best and (number + 1 == len(rows) or rows[number + 1][0] != score):
            best, threshold = now, score
    return _normalised(best, windows, weights), threshold


def score_at(corpus: list[Labelled], scores: list[Scores], threshold: float, weights: Weights) -> float:
    """Return the sum of what detections at a threshold count, before it is normalised."""
    total = 0.0
    for series, own in zip(corpus, scores, strict=True):
        counts, window = worth(series, weights)
        found = own >= threshold
        total += float(counts[found & (window == -1)].sum())
        for number in range(len(series.windows)):
            hits = counts[found & (window == number)]
            total += float(hits.max()) if len(hits) else -weights.miss
    return total


def left_out(corpus: list[Labelled], scores: list[Scores], weights: Weights) -> float:
    """Return the score where the threshold of each folder is chosen on the other folders."""
    folders = sorted({series.name.split("/")[0] for series in corpus})
    total, windows = 0.0, sum(len(series.windows) for series in corpus)
    for folder in folders:
        mine = [series.name.startswith(f"{folder}/") for series in corpus]
        others = [n for n, own in enumerate(mine) if not own]
        _, threshold = sweep([corpus[n] for n in others], [scores[n] for n in others], weights)
        own = [n for n, is_mine in enumerate(mine) if is_mine]
        total += score_at([corpus[n] for n in own], [scores[n] for n in own], threshold, weights)
    return _normalised(total, windows, weights)


def windowed_gaussian(value: Scores) -> Scores:
    """Return the scores of the detector that NAB calls so: one less the Gaussian tail of a sliding window."""
    window: list[float] = []
    newer: list[float] = []
    mean, spread, found = 0.0, 1e-6, []
    for own in value.tolist():
        above = own if own >= mean else 2 * mean - own
        found.append(1 - 0.5 * math.erfc((above - mean) / spread / math.sqrt(2)) if window else 0.0)
        if len(window) < _GAUSSIAN_WINDOW:
            window.append(own)
        else:
            newer.append(own)
            if len(newer) < _GAUSSIAN_STEP:
                continue
            window, newer = window[_GAUSSIAN_STEP:] + newer, []
        mean, spread = float(np.mean(window)), float(np.std(window)) or 1e-6
    return np.array(found)


def attwin_scores(series: Labelled) -> tuple[Scores, float, tuple[int, int]]:
    """Return the scores, a record at a time, the time of a record [us], and the bytes of state early and at the end."""
    anomalies, only = Anomalies(), np.zeros(1, np.int32)
    found, sizes = np.empty(len(series.value)), []
    began = time.perf_counter()
    for row in range(len(series.value)):
        part = slice(row, row + 1)
        found[part], _ = anomalies.update(only, series.time_ms[part], series.value[part])
        if row in (min(1000, len(series.value) - 1), len(series.value) - 1):
            sizes.append(sum(array.nbytes for array in anomalies.dump().values()))
    return found, 1e6 * (time.perf_counter() - began) / len(series.value), (sizes[0], sizes[-1])


def _normalised(total: float, windows: int, weights: Weights) -> float:
    nothing = -weights.miss * windows
    return 100 * (total - nothing) / (weights.hit * windows - nothing)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    profiles = json.loads((arguments.folder / "config" / "profiles.json").read_text(encoding="utf-8"))
    matrix = profiles[arguments.profile]["CostMatrix"]
    weights = Weights(hit=matrix["tpWeight"], miss=matrix["fnWeight"], false=matrix["fpWeight"])
    corpus = read_corpus(arguments.folder)
    if not corpus:
        sys.exit(f"{arguments.folder}: no series of NAB")
    gaussian, _ = sweep(corpus, [windowed_gaussian(series.value) for series in corpus], weights)
    measured = [attwin_scores(series) for series in corpus]
    scores = [own for own, _, _ in measured]
    score, threshold = sweep(corpus, scores, weights)
    facts = {
        "series": len(corpus),
        "windows": sum(len(series.windows) for series in corpus),
        "score": score,
        "threshold": threshold,
        "threshold_of_other_folders": left_out(corpus, scores, weights),
        "windowed_gaussian": gaussian,
        "ratio": score / gaussian,
        "us_a_record": float(np.median([took for _, took, _ in measured])),
        "memory_grew_bytes": max(late - early for _, _, (early, late) in measured),
        "bytes_a_series": Anomalies().bytes_a_series,
    }
    for name, value in [("", json.dumps(facts))] if arguments.json else facts.items():
        print(f"{name:28} {value:.4g}" if isinstance(value, float) else f"{name:28} {value}".strip())


if __name__ == "__main__":
    main()
