"""Programs with all that they start: their CPU, their memory, their end."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from ingest import TICKS_A_SECOND


def started(
    command: list[str | Path], folder: Path, output: str, stack: contextlib.ExitStack
) -> subprocess.Popen[bytes]:
    """Start a program whose output goes to a file; the stack ends it with its children."""
    with (folder / output).open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, start_new_session=True)

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    stack.callback(end)
    return process


def stat(pid: int) -> list[str]:
    """Return what the kernel says about a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """Return a process and what descends from it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = int(stat(int(path.name))[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_s(root: int) -> float:
    """Return the CPU seconds of a process tree so far, with those of children that have ended."""
    ticks = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):  # it has ended, so its parent holds its time
            ticks += sum(map(int, stat(pid)[11:15]))
    return ticks / TICKS_A_SECOND


def memory_mb(root: int) -> float:
    """Return the proportional set size (PSS) of a process tree."""
    lines = [
        line for pid in tree(root) for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").split("\n")
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
