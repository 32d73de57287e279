"""``attwin init``: a first configuration, from what a broker has."""

import re
import socket
import sys
import time
from pathlib import Path

import click

from attwin.cli.options import counted
from attwin.core.topics import ID_RULE, is_id
from attwin.settings.load import load_settings
from attwin.wiring.brokers import broker_given
from attwin.wiring.discovering import check_new, listen, local_zone, propose, rehearse, write_new


@click.command("init")
@click.option("--broker", default="mqtt://127.0.0.1:1883", show_default=True, help="The broker of the sensors.")
@click.option("--username", default="", help="For brokers that ask.")
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its password.")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="To trust, for mqtts://.")
@click.option("--topic", default="#", show_default=True, help="What to listen to, as an MQTT filter.")
@click.option(
    "--seconds", default=10.0, show_default=True, type=click.FloatRange(min=0.1, max=86_400), help="For how long."
)
@click.option("--gateway", default="", help="The gateway's id; the host's name if left out.")
@click.option(
    "--out", default="attwin.yaml", show_default=True, type=click.Path(path_type=Path), help="The file to write."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def command(
    broker: str,
    username: str,
    password_file: Path | None,
    ca_file: Path | None,
    topic: str,
    seconds: float,
    gateway: str,
    out: Path,
    *,
    force: bool,
) -> None:
    """Listen to a broker for some seconds and write a commented configuration of what it saw."""
    if gateway and not is_id(gateway):
        raise click.BadParameter(ID_RULE, param_hint="--gateway")
    if not out.parent.is_dir():
        raise click.BadParameter(f"no folder {out.parent}", param_hint="--out")
    check_new(out, force=force)
    source = broker_given(
        broker,
        username=username,
        password_file=str(password_file.absolute()) if password_file else "",
        ca_file=str(ca_file.absolute()) if ca_file else "",
    )
    show = sys.stderr.isatty()
    with click.progressbar(length=1000, label="Listening", file=sys.stderr, hidden=not show) as bar:
        messages = listen(
            source,
            topic,
            seconds,
            progress=lambda passed: bar.update(int(1000 * passed / seconds) - bar.pos),
        )
    name = gateway or re.sub(r"[^\w.~-]+", "-", socket.gethostname())[:64] or "gateway-1"
    text = propose(messages, gateway=name, broker=source, zone=local_zone())
    write_new(out, text, force=force)
    settings = load_settings(out)
    metrics = sum(len(kind.metrics) for kind in settings.kinds.values())
    counts = f"{counted(len(settings.sources), 'source')}, {counted(metrics, 'metric')}"
    readings, others = rehearse(settings, messages, now_ms=time.time_ns() // 1_000_000)
    click.echo(
        f"{out}: {counts} from {counted(len(messages), 'message')}, in which it finds {counted(readings, 'reading')}."
    )
    for reason, count in others.most_common():
        click.echo(f"  not taken as {reason}: {count}")
    click.echo(f"Look through it, then: attwin run --config {out}")
