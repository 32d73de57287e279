"""Runs tasks on this machine, each in a process of its own."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from attwin_converter.fitting import ROWS
from attwin_converter.tasks import OnDone, Task, left_of
from attwin_converter.worker import WorkerError, run_worker

TASK_SECONDS = 1_800.0


class LocalExecutor:
    """Implements ``tasks.Executor`` with some processes at a time."""

    def __init__(self, workers: int, seconds: float = TASK_SECONDS) -> None:
        """Note how many processes may run, and for how long each may."""
        self._workers = workers
        self._seconds = seconds

    def run(self, tasks: Sequence[Task], on_done: OnDone) -> dict[Path, str]:
        """Run those tasks that are not done yet; say of each that it is done. Return what went wrong, by folder."""
        problems: dict[Path, str] = {}
        pool = ThreadPoolExecutor(self._workers)
        try:
            running = {
                pool.submit(run_worker, task.step, task.folder, seconds=self._seconds): task
                for task in left_of(tasks, on_done)
            }
            for future in as_completed(running):
                task = running[future]
                try:
                    future.result()
                    # the rows of many folds would fill a disk
                    (task.folder / ROWS).unlink()
                except WorkerError as error:
                    problems[task.folder] = str(error)
                on_done(task.name)
        finally:
            # an interruption waits for the processes that run, not for those that would have
            pool.shutdown(cancel_futures=True)
        return problems
