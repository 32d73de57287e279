"""``attwin publish``: a CSV file as sensors."""

import json
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from attwin.cli.options import csv_options, parse_columns, parse_zone
from attwin.wiring.playing import Broker, Pace, play, read_recording


@click.command("publish")
@csv_options
@click.option("--broker", default="mqtt://127.0.0.1:1883", show_default=True, help="Where to publish.")
@click.option("--username", default="", help="For brokers that ask.")
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Holds it alone.")
@click.option("--topic", default="sensors/{entity}/{metric}", show_default=True, help="Where each reading goes.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="60 plays an hour in a minute; 0 as fast as --rate allows.",
)
@click.option(
    "--rate",
    default=500.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Most readings a second: a broker drops silently what its queue for the agent does not hold. 0 for no limit.",
)
@click.option("--qos", default="1", show_default=True, type=click.Choice(["0", "1"]), help="MQTT quality of service.")
@click.option("--restamp", is_flag=True, help="Send each reading with the time of sending instead of its own.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def command(
    file: Path,
    time_column: str,
    entity: str,
    entity_column: str,
    columns: tuple[str, ...],
    zone: str,
    broker: str,
    username: str,
    password_file: Path | None,
    topic: str,
    speed: float,
    rate: float,
    qos: str,
    *,
    restamp: bool,
    as_json: bool,
) -> None:
    """Play FILE, a CSV with a header and a time column, to a broker, as its sensors would."""
    recording = read_recording(
        file,
        columns=parse_columns(columns),
        time_column=time_column,
        entity=entity,
        entity_column=entity_column,
        zone=parse_zone(zone),
    )
    stamps = "the time of sending" if restamp else "their own times"
    click.echo(
        f"{recording.readings} readings of {len(recording.wide.time_ms)} rows, with {stamps}: "
        + ", ".join(recording.metrics),
        err=True,
    )
    password = password_file.read_text(encoding="utf-8").rstrip("\n") if password_file else ""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as shown:
        advance = _progress(shown, recording.readings)
        count = play(
            recording,
            broker=Broker(url=broker, username=username, password=password),
            topic=topic,
            pace=Pace(speed=speed, rate=rate),
            qos=int(qos),
            restamp=restamp,
            stop=stop,
            done=advance,
        )
    if as_json:
        click.echo(json.dumps({"published": count, "of": recording.readings}))
    else:
        click.echo(f"Published {count} of {recording.readings} readings to {broker}.")


def _progress(shown: ExitStack, length: int) -> Callable[[], object]:
    """Return what counts a reading: a bar on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        bar = shown.enter_context(
            click.progressbar(
                length=length, label="publishing", file=sys.stderr, update_min_steps=max(1, length // 500)
            )
        )
        return lambda: bar.update(1)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done % max(1, length // 10) == 0:
            click.echo(f"published {done} of {length}", err=True)

    return count
