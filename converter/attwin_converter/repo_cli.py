"""``attwin-convert repo``: the repository of what is pushed."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from attwin.core.errors import DataError
from attwin.wiring.models import read_bundle
from attwin_converter.repository import OFFLINE, ROLES, Offer, Passphrase, Repository

_VARIABLE = "ATTWIN_PASSPHRASE_FILE"
_CONFIG_SUFFIXES = (".yaml", ".yml")

_folder = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
_keys = click.option(
    "--keys", type=click.Path(path_type=Path, file_okay=False), help="Where the keys are; FOLDER/keys unless told."
)
_passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=_VARIABLE,
    help=f"A file with the passphrase of the offline keys; asked for unless told here or by ${_VARIABLE}.",
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


@click.group("repo", short_help="Keys, signatures and versions of what is pushed.")
def repo() -> None:
    """Keep the repository of what is pushed: keys, signatures, versions."""


@repo.command(short_help="Make a repository in FOLDER.")
@_folder
@_keys
@_passphrase_file
def init(folder: Path, keys: Path | None, passphrase_file: Path | None) -> None:
    """Make a repository in FOLDER, with an operator's key for root and targets and an online key for the rest."""
    made = Repository.init(folder, _passphrase(passphrase_file, is_new=True), keys=keys)
    root = made.folder / "metadata" / "1.root.json"
    click.echo(f"Made {folder}. Copy {root} to each gateway, and name it there: updates: {{root: 1.root.json}}")
    click.echo(f"Keep {keys or folder / 'keys'} secret, and a copy of it apart; who has it can push.")


@repo.command(short_help="Sign BUNDLE, or a configuration, as a target.")
@_folder
@click.argument("bundle", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--gateway", "gateways", multiple=True, help="For this gateway only; repeat it.")
@click.option("--site", "sites", multiple=True, help="For gateways of this site only; repeat it.")
@click.option("--version", type=click.IntRange(1), help="Of a configuration: a number that only rises.")
@_keys
@_passphrase_file
@_json
def publish(
    folder: Path,
    bundle: Path,
    gateways: tuple[str, ...],
    sites: tuple[str, ...],
    version: int | None,
    keys: Path | None,
    passphrase_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Sign BUNDLE, a model or a configuration in YAML, as a target of the repository in FOLDER."""
    repository = Repository(folder, keys=keys)
    offer = _offer(bundle, gateways, sites, version)
    target, lacks = repository.publish(offer, _passphrase(passphrase_file))
    if as_json:
        click.echo(json.dumps({"target": target.path, "sha256": target.sha256, "signatures_missing": lacks}))
    elif lacks:
        click.echo(f"{target.path} needs {lacks} more signatures: attwin-convert repo sign {folder}")
    else:
        click.echo(f"Published {target.path}, {target.size} bytes. `attwin-convert push` sends it.")


@repo.command("add-key", short_help="Give a role another key.")
@_folder
@click.option("--role", required=True, type=click.Choice(ROLES), help="Which role.")
@click.option("--name", required=True, help="What the key is called here.")
@click.option("--threshold", type=click.IntRange(1), help="How many keys of the role must sign from now on.")
@_keys
@_passphrase_file
def add_key(
    folder: Path, role: str, name: str, threshold: int | None, keys: Path | None, passphrase_file: Path | None
) -> None:
    """Make a key, and give it to a role by a new root."""
    repository = Repository(folder, keys=keys)
    lacks = repository.add_key(role, name, _passphrase(passphrase_file, is_new=role in OFFLINE), threshold=threshold)
    _say_signed(folder, f"Role {role} has the key `{name}`", lacks)


@repo.command(short_help="Put a new key in the place of one of a role.")
@_folder
@click.option("--role", required=True, type=click.Choice(ROLES), help="Which role.")
@click.option("--key", "old", required=True, help="The key that goes, by its name or the first figures of its id.")
@click.option("--name", required=True, help="What the new key is called here.")
@_keys
@_passphrase_file
def rotate(folder: Path, role: str, old: str, name: str, keys: Path | None, passphrase_file: Path | None) -> None:
    """Put a new key in the place of one of a role, by a new root; the old one counts no more."""
    repository = Repository(folder, keys=keys)
    lacks = repository.rotate(role, old, name, _passphrase(passphrase_file, is_new=role in OFFLINE))
    _say_signed(folder, f"Role {role} has the key `{name}` for `{old}`", lacks)


@repo.command(short_help="Sign what waits for signatures.")
@_folder
@_keys
@_passphrase_file
def sign(folder: Path, keys: Path | None, passphrase_file: Path | None) -> None:
    """Sign what waits for signatures, with the keys that are here."""
    for name, lacks in Repository(folder, keys=keys).sign(_passphrase(passphrase_file)).items():
        click.echo(f"{name}: {f'{lacks} more signatures are needed' if lacks else 'signed'}")


@repo.command(short_help="Sign the timestamp anew.")
@_folder
@_keys
def refresh(folder: Path, keys: Path | None) -> None:
    """Sign snapshot and timestamp anew with the online key, so that they do not expire."""
    expires = Repository(folder, keys=keys).refresh()
    click.echo(f"The timestamp holds until {expires:%Y-%m-%d}.")


@repo.command("lower-floor", short_help="Let gateways take an older version once more.")
@_folder
@click.argument("line")
@click.argument("version", type=click.IntRange(0))
@_keys
@_passphrase_file
def lower_floor(folder: Path, line: str, version: int, keys: Path | None, passphrase_file: Path | None) -> None:
    """Let gateways take versions of LINE, such as model/room, from VERSION on again; signed by the root."""
    lacks = Repository(folder, keys=keys).lower_floor(line, version, _passphrase(passphrase_file))
    _say_signed(folder, f"From version {version} on {line} may be pushed again", lacks)


@repo.command(short_help="Show keys, expiries and targets.")
@_folder
@_keys
@_json
def status(folder: Path, keys: Path | None, *, as_json: bool) -> None:
    """Show roles with their keys and expiries, what waits for signatures, and all targets."""
    repository = Repository(folder, keys=keys)
    now = datetime.now(UTC)
    roles = [facts.as_dict(now) for facts in repository.facts()]
    targets = [
        {
            "target": one.path,
            "line": one.line,
            "version": one.version,
            "bytes": one.size,
            "for": [*one.gateways, *one.sites] or ["everybody"],
            "sha256": one.sha256,
        }
        for one in repository.published()
    ]
    waiting, floors = repository.waiting(), repository.floors()
    if as_json:
        click.echo(json.dumps({"roles": roles, "targets": targets, "waiting": waiting, "floors": floors}))
        return
    for role in roles:
        listed = ", ".join(map(str, role["keys"])) if isinstance(role["keys"], list) else ""
        click.echo(
            f"{role['role']:<10} version {role['version']}, until {role['expires']} ({role['days']} days), "
            f"{role['threshold']} of {listed}"
        )
    for name, lacks in waiting.items():
        click.echo(f"{name} needs {lacks} more signatures")
    for line, version in floors.items():
        click.echo(f"{line} may be pushed from version {version} on")
    for target in targets:
        whom = ", ".join(map(str, target["for"])) if isinstance(target["for"], list) else ""
        click.echo(f"{target['target']}  {target['bytes']} bytes, for {whom}")
    if not targets:
        click.echo("Nothing is published.")


def _offer(path: Path, gateways: Sequence[str], sites: Sequence[str], version: int | None) -> Offer:
    """Return what a file is, as a target."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if path.suffix in _CONFIG_SUFFIXES:
        if version is None:
            raise click.UsageError("a configuration needs --version")
        return Offer(
            body=body, suffix=".yaml", type="config", name=path.stem, version=version, gateways=gateways, sites=sites
        )
    if version is not None:
        raise click.UsageError("--version is for configurations; a bundle has its own")
    manifest = read_bundle(path).manifest
    return Offer(
        body=body,
        suffix=".zip",
        type="model",
        name=manifest.name,
        version=manifest.version,
        kind=manifest.kind,
        minimum_agent=manifest.minimum_agent,
        operators=[(operator.name, operator.version) for operator in manifest.operators],
        gateways=gateways,
        sites=sites,
    )


def _passphrase(file: Path | None, *, is_new: bool = False) -> Passphrase:
    """Return what asks for passphrases: once for each key, unless a file has the one of all."""
    known: dict[str, bytes] = {}

    def ask(name: str) -> bytes:
        if file is not None:
            try:
                return file.read_bytes().strip()
            except OSError as error:
                raise DataError(f"{file}: {error.strerror}") from error
        if name not in known:
            if not os.isatty(0):
                raise DataError(f"the key `{name}` needs its passphrase: --passphrase-file, or ${_VARIABLE}")
            known[name] = click.prompt(
                f"Passphrase of the key `{name}`", hide_input=True, confirmation_prompt=is_new
            ).encode()
        return known[name]

    return ask


def _say_signed(folder: Path, what: str, lacks: int) -> None:
    if lacks:
        click.echo(f"{what} once {lacks} more signatures are there: attwin-convert repo sign {folder}")
    else:
        click.echo(f"{what}.")
