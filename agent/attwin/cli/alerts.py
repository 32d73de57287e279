"""``attwin alerts``: what is wrong now, and what was."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from attwin.cli.options import config_option, json_option, print_rows, time_text
from attwin.settings.load import load_settings
from attwin.wiring.reading import alert_events, alerts_of

_COLUMNS = ("alert", "state", "severity", "entity", "rule", "subject", "value", "threshold", "since", "time")
_STATE_COLOURS = {"active": "red", "cleared": "green"}
_POLL_SECONDS = 0.5


@click.group("alerts")
def command() -> None:
    """Alerts: what is wrong now, and what was."""


@command.command("list")
@config_option
@click.option("--all", "everything", is_flag=True, help="Cleared alerts too.")
@json_option
def list_(config: Path, *, everything: bool, as_json: bool) -> None:
    """List active alerts, newest last."""
    settings = load_settings(config)
    rows = alerts_of(Path(settings.store.path), everything=everything)
    if not as_json:
        zone = ZoneInfo(settings.gateway.zone)
        rows = [
            {**row, "since": time_text(row["since_ms"], zone), "time": time_text(row["time_ms"], zone)} for row in rows
        ]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="No alert." if everything else "No active alert.")


@command.command()
@config_option
@click.option("--lines", default=10, show_default=True, type=click.IntRange(min=0), help="How many past events first.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on as events happen.")
@json_option
def tail(config: Path, lines: int, *, follow: bool, as_json: bool) -> None:
    """Print alert events as they happen, until Ctrl-C."""
    settings = load_settings(config)
    zone = ZoneInfo(settings.gateway.zone)
    for event in _events(Path(settings.store.path), lines, follow=follow):
        if as_json:
            click.echo(json.dumps(event))
            continue
        state = click.style(f"{event['state']:8}", fg=_STATE_COLOURS.get(str(event["state"])))
        click.echo(
            f"{time_text(event['time_ms'], zone)}  {state}{event['severity']:9} {event['entity']}  {event['rule']}  "
            f"{event['subject']} {event['value']:.4g} (level {event['threshold']:g})"
        )


def _events(database: Path, lines: int, *, follow: bool) -> Iterator[dict[str, object]]:
    last, events = alert_events(database, last_lines=lines)
    yield from events
    while follow:
        time.sleep(_POLL_SECONDS)
        last, events = alert_events(database, after=last)
        yield from events
