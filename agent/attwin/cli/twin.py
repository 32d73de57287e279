"""``attwin twin``: the twins."""

import click

from attwin.cli.options import Place, json_option, place_options, print_facts, print_rows, time_text
from attwin.wiring.reading import twin_of_entity, twins_of


@click.group("twin")
def command() -> None:
    """The twins: entities, their newest readings and their attention."""


@command.command("list")
@place_options
@json_option
def list_(place: Place, *, as_json: bool) -> None:
    """List all entities with their attention."""
    rows = twins_of(place.database)
    if not as_json:
        rows = [{**row, "newest": time_text(_newest_ms(row), place.zone)} for row in rows]
    print_rows(
        rows,
        ("entity", "kind", "attention", "newest", "missing", "stale", "alerts"),
        as_json=as_json,
        empty="No entity is known yet.",
    )


@command.command()
@click.argument("entity")
@place_options
@json_option
def show(entity: str, place: Place, *, as_json: bool) -> None:
    """Show the newest readings and the attention of ENTITY."""
    facts = twin_of_entity(place.database, entity)
    if not as_json:
        facts = {
            name.removesuffix("_ms") + " time" if name.endswith("_ms") else name: time_text(value, place.zone)
            if name.endswith("_ms")
            else value
            for name, value in facts.items()
        }
    print_facts(facts, as_json=as_json)


def _newest_ms(row: dict[str, object]) -> int | None:
    """Return the time of an entity's newest reading, or of its attention."""
    return max((value for name, value in row.items() if name.endswith("_ms") and isinstance(value, int)), default=None)
