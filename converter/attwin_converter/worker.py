"""Runs ``keras_worker`` as a child process and turns what can happen to it into errors."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from attwin.core.errors import AttwinError
from attwin_converter.examining import ModelError
from attwin_converter.keras_worker import REFUSED

_MOST_SHOWN = 12
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    # several run beside each other, and none is large enough to gain by more
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class WorkerError(AttwinError):
    """Training or conversion failed, crashed or took too long."""


def run_worker(
    step: str,
    folder: Path,
    *,
    seconds: float,
    on_report: Callable[[dict[str, float]], None] = lambda _report: None,
) -> None:
    """Run one step in a child process.

    Args:
        step: One of ``keras_worker.STEPS``.
        folder: Where its arrays are and its results go.
        seconds: How long it may take.
        on_report: Told what the step reports as it goes.

    Raises:
        WorkerError: It failed, crashed or took too long; it says which, and the end of what it said.
        ModelError: The step refused the model.
    """
    command = [sys.executable, "-m", "attwin_converter.keras_worker", step, str(folder)]
    environment = {**os.environ, **_ENVIRONMENT}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        code, expired = _run(command, environment, said, seconds, on_report)
        said.seek(0)
        tail = "\n".join(said.read().splitlines()[-_MOST_SHOWN:])
    if expired:
        raise WorkerError(f"{step} took more than {seconds:g} s and was ended")
    if code < 0:
        raise WorkerError(f"{step} crashed with {signal.Signals(-code).name}\n{tail}")
    if code == REFUSED:
        raise ModelError(tail.rpartition("\n")[2])
    if code > 0:
        raise WorkerError(f"{step} failed\n{tail}")


def _run(
    command: list[str],
    environment: dict[str, str],
    said: IO[str],
    seconds: float,
    on_report: Callable[[dict[str, float]], None],
) -> tuple[int, bool]:
    """Return how a process ended, and whether that was because its time was up."""
    expired = threading.Event()
    # the interpreter is this one and the package ours
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment) as child:  # noqa: S603 -- see above

        def expire() -> None:
            expired.set()
            child.kill()

        timer = threading.Timer(seconds, expire)
        timer.start()
        try:
            for line in child.stdout or ():
                if line.startswith('{"epoch"'):
                    on_report(json.loads(line))
            return child.wait(), expired.is_set()
        finally:
            timer.cancel()
            child.kill()
