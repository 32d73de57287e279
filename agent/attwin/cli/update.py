"""``attwin update``: what the agent does in processes of their own. Nobody types these."""

import hashlib
import json
import resource
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import click

from attwin.core.errors import UpdateRefusedError

_CHUNK = 65_536
_SECONDS = 60


@click.group("update", hidden=True)
def command() -> None:
    """Check, fetch and test what was pushed."""


@command.command()
@click.option("--trust", required=True, type=click.Path(path_type=Path))
@click.option("--root", required=True, type=click.Path(path_type=Path))
@click.option("--request", required=True, type=click.Path(path_type=Path))
@click.option("--target", required=True)
@click.option("--now-ms", required=True, type=int)
@click.option("--json", "as_json", is_flag=True)
def check(trust: Path, root: Path, request: Path, target: str, now_ms: int, *, as_json: bool) -> None:
    """Check the metadata of a request."""
    del as_json
    from attwin.wiring.trust import check_request, read_metadata  # noqa: PLC0415 -- loads python-tuf

    metadata, _ = read_metadata(request)
    try:
        pinned = root.read_bytes()
    except OSError as error:
        raise UpdateRefusedError(f"the pinned root {root} cannot be read: {error.strerror}") from error
    click.echo(json.dumps(check_request(trust, pinned, metadata, target, now_ms=now_ms)))


@command.command()
@click.option("--address", required=True)
@click.option("--size", required=True, type=int)
@click.option("--out", required=True, type=click.Path(path_type=Path))
def fetch(address: str, size: int, out: Path) -> None:
    """Fetch a file from a web server, and never more than was signed."""
    if urlsplit(address).scheme != "https":
        raise UpdateRefusedError(f"`{address[:100]}` is no https:// address")
    done = 0
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer, out.open("wb") as file:  # noqa: S310 -- https only
            while chunk := answer.read(min(_CHUNK, size + 1 - done)):
                done += len(chunk)
                if done > size:
                    raise UpdateRefusedError(f"the server sends more than the {size} bytes that are signed")
                file.write(chunk)
    except (OSError, ValueError) as error:
        raise UpdateRefusedError(f"`{address[:100]}` cannot be fetched: {error}") from error
    click.echo(json.dumps({"size": done}))


@command.command()
@click.option("--file", "path", required=True, type=click.Path(path_type=Path))
@click.option("--line", required=True)
@click.option("--sha256", required=True)
@click.option("--config", type=click.Path(path_type=Path))
def test(path: Path, line: str, sha256: str, config: Path | None) -> None:
    """Prove that a file computes, or says, what it must."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise UpdateRefusedError(f"the file has the hash {found[:16]}, not {sha256[:16]}")
    answer = _tested_config(path, config) if line == "config" else _tested_model(path)
    answer["memory_kb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    click.echo(json.dumps(answer))
    sys.stdout.flush()


def _tested_model(path: Path) -> dict[str, object]:
    from attwin.wiring.models import load_bundle, tested  # noqa: PLC0415 -- loads a runtime

    bundle, scorer = load_bundle(path)
    result = tested(bundle, scorer)
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "kind": manifest.kind,
        "rows": result.rows,
        "worst": result.worst,
        "latency_us": round(result.latency_us, 3),
        "runtime": result.runtime,
    }


def _tested_config(path: Path, config: Path | None) -> dict[str, object]:
    from attwin.wiring.layers import check_layer  # noqa: PLC0415 -- only for configurations

    if config is None:
        raise UpdateRefusedError("the agent was started without a configuration file")
    return check_layer(config, path)
