"""``attwin backup``: a copy of the database, also while the agent runs."""

import sys
from pathlib import Path

import click

from attwin.cli.options import Place, json_option, place_options, print_facts
from attwin.wiring.copies import back_up


@click.command("backup")
@place_options
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def command(place: Place, file: Path, *, as_json: bool) -> None:
    """Copy the database to FILE, checked and flushed; the agent may run. FILE must not exist."""
    database = place.database
    show = sys.stderr.isatty() and not as_json
    done = 0
    with click.progressbar(length=1, label="Backup", file=sys.stderr, hidden=not show) as bar:

        def progress(left: int, pages: int) -> None:
            nonlocal done
            bar.length = max(pages, 1)
            bar.update(pages - left - done)
            done = pages - left

        back_up(database, file, progress)
    print_facts({"backup": str(file), "bytes": file.stat().st_size}, as_json=as_json)
