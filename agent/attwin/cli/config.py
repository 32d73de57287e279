"""``attwin config``: check, show and describe the configuration."""

import json
from pathlib import Path

import click
import yaml

from attwin.cli.options import config_option, counted, json_option, print_rows
from attwin.settings.layers import Layer
from attwin.settings.load import load_settings, load_with_origins
from attwin.settings.show import as_plain, json_schema, leaves_of
from attwin.wiring.layers import inspect, serving_layer


@click.group("config")
def command() -> None:
    """Check, show and describe the configuration."""


@command.command(short_help="Find every problem of the configuration.")
@config_option
@click.option("--layer", type=click.Path(path_type=Path), help="With this pushed configuration over it.")
def check(config: Path, layer: Path | None) -> None:
    """Find every problem of the configuration and its models; exits 78 where there is one."""
    settings = load_settings(config, inspect=inspect, layer=_layer_of(layer))
    counts = {"kind": len(settings.kinds), "source": len(settings.sources), "rule": len(settings.rules)}
    words = ", ".join(counted(count, name) for name, count in counts.items())
    click.echo(f"{config}: fine. {words}.")


@command.command(short_help="Print the configuration that holds here.")
@config_option
@click.option("--origin", is_flag=True, help="One setting a line, with the file and the line that say it.")
@json_option
def show(config: Path, *, origin: bool, as_json: bool) -> None:
    """Print the configuration that holds here, with all defaults and what was pushed; secrets are stars."""
    layer = serving_layer(config)
    settings, origins = load_with_origins(config, layer=layer)
    if origin:
        rows = [
            {"setting": where, "value": value, "origin": origins.get(where, "default")}
            for where, value in leaves_of(as_plain(settings))
        ]
        print_rows(rows, ("setting", "value", "origin"), as_json=as_json, empty="Nothing is set.")
        return
    plain = as_plain(settings)
    click.echo(json.dumps(plain, indent=2) if as_json else yaml.safe_dump(plain, sort_keys=False), nl=as_json)


@command.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


def _layer_of(path: Path | None) -> Layer | None:
    return Layer(path=path, name=path.name) if path else None
