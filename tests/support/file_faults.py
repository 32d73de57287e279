"""Kills and refusals of the disk at each step in which files are opened, moved, deleted or made durable."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class KilledError(BaseException):
    """Stands for the end of the process: nothing that handles errors may see it."""


class FileFaults:
    """Lets one step among all that a function does with files raise.

    Attributes:
        steps: How many were done so far.
        at: Which one raises.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, problem: BaseException) -> None:
        self.steps, self.at, self._problem = 0, at, problem
        for owner, name in ((Path, "open"), (os, "rename"), (os, "unlink"), (os, "fsync")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    @property
    def has_raised(self) -> bool:
        """Whether the step was reached."""
        return self.steps >= self.at

    def _counted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 -- whatever the step takes and returns
            self.steps += 1
            if self.steps == self.at:
                raise self._problem
            return step(*arguments, **options)

        return counted
