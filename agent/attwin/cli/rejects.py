"""``attwin rejects``: what was not stored, and taking it again."""

import sys

import click

from attwin.cli.options import Place, json_option, place_options, print_facts, print_rows, time_text
from attwin.core.types import RejectReason
from attwin.wiring.reading import rejects_of, replay_rejects

_COLUMNS = ("reject", "time", "reason", "topic", "detail", "payload")
_REASONS = click.Choice([reason.value for reason in RejectReason])
_CUT = ("topic", "detail", "payload")

reason_option = click.option("--reason", type=_REASONS, help="Only those with this reason.")


@click.group("rejects")
def command() -> None:
    """What was not stored, and taking it again."""


@command.command("list")
@place_options
@reason_option
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="At most so many, the newest.")
@json_option
def list_(place: Place, *, reason: str | None, limit: int, as_json: bool) -> None:
    """List what was rejected, newest last. The ring keeps 10 MB."""
    rows = rejects_of(place.database, reason=reason, limit=limit)
    if not as_json:
        rows = [{**row, "time": time_text(row["time_ms"], place.zone)} for row in rows]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="Nothing was rejected.", cut=_CUT)


@command.command(short_help="Take rejects again.")
@place_options
@reason_option
@click.argument("numbers", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@json_option
def replay(place: Place, *, reason: str | None, numbers: tuple[int, ...], everything: bool, as_json: bool) -> None:
    """Take rejects again, with the configuration that the agent runs now: NUMBERS, or --reason, or --all.

    Each is taken as if it arrived when it did. What is rejected again goes back into the ring. Of a message that was
    taken in part the rest is taken, and all rejects of it go; where the configuration reads now in another way what was
    taken then, it is `unsure` and stays.

    Counts rejects that were `replayed`, and what became of them: readings that were `stored`, a `duplicate` or
    `suppressed`, and rejects that are back with new numbers, `rejected_again`.
    """
    if bool(numbers) + bool(reason) + everything != 1:
        raise click.UsageError("exactly one of: numbers of `attwin rejects list`, --reason, --all")
    database = place.database
    chosen = list(numbers) or [int(str(row["reject"])) for row in rejects_of(database, reason=reason, limit=None)]
    show = sys.stderr.isatty() and not as_json
    with click.progressbar(length=len(chosen), label="Rejects", file=sys.stderr, hidden=not show) as bar:
        facts = replay_rejects(database, chosen, progress=bar.update)
    print_facts(facts, as_json=as_json)
    if facts["rejected_again"] and not as_json:
        click.echo("What was rejected again has new numbers: see `attwin rejects list`.", err=True)
