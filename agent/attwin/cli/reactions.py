"""``attwin reactions``: what the site does when an alert changes."""

from pathlib import Path

import click

from attwin.cli.options import Place, config_option, json_option, place_options, print_rows, time_text
from attwin.core.errors import DataError
from attwin.settings.load import load_settings
from attwin.wiring.reacting import try_out
from attwin.wiring.reading import reactions_left

_COLUMNS = ("number", "name", "alert", "state", "tries", "created", "problem")


@click.group("reactions")
def command() -> None:
    """Reactions: what the site does when an alert changes."""


@command.command("list", short_help="List what waits, failed or came too late.")
@place_options
@json_option
def list_(place: Place, *, as_json: bool) -> None:
    """List what waits to be done, what failed and what came too late; what is done is not kept."""
    rows = reactions_left(place.database)
    if not as_json:
        rows = [{**row, "created": time_text(row["created_ms"], place.zone)} for row in rows]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="Nothing waits, nothing failed.", cut=("problem",))


@command.command(short_help="Try the command or web server of NAME.")
@click.argument("name")
@config_option
def test(name: str, config: Path) -> None:
    """Run the command of NAME, or post to its web server, as for an alert called `test`."""
    problem = try_out(load_settings(config), name)
    if problem:
        raise DataError(f"{name}: {problem}")
    click.echo(f"{name}: done")
