"""``attwin twin``: the twins."""

from pathlib import Path
from zoneinfo import ZoneInfo

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
    settings = load_settings(config)
    rows = twins_of(Path(settings.store.path))
    if not as_json:
        zone = ZoneInfo(settings.gateway.zone)
        rows = [{**row, "newest": time_text(_newest_ms(row), zone)} for row in rows]
    print_rows(
        rows,
        ("entity", "kind", "attention", "newest", "missing", "stale", "alerts"),
        as_json=as_json,
        empty="No entity is known yet.",
    )


@command.command()
@click.argument("entity")
@config_option
@json_option
def show(entity: str, config: Path, *, as_json: bool) -> None:
    """Show the newest readings and the attention of ENTITY."""
    settings = load_settings(config)
    facts = twin_of_entity(Path(settings.store.path), entity)
    if not as_json:
        zone = ZoneInfo(settings.gateway.zone)
        facts = {
            name.removesuffix("_ms") + " time" if name.endswith("_ms") else name: time_text(value, zone)
            if name.endswith("_ms")
            else value
            for name, value in facts.items()
        }
    print_facts(facts, as_json=as_json)


def _newest_ms(row: dict[str, object]) -> int | None:
    """Return the time of an entity's newest reading, or of its attention."""
    return max((value for name, value in row.items() if name.endswith("_ms") and isinstance(value, int)), default=None)
