"""Options and output that several commands share."""

import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from attwin.core.errors import SettingsError
from attwin.settings.load import Whereabouts, load_whereabouts
from attwin.settings.types import parse_duration
from attwin.wiring.reading import site_of

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULT_CONFIG = "attwin.yaml"
_SYSTEM_CONFIG = Path("/etc/attwin/attwin.yaml")
_GAP, _MORE, _LEAST_WIDTH = "  ", "...", 10
_NO_ZONE = (ZoneInfoNotFoundError, ValueError, OSError)
"""What ``ZoneInfo`` raises for a name that it does not know."""


def config_option(function: F) -> F:
    """Add ``--config``, by default ./attwin.yaml, then /etc/attwin/attwin.yaml."""
    return click.option(
        "--config",
        "config",
        type=click.Path(path_type=Path),
        default=lambda: _default_config("name one with --config"),
        show_default=f"./{_DEFAULT_CONFIG}, then {_SYSTEM_CONFIG}",
        help="The configuration file.",
    )(function)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a command is about.

    Attributes:
        database: The file.
        gateway: The gateway's id, empty where nobody says it.
        zone: Of the times that are printed.
    """

    database: Path
    gateway: str
    zone: tzinfo


def place_options(function: F) -> F:
    """Add ``--config`` and ``--database``, of which one is needed, and give the command ``place`` instead.

    Who may read the database but not the configuration, which may hold secrets, names the database.
    """

    @functools.wraps(function)
    def with_place(*arguments: Any, config: Path | None, database: Path | None, **others: Any) -> Any:  # noqa: ANN401 -- the command's own
        return function(*arguments, place=_place_of(config, database), **others)

    for option in (
        click.option(
            "--database",
            type=click.Path(path_type=Path),
            help="The database itself, where the configuration cannot be read.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            show_default=f"./{_DEFAULT_CONFIG}, then {_SYSTEM_CONFIG}",
            help="The configuration file.",
        ),
    ):
        with_place = option(with_place)
    return with_place  # type: ignore[return-value] # it takes the options in the place of `place`


def _place_of(config: Path | None, database: Path | None) -> Place:
    if config and database:
        raise click.UsageError("one of --config and --database, not both")
    if database:
        gateway, zone = site_of(database)
        return Place(database=database, gateway=gateway, zone=_zone_or_utc(zone))
    found = _whereabouts(config or _default_config("name one with --config, or the database with --database"))
    return Place(database=Path(found.database), gateway=found.gateway, zone=ZoneInfo(found.zone))


def _whereabouts(config: Path) -> Whereabouts:
    """Return where the database is, and say where the rest of the configuration cannot be used."""
    try:
        found = load_whereabouts(config)
    except SettingsError as error:
        error.hint = "Without the configuration: name the database with --database."
        raise
    if found.problems:
        click.echo(
            f"{config}: {counted(found.problems, 'problem')}, which `attwin config check --config {config}` shows.",
            err=True,
        )
    return found


def _zone_or_utc(name: str) -> tzinfo:
    """Return the time zone that a database names; this machine may not know it."""
    try:
        return ZoneInfo(name)
    except _NO_ZONE:
        click.echo(f"The time zone `{name}` of the database is not known here: times are in UTC.", err=True)
        return UTC


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")(function)


def _default_config(advice: str) -> Path:
    local = Path(_DEFAULT_CONFIG)
    if not local.exists() and not _SYSTEM_CONFIG.exists():
        raise click.UsageError(
            f"no ./{_DEFAULT_CONFIG} and no {_SYSTEM_CONFIG}; {advice}; `attwin init` writes a first one"
        )
    return local if local.exists() else _SYSTEM_CONFIG


def duration_option(*names: str, required: bool = False, help: str) -> Callable[[F], F]:  # noqa: A002 -- click's own word
    """Add an option that is a duration such as 30m; the command gets milliseconds."""
    return click.option(*names, metavar="DURATION", required=required, callback=_duration_ms, help=help)


def _duration_ms(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def counted(count: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def print_rows(
    rows: Iterable[Mapping[str, object]],
    columns: Sequence[str],
    *,
    as_json: bool,
    empty: str,
    cut: Sequence[str] = (),
    colours: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Print rows as one JSON object a line, or as a table of some of their columns.

    Args:
        rows: What to print.
        columns: Of the table.
        as_json: Whether JSON is wanted.
        empty: What is said where there is no row.
        cut: Columns that are cut where a terminal is too narrow; nothing is cut in a pipe.
        colours: Of words that are a whole cell, on a terminal.
    """
    listed = list(rows)
    if as_json:
        for row in listed:
            click.echo(json.dumps(row))
        return
    if not listed:
        click.echo(empty, err=True)
        return
    cells = [list(columns), *([_cell(row.get(column)) for column in columns] for row in listed)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    is_terminal = sys.stdout.isatty()
    if is_terminal:
        widths = _fitted(widths, [column in cut for column in columns], shutil.get_terminal_size().columns)
    for line in cells:
        shown = [_shortened(text, width).ljust(width) for text, width in zip(line, widths, strict=True)]
        shown[-1] = shown[-1].rstrip()
        if is_terminal:
            shown = [click.style(text, fg=colours[text.strip()]) if text.strip() in colours else text for text in shown]
        click.echo(_GAP.join(shown))


def _fitted(widths: Sequence[int], may_be_cut: Sequence[bool], most: int) -> list[int]:
    """Return the widths of columns with the widest of some of them narrowed until a row fits."""
    fitted = list(widths)
    narrowed = [place for place, may in enumerate(may_be_cut) if may]
    while sum(fitted) + len(_GAP) * (len(fitted) - 1) > most:
        widest = max(narrowed, key=lambda place: fitted[place], default=None)
        if widest is None or fitted[widest] <= _LEAST_WIDTH:
            break
        fitted[widest] -= 1
    return fitted


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - len(_MORE)] + _MORE


def print_facts(facts: dict[str, object], *, as_json: bool) -> None:
    """Print one thing as a JSON object, or as one fact a line."""
    if as_json:
        click.echo(json.dumps(facts))
        return
    named = {printable(name): value for name, value in facts.items()}
    width = max(map(len, named), default=0)
    for name, value in named.items():
        click.echo(f"{name.ljust(width)}  {_cell(value)}")


def time_text(time_ms: object, zone: tzinfo = UTC) -> str:
    """Return a time as people of a time zone read it; empty for none."""
    if not isinstance(time_ms, int):
        return ""
    return datetime.fromtimestamp(time_ms / 1000, zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def printable(text: str) -> str:
    """Return a text as a terminal may show it: what would move its cursor or change its colours is escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{printable(str(key))} {_cell(item)}" for key, item in value.items()) or "-"
    return printable(str(value))


def csv_options(function: F) -> F:
    """Add FILE and the options that say what its columns are."""
    for option in reversed(
        (
            click.argument("file", type=click.Path(path_type=Path)),
            click.option(
                "--time",
                "time_column",
                default="",
                help="Column of the times; found by its name if left out.",
            ),
            click.option("--entity", default="entity1", show_default=True, help="The entity that all rows are about."),
            click.option("--entity-column", default="", help="The column that says it, instead."),
            click.option(
                "--metric",
                "columns",
                multiple=True,
                metavar="METRIC[=COLUMN]",
                help="A metric and its column; repeat it. All numeric columns but labels if left out.",
            ),
            click.option("--zone", default="UTC", show_default=True, help="Time zone of times without an offset."),
        )
    ):
        function = option(function)
    return function


def parse_columns(pairs: Sequence[str]) -> dict[str, str]:
    """Return ``METRIC=COLUMN`` texts as a mapping; the column has the metric's name where it is left out."""
    split = (pair.partition("=") for pair in pairs)
    return {metric: column or metric for metric, _, column in split}


def parse_zone(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        click.BadParameter: There is none of that name.
    """
    try:
        return ZoneInfo(name)
    except _NO_ZONE:
        raise click.BadParameter(f"`{name}` is no IANA time zone such as Europe/Berlin", param_hint="--zone") from None
