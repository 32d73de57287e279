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
    settings = load_settings(config)
    facts = status_of(Path(settings.store.path))
    if not as_json:
        facts |= {"gateway": settings.gateway.id}
        facts.pop("time_ms", None)
        models = facts.get("models")
        if isinstance(models, dict):
            facts["models"] = [f"{kind}: {m['name']} {m['version']} in {m['runtime']}" for kind, m in models.items()]
    print_facts(facts, as_json=as_json)
