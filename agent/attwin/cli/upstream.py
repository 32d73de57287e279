"""``attwin upstream``: the other end, which checks that nothing is missing."""

import contextlib
import json
import sys
from pathlib import Path

import click

from attwin.cli.options import json_option, print_facts, printable
from attwin.core.receiver import Heard, Receiver
from attwin.settings.load import load_settings
from attwin.settings.model import BrokerSettings
from attwin.wiring.brokers import broker_given
from attwin.wiring.receiving import received

_COLOURS = {"gap": "red", "dropped": "yellow", "late": "yellow", "duplicate": "blue", "state": "bright_black"}
_MOST_TEXT = 100


@click.group("upstream")
def command() -> None:
    """Receive what gateways send, and check that nothing is missing."""


@command.command(short_help="Print what arrives, and what is missing.")
@click.option("--config", type=click.Path(path_type=Path), help="The broker and the gateway of a configuration.")
@click.option("--broker", default="", metavar="URL", help="The broker instead, such as mqtt://hub.example.org.")
@click.option("--username", default="", help="With --broker: for brokers that ask.")
@click.option("--password-file", default="", help="With --broker: a file that holds the password alone.")
@click.option("--ca-file", default="", help="With --broker: certificates to trust instead of the system's.")
@click.option("--gateway", default="", help="Only this one; all unless told.")
@click.option("--seconds", type=click.FloatRange(min=0), help="End after so long; never unless told.")
@click.option("--messages", type=click.IntRange(min=1), help="End after so many messages.")
@json_option
def tail(
    config: Path | None,
    broker: str,
    username: str,
    password_file: str,
    ca_file: str,
    gateway: str,
    seconds: float | None,
    messages: int | None,
    *,
    as_json: bool,
) -> None:
    """Print what gateways send as it arrives, each gap and each announcement of what was dropped; counts at the end.

    Exits 1 where numbers are missing that nobody has announced. Of a gateway that sent before, only what is missing
    from now on is known.
    """
    address = _broker_of(config, broker, username, password_file, ca_file)
    receiver = Receiver()
    with contextlib.suppress(KeyboardInterrupt):
        for heard in received(address, gateway, receiver, seconds=seconds, messages=messages):
            click.echo(json.dumps(heard.as_dict()) if as_json else _line(heard))
    counts = {**dict(sorted(receiver.counts.items())), "missing": receiver.missing}
    print_facts({"counts": counts} if as_json else dict(counts), as_json=as_json)
    sys.exit(1 if receiver.missing else 0)


def _broker_of(config: Path | None, broker: str, username: str, password_file: str, ca_file: str) -> BrokerSettings:
    if (config is None) == (not broker):
        raise click.UsageError("one of --broker and --config")
    if config is None:
        return broker_given(broker, username=username, password_file=password_file, ca_file=ca_file)
    upstream = load_settings(config).upstream
    if upstream is None:
        raise click.UsageError(f"{config} has no `upstream`")
    return upstream


def _line(heard: Heard) -> str:
    """Return one line about a message, a gap or an announcement."""
    colour = _COLOURS.get(heard.what)
    if heard.what in ("gap", "dropped"):
        told = ", ".join(f"{first}..{last} {reason}" for first, last, reason in heard.ranges)
        text = f"{heard.gateway} {heard.lane} {told}"
    else:
        body = json.dumps(heard.body) if heard.body is not None else ""
        shown = body if len(body) <= _MOST_TEXT else f"{body[: _MOST_TEXT - 3]}..."
        place = f"{heard.lane}:{heard.number} " if heard.number else ""
        again = " resend" if heard.resend else ""
        text = f"{place}{heard.topic}{again} {shown}"
    return click.style(f"{heard.what:9}", fg=colour) + " " + printable(text)
