"""Work that runs in processes: a folder with a plan and rows, and a result that is found again by a later run."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import attwin
from attwin_converter.examining import TFLITE
from attwin_converter.fitting import DONE, MODEL, give

RESULTS: Mapping[str, str] = {"fit": DONE, "model": MODEL, "sketch": TFLITE, "convert": TFLITE}
"""The file that a step writes last."""
OnDone = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A step that runs by itself.

    Attributes:
        name: What progress calls it.
        step: Of ``keras_worker.STEPS``.
        folder: Where its plan and rows are, and its result goes.
    """

    name: str
    step: str
    folder: Path

    @property
    def result(self) -> Path:
        """The file that it writes last."""
        return self.folder / RESULTS[self.step]

    def is_done(self) -> bool:
        """Return whether its result is there, from now or from an earlier run."""
        return self.result.is_file()


class Executor(Protocol):
    """Runs tasks."""

    def run(self, tasks: Sequence[Task], on_done: OnDone) -> dict[Path, str]:
        """Run those tasks that are not done yet; say of each that it is done. Return what went wrong, by folder.

        Tasks that are made of the same have the same folder, and run once.
        """


def left_of(tasks: Sequence[Task], on_done: OnDone) -> list[Task]:
    """Return the tasks that are not done, each once; say of the others that they are."""
    left: dict[Path, Task] = {}
    for task in tasks:
        if task.is_done() or task.folder in left:
            on_done(task.name)
        else:
            left[task.folder] = task
    return list(left.values())


def prepared(work: Path, name: str, step: str, plan: Mapping[str, Any], rows: Mapping[str, NDArray[Any]]) -> Task:
    """Return a task, its folder called by what it is made of, so that the same work is not done twice."""
    what = f"{attwin.__version__} {step} {json.dumps(plan, sort_keys=True)}"
    digest = hashlib.blake2b(what.encode(), digest_size=12)
    for key in sorted(rows):
        array = np.ascontiguousarray(rows[key])
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    task = Task(name=name, step=step, folder=work / digest.hexdigest())
    if not task.is_done():
        task.folder.mkdir(parents=True, exist_ok=True)
        give(task.folder, plan, rows)
    return task
