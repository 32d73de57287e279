"""``attwin restore``: a backup in the place of the database."""

from pathlib import Path

import click

from attwin.cli.options import config_option, json_option, print_facts
from attwin.settings.load import load_settings
from attwin.wiring.copies import restore_copy


@click.command("restore")
@config_option
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def command(config: Path, file: Path, *, as_json: bool) -> None:
    """Put the backup FILE in the place of the database, which is set aside, not deleted. The agent must not run."""
    database = Path(load_settings(config).store.path)
    aside = restore_copy(file, database)
    print_facts({"restored": str(database), "set_aside": str(aside) if aside else None}, as_json=as_json)
