"""What is usual for each series: a running mean and deviation of its own good readings.

It knows only what is older than the score that asks, and depends on nothing but the readings: not on how they were
grouped, nor on how often a sensor reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import NEVER_MS, grown

RUNNING = "running"
"""The name of this baseline in a manifest."""
LEAST_SHARE = 0.1
"""A series that hardly moves is measured against this share of the population's scale at least: noise is no news."""
_FAR = 1000.0
"""Values so many scales from the population's mean count as if they were there, so that sums stay finite."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Population:
    """What a series is taken for until it has a history, and how fast its own history counts.

    Attributes:
        mean, scale: Mean and standard deviation of the training readings; NaN for a metric without a baseline.
            Shape (M,) [metric unit].
        prior_ms: For how much observed time they count.
        constant_ms: The time constant of forgetting, in observed time.
        longest_ms: For how long a reading stands at most, if no other follows.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    prior_ms: int
    constant_ms: int
    longest_ms: int


class Baselines:
    """The running baselines of all series. 40 bytes a series, once anything was observed.

    A good reading stands until the next good one, at most for ``longest_ms``. For a value x that stood for the time g,
    with the time constant T::

        a = T * (1 - exp(-g / T))        w <- w * exp(-g / T) + a
        m' = m + (x - m) * a / w         s <- s * exp(-g / T) + a * (x - m) * (x - m')

    so w is the observed time that is not forgotten (at most T), m the mean over it, s / w the variance. The population
    (mu0, s0) counts for the time p = prior * (1 - w / T), which is forgotten as the series' own time comes in::

        mean = (p * mu0 + w * m) / (p + w)
        scale = max(sqrt((p * s0^2 + s) / (p + w)), LEAST_SHARE * s0)

    Time that nobody observed (silence beyond ``longest_ms``, bad and uncertain readings) changes nothing.

    Source: weighted mean and variance with exponential forgetting, T. Finch, "Incremental calculation of weighted mean
    and variance", 2009, with weights that are durations; the shrinkage is the posterior mean of a
    normal mean with a prior that counts for p observations (Gelman et al., "Bayesian Data Analysis", section 3.3), the
    variances pooled by the same weights, without the term of the difference of the means: an offset of a sensor is
    no deviation.
    """

    def __init__(self) -> None:
        self._weight_ms = np.empty(0)
        self._mean = np.empty(0)
        self._squares = np.empty(0)
        self._held = np.empty(0)
        self._held_ms = np.empty(0, np.int64)

    def usual(
        self, series: NDArray[np.int32], population: Population
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and scale of each series as known by now. Shape (R, M) each, as ``series`` is."""
        self._make_room(int(series.max(initial=-1)) + 1)
        weight = self._weight_ms[series]
        prior = np.maximum(population.prior_ms * (1 - weight / population.constant_ms), 0.0)
        total = prior + weight
        mean = (prior * population.mean + weight * self._mean[series]) / total
        variance = (prior * population.scale**2 + self._squares[series]) / total
        return mean, np.maximum(np.sqrt(variance), LEAST_SHARE * population.scale)

    def observe(
        self,
        series: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        value: NDArray[np.float64],
        metric: NDArray[np.int16],
        population: Population,
    ) -> None:
        """Take in the good readings of one tick of each entity; what is not newer than before is passed over.

        Args:
            series: Shape (N,).
            time_ms: When the tick of each reading began. Shape (N,).
            value: Shape (N,) [metric unit], no NaN. Of several readings of a series the mean counts.
            metric: The place of each reading's metric in the population; those without a baseline are passed over.
                Shape (N,).
            population: Of the entities' kind.
        """
        wanted = ~np.isnan(population.mean[metric])
        if not wanted.any():
            return
        series, time_ms, value, metric = _each_once(series[wanted], time_ms[wanted], value[wanted], metric[wanted])
        self._make_room(int(series.max()) + 1)
        newer = time_ms > self._held_ms[series]
        known = newer & (self._held_ms[series] != NEVER_MS)
        self._settle(series[known], time_ms[known], population)
        series, metric = series[newer], metric[newer]
        reach = _FAR * population.scale[metric]
        self._held[series] = np.clip(value[newer], population.mean[metric] - reach, population.mean[metric] + reach)
        self._held_ms[series] = time_ms[newer]

    def _settle(self, series: NDArray[np.int32], time_ms: NDArray[np.int64], population: Population) -> None:
        """Count what was held until a time, of different series."""
        stood = np.minimum(time_ms - self._held_ms[series], population.longest_ms) / population.constant_ms
        kept = np.exp(-stood)
        added = -np.expm1(-stood) * population.constant_ms
        weight = self._weight_ms[series] * kept + added
        held, before = self._held[series], self._mean[series]
        before = np.where(self._weight_ms[series] > 0, before, held)
        mean = before + (held - before) * (added / weight)
        self._squares[series] = self._squares[series] * kept + added * (held - before) * (held - mean)
        self._mean[series], self._weight_ms[series] = mean, weight

    def forget(self, series: range) -> None:
        """Forget some series."""
        own = slice(series.start, series.stop)
        self._weight_ms[own], self._mean[own], self._squares[own] = 0.0, 0.0, 0.0
        self._held_ms[own] = NEVER_MS

    def let_go(self) -> None:
        """Forget what is held, for a clock that was put right; what is usual stays."""
        self._held_ms[:] = NEVER_MS

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays, for a snapshot."""
        return {
            "weight_ms": self._weight_ms,
            "mean": self._mean,
            "squares": self._squares,
            "held": self._held,
            "held_ms": self._held_ms,
        }

    def load(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what ``dump`` returned."""
        self._weight_ms, self._mean = state["weight_ms"].astype(np.float64), state["mean"].astype(np.float64)
        self._squares, self._held = state["squares"].astype(np.float64), state["held"].astype(np.float64)
        self._held_ms = state["held_ms"].astype(np.int64)

    def _make_room(self, length: int) -> None:
        if length <= len(self._held_ms):
            return
        self._weight_ms = grown(self._weight_ms, length)
        self._mean = grown(self._mean, length)
        self._squares = grown(self._squares, length)
        self._held = grown(self._held, length)
        self._held_ms = grown(self._held_ms, length, NEVER_MS)


def _each_once(
    series: NDArray[np.int32], time_ms: NDArray[np.int64], value: NDArray[np.float64], metric: NDArray[np.int16]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64], NDArray[np.int16]]:
    """Return the same with one row a series, which has the mean of its values."""
    order = np.argsort(series, kind="stable")
    series = series[order]
    first = np.flatnonzero(np.diff(series, prepend=-1))
    if len(first) == len(series):
        return series, time_ms[order], value[order], metric[order]
    count = np.diff(first, append=len(series))
    # divided before they are added: a sum of readings may be endless where their mean is not
    mean = np.add.reduceat(value[order] / np.repeat(count, count), first)
    return series[first], time_ms[order][first], mean, metric[order][first]
