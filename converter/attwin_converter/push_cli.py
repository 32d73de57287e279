"""``attwin-convert push``: send a target to gateways, and wait for what becomes of it."""

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import click

from attwin.core.errors import DataError
from attwin.wiring.brokers import broker_given
from attwin.wiring.command_line import EXIT_FAILED
from attwin_converter.fleet import Fleet, Gateway
from attwin_converter.pushing import Pushed, line_of, push, serve, take_back
from attwin_converter.repository import Published, Repository
from attwin_converter.rollout import parse_gate, problems_of, stages_of

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
@click.option("--canary", default="", metavar="SHARE", help="First to so much of them, such as 5%.")
@click.option("--then", "shares", multiple=True, metavar="SHARE", help="Then to so much, such as 50%; repeat it.")
@click.option(
    "--gate",
    default="errors = 0",
    show_default=True,
    help="What must hold after each stage, such as `alerts_per_day < 1.5x and errors = 0`; else all is taken back.",
)
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
    canary: str,
    shares: tuple[str, ...],
    gate: str,
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
    if shares and not canary:
        raise click.UsageError("--then goes with --canary")
    terms = parse_gate(gate)
    repository = Repository(folder)
    target = repository.find(bundle)
    address = broker_given(broker, username=username, password_file=password_file, ca_file=ca_file)
    with closing(Fleet(address, "attwin-push")) as fleet:
        fleet.listen(_LISTEN_S)
        chosen = _chosen(fleet, target, gateways, site)
        if not chosen:
            known = ", ".join(sorted(fleet.gateways)) or "none"
            raise DataError(f"no such gateway is known to the broker; there is {known}")
        says = _Says(target, as_json=as_json)
        shown = (canary, *shares) if canary else ("100%",)
        stages = stages_of([gateway.id for gateway in chosen], shown, f"{target.name}-{target.version}")
        by_id = {gateway.id: gateway for gateway in chosen}
        found: list[Pushed] = []
        for number, stage in enumerate(stages, 1):
            says.stage(number, stages)
            members = [by_id[name] for name in stage]
            found += push(fleet, repository, target, members, says.told, seconds=seconds, source=source)
            problems = problems_of(terms, found) if canary else []
            if problems:
                says.stopped(problems, take_back(fleet, target, found, f"the rollout stopped: {'; '.join(problems)}"))
                break
    says.end(found)
    if problems or not all(one.is_good for one in found):
        sys.exit(EXIT_FAILED)


@click.command("serve", short_help="Keep offering the newest targets.")
@click.option("--repo", "folder", required=True, type=click.Path(path_type=Path), help="The repository.")
@click.option("--broker", required=True, metavar="URL", help="Upstream, such as mqtts://hub.example.org.")
@click.option("--username", default="", help="For brokers that ask.")
@click.option("--password-file", default="", help="A file that holds the password alone.")
@click.option("--ca-file", default="", help="Certificates to trust instead of the system's.")
@click.option("--seconds", type=click.FloatRange(min=0), help="End after so long; never unless told.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a change instead of text.")
def serve_command(
    folder: Path,
    broker: str,
    username: str,
    password_file: str,
    ca_file: str,
    seconds: float | None,
    *,
    as_json: bool,
) -> None:
    """Offer the newest target of each line to every gateway that comes online with an older one, until Ctrl-C."""
    Repository(folder)
    address = broker_given(broker, username=username, password_file=password_file, ca_file=ca_file)
    says: dict[str, _Says] = {}

    def told(target: Published, one: Pushed) -> None:
        says.setdefault(target.path, _Says(target, as_json=as_json)).told(one)

    with closing(Fleet(address, "attwin-serve")) as fleet, contextlib.suppress(KeyboardInterrupt):
        serve(fleet, folder, told, seconds=seconds)


class _Says:
    """Says how a push goes."""

    def __init__(self, target: Published, *, as_json: bool) -> None:
        self._target, self._as_json = target, as_json
        self._last: dict[str, str] = {}

    def stage(self, number: int, stages: Sequence[Sequence[str]]) -> None:
        """Say who comes next, where there are several stages."""
        if len(stages) > 1 and not self._as_json:
            click.echo(f"stage {number} of {len(stages)}: {', '.join(stages[number - 1])}")

    def told(self, one: Pushed) -> None:
        """Say what has changed."""
        text = json.dumps(one.as_dict()) if self._as_json else line_of(one, self._target.size)
        if text != self._last.get(one.gateway):
            self._last[one.gateway] = text
            click.echo(text)

    def stopped(self, problems: Sequence[str], back: Mapping[str, str]) -> None:
        """Say why it goes no further, and what was taken back."""
        click.echo(f"The gate does not hold: {'; '.join(problems)}. All of it is taken back.", err=True)
        for gateway, problem in back.items():
            said = {"gateway": gateway, "rolled_back": not problem, "reason": problem}
            click.echo(json.dumps(said) if self._as_json else f"{gateway} {problem or 'rolled back'}")

    def end(self, found: Sequence[Pushed]) -> None:
        """Say how it ended."""
        if self._as_json:
            return
        good, silent = sum(one.is_good for one in found), [one.gateway for one in found if not one.is_final]
        click.echo(f"{good} of {len(found)} gateways have committed {self._target.path}.")
        if silent:
            click.echo(f"No verdict yet of {', '.join(silent)}.", err=True)


def _chosen(fleet: Fleet, target: Published, gateways: tuple[str, ...], site: str) -> list[Gateway]:
    """Return the gateways that are meant; a named one also where it has not said that it is there."""
    if gateways:
        return [fleet.gateways.get(name, Gateway(id=name)) for name in gateways]
    mine = [gateway for gateway in fleet.known() if not site or gateway.site == site]
    return [gateway for gateway in mine if target.is_for(gateway.id, gateway.site)]
