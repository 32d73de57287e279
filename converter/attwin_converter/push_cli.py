"""``attwin-convert push``: send a target to gateways, and wait for what becomes of it."""

import json
import sys
from contextlib import closing
from pathlib import Path

import click

from attwin.core.errors import DataError
from attwin.wiring.brokers import broker_given
from attwin.wiring.command_line import EXIT_FAILED
from attwin_converter.fleet import Fleet, Gateway
from attwin_converter.pushing import Pushed, line_of, push
from attwin_converter.repository import Published, Repository

_LISTEN_S = 1.5


@click.command("push", short_help="Send a published BUNDLE to gateways.")
@click.argument("bundle")
@click.option("--repo", "folder", required=True, type=click.Path(path_type=Path), help="The repository it is in.")
@click.option("--broker", required=True, metavar="URL", help="Upstream, such as mqtts://hub.example.org.")
@click.option("--username", default="", help="For brokers that ask.")
@click.option("--password-file", default="", help="A file that holds the password alone.")
@click.option("--ca-file", default="", help="Certificates to trust instead of the system's.")
@click.option("--gateway", "gateways", multiple=True, help="To this gateway; repeat it.")
@click.option("--site", default="", help="To all gateways of a site.")
@click.option("--fleet", "is_fleet", is_flag=True, help="To all gateways.")
@click.option("--source", default="", metavar="URL", help="An https:// folder with the targets; MQTT unless told.")
@click.option("--wait", "seconds", type=click.FloatRange(min=1), default=86_400.0, help="How many seconds; a day.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a change instead of text.")
def push_command(
    bundle: str,
    folder: Path,
    broker: str,
    username: str,
    password_file: str,
    ca_file: str,
    gateways: tuple[str, ...],
    site: str,
    seconds: float,
    source: str,
    *,
    is_fleet: bool,
    as_json: bool,
) -> None:
    """Send BUNDLE, a published target by file, path or NAME-VERSION, and wait for the verdict of every gateway.

    Exits 1 where a gateway has refused it, taken it back, or not said.
    """
    if sum((bool(gateways), bool(site), is_fleet)) != 1:
        raise click.UsageError("one of --gateway, --site and --fleet")
    repository = Repository(folder)
    target = repository.find(bundle)
    address = broker_given(broker, username=username, password_file=password_file, ca_file=ca_file)
    with closing(Fleet(address, "attwin-push")) as fleet:
        fleet.listen(_LISTEN_S)
        chosen = _chosen(fleet, target, gateways, site)
        if not chosen:
            known = ", ".join(sorted(fleet.gateways)) or "none"
            raise DataError(f"no such gateway is known to the broker; there is {known}")
        last: dict[str, str] = {}

        def told(one: Pushed) -> None:
            text = json.dumps(one.as_dict()) if as_json else line_of(one, target.size)
            if text != last.get(one.gateway):
                last[one.gateway] = text
                click.echo(text)

        found = push(fleet, repository, target, chosen, told, seconds=seconds, source=source)
    good = [one for one in found if one.is_good]
    silent = [one.gateway for one in found if not one.is_final]
    if not as_json:
        click.echo(f"{len(good)} of {len(found)} gateways have committed {target.path}.")
        if silent:
            click.echo(f"No verdict yet of {', '.join(silent)}.", err=True)
    if len(good) < len(found):
        sys.exit(EXIT_FAILED)


def _chosen(fleet: Fleet, target: Published, gateways: tuple[str, ...], site: str) -> list[Gateway]:
    """Return the gateways that are meant; a named one also where it has not said that it is there."""
    if gateways:
        return [fleet.gateways.get(name, Gateway(id=name)) for name in gateways]
    known = sorted(fleet.gateways.values(), key=lambda gateway: gateway.id)
    mine = [gateway for gateway in known if not site or gateway.site == site]
    return [gateway for gateway in mine if target.is_for(gateway.id, gateway.site)]
