"""``attwin label``: say what was true."""

import getpass
import time

import click

from attwin.cli.options import Place, json_option, place_options, print_facts
from attwin.wiring.labelling import add_label, label_time_ms


@click.command("label", short_help="Say what was true of ENTITY.")
@click.argument("entity")
@click.argument("value", type=float)
@click.option("--at", default="", help="When: ISO 8601, or seconds since 1970; now if left out.")
@click.option("--by", default="", help="Who says so; you if left out.")
@place_options
@json_option
def command(entity: str, value: float, at: str, by: str, place: Place, *, as_json: bool) -> None:
    """Say what was true of ENTITY at a time: 1 for full attention, 0 for none.

    Labels are kept beside the readings. What is said again of the same time by the same person replaces what was said.
    """
    time_ms = label_time_ms(at, place.zone) if at else time.time_ns() // 1_000_000
    print_facts(
        add_label(place.database, entity, value=value, time_ms=time_ms, by=by or getpass.getuser()), as_json=as_json
    )
