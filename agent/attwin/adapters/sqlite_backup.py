"""Copies of a database that is in use, and the way back."""

import os
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from attwin.adapters.durable import make, sync
from attwin.adapters.sqlite_database import lock_database, reader
from attwin.adapters.sqlite_salvage import REPLACES, finish, is_sound, name_aside, set_aside
from attwin.core.errors import StoreError

_PAGES_A_STEP = 256


def back_up(database: Path, copy: Path, progress: Callable[[int, int], object]) -> None:
    """Copy a database, also while the agent writes to it, to a file that does not exist yet.

    Args:
        database: The original.
        copy: Where to.
        progress: Told the pages left and the pages in all, step by step.

    Raises:
        StoreError: There is no such database, the copy exists, or it cannot be written.
    """
    if copy.exists():
        raise StoreError(f"{copy}: exists already; name another file")
    part = copy.with_name(copy.name + ".part")
    try:
        make(part)
        with reader(database) as source, closing(sqlite3.connect(part)) as target:
            # without it, each commit of the agent would begin the copy anew
            source.execute("begin")
            source.execute("select count(*) from meta").fetchone()
            source.backup(
                target, pages=_PAGES_A_STEP, progress=lambda _status, left, pages: progress(left, pages), sleep=0.01
            )
            # one file, with nothing beside it
            target.execute("pragma journal_mode = delete")
            _demand_whole(target, part)
        sync(part)
        part.rename(copy)
        sync(copy.parent)
    except OSError as error:
        raise StoreError(f"{copy}: cannot be written: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{copy}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def restore_copy(copy: Path, database: Path) -> Path | None:
    """Put a copy in the place of a database that no agent uses; return where the old one was set aside.

    A copy that an earlier version made is brought up to date at the next start.
    The copy gets a new store id: its messages must not be taken for those that were sent after it was made.
    Nothing is moved before it is complete beside the database.

    Raises:
        StoreError: The copy is no sound database of ours, the disk refuses, or an agent is running.
    """
    if not copy.is_file():
        raise StoreError(f"{copy}: no such backup")
    if database.exists() and copy.samefile(database):
        raise StoreError(f"{copy}: is the database itself")
    part = database.with_name(database.name + ".restoring")
    aside = name_aside(database, "replaced")
    with reader(copy, older=True) as source, ExitStack() as held:
        _demand_whole(source, copy)
        held.callback(os.close, lock_database(database))
        held.callback(_remove, part)
        try:
            _remove(part)
            make(part, like=database)
            _restore(source, part, replaces=aside)
            if not is_sound(part):
                raise StoreError(f"{copy}: its tables are not those of a sound database")
            sync(part)
            # until `finish` a start goes on with what was set aside; what is restored says that it replaces that
            set_aside(database, aside)
            part.rename(database)
            sync(database.parent)
            finish(database)
        except (sqlite3.Error, OSError) as error:
            kept = f"; what was there is in {aside}" if aside.exists() else ""
            raise StoreError(f"{database}: {error}{kept}") from error
    return aside if aside.exists() else None


def _restore(source: sqlite3.Connection, part: Path, *, replaces: Path) -> None:
    """Copy a database to a file that may then be put in the place of another one."""
    with closing(sqlite3.connect(part)) as target:
        source.backup(target)
        facts = [("store_id", uuid.uuid4().hex[:8]), (REPLACES, replaces.name)]
        target.executemany("insert or replace into meta values (?, ?)", facts)
        target.commit()
        # one file, with nothing beside it
        target.execute("pragma journal_mode = delete")


def _remove(part: Path) -> None:
    """Remove a file that is not complete, with what SQLite may have left beside it."""
    for ending in ("", "-wal", "-shm", "-journal"):
        with suppress(OSError):
            part.with_name(part.name + ending).unlink()


def _demand_whole(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("pragma integrity_check(1)").fetchone()
    if found != "ok":
        raise StoreError(f"{path}: not whole: {found}")
