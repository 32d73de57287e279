"""``attwin restore``: a backup in the place of the database."""

from pathlib import Path

import click

from attwin.cli.options import Place, json_option, place_options, print_facts
from attwin.wiring.copies import restore_copy


@click.command("restore")
@place_options
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def command(place: Place, file: Path, *, as_json: bool) -> None:
    """Put the backup FILE in the place of the database, which is set aside, not deleted. The agent must not run."""
    database = place.database
    aside = restore_copy(file, database)
    print_facts({"restored": str(database), "set_aside": str(aside) if aside else None}, as_json=as_json)
