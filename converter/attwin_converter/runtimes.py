"""The exported file in every runtime that a bundle is to claim, each in a process of its own."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import BundleError, ScorerError
from attwin.core.quantise import Quantisation

_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A runtime and the interpreter of Python in whose environment it is."""

    name: str
    version: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """What a file does in a runtime.

    Attributes:
        runtime: Which.
        scores: Of the rows that were asked for. Shape (N,).
        low, high: The least and the greatest output before it was cut to a score; NaN where one is.
        input, output: How its tensors are stored; None for float32.
        latency_us: Time of one row in a batch of 64 [us].
        memory_kb: What loading it and scoring such a batch added to the process [KiB].
    """

    runtime: Runtime
    scores: NDArray[np.float32]
    low: float
    high: float
    input: Quantisation | None
    output: Quantisation | None
    latency_us: float
    memory_kb: int


def runtimes(pythons: Sequence[str] = ()) -> list[Runtime]:
    """Return the runtimes that work in this environment and in those of other interpreters, each name once.

    Raises:
        ScorerError: An interpreter cannot run attwin, or there is no runtime at all.
    """
    found: dict[str, Runtime] = {}
    for python in (sys.executable, *pythons):
        for name, version in _asked(python, ["probe"]).items():
            found.setdefault(name, Runtime(name=name, version=version, python=python))
    if not found:
        raise ScorerError("no TFLite runtime works here: pip install 'attwin[converter]'")
    return list(found.values())


def check_file(model: bytes, rows: NDArray[np.float32], among: Sequence[Runtime]) -> list[Checked]:
    """Run a file in every runtime, one after the other, because they are timed.

    Args:
        model: The .tflite file.
        rows: To score. Shape (N, I).
        among: The runtimes.

    Raises:
        BundleError: A runtime refuses the file, or its process died or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="attwin-runtime-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(model)
        np.save(folder / "inputs.npy", rows)
        return [_checked(runtime, folder) for runtime in among]


def _checked(runtime: Runtime, folder: Path) -> Checked:
    files = [str(folder / file) for file in ("model.tflite", "inputs.npy", "scores.npy")]
    try:
        said = _asked(runtime.python, [runtime.name, *files])
    except ScorerError as error:
        name = f"{runtime.name} {runtime.version}"
        raise BundleError(f"{name}: {str(error).removeprefix(f'{name} ')}") from error
    return Checked(
        runtime=runtime,
        scores=np.load(folder / "scores.npy"),
        low=said["low"],
        high=said["high"],
        input=Quantisation(**said["input"]) if said["input"] else None,
        output=Quantisation(**said["output"]) if said["output"] else None,
        latency_us=said["latency_us"],
        memory_kb=said["memory_kb"],
    )


def _asked(python: str, arguments: Sequence[str]) -> dict[str, Any]:
    command = [python, "-m", "attwin_converter.runtime_worker", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603 -- an interpreter that the user named
    except OSError as error:
        raise ScorerError(f"{python} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ScorerError(f"took more than {_SECONDS} s and was ended") from error
    if done.returncode < 0:
        raise ScorerError(f"crashed with {signal.Signals(-done.returncode).name}")
    if done.returncode:
        raise ScorerError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
