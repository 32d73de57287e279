"""``attwin reload``: the running agent takes its configuration anew."""

import click

from attwin.cli.options import Place, place_options
from attwin.wiring.reading import reload_agent


@click.command("reload")
@place_options
def command(place: Place) -> None:
    """Let the running agent take its configuration anew; a wrong one changes nothing. SIGHUP does the same."""
    reload_agent(place.database)
    click.echo("The agent goes on with the new configuration.")
