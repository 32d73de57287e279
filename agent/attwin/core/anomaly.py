"""How strange a reading is for its series: a score in [0, 1], of one pass, without labels, in constant memory.

Three numbers are watched, each against its own past: how far the value is from the slow level of the series, how far
from what is usual at that time of the day, and the mean of the latter over the last few values. Each is evidence as far
as its tail probability is small; the evidence is added, because they are strange together where something is wrong.
Everything is relative to the series itself, so there is nothing to set, and neither unit nor offset matters.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import grown
from attwin.core.types import MS_PER_MINUTE

_FIRST_CAPACITY = 64
_BINS_A_DAY = 48
_DAY_MS = 86_400_000
_BIN_MS = _DAY_MS // _BINS_A_DAY
_THURSDAY, _SATURDAY, _DAYS_A_WEEK = 3, 5, 7
"""1970-01-01 was a Thursday; weekends have a day of their own."""
_LEVEL_VALUES = 2_000
"""The level forgets with this many values."""
_SPREAD_VALUES = 8_000
"""What is usual of a distance is forgotten with this many."""
_PROFILE_MIN = 200.0
"""What is usual at a time of the day is forgotten with so many minutes of that time: about a week of half hours."""
_SHORT = 5
"""The last few values whose mean is watched too."""
_LEAST_VALUES = 20
"""Before, nothing is strange; and so many values count for doubt about what is usual."""
_MOST_EVIDENCE = 6.0
"""One number alone cannot say more: beyond, tails are not those of a normal distribution anyway."""
_ENOUGH_SIGMAS, _TABLE_ROWS = 6.0, 6_001
"""From here on the bound is reached; between the rows of a table the error is below a millionth."""
_MOST_SPREADS = 20.0
"""What is further away than this teaches no more than that: one wild value must not make a series blind."""
_MOST_COUNT = 2**31 - 10
_MOST_SIGMAS = 1e6
_HALF = float(np.log10(2.0))
_EVIDENCE_OF_NINE_TENTHS = 6.0
QUIET_VALUES = 100
"""After it has spoken, for so many values only what is stranger speaks at full strength."""


@dataclass(slots=True)
class _Columns:
    """The state of every series. Shape (S,) each, but for ``short``, ``usual`` and ``seen_min``."""

    count: NDArray[np.int32] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY, np.int32))
    compared: NDArray[np.int32] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY, np.int32))
    last_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY, np.int64))
    origin: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY))
    level: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY))
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros((_FIRST_CAPACITY, 2)))
    variance: NDArray[np.float64] = field(default_factory=lambda: np.zeros((_FIRST_CAPACITY, 2)))
    short: NDArray[np.float64] = field(default_factory=lambda: np.zeros((_FIRST_CAPACITY, _SHORT)))
    usual: NDArray[np.float32] = field(default_factory=lambda: np.zeros((_FIRST_CAPACITY, 2 * _BINS_A_DAY), np.float32))
    seen_min: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((_FIRST_CAPACITY, 2 * _BINS_A_DAY), np.float32)
    )
    peak: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY))
    since_peak: NDArray[np.int32] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY, np.int32))


class Anomalies:
    """The scores of many series."""

    def __init__(self) -> None:
        self._c = _Columns()

    def update(
        self,
        series: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        value: NDArray[np.float64],
        *,
        local_ms: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Take values and return how strange each is; whether they come one by one or many at once does not matter.

        Args:
            series: Shape (N,).
            time_ms: Shape (N,). A time before the last one of its series counts as no time gone by.
            value: Shape (N,). NaN changes nothing.
            local_ms: What the clocks on the wall show, for the time of the day; ``time_ms`` where left out. Shape (N,).

        Returns:
            Two scores in [0, 1], shape (N,) each, NaN where the value is not finite: one that speaks up when something
            strange begins and is lowered for ``QUIET_VALUES`` values after that, and one that is high as long as it
            is strange.
        """
        spoken, strange = np.full(len(series), np.nan), np.full(len(series), np.nan)
        usable = np.flatnonzero(np.isfinite(value))
        if not len(usable):
            return spoken, strange
        self._make_room(int(series.max()) + 1)
        local = time_ms if local_ms is None else local_ms
        rows = usable[np.argsort(series[usable], kind="stable")]
        rank = _rank(series[rows])
        for nth in range(int(rank.max()) + 1):
            # each series at most once
            turn = rows[rank == nth]
            evidence = self._step(series[turn], time_ms[turn], local[turn], value[turn])
            strange[turn], spoken[turn] = _as_score(evidence), _as_score(self._spoken(series[turn], evidence))
        return spoken, strange

    def forget(self, series: range) -> None:
        """Forget series."""
        self._make_room(series.stop)
        for name in _Columns.__slots__:
            getattr(self._c, name)[series.start : series.stop] = 0

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return all of it as arrays."""
        return {name: getattr(self._c, name) for name in _Columns.__slots__}

    def load(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from what ``dump`` returned."""
        for name in _Columns.__slots__:
            own = getattr(self._c, name)
            setattr(self._c, name, arrays[name].astype(own.dtype).reshape(-1, *own.shape[1:]))

    @property
    def bytes_a_series(self) -> int:
        """How much memory a series takes."""
        return sum(array[:1].nbytes for array in self.dump().values())

    def _step(
        self,
        series: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        local_ms: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Take one value of each series and return the evidence against it. Shape (R,)."""
        c = self._c
        count = c.count[series]
        # what is usual is kept as a distance from the first value, for which a float32 is exact enough
        origin = np.where(count > 0, c.origin[series], value)
        value = value - origin
        level = c.level[series]
        place = _bin(local_ms)
        seen_min, usual = c.seen_min[series, place].astype(np.float64), c.usual[series, place].astype(np.float64)
        from_level = np.abs(value - level)
        from_usual = np.abs(value - usual)
        is_seen = seen_min > 0
        short, compared = c.short[series], c.compared[series]
        rows = np.flatnonzero(is_seen)
        short[rows, compared[rows] % _SHORT] = from_usual[rows]
        lately = short.sum(axis=1) / np.clip(compared + is_seen, 1, _SHORT)
        distances = np.stack([from_level, from_usual, lately], axis=1)
        counts = np.stack([count, compared, compared], axis=1)
        each = self._evidence(series, counts, distances)
        # of a time of the day that was never seen only the level can say something
        evidence = np.where(is_seen, each.sum(axis=1), each[:, 0])
        self._learn(series, counts[:, :2], distances[:, :2], is_seen)
        gone_min = np.clip(time_ms - c.last_ms[series], 1, _BIN_MS) / MS_PER_MINUTE
        gone_min[count == 0] = 1.0
        share = gone_min / np.minimum(seen_min + gone_min, _PROFILE_MIN)
        c.usual[series, place] = usual + share * (value - usual)
        c.seen_min[series, place] = np.minimum(seen_min + gone_min, _PROFILE_MIN)
        c.level[series] = level + (value - level) / _LEVEL_VALUES
        c.origin[series] = origin
        c.short[series], c.compared[series] = short, np.minimum(compared + is_seen, _MOST_COUNT)
        c.count[series] = np.minimum(count + 1, _MOST_COUNT)
        c.last_ms[series] = np.where(count > 0, np.maximum(c.last_ms[series], time_ms), time_ms)
        return evidence

    def _evidence(
        self, series: NDArray[np.int32], counts: NDArray[np.int32], distances: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the evidence of three distances. Shape (R, 3).

        Source:
            Ahmad, Lavin, Purdy and Agha 2017: the tail probability of a recent error beside the distribution of its
            past; Fisher 1932: tail probabilities are combined by the sum of their logarithms.
        """
        which = np.array([0, 1, 1])
        mean, spread = self._c.mean[series][:, which], np.sqrt(self._c.variance[series][:, which])
        # with few values nobody knows how wide the distribution is
        doubt = np.sqrt(counts / (counts + _LEAST_VALUES))
        with np.errstate(divide="ignore", invalid="ignore"):
            sigmas = np.where(spread > 0, (distances - mean) / spread * doubt, 0.0)
        evidence = np.interp(sigmas, *_table())
        # what never varied and does now is as strange as can be
        evidence[(spread == 0) & (distances > mean)] = _MOST_EVIDENCE
        evidence[counts < _LEAST_VALUES] = 0.0
        return evidence

    def _learn(
        self,
        series: NDArray[np.int32],
        counts: NDArray[np.int32],
        distances: NDArray[np.float64],
        is_seen: NDArray[np.bool_],
    ) -> None:
        """Let distances count as usual; what was not compared with the time of the day says nothing of it."""
        c = self._c
        mean, variance = c.mean[series], c.variance[series]
        known = (counts >= _LEAST_VALUES) & (variance > 0)
        distances = np.where(known, np.minimum(distances, mean + _MOST_SPREADS * np.sqrt(variance)), distances)
        share = np.maximum(1 / (counts + 1), 1 / _SPREAD_VALUES)
        share[:, 1] *= is_seen
        change = distances - mean
        c.mean[series] = mean + share * change
        c.variance[series] = (1 - share) * (variance + share * change * change)

    def _spoken(self, series: NDArray[np.int32], evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the evidence, halved where something as strange has been said lately. Shape (R,)."""
        c = self._c
        since = c.since_peak[series] + 1
        speaks = (since > QUIET_VALUES) | (evidence > c.peak[series])
        c.peak[series] = np.where(speaks, evidence, c.peak[series])
        c.since_peak[series] = np.where(speaks, 0, since)
        return np.where(speaks, evidence, evidence / 2)

    def _make_room(self, length: int) -> None:
        if length <= len(self._c.count):
            return
        for name in _Columns.__slots__:
            setattr(self._c, name, grown(getattr(self._c, name), length))


@functools.cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return standard deviations, and the evidence of each: bounded, and nothing for what is as usual."""
    sigmas = np.linspace(0.0, _ENOUGH_SIGMAS, _TABLE_ROWS)
    return sigmas, np.clip(tail_evidence(sigmas) - _HALF, 0.0, _MOST_EVIDENCE)


def tail_evidence(sigmas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -log10 of the probability that a normal number is further than so many standard deviations above its mean.

    Args:
        sigmas: What is below 0 counts as 0. Any shape.

    Source:
        Press, Teukolsky, Vetterling and Flannery, Numerical Recipes, ``erfcc``: Chebyshev fit of the complementary
        error function, relative error below 1.2e-7; taken as a logarithm, so that far tails do not vanish.
    """
    x = np.clip(sigmas, 0.0, _MOST_SIGMAS) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.5 * x)
    series = np.full_like(t, _ERFC[-1])
    for coefficient in _ERFC[-2::-1]:
        series = coefficient + t * series
    found: NDArray[np.float64] = -(np.log(t) - x * x + series + np.log(0.5)) / np.log(10.0)
    return found


_ERFC = (
    *(-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806),
    *(0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277),
)


def _as_score(evidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return evidence as a number in [0, 1]."""
    score: NDArray[np.float64] = 1.0 - 10.0 ** (-evidence / _EVIDENCE_OF_NINE_TENTHS)
    return score


def _bin(local_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the half hour of the day, those of a weekend behind the others."""
    is_weekend = (local_ms // _DAY_MS + _THURSDAY) % _DAYS_A_WEEK >= _SATURDAY
    place: NDArray[np.int64] = local_ms % _DAY_MS // _BIN_MS + np.where(is_weekend, _BINS_A_DAY, 0)
    return place


def _rank(series: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return how many of the same series stand before each; those of a series stand together."""
    place = np.arange(len(series))
    first = np.append(True, series[1:] != series[:-1])
    rank: NDArray[np.intp] = place - np.maximum.accumulate(np.where(first, place, 0))
    return rank
