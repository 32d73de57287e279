"""``attwin rules``: what alerts, and what would."""

import json
import sys
import time
from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from attwin.cli.options import (
    config_option,
    counted,
    duration_option,
    json_option,
    parse_columns,
    print_rows,
    printable,
    time_text,
)
from attwin.core.durations import format_duration
from attwin.core.errors import DataError
from attwin.core.rules import sentence
from attwin.settings.load import load_settings
from attwin.settings.model import Settings
from attwin.wiring.house import House
from attwin.wiring.playing import read_recording
from attwin.wiring.rehearsal import (
    Change,
    Recorded,
    Span,
    differences,
    of_database,
    of_recording,
    rehearse,
    spans_of,
    spans_that_happened,
)

_SIGNS = {"-": ("red", "no longer"), "+": ("green", "new"), "~": ("yellow", "other")}
_LEAD_MS = 3_600_000
"""So much before the time that is asked for fills the windows, and lets what had begun begin."""


@click.group("rules")
def command() -> None:
    """Rules: what alerts, and what would."""


@command.command("list")
@config_option
@json_option
def list_(config: Path, *, as_json: bool) -> None:
    """List the rules of the configuration in words."""
    settings = load_settings(config)
    house = House(settings)
    rows = [
        {"rule": rule.name, "kind": house.names[rule.kind], "severity": rule.severity, "when": sentence(rule)}
        for rule in house.rules
    ]
    print_rows(rows, ("rule", "kind", "severity", "when"), as_json=as_json, empty="No rule.", cut=("when",))


@command.command(short_help="Run the rules over recorded readings.")
@config_option
@click.option("--replay", "file", type=click.Path(path_type=Path), help="A CSV file of readings.")
@duration_option("--since", "since_ms", help="What the agent has stored so lately, such as 24h or 7d.")
@click.option("--database", type=click.Path(path_type=Path), help="With --since: another database than the configured.")
@click.option("--diff", is_flag=True, help="Print what differs from what happened.")
@click.option("--against", type=click.Path(path_type=Path), help="With --diff: from what this configuration gives.")
@click.option("--kind", help="With --replay: what the file is about, where there are several kinds.")
@click.option("--time", "time_column", default="", help="With --replay: column of the times.")
@click.option("--entity", default="entity1", show_default=True, help="With --replay: the entity of all rows.")
@click.option("--entity-column", default="", help="With --replay: the column that says it, instead.")
@click.option("--metric", "columns", multiple=True, metavar="METRIC[=COLUMN]", help="With --replay: repeat it.")
@json_option
def test(
    config: Path,
    file: Path | None,
    since_ms: int | None,
    database: Path | None,
    against: Path | None,
    kind: str | None,
    time_column: str,
    entity: str,
    entity_column: str,
    columns: tuple[str, ...],
    *,
    diff: bool,
    as_json: bool,
) -> None:
    """Run the rules of a configuration over recorded readings, and print the alerts that they give.

    The clock is that of the readings: the same readings give the same alerts whenever this runs, and nothing is told
    to anybody. With --diff it prints the alerts that are new (+), gone (-), or graver or at another time (~), beside
    those that the database holds, or that --against gives.
    """
    settings = load_settings(config)
    if (file is None) == (since_ms is None):
        raise click.UsageError("one of --replay FILE and --since 24h")
    if diff and file and not against:
        raise click.UsageError("--diff of a file needs --against: another configuration")
    from_ms = 0
    place = database or Path(settings.store.path)
    if file is not None:
        recorded = [_of_file(file, settings, kind, time_column, entity, entity_column, columns)]
    else:
        from_ms = time.time_ns() // 1_000_000 - (since_ms or 0)
        recorded = of_database(place, settings.kinds, from_ms=from_ms - _LEAD_MS)
    changes = [change for change in _rehearsed(settings, recorded, as_json=as_json) if change.after.time_ms >= from_ms]
    zone = ZoneInfo(settings.gateway.zone)
    if not diff:
        _print_events(changes, zone, as_json=as_json)
        return
    if against:
        before = spans_of(_rehearsed(load_settings(against), recorded, as_json=as_json))
    else:
        before = spans_that_happened(place, from_ms=from_ms)
    _print_differences(before, spans_of(changes), zone, as_json=as_json)


def _of_file(
    file: Path,
    settings: Settings,
    kind: str | None,
    time_column: str,
    entity: str,
    entity_column: str,
    columns: Sequence[str],
) -> Recorded:
    if kind is None and len(settings.kinds) > 1:
        raise click.UsageError(f"--kind is needed: one of {', '.join(settings.kinds)}")
    name = kind or next(iter(settings.kinds))
    if name not in settings.kinds:
        raise DataError(f"--kind {name}: the configuration has {', '.join(settings.kinds)}")
    recording = read_recording(
        file,
        columns=parse_columns(columns),
        time_column=time_column,
        entity=entity,
        entity_column=entity_column,
        zone=ZoneInfo(settings.gateway.zone),
    )
    return of_recording(recording, name, list(settings.kinds[name].metrics))


def _rehearsed(settings: Settings, recorded: Sequence[Recorded], *, as_json: bool) -> list[Change]:
    count = sum(len(part.time_ms) for part in recorded)
    show = sys.stderr.isatty() and not as_json
    with click.progressbar(length=count, label="Readings", file=sys.stderr, hidden=not show) as bar:
        return rehearse(settings, recorded, progress=bar.update)


def _print_events(changes: Sequence[Change], zone: tzinfo, *, as_json: bool) -> None:
    for change in changes:
        if as_json:
            click.echo(json.dumps(change.as_event()))
            continue
        facts = change.after
        muted = f"  {', '.join(facts.muted)}" if facts.muted else ""
        click.echo(
            printable(
                f"{time_text(facts.time_ms, zone)}  {change.type:7} {facts.severity:9} {facts.entity}  {facts.rule}  "
                f"{facts.text or f'{facts.subject} {facts.value:.4g} (level {facts.threshold:g})'}{muted}"
            )
        )
    if not as_json:
        opened = sum(change.before is None for change in changes)
        told = sum(change.before is None and change.after.announced for change in changes)
        click.echo(f"{counted(opened, 'alert')}, {told} of them told at once", err=True)


def _print_differences(before: Sequence[Span], after: Sequence[Span], zone: tzinfo, *, as_json: bool) -> None:
    found = differences(before, after)
    for sign, old, new in found:
        if as_json:
            click.echo(json.dumps({"difference": sign, "before": _plain(old), "after": _plain(new)}))
            continue
        colour, word = _SIGNS[sign]
        spans = "  became  ".join(_span(span, zone) for span in (old, new) if span)
        one = old or new
        what = f"{sign} {word:9} {one.entity}  {one.rule}  {spans}" if one else ""
        click.echo(click.style(printable(what), fg=colour) if sys.stdout.isatty() else printable(what))
    if not as_json:
        click.echo(f"{counted(len(before), 'alert')} before, {len(after)} after, {len(found)} differ", err=True)


def _span(span: Span, zone: tzinfo) -> str:
    lasted = (
        "goes on" if span.cleared_ms is None else format_duration((span.cleared_ms - span.opened_ms) // 1000 * 1000)
    )
    return f"{span.severity} {time_text(span.opened_ms, zone)} ({lasted})"


def _plain(span: Span | None) -> dict[str, object] | None:
    if span is None:
        return None
    return {name: getattr(span, name) for name in ("rule", "entity", "severity", "opened_ms", "cleared_ms")}
