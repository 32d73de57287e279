"""``attwin twin``: the twins."""

from datetime import tzinfo

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
    rows = twins_of(place.database, away=lambda saved_ms: _tell_age(saved_ms, place.zone))
    if not as_json:
        rows = [{**row, "newest": time_text(_newest_ms(row), place.zone), "quality": _doubted(row)} for row in rows]
    print_rows(
        rows,
        ("entity", "kind", "attention", "newest", "quality", "missing", "stale", "alerts"),
        as_json=as_json,
        empty="No entity is known yet.",
    )


@command.command()
@click.argument("entity")
@place_options
@json_option
def show(entity: str, place: Place, *, as_json: bool) -> None:
    """Show the newest readings and the attention of ENTITY."""
    facts = twin_of_entity(place.database, entity, away=lambda saved_ms: _tell_age(saved_ms, place.zone))
    if not as_json:
        facts = dict(_shown(name, value, place.zone) for name, value in facts.items())
    print_facts(facts, as_json=as_json)


def _tell_age(saved_ms: int | None, zone: tzinfo) -> None:
    """Say on stderr how old the data of an agent may be that does not answer."""
    since = f"of {time_text(saved_ms, zone)}" if saved_ms else "not there yet"
    click.echo(f"No agent answers: the last saved state is {since}.", err=True)


def _shown(name: str, value: object, zone: tzinfo) -> tuple[str, object]:
    """Return a fact as people read it: ``co2_ms`` is the time of ``co2``."""
    for ending, word in (("_ms", " time"), ("_quality", " quality"), ("_reason", " reason")):
        if name.endswith(ending):
            return name.removesuffix(ending) + word, time_text(value, zone) if ending == "_ms" else value
    return name, value


def _doubted(row: dict[str, object]) -> list[str]:
    """Return the metrics whose newest reading is not plainly good, with what is wrong with it."""
    metrics = [name.removesuffix("_quality") for name in row if name.endswith("_quality")]
    return [f"{metric} {row[f'{metric}_quality']} ({row.get(f'{metric}_reason')})" for metric in metrics]


def _newest_ms(row: dict[str, object]) -> int | None:
    """Return the time of an entity's newest reading, or of its attention."""
    return max((value for name, value in row.items() if name.endswith("_ms") and isinstance(value, int)), default=None)
