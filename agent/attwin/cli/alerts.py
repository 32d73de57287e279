"""``attwin alerts``: what is wrong now, and what was."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import click

from attwin.cli.options import Place, json_option, place_options, print_rows, printable, time_text
from attwin.wiring.reading import alert_events, alerts_of

_COLUMNS = ("alert", "state", "severity", "entity", "rule", "subject", "value", "threshold", "since", "time")
_STATE_COLOURS = {"active": "red", "cleared": "green"}
_POLL_SECONDS = 0.5


@click.group("alerts")
def command() -> None:
    """Alerts: what is wrong now, and what was."""


@command.command("list")
@place_options
@click.option("--all", "everything", is_flag=True, help="Cleared alerts too.")
@json_option
def list_(place: Place, *, everything: bool, as_json: bool) -> None:
    """List active alerts, newest last."""
    rows = alerts_of(place.database, everything=everything)
    if not as_json:
        rows = [
            {**row, "since": time_text(row["since_ms"], place.zone), "time": time_text(row["time_ms"], place.zone)}
            for row in rows
        ]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="No alert." if everything else "No active alert.")


@command.command()
@place_options
@click.option("--lines", default=10, show_default=True, type=click.IntRange(min=0), help="How many past events first.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on as events happen.")
@json_option
def tail(place: Place, lines: int, *, follow: bool, as_json: bool) -> None:
    """Print alert events as they happen, until Ctrl-C."""
    for event in _events(place.database, lines, follow=follow):
        if as_json:
            click.echo(json.dumps(event))
            continue
        state = click.style(f"{event['state']:8}", fg=_STATE_COLOURS.get(str(event["state"])))
        what = printable(f"{event['entity']}  {event['rule']}  {event['subject']}")
        click.echo(
            f"{time_text(event['time_ms'], place.zone)}  {state}{event['severity']:9} "
            f"{what} {event['value']:.4g} (level {event['threshold']:g})"
        )


def _events(database: Path, lines: int, *, follow: bool) -> Iterator[dict[str, object]]:
    last, events = alert_events(database, last_lines=lines)
    yield from events
    while follow:
        time.sleep(_POLL_SECONDS)
        last, events = alert_events(database, after=last)
        yield from events
