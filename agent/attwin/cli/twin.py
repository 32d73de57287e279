"""``attwin twin``: the twins."""

from pathlib import Path

import click

from attwin.cli.options import config_option, json_option, print_facts, print_rows, time_text
from attwin.settings.load import load_settings
from attwin.wiring.reading import twin_of_entity, twins_of


@click.group("twin")
def command() -> None:
    """The twins: entities, their newest readings and their attention."""


@command.command("list")
@config_option
@json_option
def list_(config: Path, *, as_json: bool) -> None:
    """List all entities with their attention."""
    rows = twins_of(Path(load_settings(config).store.path))
    if not as_json:
        rows = [{**row, "time": time_text(row.get("attention_ms"))} for row in rows]
    print_rows(
        rows,
        ("entity", "kind", "attention", "time", "missing", "stale", "alerts"),
        as_json=as_json,
        empty="No entity is known yet.",
    )


@command.command()
@click.argument("entity")
@config_option
@json_option
def show(entity: str, config: Path, *, as_json: bool) -> None:
    """Show the newest readings and the attention of ENTITY."""
    facts = twin_of_entity(Path(load_settings(config).store.path), entity)
    if not as_json:
        facts = {
            name.removesuffix("_ms") + " time" if name.endswith("_ms") else name: time_text(value)
            if name.endswith("_ms")
            else value
            for name, value in facts.items()
        }
    print_facts(facts, as_json=as_json)
