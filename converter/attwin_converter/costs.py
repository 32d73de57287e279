"""What a candidate would cost a gateway, measured on an untrained file of its shape before time is spent on it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attwin.core.errors import BundleError
from attwin_converter.candidates import Candidate
from attwin_converter.dataset import BudgetSettings, DatasetSettings
from attwin_converter.fitting import PLAN
from attwin_converter.progress import Progress
from attwin_converter.runtimes import Checked, Runtime, check_file
from attwin_converter.tasks import Executor, Task, prepared

_BYTES_A_KB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one model costs, in the runtime where it costs most.

    Attributes:
        file_kb: The size of its file [KiB].
        latency_us: The time of a row in a batch of 64 [us].
        memory_kb: What loading it adds to a process [KiB].
        problem: Why no file could be made of it, or no runtime takes it.
    """

    file_kb: float = 0.0
    latency_us: float = 0.0
    memory_kb: int = 0
    problem: str = ""

    def excess(self, budget: BudgetSettings) -> str:
        """Return what is too much; empty where nothing is."""
        if self.problem:
            return self.problem
        if self.latency_us > budget.latency_us:
            return f"{self.latency_us:.1f} us a row, the budget is {budget.latency_us:g}"
        if self.file_kb > budget.file_kb:
            return f"{self.file_kb:.0f} KiB, the budget is {budget.file_kb}"
        if self.memory_kb > budget.memory_kb:
            return f"{self.memory_kb} KiB of memory, the budget is {budget.memory_kb}"
        return ""

    def seeds(self, budget: BudgetSettings, most: int) -> int:
        """Return how many such models may be averaged: each costs as much again."""
        shares = (
            (self.latency_us, budget.latency_us),
            (self.file_kb, budget.file_kb),
            (self.memory_kb, budget.memory_kb),
        )
        return max(1, min(most, *(int(allowed / used) for used, allowed in shares if used > 0)))


def costs_of(
    settings: DatasetSettings,
    shapes: Mapping[Candidate, Mapping[str, int]],
    among: Sequence[Runtime],
    executor: Executor,
    work: Path,
    progress: Progress,
) -> Mapping[Candidate, Cost]:
    """Return what each candidate costs.

    Candidates of the same shape share a file. The files are made by as many processes as there may be, and run one
    after the other, because they are timed.

    Args:
        settings: The data set.
        shapes: ``Pool.shape`` of every candidate.
        among: The runtimes of the bundle.
        executor: Runs the conversions.
        work: Where they are kept.
        progress: Told of every file.
    """
    tasks: dict[Candidate, Task] = {}
    for candidate, shape in shapes.items():
        plan = {"family": candidate.family, "seeds": [1], "precision": settings.training.precision, **shape}
        tasks[candidate] = prepared(work, f"{candidate.family}, {shape['width']} inputs", "sketch", plan, {})
    different = {task.folder: task for task in tasks.values()}
    progress.stage("measuring what candidates cost", 2 * len(different))
    problems = executor.run(list(different.values()), progress.step)
    costs: dict[Path, Cost] = {}
    for folder, task in different.items():
        costs[folder] = Cost(problem=problems[folder]) if folder in problems else _cost(task, among)
        progress.step(task.name)
    return {candidate: costs[task.folder] for candidate, task in tasks.items()}


def _cost(task: Task, among: Sequence[Runtime]) -> Cost:
    plan = json.loads((task.folder / PLAN).read_text(encoding="utf-8"))
    model = task.result.read_bytes()
    try:
        checked = check_file(model, np.zeros((1, plan["width"]), np.float32), among)
    except BundleError as error:
        return Cost(problem=str(error))
    return cost_of(model, checked)


def cost_of(model: bytes, checked: Sequence[Checked]) -> Cost:
    """Return what a file costs that was run in some runtimes."""
    return Cost(
        file_kb=len(model) / _BYTES_A_KB,
        latency_us=max(one.latency_us for one in checked),
        memory_kb=max(one.memory_kb for one in checked),
    )
