"""What comes next: several forecasters a series, graded by what came, of which the best so far speaks.

Series lie on a grid of equal steps. At each step every forecaster says what each horizon will bring; when that time has
come it is graded. A forecaster worse than persistence is muted, and until one is clearly better persistence speaks, so
that no series is served worse for being served cleverly. All of it is columns over series and costs the same at each
step, however long the past.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attwin.core.local_time import MS_PER_DAY

FORECASTERS = ("persistence", "seasonal naive", "profile", "damped Holt", "regression", "seasonal regression")
"""In the order of the columns; among equals the first one speaks."""
_PERSISTENCE, _NAIVE, _PROFILE, _HOLT, _CHANGES, _SEASONAL = range(len(FORECASTERS))
COVERAGE = 0.9
"""How often what comes is to lie within the interval."""
_HOURS_A_DAY, _HOURS_A_WEEK = 24, 168
_THURSDAY = 3
"""1970-01-01 was a Thursday."""
_MS_PER_HOUR = 3_600_000
_PROFILE_SHARE = 0.15
"""An hour of the week is forgotten with six of its kind."""
_LEVEL_SHARE, _TREND_SHARE, _DAMPING = 0.3, 0.05, 0.9
_REMEMBERED = 0.9995
"""What a regression keeps of its past at each step."""
_LAGS = (1, 2, 5, 15)
"""Of the changes that the plain regression looks at."""
_WARM_UP = 24
"""So many values tell how large a series is; no regression before, and no choice before so many grades."""
_GRADES = 1_000
"""Errors are forgotten with so many."""
_CLEARLY = 0.98
"""A forecaster speaks once its error is so much of that of persistence."""
_QUANTILE_STEP = 0.02
_PRIOR = 100.0
_MOST_RING = 2_048
MOST_STEPS = _MOST_RING - max(_LAGS) - 2
"""How far ahead a grid can look."""

Floats = NDArray[np.float64]
_Arrays = dict[str, NDArray[Any]]
"""The state by name; of which kind each array is, is said where it is made."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlook:
    """What is said at one step. Shape (S, H) each; NaN where nothing is known.

    Attributes:
        value: The forecast.
        low, high: The interval.
        forecaster: Who speaks, an index into ``FORECASTERS``.
    """

    value: Floats
    low: Floats
    high: Floats
    forecaster: NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """How well forecasts were. Errors are absolute and discounted. Shape (S, H, F), (S, H) for coverage and grades.

    Attributes:
        error: NaN where nothing was graded.
        muted: Who is worse than persistence.
        coverage: How often what came lay within the interval.
        grades: How many forecasts were graded.
    """

    error: Floats
    muted: NDArray[np.bool_]
    coverage: Floats
    grades: NDArray[np.int64]


class Forecasts:
    """Forecasts for series on one grid."""

    def __init__(self, horizons: Sequence[int], step_ms: int) -> None:
        """Begin without a past.

        Args:
            horizons: How far ahead [steps], each 1 or more.
            step_ms: The distance of the grid.

        Raises:
            ValueError: A horizon is too far for the grid.
        """
        if not horizons or min(horizons) < 1 or step_ms < 1:
            raise ValueError("horizons are 1 or more steps of 1 ms or more")
        if max(horizons) > MOST_STEPS:
            raise ValueError(f"a horizon of {max(horizons)} steps; at most {MOST_STEPS} on this grid")
        self.horizons, self.step_ms = tuple(horizons), step_ms
        day = MS_PER_DAY // step_ms if MS_PER_DAY % step_ms == 0 else 0
        # a day and a week ago, where that many steps are kept
        self._seasons = tuple(lag for lag in (7 * day, day) if 0 < lag <= _MOST_RING // 2)
        deepest = max(horizons) + max(*_LAGS, *self._seasons, 1) + 2
        self._ring = deepest
        self._share = min(1.0, _PROFILE_SHARE * step_ms / _MS_PER_HOUR)
        self._tick: int | None = None
        self._c = self._columns(0)

    def __len__(self) -> int:
        """Return for how many series there is room."""
        return len(self._c["last"])

    @property
    def bytes_a_series(self) -> int:
        """How much memory a series takes."""
        return sum(array.nbytes for array in self._columns(1).values())

    def step(self, tick: int, value: Floats, *, local_ms: int) -> Outlook:
        """Take the values of a step and return what is said of the steps to come.

        Args:
            tick: The number of the step, rising; steps that are left out were gaps.
            value: Of each series, NaN where there is none. Shape (S,).
            local_ms: What the clocks on the wall show at this step.

        Raises:
            ValueError: The step does not come after the one before.
        """
        if self._tick is not None and tick <= self._tick:
            raise ValueError(f"step {tick} does not come after {self._tick}")
        self._make_room(len(value))
        first = tick if self._tick is None else max(self._tick + 1, tick - self._ring)
        for missing in range(first, tick):
            self._take(missing, np.full(len(value), np.nan), local_ms - (tick - missing) * self.step_ms)
        return self._take(tick, value, local_ms)

    def record(self) -> Record:
        """Return how well the forecasts were."""
        c = self._c
        error = np.where(c["grades"][:, :, None] > 0, c["error"], np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            coverage = np.where(c["grades"] > 0, c["inside"] / c["grades"], np.nan)
        return Record(
            error=error,
            muted=error > error[:, :, :1],
            coverage=coverage,
            grades=c["grades"].astype(np.int64),
        )

    def forget(self, series: range) -> None:
        """Forget series: their places are given to others."""
        self._make_room(series.stop)
        for name, array in self._columns(len(series)).items():
            self._c[name][series.start : series.stop] = array

    def dump(self) -> _Arrays:
        """Return all of it as arrays."""
        tick = -1 if self._tick is None else self._tick
        shape = np.array([self.step_ms, *self.horizons], np.int64)
        return {**self._c, "tick": np.array([tick], np.int64), "shape": shape}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Go on from what ``dump`` returned; False where that is of another grid, and nothing is changed."""
        if arrays["shape"].tolist() != [self.step_ms, *self.horizons]:
            return False
        plain = self._columns(1)
        self._c = {name: arrays[name].astype(own.dtype).reshape(-1, *own.shape[1:]) for name, own in plain.items()}
        tick = int(arrays["tick"][0])
        self._tick = None if tick < 0 else tick
        return True

    def _columns(self, count: int) -> _Arrays:
        """Return the state of so many series without a past."""
        horizons, forecasters = len(self.horizons), len(FORECASTERS)
        widths = (len(_LAGS) + 1, 3 + len(self._seasons))

        def full(shape: tuple[int, ...], fill: float = 0.0, kind: type = np.float64) -> NDArray[Any]:
            return np.full((count, *shape), fill, kind)

        regressions: _Arrays = {}
        for number, width in enumerate(widths):
            spread = np.broadcast_to(_PRIOR * np.eye(width), (count, horizons, width, width)).copy()
            regressions |= {f"weights{number}": full((horizons, width)), f"spread{number}": spread}
        return {
            "last": full((), np.nan),
            "seen": full((), 0, np.int32),
            "least": full((), np.inf),
            "middle": full(()),
            "scatter": full(()),
            "scale": full((), np.nan),
            "level": full(()),
            "trend": full(()),
            "of_week": full((_HOURS_A_WEEK,), np.nan, np.float32),
            "of_day": full((_HOURS_A_DAY,), np.nan, np.float32),
            "ring": full((self._ring,), np.nan, np.float32),
            "waiting": full((sum(self.horizons), forecasters), np.nan, np.float32),
            "bounds": full((sum(self.horizons), 3), np.nan, np.float32),
            "error": full((horizons, forecasters)),
            "grades": full((horizons,), 0, np.int32),
            "inside": full((horizons,), 0, np.int32),
            "quantile": full((horizons,), 2.0),
            "size": full((horizons, _HOURS_A_DAY), np.nan, np.float32),
            **regressions,
        }

    def _take(self, tick: int, value: Floats, local_ms: int) -> Outlook:
        """Grade what was said of this step, learn from it, and say what comes."""
        hour = (local_ms // _MS_PER_HOUR + _THURSDAY * _HOURS_A_DAY) % _HOURS_A_WEEK
        known = np.isfinite(value)
        self._grade(tick, value, known, hour)
        self._learn_regressions(tick, value, known, local_ms)
        self._learn(tick, value, known, hour)
        self._tick = tick
        return self._say(tick, local_ms)

    def _slots(self, horizon: int, tick: int) -> int:
        """Return where the forecast of a horizon that is due at a step waits."""
        start = sum(self.horizons[:horizon])
        return start + tick % self.horizons[horizon]

    def _grade(self, tick: int, value: Floats, known: NDArray[np.bool_], hour: int) -> None:
        c = self._c
        for h in range(len(self.horizons)):
            slot = self._slots(h, tick)
            said, bounds = c["waiting"][:, slot], c["bounds"][:, slot]
            rows = np.flatnonzero(known & np.isfinite(said[:, _PERSISTENCE]))
            errors = np.abs(said[rows].astype(np.float64) - value[rows, None])
            # who said nothing is as good as persistence
            errors = np.where(np.isnan(errors), errors[:, :1], errors)
            grades = c["grades"][rows, h]
            share = np.maximum(1 / (grades + 1), 1 / _GRADES)[:, None]
            c["error"][rows, h] += share * (errors - c["error"][rows, h])
            c["grades"][rows, h] = grades + 1
            self._calibrate(rows, h, value[rows], bounds[rows].astype(np.float64), hour % _HOURS_A_DAY)
            c["waiting"][:, slot], c["bounds"][:, slot] = np.nan, np.nan

    def _calibrate(self, rows: NDArray[np.intp], h: int, value: Floats, bounds: Floats, hour: int) -> None:
        """Widen an interval that missed, narrow one that did not, so that it is right as often as it should be.

        Source:
            Angelopoulos, Candès and Tibshirani 2023, conformal PID control: quantile tracking. The size of errors at an
            hour of the day is kept apart, so that nights are narrow and rush hours wide.
        """
        c = self._c
        inside = (value >= bounds[:, 0]) & (value <= bounds[:, 1])
        c["inside"][rows, h] += inside
        step = np.where(inside, -(1 - COVERAGE), COVERAGE) * _QUANTILE_STEP * c["quantile"][rows, h]
        c["quantile"][rows, h] = np.clip(c["quantile"][rows, h] + step, 0.1, 50.0)
        error = np.abs(value - bounds[:, 2])
        size = c["size"][rows, h, hour]
        share = min(1.0, 3 * self._share)
        c["size"][rows, h, hour] = np.where(np.isnan(size), error, size + share * (error - size))

    def _learn(self, tick: int, value: Floats, known: NDArray[np.bool_], hour: int) -> None:
        """Take the values into everything that is not a regression."""
        c = self._c
        usual = self._usual(hour)
        rows = np.flatnonzero(known)
        own = value[rows]
        for name, place in (("of_week", hour), ("of_day", hour % _HOURS_A_DAY)):
            before = c[name][rows, place]
            share = self._share if name == "of_week" else self._share / 2
            c[name][rows, place] = np.where(np.isnan(before), own, before + share * (own - before))
        # a gap is what is usual then, or the value before it
        c["ring"][:, tick % self._ring] = np.where(known, value, np.where(np.isnan(usual), c["last"], usual))
        is_first = c["seen"][rows] == 0
        level, trend = c["level"][rows], c["trend"][rows]
        new = np.where(is_first, own, level + _DAMPING * trend + _LEVEL_SHARE * (own - level - _DAMPING * trend))
        c["trend"][rows] = np.where(is_first, 0.0, _DAMPING * trend + _TREND_SHARE * (new - level - _DAMPING * trend))
        c["level"][rows] = new
        seen = c["seen"][rows] + 1
        c["middle"][rows] += (own - c["middle"][rows]) / np.minimum(seen, _WARM_UP)
        c["scatter"][rows] += (np.abs(own - c["middle"][rows]) - c["scatter"][rows]) / np.minimum(seen, _WARM_UP)
        ready = rows[(seen >= _WARM_UP) & np.isnan(c["scale"][rows]) & (c["scatter"][rows] > 0)]
        c["scale"][ready] = c["scatter"][ready]
        c["seen"][rows], c["last"][rows] = seen, own
        c["least"][rows] = np.minimum(c["least"][rows], own)

    def _usual(self, hour: int) -> Floats:
        """Return what is usual at an hour of the week, else at that hour of any day. Shape (S,)."""
        of_week, of_day = self._c["of_week"][:, hour], self._c["of_day"][:, hour % _HOURS_A_DAY]
        return np.where(np.isnan(of_week), of_day, of_week).astype(np.float64)

    def _at(self, tick: int) -> Floats:
        return self._c["ring"][:, tick % self._ring].astype(np.float64)

    def _hour(self, local_ms: int, steps: int) -> int:
        return int(((local_ms + steps * self.step_ms) // _MS_PER_HOUR + _THURSDAY * _HOURS_A_DAY) % _HOURS_A_WEEK)

    def _inputs(self, tick: int, steps: int, local_ms: int) -> list[tuple[Floats, Floats]]:
        """Return (base, inputs) of each regression about ``steps`` after a step. Shape (S,) and (S, W).

        Inputs are relative to the size of the series. NaN where something is not known.
        """
        scale = self._c["scale"]
        now = self._at(tick)
        changes = np.stack([np.ones(len(scale)), *((now - self._at(tick - lag)) / scale for lag in _LAGS)], axis=1)
        then = self._usual(self._hour(local_ms, steps))
        deviations = [(self._at(tick - lag) - self._usual(self._hour(local_ms, -lag))) / scale for lag in (0, 1)]
        # the same time of the newest day and week that are over
        ago = [self._at(tick + steps - lag * -(-steps // lag)) for lag in self._seasons]
        seasonal = np.stack([np.ones(len(scale)), *deviations, *((own - then) / scale for own in ago)], axis=1)
        return [(now, changes), (then, seasonal)]

    def _learn_regressions(self, tick: int, value: Floats, known: NDArray[np.bool_], local_ms: int) -> None:
        """Let each regression learn what it should have said of this step.

        Source:
            Recursive least squares with exponential forgetting: Haykin, Adaptive Filter Theory, chapter 10.
        """
        c = self._c
        for h, steps in enumerate(self.horizons):
            made = tick - steps
            for number, (base, inputs) in enumerate(self._inputs(made, steps, local_ms - steps * self.step_ms)):
                target = (value - base) / c["scale"]
                rows = np.flatnonzero(known & np.isfinite(target) & np.isfinite(inputs).all(axis=1))
                if not len(rows):
                    continue
                x, spread = inputs[rows], c[f"spread{number}"][rows, h]
                along = np.einsum("sij,sj->si", spread, x)
                gain = along / (_REMEMBERED + np.einsum("si,si->s", x, along))[:, None]
                error = target[rows] - np.einsum("si,si->s", c[f"weights{number}"][rows, h], x)
                c[f"weights{number}"][rows, h] += gain * error[:, None]
                spread = (spread - np.einsum("si,sj->sij", gain, along)) / _REMEMBERED
                # directions that are never seen must not grow without bound
                trace = np.einsum("sii->s", spread) / x.shape[1]
                c[f"spread{number}"][rows, h] = spread * np.minimum(1.0, 1e4 * _PRIOR / trace)[:, None, None]

    def _say(self, tick: int, local_ms: int) -> Outlook:
        c, count = self._c, len(self)
        said = np.full((count, len(self.horizons), len(FORECASTERS)), np.nan)
        for h, steps in enumerate(self.horizons):
            said[:, h, _PERSISTENCE] = c["last"]
            if self._seasons:
                lag = self._seasons[0]
                said[:, h, _NAIVE] = self._at(tick + steps - lag * -(-steps // lag))
            said[:, h, _PROFILE] = self._usual(self._hour(local_ms, steps))
            damped = _DAMPING * (1 - _DAMPING**steps) / (1 - _DAMPING)
            said[:, h, _HOLT] = np.where(c["seen"] > 1, c["level"] + damped * c["trend"], np.nan)
            for number, (base, inputs) in enumerate(self._inputs(tick, steps, local_ms)):
                change = np.einsum("si,si->s", c[f"weights{number}"][:, h], inputs) * c["scale"]
                said[:, h, _CHANGES + number] = base + change
        # what has never been below zero will not be
        said = np.where((c["least"] >= 0)[:, None, None], np.maximum(said, 0.0), said)
        best = self._best()
        value = np.take_along_axis(said, best[:, :, None], axis=2)[:, :, 0]
        best = np.where(np.isnan(value), _PERSISTENCE, best)
        value = np.where(np.isnan(value), said[:, :, _PERSISTENCE], value)
        low, high = self._interval(value, local_ms)
        for h, steps in enumerate(self.horizons):
            slot = self._slots(h, tick + steps)
            c["waiting"][:, slot] = said[:, h]
            c["bounds"][:, slot] = np.stack([low[:, h], high[:, h], value[:, h]], axis=1)
        return Outlook(value=value, low=low, high=high, forecaster=best.astype(np.int8))

    def _best(self) -> NDArray[np.intp]:
        """Return who speaks. Shape (S, H)."""
        error = self._c["error"]
        best = error.argmin(axis=2)
        least = np.take_along_axis(error, best[:, :, None], axis=2)[:, :, 0]
        clearly = (least < _CLEARLY * error[:, :, _PERSISTENCE]) & (self._c["grades"] >= _WARM_UP)
        return np.where(clearly, best, _PERSISTENCE)

    def _interval(self, value: Floats, local_ms: int) -> tuple[Floats, Floats]:
        hours = [self._hour(local_ms, steps) % _HOURS_A_DAY for steps in self.horizons]
        size = np.stack([self._c["size"][:, h, hour] for h, hour in enumerate(hours)], axis=1).astype(np.float64)
        # an hour that was never graded is as the others
        with np.errstate(invalid="ignore"):
            known = np.where(np.isnan(self._c["size"]), 0.0, self._c["size"]).sum(axis=2)
            count = np.maximum((~np.isnan(self._c["size"])).sum(axis=2), 1)
        size = np.where(np.isnan(size), known / count, size)
        half = self._c["quantile"] * size
        low = value - half
        low = np.where((self._c["least"] >= 0)[:, None], np.maximum(low, 0.0), low)
        return low, value + half

    def _make_room(self, count: int) -> None:
        have = len(self)
        if count <= have:
            return
        more = self._columns(count - have)
        self._c = {name: np.concatenate([own, more[name]]) for name, own in self._c.items()}
