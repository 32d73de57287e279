"""Runs a .tflite file in one runtime, in a process of its own: what it computes, how long it takes, what it holds.

usage: python -m attwin_converter.runtime_worker probe
       python -m attwin_converter.runtime_worker RUNTIME MODEL INPUTS.npy SCORES.npy

Prints one line of JSON: the runtimes that work here and their versions; or version, quantisation, latency and memory.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from attwin.core.errors import BundleError, ScorerError
from attwin.wiring.models import load_model, probe, probe_runtimes

_BATCH = 64
_RUNS, _SECONDS = 7, 0.05


def found() -> dict[str, str]:
    """Return name and version of every runtime that works here."""
    return {finding.name: finding.detail for finding in probe_runtimes() if finding.works}


def checked(runtime: str, model: Path, inputs: Path, scores: Path) -> dict[str, Any]:
    """Score rows with a model file, write the scores, and return what it costs."""
    rows = np.load(inputs)
    # whatever the runtime itself holds is not the model's
    version = probe(runtime)
    before = _resident_kb()
    scorer = load_model(model.read_bytes(), inputs=rows.shape[1], runtime=runtime)
    batch = np.zeros((_BATCH, rows.shape[1]), np.float32)
    try:
        scorer.score(batch)
        memory_kb = _resident_kb() - before
        outputs = scorer.outputs(rows)
    except (RuntimeError, ValueError) as error:
        raise BundleError(
            f"cannot score as many rows at a time as the agent does: {str(error).splitlines()[0]}"
        ) from error
    np.save(scores, np.clip(outputs, 0.0, 1.0))
    given, made = scorer.quantisation
    return {
        "version": version,
        "low": float(outputs.min(initial=1.0)),
        "high": float(outputs.max(initial=0.0)),
        "input": asdict(given) if given else None,
        "output": asdict(made) if made else None,
        "latency_us": min(_microseconds(scorer, batch) for _ in range(_RUNS)) / _BATCH,
        "memory_kb": memory_kb,
    }


def _microseconds(scorer: Any, batch: Any) -> float:  # noqa: ANN401 -- a scorer and rows
    started, runs = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS:
        scorer.score(batch)
        runs += 1
    return (time.perf_counter() - started) * 1e6 / runs


def _resident_kb() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


if __name__ == "__main__":
    try:
        said = found() if sys.argv[1] == "probe" else checked(sys.argv[1], *map(Path, sys.argv[2:5]))
    except (BundleError, ScorerError) as error:
        sys.exit(str(error))
    print(json.dumps(said))  # noqa: T201 -- the protocol with the parent
