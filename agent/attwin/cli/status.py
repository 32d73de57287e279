"""``attwin status``: how the agent is."""

import click

from attwin.cli.options import Place, json_option, place_options, print_facts
from attwin.wiring.reading import status_of


@click.command("status")
@place_options
@json_option
def command(place: Place, *, as_json: bool) -> None:
    """Say how the agent is: live where it runs, from the database where it does not."""
    facts = status_of(place.database)
    if not as_json:
        facts |= {"gateway": place.gateway}
        facts.pop("time_ms", None)
        models = facts.get("models")
        if isinstance(models, dict):
            facts["models"] = [f"{kind}: {m['name']} {m['version']} in {m['runtime']}" for kind, m in models.items()]
    print_facts(facts, as_json=as_json)
