"""What is tried: families of models, each with what it is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Family = Literal["logistic", "dense", "wide", "distilled", "convolution", "gru", "transformer"]
Given = Literal["newest", "windows", "buckets"]
FAMILIES: tuple[Family, ...] = ("logistic", "dense", "wide", "distilled", "convolution", "gru", "transformer")
"""From the simplest on."""
CHEAPEST: Family = "logistic"
"""It is fitted in no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that is tried.

    Attributes:
        family: How it computes.
        given: The newest values, statistics of the windows, or the buckets of the longest window in order.
        clock: Whether it is given the time of day and week.
        normalised: Whether every entity's values are measured against its own running baseline.
        penalty: Of squared weights (logistic), or the weight decay of the network.
    """

    family: Family
    given: Given
    clock: bool = False
    normalised: bool = False
    penalty: float = 0.0

    @property
    def name(self) -> str:
        """What the report calls it."""
        family = f"{self.family} {self.penalty:g}" if self.family == CHEAPEST else self.family
        variant = [*(["clock"] if self.clock else []), *(["normalised"] if self.normalised else [])]
        return ", ".join([family, self.given, *variant])

    @property
    def variant(self) -> tuple[bool, bool]:
        """Whether it is given the clock, and is normalised."""
        return self.clock, self.normalised

    @property
    def is_watched(self) -> bool:
        """Whether rows that it is not trained on say when to stop."""
        return self.family not in {"logistic", "distilled"}

    @property
    def effort(self) -> int:
        """What orders candidates that are equally good: from the simplest family on."""
        return FAMILIES.index(self.family)


_BASE = (
    Candidate(family="logistic", given="newest", penalty=1e-3),
    Candidate(family="logistic", given="newest", penalty=1e-4),
    Candidate(family="logistic", given="windows", penalty=1e-3),
    Candidate(family="logistic", given="windows", penalty=1e-4),
    Candidate(family="dense", given="newest", penalty=1e-4),
    Candidate(family="dense", given="windows", penalty=1e-4),
    Candidate(family="wide", given="windows", penalty=1e-4),
    Candidate(family="distilled", given="windows", penalty=1e-4),
    Candidate(family="convolution", given="buckets", penalty=1e-4),
    Candidate(family="gru", given="buckets", penalty=1e-4),
    Candidate(family="transformer", given="buckets", penalty=1e-4),
)
_OF_INDEPENDENT_ROWS = (
    *(one for one in _BASE if one.given == "newest"),
    Candidate(family="wide", given="newest", penalty=1e-4),
    Candidate(family="distilled", given="newest", penalty=1e-4),
)


def candidates(*, is_independent: bool, families: Sequence[str] = ()) -> list[Candidate]:
    """Return what is worth trying on a data set.

    Args:
        is_independent: Whether rows have nothing to do with each other: then there are no windows and no baselines,
            and no clock that says anything.
        families: Those to try; empty for all.
    """
    base = [
        one for one in (_OF_INDEPENDENT_ROWS if is_independent else _BASE) if not families or one.family in families
    ]
    if is_independent:
        return base
    timed = [*base, *(replace(one, clock=True) for one in base)]
    return [*timed, *(replace(one, normalised=True) for one in timed)]
