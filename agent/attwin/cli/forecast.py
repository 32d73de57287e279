"""``attwin forecast``: what comes next, and how well that was known."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from attwin.cli.options import Place, duration_option, json_option, parse_zone, place_options, print_rows, time_text
from attwin.core.durations import format_duration
from attwin.core.errors import DataError
from attwin.settings.types import parse_duration
from attwin.wiring.backtesting import Backtest, Graded, backtest, read_series
from attwin.wiring.labelling import label_time_ms
from attwin.wiring.reading import forecasts_of

_COLUMNS = (
    *("entity", "horizon", "forecasts", "MAE", "MASE", "persistence", "seasonal naive", "of persistence", "coverage"),
    "speaks",
)
_WEEK_MS = 7 * 86_400_000


@click.group("forecast")
def command() -> None:
    """Forecasts: what comes next, and how well that was known."""


@command.command(short_help="Show what is forecast, and how well that was.")
@click.argument("entity", required=False)
@place_options
@json_option
def show(entity: str | None, place: Place, *, as_json: bool) -> None:
    """Show what is forecast, of ENTITY or of all, with its error over that of persistence, and its coverage."""

    def tell_age(saved_ms: int | None) -> None:
        since = f"of {time_text(saved_ms, place.zone)}" if saved_ms else "not there yet"
        click.echo(f"No agent answers: the last saved forecasts are {since}.", err=True)

    rows = forecasts_of(place.database, entity=entity, away=tell_age)
    if not as_json:
        rows = [_shown(row, place) for row in rows]
    columns = ("entity", "subject", "horizon", "for", "value", "low", "high", "of persistence", "coverage", "grades")
    print_rows(
        rows,
        (*columns, "speaks"),
        as_json=as_json,
        empty="Nothing is forecast; `forecast:` of a kind says what is to be.",
    )


def _shown(row: dict[str, Any], place: Place) -> dict[str, object]:
    persistence = row["persistence_error"]
    return {
        **row,
        "horizon": format_duration(row["horizon_ms"]),
        "for": time_text(row["made_ms"] + row["horizon_ms"], place.zone),
        "of persistence": row["error"] / persistence if persistence else None,
        "speaks": row["forecaster"],
    }


@command.command("backtest", short_help="Forecast a CSV file, and grade it.")
@click.option("--csv", "file", type=click.Path(path_type=Path), required=True, help="The file.")
@click.option("--time", "time_column", default="", help="Column of the times; found by its name if left out.")
@click.option("--value", "value_column", required=True, help="Column of the values.")
@click.option("--entity", "entity_column", default="", help="Column that says which rows belong together.")
@click.option(
    "--horizon", "horizons", multiple=True, required=True, metavar="DURATION", help="How far ahead; repeat it."
)
@click.option("--test-from", default="", help="From when on forecasts are graded; the last fifth if left out.")
@click.option("--test-weeks", type=click.IntRange(min=1), help="The last so many weeks instead.")
@duration_option(
    "--season", "season_ms", help="The season that MASE is about; the best of a day and a week if left out."
)
@click.option("--zone", default="", help="Whose clocks tell the time of the day; those of the file if left out.")
@json_option
def backtest_(
    file: Path,
    time_column: str,
    value_column: str,
    entity_column: str,
    horizons: tuple[str, ...],
    test_from: str,
    test_weeks: int | None,
    season_ms: int | None,
    zone: str,
    *,
    as_json: bool,
) -> None:
    """Forecast the values of a CSV file as the agent would, knowing at each step only what came before, and grade it.

    The rows before the test are learned from. MASE is the error over that of the seasonal naive forecast before the
    test: below 1 is better than to repeat the last season. Coverage is how often what came lay in the 90 % interval.
    """
    if test_from and test_weeks:
        raise click.UsageError("one of --test-from and --test-weeks")
    found_zone = parse_zone(zone) if zone else None
    horizons_ms = [_horizon_ms(text) for text in horizons]
    series = read_series(
        file, time_column=time_column, value_column=value_column, entity_column=entity_column, zone=found_zone
    )
    from_ms = label_time_ms(test_from, found_zone or parse_zone("UTC")) if test_from else None
    if test_weeks:
        from_ms = series.time_ms(len(series.value)) - test_weeks * _WEEK_MS
    show = sys.stderr.isatty() and not as_json
    with click.progressbar(length=len(series.value), label="Steps", file=sys.stderr, hidden=not show) as bar:
        found = backtest(series, horizons_ms, test_from_ms=from_ms, season_ms=season_ms, progress=bar.update)
    if as_json:
        click.echo(json.dumps(_plain(found)))
        return
    click.echo(
        f"steps of {format_duration(found.step_ms)}, season {format_duration(found.season_ms)}, "
        f"test from {time_text(found.test_from_ms)}"
    )
    rows = [_row(one) for one in found.graded] + [_mean(found, horizon) for horizon in _horizons(found)]
    print_rows(rows, _COLUMNS, as_json=False, empty="Nothing could be graded.")


def _horizon_ms(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--horizon") from error


def _row(one: Graded) -> dict[str, object]:
    return {
        "entity": one.entity,
        "horizon": format_duration(one.horizon_ms),
        "forecasts": one.forecasts,
        "MAE": one.mae,
        "MASE": one.mase,
        "persistence": one.persistence_mae,
        "seasonal naive": one.seasonal_mae,
        "of persistence": one.ratio,
        "coverage": one.coverage,
        "speaks": one.speaker,
    }


def _horizons(found: Backtest) -> list[int]:
    return list(dict.fromkeys(one.horizon_ms for one in found.graded))


def _mean(found: Backtest, horizon_ms: int) -> dict[str, object]:
    """Return the mean of all entities at a horizon."""
    own = [one for one in found.graded if one.horizon_ms == horizon_ms]
    if not own:
        raise DataError("nothing could be graded")
    scaled = [one.mase for one in own if one.mase is not None]
    return {
        "entity": "(mean)",
        "horizon": format_duration(horizon_ms),
        "forecasts": sum(one.forecasts for one in own),
        "MASE": sum(scaled) / len(scaled) if scaled else None,
        "of persistence": sum(one.ratio for one in own) / len(own),
        "coverage": sum(one.coverage for one in own) / len(own),
    }


def _plain(found: Backtest) -> dict[str, object]:
    named = {
        "MAE": "mae",
        "MASE": "mase",
        "persistence": "persistence_mae",
        "seasonal naive": "seasonal_mae",
        "of persistence": "ratio",
        "speaks": "forecaster",
    }

    def renamed(row: dict[str, object]) -> dict[str, object]:
        return {named.get(name, name): value for name, value in row.items()}

    return {
        "step_ms": found.step_ms,
        "season_ms": found.season_ms,
        "test_from_ms": found.test_from_ms,
        "rows": [renamed(_row(one)) for one in found.graded],
        "means": [renamed(_mean(found, horizon)) for horizon in _horizons(found)],
    }
