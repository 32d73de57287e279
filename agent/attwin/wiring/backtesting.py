"""Forecasts of a CSV file, made and graded as the agent would have: at each step only what came before is known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.csv_stream import CsvStream
from attwin.adapters.csv_table import find_time_column
from attwin.core.durations import format_duration
from attwin.core.errors import DataError
from attwin.core.forecast import FORECASTERS, Forecasts, Outlook
from attwin.core.local_time import MS_PER_DAY, LocalTime
from attwin.runtime.zones import offset_of

_MOST_TICKS = 2_000_000
_TEST_SHARE = 0.2
_LEAST_TICKS = 50
_MS_PER_SECOND = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """A file on its grid.

    Attributes:
        entities: What the columns are.
        step_ms: The distance of the grid, the usual distance of the rows.
        first_tick: The number of the first step.
        value: The mean of each step, NaN where there is none. Shape (T, E).
        local_ms: What the clocks on the wall showed at each step. Shape (T,).
        rows: How many rows the file has.
    """

    entities: list[str]
    step_ms: int
    first_tick: int
    value: Floats
    local_ms: NDArray[np.int64]
    rows: int

    def time_ms(self, place: int) -> int:
        """Return the time of a step."""
        return (self.first_tick + place) * self.step_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """How forecasts of one entity at one horizon were.

    Attributes:
        entity: Its id.
        horizon_ms: How far ahead.
        forecasts: How many were graded.
        mae: Mean absolute error.
        mase: The same over that of the seasonal naive forecast before the test, one season ahead; None where that is 0.
        persistence_mae, seasonal_mae: Of the newest value, and of the newest value of the same time of the season.
        coverage: How often what came lay in the interval.
        speaker: Which forecaster spoke most often.
    """

    entity: str
    horizon_ms: int
    forecasts: int
    mae: float
    mase: float | None
    persistence_mae: float
    seasonal_mae: float | None
    coverage: float
    speaker: str

    @property
    def ratio(self) -> float:
        """The error over that of persistence."""
        return self.mae / self.persistence_mae if self.persistence_mae else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """What a backtest found.

    Attributes:
        step_ms: The grid.
        season_ms: The season that was found, or given.
        test_from_ms: When the test begins.
        graded: By entity and horizon.
    """

    step_ms: int
    season_ms: int
    test_from_ms: int
    graded: list[Graded]


def read_series(
    path: Path, *, time_column: str, value_column: str, entity_column: str, zone: ZoneInfo | None
) -> Series:
    """Return a file on a grid.

    Args:
        path: The file.
        time_column: Empty to find it by its name.
        value_column: The column of the values.
        entity_column: The column that says which rows belong together; empty where all do.
        zone: Whose clocks tell the time of the day; None for the offsets that the times have themselves.

    Raises:
        DataError: A column is missing, a cell is no time or no number, or there are too few rows, or too far apart.
    """
    stream = CsvStream(path)
    name = time_column or find_time_column(stream.names)
    if not name:
        raise DataError(f"{path}: which column holds the time? It has {', '.join(stream.names)}")
    columns = [name, value_column, *([entity_column] if entity_column else [])]
    place_of: dict[str, int] = {}
    entity, time_ms, local_ms, value = list[int](), list[int](), list[int](), list[float]()
    for line, cells in stream.rows([stream.place(column) for column in columns]):
        number = stream.number(line, value_column, cells[1])
        if math.isnan(number):
            continue
        own_ms = stream.time_ms(line, name, cells[0], zone or ZoneInfo("UTC"))
        who = cells[2] if entity_column else "series"
        entity.append(place_of.setdefault(who, len(place_of)))
        time_ms.append(own_ms)
        local_ms.append(_clock_ms(cells[0], own_ms))
        value.append(number)
    if len(value) < _LEAST_TICKS:
        raise DataError(f"{path}: {len(value)} rows with a value; a backtest needs {_LEAST_TICKS}")
    found_ms = np.array(time_ms, np.int64)
    shown_ms = np.array(local_ms, np.int64) if zone is None else LocalTime(offset_of(zone.key)).local_ms(found_ms)
    return _on_grid(path, list(place_of), np.array(entity), found_ms, shown_ms, np.array(value))


def backtest(
    series: Series,
    horizons_ms: Sequence[int],
    *,
    test_from_ms: int | None,
    season_ms: int | None,
    progress: Callable[[int], object] = lambda _steps: None,
) -> Backtest:
    """Play a file through the forecasters of the agent, and grade what they said of its end.

    Args:
        series: The file.
        horizons_ms: How far ahead.
        test_from_ms: From when on forecasts are graded; the last fifth where None.
        season_ms: The season that MASE is about; the best one of a step, a day and a week where None.
        progress: Told how many steps were done.

    Raises:
        DataError: A horizon does not fit the grid, or nothing is left to grade or to learn from.
    """
    steps = [_steps_of(horizon_ms, series.step_ms) for horizon_ms in horizons_ms]
    count = len(series.value)
    start = (
        count - int(_TEST_SHARE * count) if test_from_ms is None else test_from_ms // series.step_ms - series.first_tick
    )
    if not max(steps) < start < count - 1:
        first, last = (_iso(series.time_ms(place)) for place in (0, count - 1))
        raise DataError(f"the test must begin within the file, from {first} to {last}, after the longest horizon")
    season = _season(series, start, season_ms)
    try:
        forecasts = Forecasts(steps, series.step_ms)
    except ValueError as error:
        raise DataError(str(error)) from error
    said: list[Outlook] = []
    for place in range(count):
        said.append(
            forecasts.step(series.first_tick + place, series.value[place], local_ms=int(series.local_ms[place]))
        )
        progress(1)
    graded = [
        _grade(series, said, entity, h, horizon, start, season)
        for entity in range(len(series.entities))
        for h, horizon in enumerate(steps)
    ]
    return Backtest(
        step_ms=series.step_ms,
        season_ms=season * series.step_ms,
        test_from_ms=series.time_ms(start),
        graded=[one for one in graded if one],
    )


def _on_grid(
    path: Path,
    entities: list[str],
    entity: NDArray[np.int64],
    time_ms: NDArray[np.int64],
    local_ms: NDArray[np.int64],
    value: Floats,
) -> Series:
    order = np.lexsort((time_ms, entity))
    same = entity[order][1:] == entity[order][:-1]
    apart = np.diff(time_ms[order])[same]
    apart = apart[apart > 0]
    if not len(apart):
        raise DataError(f"{path}: no two rows of one entity at different times")
    step_ms = max(_MS_PER_SECOND, round(float(np.median(apart)) / _MS_PER_SECOND) * _MS_PER_SECOND)
    tick = np.rint(time_ms / step_ms).astype(np.int64)
    first, count = int(tick.min()), int(tick.max() - tick.min()) + 1
    if count > _MOST_TICKS:
        raise DataError(f"{path}: {count} steps of {format_duration(step_ms)}; at most {_MOST_TICKS}")
    total, number = np.zeros((count, len(entities))), np.zeros((count, len(entities)))
    np.add.at(total, (tick - first, entity), value)
    np.add.at(number, (tick - first, entity), 1)
    with np.errstate(invalid="ignore"):
        means = total / number
    # the difference of the clocks goes on over a gap
    offset = np.full(count, np.iinfo(np.int64).min)
    offset[tick - first] = local_ms - time_ms
    known = np.flatnonzero(offset != np.iinfo(np.int64).min)
    newest = known[np.searchsorted(known, np.arange(count), side="right") - 1]
    shown = (first + np.arange(count)) * step_ms + offset[newest]
    return Series(entities=entities, step_ms=step_ms, first_tick=first, value=means, local_ms=shown, rows=len(value))


def _grade(
    series: Series, said: Sequence[Outlook], entity: int, h: int, steps: int, start: int, season: int
) -> Graded | None:
    value = series.value[:, entity]
    rows = np.arange(start, len(value))
    made = [said[row - steps] for row in rows.tolist()]
    forecast = np.array([outlook.value[entity, h] for outlook in made])
    inside = [
        outlook.low[entity, h] <= came <= outlook.high[entity, h]
        for outlook, came in zip(made, value[rows].tolist(), strict=True)
    ]
    newest = _held(value)[rows - steps]
    counts = np.isfinite(value[rows]) & np.isfinite(forecast) & np.isfinite(newest)
    if not counts.any():
        return None
    came = value[rows][counts]
    mae = float(np.abs(came - forecast[counts]).mean())
    ago = _held(value)[np.maximum(rows - season * -(-steps // season), 0)][counts]
    before = np.abs(value[season:start] - value[: start - season])
    scale = float(np.nanmean(before)) if np.isfinite(before).any() else 0.0
    speakers = np.bincount([outlook.forecaster[entity, h] for outlook in made], minlength=len(FORECASTERS))
    return Graded(
        entity=series.entities[entity],
        horizon_ms=steps * series.step_ms,
        forecasts=int(counts.sum()),
        mae=mae,
        mase=mae / scale if scale else None,
        persistence_mae=float(np.abs(came - newest[counts]).mean()),
        seasonal_mae=float(np.nanmean(np.abs(came - ago))) if np.isfinite(ago).any() else None,
        coverage=float(np.array(inside)[counts].mean()),
        speaker=FORECASTERS[int(speakers.argmax())],
    )


def _season(series: Series, start: int, season_ms: int | None) -> int:
    """Return the season [steps] whose naive forecast is best before the test."""
    if season_ms is not None:
        steps = _steps_of(season_ms, series.step_ms)
        if steps >= start:
            raise DataError(f"a season of {format_duration(season_ms)} is longer than what comes before the test")
        return steps
    day = MS_PER_DAY // series.step_ms
    error_of: dict[int, float] = {}
    for steps in {1, day, 7 * day}:
        if steps > 0 and 2 * steps < start:
            apart = np.abs(series.value[steps:start] - series.value[: start - steps])
            if np.isfinite(apart).any():
                error_of[steps] = float(np.nanmean(apart / np.maximum(np.nanstd(series.value[:start], axis=0), 1e-300)))
    # the step before is nearly always near; a season is what is repeated
    seasons = {steps: error for steps, error in error_of.items() if steps > 1}
    return min(seasons or error_of, key=lambda steps: error_of[steps], default=1)


def _held(value: Floats) -> Floats:
    """Return the newest known value at each step."""
    known = np.flatnonzero(np.isfinite(value))
    place = np.searchsorted(known, np.arange(len(value)), side="right") - 1
    return np.where(place >= 0, value[known[np.maximum(place, 0)]], np.nan)


def _steps_of(duration_ms: int, step_ms: int) -> int:
    steps = round(duration_ms / step_ms)
    if steps < 1:
        raise DataError(
            f"{format_duration(duration_ms)} is shorter than a step of the file, {format_duration(step_ms)}"
        )
    return steps


def _clock_ms(text: str, time_ms: int) -> int:
    """Return what the clock showed that wrote a time: its own offset counts, where it has one."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return time_ms
    return round((found.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * _MS_PER_SECOND)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / _MS_PER_SECOND, UTC).strftime("%Y-%m-%dT%H:%MZ")
