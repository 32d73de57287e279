"""Files that others must not read."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from attwin.settings.model import Settings
from attwin.wiring.brokers import Finding

_OTHERS = stat.S_IROTH | stat.S_IWOTH
_SQLITE = b"SQLite format 3\0"


def check_files(config: Path, settings: Settings, environment: Mapping[str, str]) -> list[Finding]:
    """Return a warning for each file with secrets or readings that others can read or write.

    Args:
        config: The configuration file; it may hold secrets itself.
        settings: What it says.
        environment: Where ``CREDENTIALS_DIRECTORY`` is looked up.
    """
    database = Path(settings.store.path)
    files = dict.fromkeys(_with_readings(database), "640")
    files |= dict.fromkeys(_with_secrets(config, settings, environment), "600")
    found = []
    for path, wanted in files.items():
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & _OTHERS:
            can = "read" if mode & stat.S_IROTH else "write"
            text = f"{path}: others can {can} it (mode {mode:03o}): chmod {wanted} {path}"
            found.append(Finding(level="warning", about="file", text=text))
    return found


def _with_readings(database: Path) -> Iterator[Path]:
    """Yield the files that hold readings or alerts, and every other SQLite database beside them: copies are such."""
    yield database
    try:
        beside = sorted(database.parent.iterdir())
    except OSError:
        return
    # what SQLite keeps beside it, and what was set aside with its own such files
    ours = tuple(f"{database.name}{ending}" for ending in ("-wal", "-shm", ".corrupt-", ".replaced-"))
    yield from (path for path in beside if path.name.startswith((*ours, "alerts.jsonl")) or _is_database(path))


def _is_database(path: Path) -> bool:
    try:
        # opening a pipe would wait for its other side
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _with_secrets(config: Path, settings: Settings, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that hold secrets, be they there or not."""
    brokers = [broker for broker in (settings.broker, settings.upstream) if broker]
    secrets = [secret for secret in (settings.privacy.key, *(broker.password for broker in brokers)) if secret]
    named = [settings.privacy.key_file, *(name for b in brokers for name in (b.password_file, b.key_file))]
    yield from (Path(name) for name in named if name)
    yield config.with_name("secrets.yaml")
    text = config.read_text(encoding="utf-8")
    if any(secret.reveal in text for secret in secrets):
        yield config
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if folder and Path(folder).is_dir():
        yield from sorted(Path(folder).iterdir())
