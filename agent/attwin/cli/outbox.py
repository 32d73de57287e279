"""``attwin outbox``: what waits for upstream, and what was set aside."""

import click

from attwin.cli.options import Place, counted, json_option, place_options, print_rows, time_text
from attwin.wiring.outbox import lanes_of, messages_of, park, parked_places, places_of, retry

_LANES = ("lane", "waiting", "bytes", "oldest_s", "in_flight", "parked", "dropped", "paused")
_MESSAGES = ("place", "state", "time", "bytes", "topic", "reason", "payload")


@click.group("outbox")
def command() -> None:
    """What waits for upstream, and what was set aside."""


@command.command("list", short_help="List the lanes, or messages.")
@place_options
@click.option("--messages", is_flag=True, help="Messages, not lanes.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="At most so many messages.")
@json_option
def list_(place: Place, *, messages: bool, limit: int, as_json: bool) -> None:
    """List the lanes in the order in which they leave, or with --messages what is parked and what waits."""
    if not messages:
        print_rows(lanes_of(place.database), _LANES, as_json=as_json, empty="")
        return
    rows = messages_of(place.database, limit)
    if not as_json:
        rows = [{**row, "time": time_text(row["time_ms"], place.zone)} for row in rows]
    print_rows(rows, _MESSAGES, as_json=as_json, empty="Nothing waits for upstream.", cut=("topic", "payload"))


@command.command("park", short_help="Set messages aside.")
@place_options
@click.argument("messages", nargs=-1, required=True, metavar="ID...")
def park_(place: Place, messages: tuple[str, ...]) -> None:
    """Set messages aside that wait: they are kept and not sent. ID is a place of the list, or the id that upstream has.

    What is on its way cannot be set aside.
    """
    places = places_of(place.database, messages, "outbox")
    _say("set aside", park(place.database, places), len(places))


@command.command("retry", short_help="Let messages wait again.")
@place_options
@click.argument("messages", nargs=-1, metavar="ID...")
@click.option("--all", "everything", is_flag=True, help="All that were set aside.")
def retry_(place: Place, messages: tuple[str, ...], *, everything: bool) -> None:
    """Let messages that were set aside wait again, with their ids. What was damaged on the disk stays aside."""
    if bool(messages) == everything:
        raise click.UsageError("either ids of messages, or --all")
    places = parked_places(place.database) if everything else places_of(place.database, messages, "parked")
    _say("let go", retry(place.database, places), len(places))


def _say(what: str, done: int, asked: int) -> None:
    click.echo(f"{counted(done, 'message')} {what}.")
    if done < asked:
        click.echo(f"{asked - done} could not be.", err=True)
        raise SystemExit(1)
