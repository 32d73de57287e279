"""``attwin doctor``: can this machine run the agent?"""

import json
import platform
import sqlite3
import sys

import click
import numpy as np

import attwin
from attwin.cli.options import json_option
from attwin.wiring.models import probe_runtimes


@click.command("doctor")
@json_option
def command(*, as_json: bool) -> None:
    """Find out whether this machine can run the agent; exits 1 where it cannot."""
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
        click.echo(json.dumps({"runtime": chosen, "runtimes": runtimes, "versions": versions}))
    else:
        click.echo("  ".join(f"{name} {version}" for name, version in versions.items()))
        for finding in findings:
            mark = "chosen" if finding.name == chosen else "works" if finding.works else "no"
            click.echo(f"runtime {finding.name:15} {mark:7} {finding.detail}")
        if chosen is None:
            click.echo("No TFLite runtime works: install ai-edge-litert, or set ATTWIN_TFLITE_C to a library.")
    sys.exit(0 if chosen else 1)
