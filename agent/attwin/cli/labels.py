"""``attwin labels``: what people and programs have said."""

import click

from attwin.cli.options import Place, json_option, place_options, print_rows, time_text
from attwin.wiring.labelling import labels_of


@click.group("labels")
def command() -> None:
    """Labels: what people and programs have said was true."""


@command.command("list", short_help="List labels beside the attention of the time.")
@place_options
@click.option("--entity", help="Only those about this one.")
@json_option
def list_(place: Place, entity: str | None, *, as_json: bool) -> None:
    """List labels, oldest first, with the attention that the agent had found at the time."""
    rows = labels_of(place.database, entity=entity)
    if not as_json:
        rows = [{**row, "time": time_text(row["time_ms"], place.zone)} for row in rows]
    print_rows(rows, ("entity", "time", "value", "attention", "by"), as_json=as_json, empty="No label.")
