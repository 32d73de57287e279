"""``attwin alerts``: what is wrong now, what was, why, and what a person does about it."""

import csv
import getpass
import json
import sys
import time
from collections.abc import Iterator
from datetime import tzinfo
from pathlib import Path
from typing import Any

import click

from attwin.cli.options import (
    Place,
    duration_option,
    json_option,
    place_options,
    print_facts,
    print_rows,
    printable,
    time_text,
)
from attwin.core.durations import format_duration
from attwin.wiring.alerting import Person, acknowledge, alert_events, alert_of, alerts_of, why
from attwin.wiring.alerting import snooze as snooze_alerts

_COLUMNS = ("alert", "state", "severity", "entity", "rule", "subject", "value", "threshold", "since", "time", "said")
_COLOURS = {"active": "red", "cleared": "green", "info": "cyan", "warning": "yellow", "critical": "bright_red"}
_POLL_SECONDS = 0.5
_MOST_MEMBERS = 3
_MOST_INPUTS = 10
_TIMES = ("since_ms", "time_ms", "opened_ms", "cleared_ms", "acknowledged_ms", "snoozed_until_ms")

numbers_argument = click.argument("alerts", nargs=-1, required=True, type=int, metavar="ALERT...")
note_option = click.option("--note", default="", help="What others should know.")


@click.group("alerts")
def command() -> None:
    """Alerts: what is wrong now, what was, why, and what you do about it."""


@command.command("list")
@place_options
@click.option("--all", "everything", is_flag=True, help="Cleared alerts too.")
@json_option
def list_(place: Place, *, everything: bool, as_json: bool) -> None:
    """List active alerts, newest last."""
    rows = alerts_of(place.database, everything=everything)
    if not as_json:
        rows = [
            {
                **row,
                "since": time_text(row["since_ms"], place.zone),
                "time": time_text(row["time_ms"], place.zone),
                "said": _said(row, place.zone),
            }
            for row in rows
        ]
    print_rows(
        rows,
        _COLUMNS,
        as_json=as_json,
        empty="No alert." if everything else "No active alert.",
        cut=("said", "subject"),
        colours=_COLOURS,
    )


@command.command()
@place_options
@click.option("--lines", default=10, show_default=True, type=click.IntRange(min=0), help="How many past events first.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on as events happen.")
@json_option
def tail(place: Place, lines: int, *, follow: bool, as_json: bool) -> None:
    """Print alert events as they happen, until Ctrl-C."""
    for event in _events(place.database, lines, follow=follow):
        click.echo(json.dumps(event) if as_json else _line(event, place.zone))


@command.command()
@click.argument("alert", type=int)
@place_options
@json_option
def show(alert: int, place: Place, *, as_json: bool) -> None:
    """Show ALERT and everything that has happened to it."""
    facts = alert_of(place.database, alert)
    _, events = alert_events(place.database, alert=alert)
    if as_json:
        print_facts({**facts, "events": events}, as_json=True)
        return
    print_facts(_timed(facts, place.zone), as_json=False)
    click.echo()
    for event in events:
        click.echo(_line(event, place.zone))


@command.command("why", short_help="Say why ALERT opened.")
@click.argument("alert", type=int)
@place_options
@json_option
def why_(alert: int, place: Place, *, as_json: bool) -> None:
    """Say why ALERT opened: its rule, the model, what was measured, and how much each input contributed.

    The contribution of an input is the score less the score that the same model gives with the usual value of training
    in the place of this input.
    """
    found = why(place.database, alert)
    if as_json:
        print_facts(found, as_json=True)
        return
    for line in _explanation(found, place.zone):
        click.echo(line)


@command.command()
@numbers_argument
@place_options
@note_option
@json_option
def ack(alerts: tuple[int, ...], place: Place, note: str, *, as_json: bool) -> None:
    """Say that you have taken up ALERT: it escalates no further."""
    person = Person(name=getpass.getuser(), note=note)
    _print_changed(acknowledge(place.database, alerts, person), place, as_json=as_json)


@command.command(short_help="Hear nothing more of ALERT for a while.")
@numbers_argument
@duration_option("--for", "for_ms", required=True, help="How long, such as 30m or 8h.")
@place_options
@note_option
@json_option
def snooze(alerts: tuple[int, ...], place: Place, for_ms: int, note: str, *, as_json: bool) -> None:
    """Hear nothing more of ALERT for a while, nor of its next one about the same entity; it stays listed."""
    person = Person(name=getpass.getuser(), note=note)
    _print_changed(snooze_alerts(place.database, alerts, person, for_ms=for_ms), place, as_json=as_json)


@command.command()
@place_options
@duration_option("--since", "since_ms", help="Only those that opened so lately, such as 24h or 7d.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead of to the terminal.")
def export(place: Place, since_ms: int | None, form: str, out: Path | None) -> None:
    """Write all alerts for a spreadsheet or another program."""
    from_ms = None if since_ms is None else time.time_ns() // 1_000_000 - since_ms
    rows = alerts_of(place.database, everything=True, from_ms=from_ms)
    with click.open_file(str(out) if out else "-", "w", encoding="utf-8", atomic=out is not None) as file:
        if form == "jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
            return
        writer = csv.DictWriter(file, list(rows[0]) if rows else list(_COLUMNS[:-1]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            lists = {name: " ".join(value) for name, value in row.items() if isinstance(value, list)}
            writer.writerow({**row, **lists})
    if out:
        click.echo(f"{len(rows)} alerts in {out}", err=True)


def _events(database: Path, lines: int, *, follow: bool) -> Iterator[dict[str, object]]:
    last, events = alert_events(database, last_lines=lines)
    yield from events
    while follow:
        time.sleep(_POLL_SECONDS)
        last, events = alert_events(database, after=last)
        yield from events


def _line(event: dict[str, object], zone: tzinfo) -> str:
    """Return an event as people read it."""
    state = _coloured(f"{event['state']:8}")
    severity = _coloured(f"{event['severity']:9}")
    number = f"{event['subject']} {event['value']:.4g} (level {event['threshold']:g})"
    what = printable(f"{event['entity']}  {event['rule']}  {event.get('text') or number}")
    said = _said(event, zone)
    return f"{time_text(event['time_ms'], zone)}  {state} {severity} {what}{'  ' + said if said else ''}"


def _said(facts: dict[str, object], zone: tzinfo) -> str:
    """Return what else there is to say of an alert: who it is about, who has it, why it is not told."""
    said = []
    members = facts.get("members")
    if isinstance(members, list) and members:
        more = f" and {len(members) - _MOST_MEMBERS} more" if len(members) > _MOST_MEMBERS else ""
        said.append(printable(", ".join(members[:_MOST_MEMBERS])) + more)
    if facts.get("flapping"):
        said.append("comes and goes")
    if facts.get("acknowledged_ms") is not None:
        said.append(printable(f"acknowledged by {facts.get('by')}"))
    muted = facts.get("muted")
    for word in muted if isinstance(muted, list) else ():
        until = f" until {time_text(facts.get('snoozed_until_ms'), zone)}" if word == "snoozed" else ""
        said.append(f"{word}{until}")
    if facts.get("note"):
        said.append(printable(str(facts["note"])))
    duration_ms = facts.get("duration_ms")
    if isinstance(duration_ms, int):
        said.append(f"after {format_duration(duration_ms // 1000 * 1000)}")
    return "; ".join(said)


def _coloured(word: str) -> str:
    return click.style(word, fg=_COLOURS.get(word.strip())) if sys.stdout.isatty() else word


def _timed(facts: dict[str, object], zone: tzinfo) -> dict[str, object]:
    """Return facts with their times as people read them."""
    return {
        name.removesuffix("_ms") if name in _TIMES else name: time_text(value, zone) if name in _TIMES else value
        for name, value in facts.items()
        if value not in (None, "", [], False) or name == "announced"
    }


def _print_changed(rows: list[dict[str, object]], place: Place, *, as_json: bool) -> None:
    if not as_json:
        rows = [{**row, "said": _said({**row, "muted": list(_texts(row.get("muted")))}, place.zone)} for row in rows]
    print_rows(rows, ("alert", "severity", "entity", "rule", "said"), as_json=as_json, empty="")


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list | tuple) else []


def _explanation(found: dict[str, Any], zone: tzinfo) -> Iterator[str]:
    """Yield the lines of an explanation."""
    facts = found["alert"]
    opened = time_text(facts["opened_ms"], zone)
    yield printable(
        f"Alert {facts['alert']}: {facts['entity']}, {facts['subject']} {facts['value']:.4g} "
        f"(level {facts['threshold']:g}), opened {opened}"
    )
    if "rule" in found:
        yield printable(f"Rule {found['rule_version']}: {found['rule']}")
    if "model" in found:
        model = found["model"]
        yield printable(f"Model {model['name']} version {model['version']}, {model['sha256'][:12]}")
    yield f"Clock of the gateway: {found.get('clock', 'not known')}"
    yield from _newest_lines(found.get("newest", {}))
    if found.get("missing"):
        yield printable(f"Missing: {', '.join(found['missing'])}")
    if "contributions" in found:
        yield from _contribution_lines(found["contributions"])
    elif "contributions_missing" in found:
        yield printable(f"No contributions: {found['contributions_missing']}")
    if found["readings"]:
        yield ""
        yield f"{len(found['readings'])} readings of the ten minutes before; --json has them"


def _newest_lines(newest: dict[str, Any]) -> Iterator[str]:
    for entity, metrics in newest.items():
        yield ""
        yield printable(f"Newest of {entity} then:")
        for metric, reading in metrics.items():
            doubt = f", {reading['quality']} ({reading['reason']})" if reading["reason"] else ""
            age = format_duration(reading["age_ms"] // 1000 * 1000)
            yield printable(f"  {metric:24} {reading['value']:<12.5g} {age} old{doubt}")


def _contribution_lines(contributions: list[dict[str, Any]]) -> Iterator[str]:
    yield ""
    yield "Contribution of each input to the score:"
    for entry in contributions[:_MOST_INPUTS]:
        value = "missing" if entry["value"] is None else f"{entry['value']:.5g}"
        usual = "" if entry["usual"] is None else f"usually {entry['usual']:.5g}"
        yield printable(f"  {entry['contribution']:+.3f}  {entry['input']:32} {value:12} {usual}").rstrip()
    if len(contributions) > _MOST_INPUTS:
        yield f"  and {len(contributions) - _MOST_INPUTS} inputs that contributed less; --json has all"
