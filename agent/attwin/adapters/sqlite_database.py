"""Opening ``twin.db``: settings of the connection, schema, and the one writer's lock."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from attwin.adapters.durable import is_full, make
from attwin.adapters.sqlite_checksums import drop_damaged_rows
from attwin.adapters.sqlite_salvage import (
    as_text,
    finish,
    is_damage,
    is_sound,
    name_aside,
    note_damage,
    salvage,
    schema_checksum,
    set_aside,
    unfinished,
    untold,
)
from attwin.core.errors import StoreDamagedError, StoreError, StoreStalledError

_KNOWN_MIGRATIONS = (
    *("m001_first_tables", "m002_upkeep", "m003_merged_position", "m004_state_checksums"),
    *("m005_rejects_know_what_was_taken", "m006_state_reasons"),
    *("m007_drift", "m008_alert_life", "m009_site", "m010_lanes", "m011_updates"),
)
_FIRST_MIGRATION = _KNOWN_MIGRATIONS[0]
_PRAGMAS = """
pragma journal_mode = wal;
pragma busy_timeout = 5000;
pragma wal_autocheckpoint = 1000;
pragma journal_size_limit = 16777216;
pragma cache_size = -2000;
pragma temp_store = memory;
pragma mmap_size = 0;
pragma foreign_keys = on;
pragma secure_delete = on;
pragma trusted_schema = off;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A database that is open for writing.

    Attributes:
        connection: To it.
        lock: The descriptor of the lock, which ends with the process or its closing.
        salvaged: How many rows of each table were saved from a damaged file that was set aside; None where none was, or
            where a commit has told of it.
    """

    connection: sqlite3.Connection
    lock: int
    salvaged: dict[str, int] | None


def open_writer(path: Path, *, durability: str) -> Opened:
    """Open the database for the one writer, bring its schema up to date, and lock it.

    Args:
        path: The file; made where it is missing.
        durability: ``full`` or ``normal``, SQLite's ``synchronous``.

    A damaged file of ours is moved aside, and what can be read of it goes into a new one.

    Raises:
        StoreError: Another agent has it, it is of a newer schema, or it is no usable database.
        StoreStalledError: The disk is full.
    """
    # a file that no agent has locked before is not ours to move
    ours = path.with_name(path.name + ".lock").exists()
    with contextlib.ExitStack() as held:
        lock = lock_database(path)
        held.callback(os.close, lock)
        try:
            aside = unfinished(path)
            if not aside and ours and path.exists() and not is_sound(path):
                aside = set_aside(path, name_aside(path))
            with contextlib.suppress(OSError):
                # what is wrong SQLite says with more words
                make(path, like=aside)
            connection = sqlite3.connect(path, isolation_level=None)
            held.callback(connection.close)
            connection.text_factory = as_text
            if connection.execute("select count(*) from sqlite_master").fetchone() == (0,):
                connection.execute("pragma auto_vacuum = incremental")
            connection.executescript(_PRAGMAS)
            connection.execute(f"pragma synchronous = {durability}")
            _migrate(connection, path)
            connection.execute("insert or replace into meta values ('schema', ?)", (schema_checksum(connection),))
            if aside:
                salvage(aside, connection)
            finish(path)
            drop_damaged_rows(connection)
            salvaged = untold(connection)
        except OSError as error:
            kind = StoreStalledError if is_full(error) else StoreError
            raise kind(f"{path}: cannot be set aside: {error}") from error
        except sqlite3.Error as error:
            if not ours:
                raise StoreError(f"{path}: not a usable database: {error}") from error
            raise as_store_error(error, path) from error
        held.pop_all()
    return Opened(connection=connection, lock=lock, salvaged=salvaged)


def lock_database(path: Path) -> int:
    """Take the lock of the one writer, and return its descriptor; it ends with the process or its closing.

    Raises:
        StoreError: Another process has it, or the folder cannot be written.
    """
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path.parent}: {error.strerror}; the database cannot be kept there") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreError(f"{path}: in use: the agent is running; stop it first") from error
    return lock


def as_store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """Return an error of SQLite as what the caller can do about it; damage is remembered for the next start."""
    if is_damage(error):
        note_damage(path)
        return StoreDamagedError(f"{path}: damaged: {error}; it is set aside and mended at the next start")
    if (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreStalledError(f"{path}: {error}")
    return StoreError(f"{path}: {error}")


@contextmanager
def reader(path: Path, *, older: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the database read-only, for as long as the context lasts.

    Args:
        path: The file.
        older: Whether it may be of an older schema.

    Raises:
        StoreError: There is none, it is of another schema, or it is not a database that can be read.
    """
    if not path.is_file():
        raise StoreError(f"{path}: no database there; has the agent run?")
    # a cleanly stopped file in a folder that the reader may not write has no -shm, and none can be made
    alone = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            connection.text_factory = as_text
            connection.execute("pragma query_only = on")
            connection.execute("pragma busy_timeout = 5000")
            _refuse_newer(connection, path)
            if older:
                _refuse_foreign(connection, path)
            else:
                _refuse_older(connection, path)
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error


def _applied(connection: sqlite3.Connection) -> set[str]:
    if not connection.execute("select 1 from sqlite_master where name = '_sqlite_migrations'").fetchone():
        return set()
    rows = connection.execute("select name from _sqlite_migrations where migration_set = 'attwin'")
    return {str(name) for (name,) in rows}


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    newer = _applied(connection) - set(_KNOWN_MIGRATIONS)
    if newer:
        raise StoreError(
            f"{path}: made by a newer attwin (schema {max(newer)}); this one knows up to {_KNOWN_MIGRATIONS[-1]}. "
            "Install that version again, or give store.path another name; nothing was changed."
        )


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    if _FIRST_MIGRATION not in _applied(connection):
        raise StoreError(f"{path}: no database of attwin")


def _refuse_older(connection: sqlite3.Connection, path: Path) -> None:
    if not set(_KNOWN_MIGRATIONS) <= _applied(connection):
        raise StoreError(f"{path}: not laid out by this attwin yet; start the agent once")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    _refuse_newer(connection, path)
    applied = _applied(connection)
    if set(_KNOWN_MIGRATIONS) <= applied:
        return
    if _FIRST_MIGRATION in applied:
        # a kill before the new schema is noted must not make it look damaged
        connection.execute("delete from meta where name = 'schema'")
    from sqlite_utils import Database  # noqa: PLC0415 -- 80 ms to import, only when there is something to do

    from attwin.adapters.sqlite_migrations import MIGRATIONS  # noqa: PLC0415 -- imports sqlite-utils

    MIGRATIONS.apply(Database(connection, execute_plugins=False))
