"""``attwin audit``: has anything disappeared?"""

import json
import sys

import click

from attwin.cli.options import Place, json_option, place_options, printable
from attwin.wiring.auditing import audit_of


@click.command("audit")
@place_options
@json_option
def command(place: Place, *, as_json: bool) -> None:
    """Print what came in and what became of it, source by source; exits 1 where the sums do not add up."""
    sums = audit_of(place.database)
    for found in sums:
        if as_json:
            click.echo(json.dumps(found.as_dict()))
            continue
        parts = " + ".join(f"{name} {count}" for name, count in found.parts.items()) or "0"
        again = f" + replayed {found.again}" if found.again else ""
        mark = click.style("ok", fg="green") if not found.difference else click.style("WRONG", fg="red")
        click.echo(f"{mark}  " + printable(f"{found.source}: {found.what} {found.total}{again} = {parts}"))
    missing = [found for found in sums if found.difference]
    for found in missing:
        problem = f"{found.difference} unaccounted for" if found.difference > 0 else f"{-found.difference} too many"
        click.echo(f"{found.source}: {found.what}: {problem}", err=True)
    sys.exit(1 if missing else 0)
