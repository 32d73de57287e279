"""``attwin doctor``: can this machine run the agent?"""

import json
import os
import platform
import sqlite3
import sys
from pathlib import Path

import click
import numpy as np

import attwin
from attwin.cli.options import json_option
from attwin.settings.load import load_settings
from attwin.wiring.brokers import Finding, check_broker
from attwin.wiring.models import probe_runtimes
from attwin.wiring.permissions import check_files

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command("doctor")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Also measure the broker that this configuration names, and look at its files.",
)
@json_option
def command(config: Path | None, *, as_json: bool) -> None:
    """Find out whether this machine can run the agent, and its broker; exits 1 where one cannot.

    With a configuration it also tells which files with secrets others can read.
    """
    about_site: list[Finding] = []
    if config:
        settings = load_settings(config)
        about_site = [*check_files(config, settings, os.environ), *check_broker(settings)]
    findings = probe_runtimes()
    chosen = next((finding.name for finding in findings if finding.works), None)
    versions = {
        "attwin": attwin.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "sqlite": sqlite3.sqlite_version,
    }
    if as_json:
        runtimes = [{"name": f.name, "works": f.works, "detail": f.detail} for f in findings]
        broker = [{"level": f.level, "about": f.about, "text": f.text} for f in about_site]
        click.echo(json.dumps({"runtime": chosen, "runtimes": runtimes, "versions": versions, "findings": broker}))
    else:
        click.echo("  ".join(f"{name} {version}" for name, version in versions.items()))
        for finding in findings:
            mark = "chosen" if finding.name == chosen else "works" if finding.works else "no"
            click.echo(f"runtime {finding.name:15} {mark:7} {finding.detail}")
        if chosen is None:
            click.echo("No TFLite runtime works: install ai-edge-litert, or set ATTWIN_TFLITE_C to a library.")
        for found in about_site:
            click.echo(f"{found.about:8}{click.style(f'{found.level:8}', fg=_COLOURS[found.level])}{found.text}")
    sys.exit(0 if chosen and not any(found.level == "error" for found in about_site) else 1)
