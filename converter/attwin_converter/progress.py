"""Who is told how long work goes."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Progress:
    """Who is told how long work goes.

    Attributes:
        stage: Told what begins, and in how many steps.
        step: Told that a step is done, and which.
    """

    stage: Callable[[str, int], None]
    step: Callable[[str], None]
