"""``attwin reload``: the running agent takes its configuration anew."""

from pathlib import Path

import click

from attwin.cli.options import config_option
from attwin.settings.load import load_settings
from attwin.wiring.reading import reload_agent


@click.command("reload")
@config_option
def command(config: Path) -> None:
    """Let the running agent take its configuration anew; a wrong one changes nothing. SIGHUP does the same."""
    reload_agent(Path(load_settings(config).store.path))
    click.echo("The agent goes on with the new configuration.")
