"""Which files others can read although they must not."""

import os
from pathlib import Path

import pytest

from attwin.settings.load import load_settings
from attwin.wiring.permissions import check_files

CONFIG = """\
version: 1
gateway: {id: g}
broker: {url: "mqtts://b", username: u, password_file: sensors.password}
upstream: {url: "mqtts://hub", username: u, password: PASSWORD}
privacy: {key_file: pseudonym.key}
kinds:
  room: {metrics: {co2: {unit: ppm}}}
sources:
  - {topic: "s/{entity}/{metric}", kind: room}
"""
FILES = (
    *("sensors.password", "pseudonym.key", "secrets.yaml", "credentials/hub"),
    *("twin.db", "twin.db-wal", "twin.db-shm", "alerts.jsonl", "alerts.jsonl.reserve"),
    *("twin.db.corrupt-20261125T101112000000", "twin.db.corrupt-20261125T101112000000-wal"),
    *("twin.db.replaced-20261125T101112000000", "copy.db", "page1-of-twin.db.corrupt-20261125T101112000000"),
)
DATABASES = ("copy.db", "page1-of-twin.db.corrupt-20261125T101112000000")
"""What only its content tells to hold readings."""


def found(folder: Path, *, hub: str = "!secret hub", readable: str = "", mode: int = 0o644) -> list[str]:
    """Return the names of the files that are warned of, where one of them has another mode than it should."""
    (folder / "credentials").mkdir()
    config = folder / "attwin.yaml"
    config.write_text(CONFIG.replace("PASSWORD", hub), encoding="utf-8")
    for name in FILES:
        head = "SQLite format 3\0" if name in DATABASES else "hub: "
        (folder / name).write_text(head + "s" * 40, encoding="utf-8")
        (folder / name).chmod(mode if name == readable else 0o640)
    config.chmod(mode if readable == "attwin.yaml" else 0o640)
    environment = {"CREDENTIALS_DIRECTORY": str(folder / "credentials")}
    warnings = check_files(config, load_settings(config, environment), environment)
    assert all((warning.level, warning.about) == ("warning", "file") for warning in warnings)
    return [warning.text.partition(":")[0].removeprefix(f"{folder}/") for warning in warnings]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", [0o644, 0o602])
def test_a_file_that_others_can_open_is_warned_of(tmp_path: Path, name: str, mode: int) -> None:
    """Keys, passwords, credentials, and what the agent keeps."""
    assert found(tmp_path, readable=name, mode=mode) == [name]


def test_other_files_beside_the_database_are_not_looked_at(tmp_path: Path) -> None:
    """Notes for all to read, a pipe that nobody writes to, and the marks that the agent leaves, which hold nothing."""
    for name in ("notes.txt", "twin.db.lock", "twin.db.damaged"):
        (tmp_path / name).touch(mode=0o644)
    os.mkfifo(tmp_path / "pipe", 0o644)

    assert found(tmp_path) == []


def test_files_of_user_and_group_are_fine(tmp_path: Path) -> None:
    """The configuration may be read by all as long as its secrets stand elsewhere."""
    assert found(tmp_path, readable="attwin.yaml") == []


def test_a_configuration_with_a_secret_in_it_is_a_secret(tmp_path: Path) -> None:
    """A password that stands in it plainly."""
    assert found(tmp_path, hub="hunter2hunter2", readable="attwin.yaml") == ["attwin.yaml"]
