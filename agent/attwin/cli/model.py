"""``attwin model``: look at a bundle."""

import dataclasses

import click

from attwin.cli.options import json_option, print_facts
from attwin.wiring.models import bundle_path, load_manifest, verify_here


@click.group("model")
def command() -> None:
    """Look at a bundle, and prove that it computes what it promises."""


@command.command(short_help="Check what BUNDLE computes.")
@click.argument("bundle")
@json_option
def verify(bundle: str, *, as_json: bool) -> None:
    """Check hashes, manifest, runtime and golden samples of BUNDLE; exits 1 where anything is off."""
    found = verify_here(bundle_path(bundle))
    if as_json:
        print_facts(dataclasses.asdict(found), as_json=True)
    else:
        click.echo(
            f"fine: {found.rows} golden scores, off by {found.worst:.4f} at most; "
            f"{found.latency_us:.2f} us a row in {found.runtime}"
        )


@command.command()
@click.argument("bundle")
@json_option
def show(bundle: str, *, as_json: bool) -> None:
    """Print what BUNDLE promises."""
    manifest = load_manifest(bundle_path(bundle))
    if as_json:
        print_facts(dataclasses.asdict(manifest), as_json=True)
        return
    print_facts(
        {
            "name": f"{manifest.name} version {manifest.version}",
            "kind": manifest.kind,
            "score means": manifest.label,
            "metrics": [f"{m.name} [{m.unit}]" for m in manifest.metrics],
            "windows": [f"{w / 1000:g} s" for w in manifest.windows_ms],
            "features": [f"{f.metric}.{f.statistic}_{f.window_ms // 1000}s" for f in manifest.features],
            "operators": [f"{o.name} {o.version}" for o in manifest.operators],
            "before int8": dataclasses.asdict(manifest.before) if manifest.before else None,
            "after int8": dataclasses.asdict(manifest.after) if manifest.after else None,
            "model bytes": manifest.files["model.tflite"].size,
            "created": manifest.created,
        },
        as_json=False,
    )
