"""``attwin config``: check, show and describe the configuration."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import yaml

from attwin.cli.options import config_option, counted, json_option
from attwin.settings.load import load_settings
from attwin.settings.model import Settings
from attwin.settings.show import as_plain, json_schema
from attwin.wiring.models import inspect_models
from attwin.wiring.sources import inspect_sources


@click.group("config")
def command() -> None:
    """Check, show and describe the configuration."""


@command.command(short_help="Find every problem of the configuration.")
@config_option
def check(config: Path) -> None:
    """Find every problem of the configuration and its models; exits 78 where there is one."""
    settings = load_settings(config, inspect=_inspect)
    counts = {"kind": len(settings.kinds), "source": len(settings.sources), "rule": len(settings.rules)}
    words = ", ".join(counted(count, name) for name, count in counts.items())
    click.echo(f"{config}: fine. {words}.")


@command.command()
@config_option
@json_option
def show(config: Path, *, as_json: bool) -> None:
    """Print the configuration with all defaults; secrets are stars."""
    plain = as_plain(load_settings(config))
    click.echo(json.dumps(plain, indent=2) if as_json else yaml.safe_dump(plain, sort_keys=False), nl=as_json)


@command.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


def _inspect(settings: Settings, report: Callable[[str, str], None]) -> None:
    inspect_sources(settings, report)
    inspect_models(settings, report)
    folder = Path(settings.store.path).parent
    if settings.store.path and not folder.is_dir():
        report("store.path", f"no folder `{folder}`")
