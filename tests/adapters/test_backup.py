"""Facts about the way back from a backup: nothing is replaced by what is no database, or by half of one."""

import errno
import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from attwin.adapters.sqlite_backup import back_up, restore_copy
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.errors import StoreError
from attwin.ports import Commit
from attwin.wiring.auditing import audit_of
from support.builders import a_batch, a_catalogue
from support.file_faults import FileFaults, KilledError

COUNTS = {("s", name, ""): 1 for name in ("readings_decoded", "readings_stored")}


def opened(path: Path) -> SqliteStore:
    """Open a database."""
    return SqliteStore(path, a_catalogue(entities=0), gateway="g", durability="normal")


def a_database(folder: Path) -> Path:
    """Make a database with one commit."""
    path = folder / "twin.db"
    store = SqliteStore(path, a_catalogue(), gateway="g", durability="normal")
    store.commit(Commit(now_ms=1, stored=a_batch(), counts=COUNTS))
    store.close()
    return path


def a_foreign_database(path: Path) -> None:
    """Make a database of another program."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table t (a)")
        connection.commit()


def a_database_without_alerts(path: Path) -> None:
    """Make one of ours that has lost a table."""
    path.write_bytes(a_database(path.parent / "other").read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("drop table alert_events; drop table alerts")


@pytest.mark.parametrize(
    ("make_copy", "problem"),
    [
        pytest.param(Path.touch, "no database of attwin", id="an empty file"),
        pytest.param(a_foreign_database, "no database of attwin", id="of another program"),
        pytest.param(a_database_without_alerts, "not those of a sound database", id="not whole"),
        pytest.param(lambda path: path.write_bytes(bytes(range(256)) * 64), "cannot be read", id="no database"),
    ],
)
def test_what_is_no_backup_replaces_nothing(tmp_path: Path, make_copy: Callable[[Path], object], problem: str) -> None:
    """It is refused before anything is moved."""
    (tmp_path / "other").mkdir()
    path = a_database(tmp_path)
    before = path.read_bytes()
    make_copy(tmp_path / "copy.db")

    with pytest.raises(StoreError, match=problem):
        restore_copy(tmp_path / "copy.db", path)

    assert path.read_bytes() == before
    assert sorted(found.name for found in tmp_path.glob("twin.db*")) == ["twin.db", "twin.db.lock"]


@pytest.mark.parametrize("problem", [KilledError(), OSError(errno.ENOSPC, "full")], ids=["a kill", "a full disk"])
def test_a_restore_may_end_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException) -> None:
    """The next start finds what was there or what was restored, never both or neither."""
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        folder.mkdir()
        path, copy = a_database(folder), folder / "copy.db"
        back_up(path, copy, lambda _left, _pages: None)
        store = opened(path)
        store.load_entities({"room": 0}, {}, now_ms=1)
        store.commit(Commit(now_ms=2, stored=a_batch(), counts=COUNTS))
        store.close()
        done = False
        with monkeypatch.context() as patch:
            faults = FileFaults(patch, step, problem)
            with suppress(KilledError, StoreError):
                restore_copy(copy, path)
                done = True

        store = opened(path)
        held = len(list(store.segments_after(0)))

        # the copy was made after the first of the two commits
        assert held in ((1,) if done else (1, 2))
        assert {found.difference for found in audit_of(path)} == {0}
        store.close()
        if not faults.has_raised:
            break
    assert step > 10


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_mode_that_somebody_chose_outlives_a_restore(tmp_path: Path, mode: int) -> None:
    """What is restored can be read and written by the same users as what it replaces."""
    path, copy = a_database(tmp_path), tmp_path / "copy.db"
    back_up(path, copy, lambda _left, _pages: None)
    path.chmod(mode)

    aside = restore_copy(copy, path)

    assert aside is not None
    assert [found.stat().st_mode & 0o777 for found in (path, aside)] == [mode, mode]


def test_a_log_without_its_database_is_not_taken_for_that_of_a_copy(tmp_path: Path) -> None:
    """Somebody has deleted the database alone: its log is set aside, and no page of it gets into what is restored."""
    path, copy = a_database(tmp_path), tmp_path / "copy.db"
    back_up(path, copy, lambda _left, _pages: None)
    path.unlink()
    path.with_name("twin.db-wal").write_bytes(b"the log of another one")

    assert restore_copy(copy, path) is None

    store = opened(path)
    assert store.salvaged is None
    assert len(list(store.segments_after(0))) == 1
    store.close()
    assert [found.read_bytes() for found in tmp_path.glob("twin.db.replaced-*-wal")] == [b"the log of another one"]
