"""What was pushed or installed, as commands see and change it."""

from pathlib import Path

from attwin.adapters.control_socket import ask
from attwin.adapters.sqlite_database import reader
from attwin.adapters.sqlite_updates import load_history, load_open, load_slots
from attwin.core.errors import DataError
from attwin.runtime.update_targets import CONFIG
from attwin.wiring.models import read_bundle
from attwin.wiring.reading import control_of

_SERVING = (
    "select kind, name, version, sha256 from models where id in (select max(id) from models group by kind) "
    "order by kind"
)


def models_of(database: Path) -> list[dict[str, object]]:
    """Return what serves on each line, and what is under way there."""
    with reader(database) as connection:
        slots = load_slots(connection)
        under_way = {update.line: update for update in load_open(connection)}
        serving = {f"model/{kind}": tuple(rest) for kind, *rest in connection.execute(_SERVING)}
    layer = slots.get(CONFIG)
    if layer and layer.sha256:
        serving[CONFIG] = (layer.name, layer.version, layer.sha256)
    rows: list[dict[str, object]] = []
    for line, (name, version, sha256) in serving.items():
        slot, update = slots.get(line), under_way.get(line)
        rows.append(
            {
                "line": line,
                "serves": name,
                "version": version,
                "sha256": sha256,
                "from": "pushed" if slot and slot.sha256 == sha256 else "configuration",
                "trying": f"{update.name or update.target} {update.version or ''}".strip() if update else "",
                "state": str(update.state) if update else "",
            }
        )
    return rows


def history_of(database: Path, line: str | None, limit: int) -> list[dict[str, object]]:
    """Return the newest steps of updates, oldest first; those of a line where one is given."""
    with reader(database) as connection:
        return load_history(connection, line, limit)


def install_model(database: Path, bundle: Path) -> tuple[str, str]:
    """Let the running agent take a local file; return its kind and the transaction.

    Raises:
        BundleError: It is no bundle.
        DataError: The agent refuses.
        AgentAwayError: No agent runs.
    """
    kind = read_bundle(bundle).manifest.kind
    answer = _asked(database, {"verb": "model_install", "kind": kind, "path": str(bundle.absolute())})
    return kind, str(answer["transaction"])


def promote_model(database: Path) -> None:
    """Let what is tried serve now.

    Raises:
        DataError: The agent refuses.
        AgentAwayError: No agent runs.
    """
    _asked(database, {"verb": "model_promote"})


def roll_back(database: Path, kind: str, reason: str) -> None:
    """Let what served before serve again.

    Raises:
        DataError: The agent refuses.
        AgentAwayError: No agent runs.
    """
    line = kind if kind == CONFIG else f"model/{kind}"
    _asked(database, {"verb": "model_rollback", "line": line, "reason": reason})


def _asked(database: Path, request: dict[str, object]) -> dict[str, object]:
    answer = ask(control_of(database), request)
    if "error" in answer:
        raise DataError(str(answer["error"]))
    return answer
