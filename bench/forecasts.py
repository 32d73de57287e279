"""Forecasts beside persistence, the seasonal naive forecast and a ridge regression, and what a step costs.

    python bench/forecasts.py --pedestrians FILE --occupancy FOLDER [--json]

Pedestrians: hourly counts (sensor, ts_local, count); the last eight weeks are the test; MASE is over the seasonal
naive forecast of a week on what comes before. The targets are a mean MASE of 0.78 an hour and 1.04 a day ahead, and
intervals of 90 % that cover 87 to 93 %. Occupancy: each metric of datatest.txt a quarter of an hour ahead, from its
first hour on; the target is to be better than persistence for CO2, and at most 2 % worse for each metric and sensor.
The ridge regression sees the last 24 hours, the same hour of the last seven days, and the hour of the week.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attwin.core.forecast import Forecasts
from attwin.wiring.backtesting import Series, backtest, read_series

HOUR_MS, MINUTE_MS, WEEK = 3_600_000, 60_000, 168
TEST_WEEKS = 8
METRICS = ("Temperature", "Humidity", "Light", "CO2", "HumidityRatio")
ENTITIES = 10_000


def ridge_mase(series: Series, horizon: int, start: int) -> float:
    """Return the mean MASE of a ridge regression on lags, fitted on what comes before the test."""
    found = []
    for column in series.value.T:
        value = column.copy()
        for row in np.flatnonzero(np.isnan(value)):
            value[row] = value[row - WEEK] if row >= WEEK else np.nanmean(column)
        rows = np.arange(2 * WEEK, len(value) - horizon)
        lags = [value[rows - lag] for lag in range(24)]
        days = [value[rows + horizon - 24 * day] for day in range(-(-horizon // 24), 8)]
        hours = (series.first_tick + rows + horizon) % WEEK
        x = np.column_stack([*lags, *days, np.eye(WEEK)[hours]])
        y = column[rows + horizon]
        train = (rows + horizon < start) & np.isfinite(y)
        test = (rows + horizon >= start) & np.isfinite(y)
        weights = np.linalg.solve(x[train].T @ x[train] + np.eye(x.shape[1]), x[train].T @ y[train])
        scale = np.nanmean(np.abs(column[WEEK:start] - column[: start - WEEK]))
        found.append(np.abs(y[test] - x[test] @ weights).mean() / scale)
    return float(np.mean(found))


def pedestrians(path: Path) -> dict[str, object]:
    """Return the figures of the hourly counts."""
    series = read_series(path, time_column="ts_local", value_column="count", entity_column="sensor", zone=None)
    start = len(series.value) - TEST_WEEKS * WEEK
    found = backtest(series, [HOUR_MS, 24 * HOUR_MS], test_from_ms=series.time_ms(start), season_ms=WEEK * HOUR_MS)
    facts: dict[str, object] = {}
    for hours in (1, 24):
        own = [one for one in found.graded if one.horizon_ms == hours * HOUR_MS]
        scaled = [one.mase for one in own if one.mase is not None]
        seasonal = [one.mase / one.mae * one.seasonal_mae for one in own if one.mase and one.seasonal_mae]
        ridge = ridge_mase(series, hours, start)
        facts |= {
            f"MASE {hours} h": statistics.mean(scaled),
            f"ridge {hours} h": ridge,
            f"seasonal naive {hours} h": statistics.mean(seasonal),
            f"of ridge {hours} h": statistics.mean(scaled) / ridge,
            f"coverage {hours} h": statistics.mean(one.coverage for one in own),
            f"worst of persistence {hours} h": max(one.ratio for one in own),
        }
    return facts


def occupancy(folder: Path) -> dict[str, object]:
    """Return the figures of the office, each metric by itself."""
    facts: dict[str, object] = {}
    for metric in METRICS:
        path = folder / "datatest.txt"
        series = read_series(path, time_column="date", value_column=metric, entity_column="", zone=None)
        from_ms = series.time_ms(60)
        (one,) = backtest(series, [15 * MINUTE_MS], test_from_ms=from_ms, season_ms=MINUTE_MS).graded
        facts[f"{metric} of persistence"] = one.ratio
        if metric == "CO2":
            facts |= {"CO2 MAE": one.mae, "CO2 persistence": one.persistence_mae, "CO2 coverage": one.coverage}
    return facts


def cost() -> dict[str, object]:
    """Return what a step of many entities costs, and how much memory an entity takes."""
    forecasts, rng = Forecasts([3, 12], 5 * MINUTE_MS), np.random.default_rng(1)
    values: list[NDArray[np.float64]] = [rng.normal(size=ENTITIES) for _ in range(40)]
    took = []
    for tick, value in enumerate(values):
        began = time.perf_counter()
        forecasts.step(tick, value, local_ms=tick * 5 * MINUTE_MS)
        took.append(time.perf_counter() - began)
    return {"ms a step of 10,000": 1e3 * statistics.median(took[30:]), "bytes an entity": forecasts.bytes_a_series}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pedestrians", type=Path, required=True)
    parser.add_argument("--occupancy", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    facts = {**pedestrians(arguments.pedestrians), **occupancy(arguments.occupancy), **cost()}
    if arguments.json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        print(f"{name:32} {value:.4g}" if isinstance(value, float) else f"{name:32} {value}")


if __name__ == "__main__":
    main()
