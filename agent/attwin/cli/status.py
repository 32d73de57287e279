"""``attwin status``: how the agent is."""

from pathlib import Path

import click

from attwin.cli.options import config_option, json_option, print_facts
from attwin.settings.load import load_settings
from attwin.wiring.reading import status_of


@click.command("status")
@config_option
@json_option
def command(config: Path, *, as_json: bool) -> None:
    """Say how the agent is: live where it runs, from the database where it does not."""
    print_facts(status_of(Path(load_settings(config).store.path)), as_json=as_json)
