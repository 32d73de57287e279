"""Drift: how far what a model is given, and what it says, has moved from its training.

The one rule: it is computed of the raw inputs, before standardising and before any baseline of an entity, because those
would hide what it looks for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import BundleError, BundleMismatchError

InputKey = tuple[str, int, str]
"""Metric, window [ms] and statistic of an input."""
SCORE = "score"
"""The name of the last histogram: what the model says."""
LEAST_SCORES = 200
"""Of fewer scores nothing is said. Where nothing has moved, PSI of n scores is about chi-squared / n with a degree less
than there are bins: of 200 independent scores in 11 bins, chance alone gives 0.05, and 0.15 once in a thousand."""
STABLE, MODERATE = 0.1, 0.25
"""Below the first nothing has moved to speak of; from the second on it has moved far."""
_PSEUDOCOUNT = 0.5
_MOST_BINS = 100
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramSpec:
    """A histogram of training rows as ``reference.json`` has it.

    Attributes:
        edges: Rising; one more than there are bins, or a single one for an input that had one value only.
        counts: Rows in each bin; a bin holds its lower edge, the last one also its upper edge.
        missing: Rows without a value.
        usual: The highest PSI that a day of training had against the other days; None where there were no two days.
        metric, window_ms, statistic: Which input it is of; left out for the score.
    """

    edges: list[float]
    counts: list[int]
    missing: int = 0
    usual: float | None = None
    metric: str = ""
    window_ms: int = 0
    statistic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSpec:
    """What ``reference.json`` holds; empty for a model whose training data nobody had."""

    features: list[HistogramSpec] = field(default_factory=list)
    score: HistogramSpec | None = None


class Reference:
    """The histograms of training, ready to count by.

    All H of them lie in one table of W bins: those of the values, then nothing, and last the bin of what is missing.
    The outer bins also hold what lies outside the edges.

    Attributes:
        names: What each histogram is of, such as ``co2.mean_5m``; ``score`` comes last.
        usual: The highest PSI that a day of training had against the others, 0 where that is not known. Shape (H,).
        counts: Rows of training. Shape (H, W).
    """

    def __init__(self, spec: ReferenceSpec, inputs: Sequence[InputKey]) -> None:
        """Take the histograms of inputs that the model has.

        Args:
            spec: What the bundle says.
            inputs: The model's, in order.

        Raises:
            BundleError: A histogram is none.
            BundleMismatchError: One is of an input that the model does not have.
        """
        if spec.score is None:
            raise BundleError("a reference without a histogram of the scores")
        self._columns = _columns(spec.features, inputs)
        specs = [*spec.features, spec.score]
        self.names = (*(_name(spec) for spec in spec.features), SCORE)
        edges, counts = zip(*(_edges_and_counts(*pair) for pair in zip(specs, self.names, strict=True)), strict=True)
        shape = len(specs), max(map(len, counts)) + 1
        self.usual = np.array([spec.usual or 0.0 for spec in specs])
        # nothing is at or above NaN, so what fills up the rows counts for no value
        self._edges = np.full((shape[0], shape[1] - 2), np.nan, np.float32)
        self.counts = np.zeros(shape, np.int64)
        self._exists = np.zeros(shape, np.bool_)
        for row, (own_edges, own_counts) in enumerate(zip(edges, counts, strict=True)):
            self._edges[row, : len(own_edges)] = own_edges
            self.counts[row, : len(own_counts)] = own_counts
            self._exists[row, : len(own_counts)] = True
        self.counts[:, -1] = [spec.missing for spec in specs]
        # every row has a score
        self._exists[:-1, -1] = True
        self._first = (np.arange(shape[0]) * shape[1])[:, None]

    def count(
        self, features: NDArray[np.float32], score: NDArray[np.float32], group: NDArray[np.int64], groups: int
    ) -> NDArray[np.int64]:
        """Return how many rows of each group fall into each bin. Shape (groups, H, W).

        Args:
            features: The raw inputs, NaN where one is missing. Shape (R, F).
            score: What the model made of them. Shape (R,).
            group: The group of each row. Shape (R,).
            groups: How many groups there are.
        """
        rows, bins = len(score), self.counts.shape[1]
        value = np.empty((len(self.names), rows), np.float32)
        value[:-1] = features.T[self._columns]
        value[-1] = score
        # one comparison an edge for all rows takes a third of the time of a binary search an input
        place = np.zeros(value.shape, np.uint8)
        for edge in self._edges.T:
            place += (value >= edge[:, None]).view(np.uint8)
        place[np.isnan(value)] = bins - 1
        index = place + self._first
        if groups > 1:
            index += group * self.counts.size
        counted = np.bincount(index.reshape(-1), minlength=groups * self.counts.size)
        return counted.reshape(groups, *self.counts.shape)

    def psi(self, counts: NDArray[np.int64], expected: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return the population stability index of each histogram. Shape (..., H).

        Args:
            counts: Rows in each bin. Shape (..., H, W).
            expected: Rows that they are compared with; those of training unless told. Shape (..., H, W).

        The sum over the bins of (a - e) ln(a / e), where a and e are the shares of rows now and expected. Half a row is
        added to every bin, so that an empty one is a small share instead of none.

        Source:
            N. Siddiqi, Credit Risk Scorecards (2006), which also gives 0.1 and 0.25; it is the symmetrised divergence
            of Kullback and Leibler (1951). Half a row is the prior of Jeffreys.
        """
        now, then = (
            np.where(self._exists, table + _PSEUDOCOUNT, 0.0)
            for table in (counts, self.counts if expected is None else expected)
        )
        now, then = (share / share.sum(axis=-1, keepdims=True) for share in (now, then))
        ratio = np.divide(now, then, out=np.ones(np.broadcast_shapes(now.shape, then.shape)), where=self._exists)
        index: NDArray[np.float64] = ((now - then) * np.log(ratio)).sum(axis=-1)
        return index


def word(psi: float, usual: float = 0.0) -> str:
    """Return how far an input has moved beyond what days of training had."""
    beyond = psi - usual
    return "stable" if beyond < STABLE else "moderate" if beyond < MODERATE else "large"


def input_name(metric: str, statistic: str, window_ms: int) -> str:
    """Return the name of an input, such as ``co2.mean_5m``."""
    unit, size = next(((u, s) for u, s in _UNITS if window_ms % s == 0), ("ms", 1))
    return f"{metric}.{statistic}_{window_ms // size}{unit}"


def _name(spec: HistogramSpec) -> str:
    return input_name(spec.metric, spec.statistic, spec.window_ms)


def _columns(specs: Sequence[HistogramSpec], inputs: Sequence[InputKey]) -> NDArray[np.int64]:
    """Return the column of the inputs that each histogram is of."""
    free: dict[InputKey, list[int]] = {}
    for column, key in enumerate(inputs):
        free.setdefault(key, []).append(column)
    columns = []
    for spec in specs:
        mine = free.get((spec.metric, spec.window_ms, spec.statistic))
        if not mine:
            raise BundleMismatchError(f"a reference of {_name(spec)}, which is no input of the model")
        columns.append(mine.pop(0))
    return np.array(columns, np.int64)


def _edges_and_counts(spec: HistogramSpec, name: str) -> tuple[NDArray[np.float32], list[int]]:
    """Return the inner edges of a histogram, and its counts without those of what is missing."""
    with np.errstate(over="ignore"):
        edges = np.array(spec.edges).astype(np.float32)
    counts = spec.counts
    if len(edges) == 1 and len(counts) == 1:
        # an input that never moved has moved once it is above or below
        edges = np.array([-np.inf, edges[0], np.nextafter(edges[0], np.float32(np.inf)), np.inf], np.float32)
        counts = [0, counts[0], 0]
    elif not np.isfinite(edges).all():
        raise BundleError(f"a reference of {name} with edges that are no numbers")
    if not 1 <= len(counts) <= _MOST_BINS or len(edges) != len(counts) + 1 or not _rises(edges):
        raise BundleError(f"a reference of {name} with {len(counts)} bins and {len(edges)} rising edges")
    if min(*counts, spec.missing, 0) < 0 or not 0 <= (spec.usual or 0.0) < np.inf:
        raise BundleError(f"a reference of {name} with negative numbers")
    return edges[1:-1], counts


def _rises(edges: Iterable[np.float32]) -> bool:
    return bool((np.diff(np.array(edges)) >= 0).all())
