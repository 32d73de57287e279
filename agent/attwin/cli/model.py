"""``attwin model``: look at a bundle."""

import dataclasses
from pathlib import Path

import click

from attwin.cli.options import Place, json_option, place_options, print_facts, print_rows, time_text
from attwin.core.manifest import MODEL, Figures
from attwin.wiring.models import bundle_path, read_bundle, verify_here
from attwin.wiring.pushed import history_of, install_model, models_of, promote_model, roll_back


@click.group("model")
def command() -> None:
    """Look at a bundle, prove that it computes what it promises, and say which model serves."""


@command.command("list")
@place_options
@json_option
def list_models(place: Place, *, as_json: bool) -> None:
    """Print which model serves each kind, and what is tried."""
    print_rows(
        models_of(place.database),
        ("line", "serves", "version", "from", "trying", "state"),
        as_json=as_json,
        empty="No model has served yet.",
    )


@command.command(short_help="Print what became of each update.")
@click.option("--line", help="Only of this line, such as model/room or config.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The newest so many steps.")
@place_options
@json_option
def history(place: Place, line: str | None, limit: int, *, as_json: bool) -> None:
    """Print every step of what was pushed or installed, oldest first."""
    rows = history_of(place.database, line, limit)
    if not as_json:
        rows = [{**row, "time": time_text(row["time_ms"], place.zone)} for row in rows]
    columns = ("time", "line", "name", "version", "before", "state", "reason")
    print_rows(rows, columns, as_json=as_json, empty="Nothing was pushed yet.", cut=("reason",))


@command.command(short_help="Let BUNDLE serve, once it has passed the gates.")
@click.argument("bundle", type=click.Path(path_type=Path, dir_okay=False))
@place_options
def install(place: Place, bundle: Path) -> None:
    """Let the running agent take BUNDLE, a local file: it is tested, tried beside what serves, and watched."""
    kind, transaction = install_model(place.database, bundle)
    click.echo(f"Taken for kind `{kind}` as {transaction}. `attwin model history` shows how it goes.")


@command.command(short_help="Let what is tried serve now.")
@place_options
def promote(place: Place) -> None:
    """Let what is tried serve before its time is over, or keep what is on probation; the gates hold all the same."""
    promote_model(place.database)
    click.echo("Promoted.")


@command.command(short_help="Let what served before serve again.")
@click.argument("kind")
@click.option("--reason", default="", help="Why; it is kept in the history.")
@place_options
def rollback(place: Place, kind: str, reason: str) -> None:
    """Let the model that served KIND before serve again; `config` takes back a pushed configuration."""
    roll_back(place.database, kind, reason)
    click.echo(f"What served `{kind}` before serves again.")


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
    read = read_bundle(bundle_path(bundle))
    manifest = read.manifest
    if as_json:
        print_facts({**dataclasses.asdict(manifest), "sha256": read.sha256}, as_json=True)
        return
    print_facts(
        {
            "name": f"{manifest.name} version {manifest.version}",
            "kind": manifest.kind,
            "score means": manifest.label,
            "metrics": [f"{m.name} [{m.unit}]" for m in manifest.metrics],
            "windows": [f"{w / 1000:g} s" for w in manifest.windows_ms],
            "features": [feature.title for feature in manifest.features],
            "clock": f"{', '.join(manifest.clock)} ({manifest.zone})" if manifest.clock else None,
            "precision": manifest.precision,
            "Keras model": manifest.before.words if manifest.before else None,
            "exported file": manifest.after.words if manifest.after else None,
            "difference": _gap(manifest.before, manifest.after),
            "threshold": f"{manifest.threshold:.3f}, where F1 is counted" if manifest.threshold is not None else None,
            "checked in": [
                f"{r.name} {r.version} (off by {r.worst:.4f} at most, {r.latency_us:.2f} us a row, {r.memory_kb} KiB)"
                for r in manifest.runtimes
            ],
            "operators": [f"{o.name} {o.version}" for o in manifest.operators],
            "model bytes": manifest.files[MODEL].size,
            "sha256": read.sha256,
            "created": manifest.created,
            "card": "`attwin-convert report` shows it" if read.card else None,
        },
        as_json=False,
    )


def _gap(before: Figures | None, after: Figures | None) -> str | None:
    """Return by how much the exported file differs from the Keras model; None where there is no such model."""
    if before is None or after is None:
        return None
    named = (
        ("accuracy", before.accuracy, after.accuracy),
        ("mean squared error" if after.auc is None else "Brier", before.brier, after.brier),
        ("AUC", before.auc, after.auc),
        ("average precision", before.average_precision, after.average_precision),
        ("F1", before.f1, after.f1),
    )
    return ", ".join(
        f"{name} {round(new - old, 4) + 0.0:+.4f}" for name, old, new in named if old is not None and new is not None
    )
