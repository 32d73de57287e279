"""Facts about work in processes: found again, of all the ways in which it ends, on this machine and on a cluster."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from attwin.core.errors import DataError
from attwin_converter import worker
from attwin_converter.dask_executor import DaskExecutor
from attwin_converter.local_executor import LocalExecutor
from attwin_converter.tasks import Task, prepared

PLAN = {"family": "logistic", "seeds": [1], "penalty": 1e-3}


def a_task(work: Path, seed: int = 1, name: str = "") -> Task:
    """Return a fit of a logistic regression, which is done in a second."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(40, 2)).astype(np.float32)
    rows = {
        "inputs": inputs,
        "label": (inputs[:, 0] > 0).astype(np.float32),
        "weight": np.ones(40, np.float32),
        "scored": inputs[:5],
    }
    return prepared(work, name or f"fit {seed}", "fit", PLAN, rows)


def logits(task: Task) -> list[float]:
    """Return what a task found."""
    with np.load(task.result) as done:
        found: list[float] = done["logit"].tolist()
    return found


def test_a_task_is_called_by_what_it_is_made_of(tmp_path: Path) -> None:
    """The same plan and rows are the same folder; one other number is another."""
    first, again, other = a_task(tmp_path), a_task(tmp_path, name="again"), a_task(tmp_path, 2)

    assert first.folder == again.folder != other.folder


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    """By a later run either: its result is there. Tasks made of the same run once."""
    said: list[str] = []
    executor = LocalExecutor(2)
    first, twin = a_task(tmp_path), a_task(tmp_path, name="twin")

    assert executor.run([first, twin, a_task(tmp_path, 2)], said.append) == {}
    made_ns = first.result.stat().st_mtime_ns
    assert executor.run([a_task(tmp_path)], said.append) == {}

    assert sorted(said) == ["fit 1", "fit 1", "fit 2", "twin"]
    assert first.result.stat().st_mtime_ns == made_ns


def test_a_task_that_dies_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It crashes, or takes too long; the message says which, and of which task."""
    script = tmp_path / "python"
    script.write_text(
        f"#!{sys.executable}\n"
        "import os, signal, sys, time\n"
        "if 'crash' in sys.argv[-1]: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "if 'endless' in sys.argv[-1]: time.sleep(60)\n"
        "open(sys.argv[-1] + '/done.npz', 'w').close()\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    monkeypatch.setattr(worker.sys, "executable", str(script))
    tasks = [Task(name=name, step="fit", folder=tmp_path / name) for name in ("crash", "endless", "right")]
    for task in tasks:
        task.folder.mkdir()
        (task.folder / "rows.npz").touch()

    problems = LocalExecutor(2, seconds=3).run(tasks, lambda _name: None)

    crash, endless, right = (task.folder for task in tasks)
    assert problems[crash].startswith("fit crashed with SIGSEGV")
    assert problems[endless] == "fit took more than 3 s and was ended"
    assert right not in problems
    assert tasks[2].is_done()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """Start a Dask scheduler and two workers as processes on loopback."""
    file = tmp_path / "scheduler.json"
    dask_worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--host", "127.0.0.1"]
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen([*dask, *arguments], **common)
    workers = [
        subprocess.Popen(
            [*dask_worker, "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"],
            **common,
        )
        for _ in range(2)
    ]
    try:
        import distributed

        for _ in range(600):
            if file.exists():
                break
            time.sleep(0.1)
        with distributed.Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, workers
    finally:
        for process in [*workers, scheduler]:
            process.kill()
            process.wait()


def test_a_cluster_computes_the_same_and_a_lost_worker_costs_its_task_alone(
    tmp_path: Path, cluster: tuple[str, list["subprocess.Popen[bytes]"]]
) -> None:
    """A worker is killed while it works: the other one does its task again, and nothing else."""
    address, workers = cluster
    here, there = tmp_path / "here", tmp_path / "there"
    expected = [a_task(here, seed) for seed in range(6)]
    LocalExecutor(2).run(expected, lambda _name: None)
    tasks = [a_task(there, seed) for seed in range(6)]
    said: list[str] = []

    def kill_one(name: str) -> None:
        said.append(name)
        if len(said) == 1:
            os.kill(workers[0].pid, signal.SIGKILL)

    problems = DaskExecutor(address).run(tasks, kill_one)

    assert problems == {}
    assert sorted(said) == [f"fit {seed}" for seed in range(6)]
    assert [logits(task) for task in tasks] == [logits(task) for task in expected]
    assert workers[1].poll() is None


def test_without_a_scheduler_or_workers_the_message_says_so() -> None:
    """With the address that was asked for."""
    with pytest.raises(DataError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:1:"):
        DaskExecutor("tcp://127.0.0.1:1").run([], lambda _name: None)


def test_an_interruption_leaves_what_was_done(tmp_path: Path) -> None:
    """Results are written whole: what is there is right, and the rest is done by the next run."""
    tasks = [a_task(tmp_path, seed) for seed in range(8)]
    script = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        # where tests run in the background, it is ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from attwin_converter.local_executor import LocalExecutor\n"
        "from attwin_converter.tasks import Task\n"
        "tasks = [Task(name=f, step='fit', folder=Path(f)) for f in sys.argv[1:]]\n"
        "LocalExecutor(1).run(tasks, lambda name: print(name, flush=True))\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", script, *(str(task.folder) for task in tasks)], stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    first = running.stdout.readline().strip()
    running.send_signal(signal.SIGINT)
    running.wait(timeout=60)
    running.stdout.close()
    done = [task for task in tasks if task.is_done()]
    assert Path(first) in [task.folder for task in done]
    assert len(done) < len(tasks)
    before = {task.folder: task.result.stat().st_mtime_ns for task in done}

    assert LocalExecutor(2).run(tasks, lambda _name: None) == {}

    assert all(len(logits(task)) == 5 for task in tasks)
    assert {task.folder: task.result.stat().st_mtime_ns for task in done} == before
