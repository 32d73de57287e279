"""Runs tasks on a Dask cluster. What travels are the bytes of a plan and its rows, and of the results."""

import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attwin.core.errors import DataError
from attwin_converter.fitting import PLAN, ROWS
from attwin_converter.local_executor import TASK_SECONDS
from attwin_converter.tasks import OnDone, Task, left_of
from attwin_converter.worker import WorkerError, run_worker

_CONNECT_SECONDS = 10


class DaskExecutor:
    """Implements ``tasks.Executor`` on a cluster whose workers have attwin[converter] installed."""

    def __init__(self, address: str) -> None:
        """Note where the scheduler is, such as tcp://10.0.0.5:8786."""
        self._address = address

    def run(self, tasks: Sequence[Task], on_done: OnDone) -> dict[Path, str]:
        """Run those tasks that are not done yet; say of each that it is done. Return what went wrong, by folder.

        Raises:
            DataError: There is no scheduler, or it has no worker.
        """
        distributed: Any = importlib.import_module("distributed")  # an extra, without types
        try:
            client = distributed.Client(self._address, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise DataError(f"no Dask scheduler at {self._address}: {error}") from error
        problems: dict[Path, str] = {}
        with client:
            if not client.scheduler_info()["workers"]:
                raise DataError(f"the Dask scheduler at {self._address} has no workers")
            running = {}
            for task in left_of(tasks, on_done):
                given = {name: (task.folder / name).read_bytes() for name in (PLAN, ROWS)}
                running[client.submit(_run, task.step, given, pure=False)] = task
            for future in distributed.as_completed(list(running)):
                task = running[future]
                if future.status == "error":
                    problems[task.folder] = str(future.exception())
                else:
                    _keep(task, future.result())
                on_done(task.name)
        return problems


def _run(step: str, given: dict[str, bytes]) -> dict[str, bytes]:
    """Run a step on a worker, in a process of its own, because TensorFlow may end it. Return the files it wrote."""
    with tempfile.TemporaryDirectory(prefix="attwin-task-") as name:
        folder = Path(name)
        for file, body in given.items():
            (folder / file).write_bytes(body)
        try:
            run_worker(step, folder, seconds=TASK_SECONDS)
        except WorkerError as error:
            # an error of our own need not be known to the scheduler
            raise RuntimeError(str(error)) from error
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in given}


def _keep(task: Task, files: dict[str, bytes]) -> None:
    """Write the results of a task, the one that says that it is done last."""
    for name in sorted(files, key=lambda name: name == task.result.name):
        partial = task.folder / "partial"
        partial.write_bytes(files[name])
        partial.rename(task.folder / name)
    (task.folder / ROWS).unlink()
