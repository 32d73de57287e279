"""Damaged databases: set aside, never deleted; all that can be read of one goes into a new one."""

import contextlib
import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from attwin.adapters.durable import is_full, sync
from attwin.adapters.sqlite_first_page import kept, put_back, rebuild_first_page
from attwin.adapters.sqlite_journal import JournalTable
from attwin.adapters.sqlite_lanes import adopt_old_lanes, are_complete
from attwin.core.audit import COMMITS_LOST, LOST, Sum, sums_of
from attwin.core.journal import decode

_SMALL = (
    *("meta", "entities", "series", "state", "attention", "alerts", "alert_events", "lanes", "outbox", "parked"),
    *("rejects", "models", "boots", "audit", "drift", "reactions", "labels", "forecasts", "warnings"),
    *("floors", "slots", "updates", "update_events"),
)
"""Tables that are checked at each start; what matters most stands where it is saved first."""
_LARGE = ("journal", "scores", "rollups")
_MIGRATIONS = "_sqlite_migrations"
_ALWAYS = frozenset((_MIGRATIONS, "meta", "entities", "series", "outbox", "alerts", "audit", "journal"))
"""Tables that every version has."""
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY = 0xFF
HIGHEST_SERIES = "highest_series"
"""The name under which ``meta`` has the highest number that a series had before a salvage."""
UNTOLD = "untold_salvage"
"""The name under which ``meta`` has how many rows were saved, until the alert that says so is committed."""
REPLACES = "replaces"
"""The name under which ``meta`` has the file that was set aside for this one: nothing more is to be taken from it."""
# the view `audit_totals`, spelled out: a writer does not trust views with functions
_COUNTERS = """
select source, name, reason, count from audit
union all
select each.value ->> 0, each.value ->> 1, each.value ->> 2, each.value ->> 3
from journal, json_each(journal.counts) as each
where journal.id > (select cast(value as integer) from meta where name = 'audited_journal_id')
"""

_AUDITED = (
    "select cast(value as integer) from meta where name = 'audited_journal_id'",
    "select journal_id from snapshot",
)
"""Both say up to which number of the journal the counters are in the audit."""

log = logging.getLogger("attwin")


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error says that the file is damaged: whatever it holds as JSON was written whole."""
    return _code(error) in _DAMAGE or "malformed JSON" in str(error)


def _code(error: sqlite3.Error) -> int:
    """Return the primary code of an error, 0 where it is none of SQLite's own."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & _PRIMARY


def as_text(raw: bytes) -> str:
    """Return a text of the database; where a bit has flipped it may be none, which must not end the agent."""
    return raw.decode(errors="replace")


def schema_checksum(connection: sqlite3.Connection) -> str:
    """Return the checksum of the schema, in which SQLite notices no bit that flips."""
    rows = connection.execute("select type, name, tbl_name, sql from sqlite_master order by type, name").fetchall()
    return hashlib.blake2b(repr(rows).encode(errors="replace"), digest_size=16).hexdigest()


def note_damage(path: Path) -> None:
    """Remember, for the next start, that damage was found in a part that is not checked then."""
    with contextlib.suppress(OSError):
        _mark(path).touch()


def is_sound(path: Path) -> bool:
    """Return whether an existing database can be used: its small tables are checked, and no damage was found before."""
    if _mark(path).exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.text_factory = as_text
            known = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
            if known == {_MIGRATIONS}:
                # a first start that was interrupted before it made anything else
                return not connection.execute(f"select 1 from {_MIGRATIONS}").fetchone()
            if known and not _has_its_schema(connection, known):
                return False
            return all(
                connection.execute(f"pragma quick_check({table})").fetchone() == ("ok",)
                for table in _SMALL
                if table in known
            )
    except UnicodeError:
        return False
    except sqlite3.Error as error:
        # "no such column" says so too: the table `meta` has had the same ones in every version
        if is_damage(error) or "no such column" in str(error):
            return False
        raise


def _has_its_schema(connection: sqlite3.Connection, known: set[str]) -> bool:
    """Return whether neither a name of the schema nor what stands under it is damaged."""
    if not known >= _ALWAYS:
        return False
    noted = connection.execute("select value from meta where name = 'schema'").fetchone()
    return not noted or noted[0] == schema_checksum(connection)


def name_aside(path: Path, why: str = "corrupt") -> Path:
    """Return where a database can be set aside."""
    return path.with_name(f"{path.name}.{why}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")


def set_aside(path: Path, aside: Path) -> Path:
    """Move a database and what belongs to it aside, and return where it is now.

    Until ``finish`` every start goes on with that, also after a power cut in the middle of it.
    """
    mark = _unfinished(path)
    part = mark.with_name(mark.name + ".part")
    part.write_text(aside.name, encoding="utf-8")
    sync(part)
    part.rename(mark)
    sync(path.parent)
    _move(path, aside)
    return aside


def unfinished(path: Path) -> Path | None:
    """Return the file whose salvage was interrupted, None where there is none."""
    try:
        aside = path.with_name(_unfinished(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if not aside.exists():
        _move(path, aside)
    _mark(path).unlink(missing_ok=True)
    return aside if aside.exists() else None


def finish(path: Path) -> None:
    """Note that all was salvaged, before anything is added to it: it must not be salvaged once more then."""
    if _unfinished(path).exists():
        _unfinished(path).unlink()
        sync(path.parent)


def salvage(aside: Path, connection: sqlite3.Connection) -> None:
    """Copy all rows that can be read from a database that was set aside, unless that is done already.

    What cannot be read is counted as lost, so that the sums of the new database are true. How many rows were saved is
    noted with them, for ``untold``.
    """
    if connection.execute("select 1 from meta where name = ? and value = ?", (REPLACES, aside.name)).fetchone():
        return
    saved: dict[str, int] = {}
    with contextlib.closing(_open_with_schema(aside)) as source:
        connection.execute("begin immediate")
        for table in (*_SMALL, *_LARGE):
            for columns, rows in _parts(source, connection, table):
                _insert(connection, table, columns, rows)
            if table == "journal":
                _drop_damaged_counts(connection)
            (saved[table],) = connection.execute(f"select count(*) from {table}").fetchone()
        lost_commits = _lost_commits(source, connection)
    if not are_complete({str(lane) for (lane,) in connection.execute("select lane from lanes")}):
        # numbers may be given twice now, so they must be numbers of another store
        connection.execute("delete from meta where name = 'store_id'")
    # an entity whose series are lost gets new ones when it is heard again, with numbers that no reading has
    connection.execute(
        "update entities set forgotten_ms = first_seen_ms "
        "where forgotten_ms is null and id not in (select entity_id from series)"
    )
    connection.execute(
        "insert or ignore into lanes (lane, next_sequence, next_number) "
        "select lane, max(sequence) + 1, max(number) + 1 from "
        "(select lane, sequence, number from outbox union all select lane, sequence, number from parked) group by lane"
    )
    adopt_old_lanes(connection)
    # numbers of the journal may be given again from where its rows end now
    connection.execute(
        "update meta set value = cast(min(cast(value as integer), (select coalesce(max(id), 0) from journal)) as text) "
        "where name in ('audited_journal_id', 'rolled_journal_id', 'merged_journal_id', 'regrouped_journal_id')"
    )
    connection.executemany(
        "insert or replace into meta values (?, ?)",
        [
            (HIGHEST_SERIES, str(_highest_series(connection))),
            ("schema", schema_checksum(connection)),
            (REPLACES, aside.name),
            (UNTOLD, json.dumps(saved)),
        ],
    )
    journal = JournalTable(connection)
    # what is missing is counted once: up to this position nobody looks for it again
    journal.bring_audit_to(journal.number("select max(id) from journal"))
    journal.count(COMMITS_LOST, lost_commits)
    for found in read_sums(connection):
        if found.difference:
            connection.execute(
                "insert into audit values (?, ?, '', ?) on conflict do update set count = count + excluded.count",
                (found.source, f"{found.prefix}{LOST}", found.difference),
            )
    connection.execute("commit")
    log.error("store=%s state=salvaged rows=%s", aside, saved)


def untold(connection: sqlite3.Connection) -> dict[str, int] | None:
    """Return how many rows of each table a salvage saved of which nobody was told yet; None where there was none."""
    found = connection.execute("select value from meta where name = ?", (UNTOLD,)).fetchone()
    try:
        return msgspec.json.decode(found[0], type=dict[str, int]) if found else None
    except msgspec.DecodeError:
        # a bit of it has flipped: there is something to tell all the same
        return {}


def read_sums(connection: sqlite3.Connection) -> list[Sum]:
    """Return the sums of an open database."""
    (held,) = connection.execute("select coalesce(sum(readings), 0) from journal").fetchone()
    (waiting,) = connection.execute("select count(*) from outbox").fetchone()
    (reacting,) = connection.execute("select count(*) from reactions where state = 'waiting'").fetchone()
    (parked,) = connection.execute("select count(*) from parked").fetchone()
    counters = connection.execute(_COUNTERS)
    return sums_of(counters, held=held, waiting=waiting, parked=parked, reacting=reacting)


def _move(path: Path, aside: Path) -> None:
    """Move the files of a database; the database itself goes last, so that where it is, all of it is."""
    for ending in ("-wal", "-shm", ""):
        part, there = path.with_name(path.name + ending), aside.with_name(aside.name + ending)
        if part.exists() and not there.exists():
            part.rename(there)
    _mark(path).unlink(missing_ok=True)
    sync(path.parent)


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".damaged")


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".salvaging")


def _open(aside: Path) -> sqlite3.Connection:
    """Open a damaged database as well as it goes: with its log, unless that is what is damaged.

    Raises:
        sqlite3.Error: It is not the file that is to blame, so that its log may be read later.
    """
    for options in ("mode=rw", "immutable=1"):
        connection = sqlite3.connect(f"{aside.absolute().as_uri()}?{options}", uri=True, isolation_level=None)
        connection.text_factory = as_text
        try:
            connection.execute("select count(*) from sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            # SQLITE_ERROR: the format that the head of the file names is not known
            if not is_damage(error) and _code(error) != sqlite3.SQLITE_ERROR:
                raise
        except UnicodeError:
            # a damaged schema can make the message of an error that is no text
            connection.close()
        else:
            return connection
    return sqlite3.connect(":memory:")


def _open_with_schema(aside: Path) -> sqlite3.Connection:
    """Open a damaged database, with a new first page where only that one leads to the schema that was noted."""
    connection = _open(aside)
    if _is_its_schema(connection):
        return connection
    connection.close()
    try:
        if rebuild_first_page(aside):
            connection = _open(aside)
            if _is_its_schema(connection):
                log.error("store=%s state=mended problem='its first page was damaged' kept=%s", aside, kept(aside))
                return connection
            connection.close()
            put_back(aside)
    except OSError as error:
        if is_full(error):
            raise
        log.error("store=%s problem=%r; what can be read without a new first page is saved", aside, str(error))
    return _open(aside)


def _is_its_schema(connection: sqlite3.Connection) -> bool:
    """Return whether the schema is the one that was noted."""
    with contextlib.suppress(sqlite3.Error, UnicodeError):
        noted = connection.execute("select value from meta where name = 'schema'").fetchone()
        return bool(noted) and noted[0] == schema_checksum(connection)
    return False


def _parts(
    source: sqlite3.Connection, target: sqlite3.Connection, table: str
) -> Iterator[tuple[list[str], Iterator[tuple[object, ...]]]]:
    """Yield the columns and rows of a table from its front, then from its back: damage costs what is between."""
    try:
        theirs = {str(row[1]) for row in source.execute(f"pragma table_info({table})")}
    except (sqlite3.Error, UnicodeError):
        return
    info = target.execute(f"pragma table_info({table})").fetchall()
    columns = [str(row[1]) for row in info if row[1] in theirs]
    key = ", ".join(str(row[1]) for row in sorted(info, key=lambda row: int(row[5])) if row[5])
    if not columns:
        return
    names = ", ".join(columns)
    yield columns, _rows(source, f"select {names} from {table} order by {key}")
    backwards = key.replace(", ", " desc, ")
    yield columns, _rows(source, f"select {names} from {table} order by {backwards} desc")


def _rows(source: sqlite3.Connection, query: str) -> Iterator[tuple[object, ...]]:
    with contextlib.suppress(sqlite3.Error, UnicodeError):
        yield from source.execute(query)


def _highest_series(connection: sqlite3.Connection) -> int:
    """Return the highest number of a series that readings have."""
    highest = 0
    for (body,) in connection.execute("select body from journal where readings > 0"):
        with contextlib.suppress(ValueError):
            highest = max(highest, int(decode(body).series_key.max(initial=0)))
    return highest


def _drop_damaged_counts(connection: sqlite3.Connection) -> None:
    """Empty the counts that cannot be read; what is missing is counted as lost with the rest."""
    rows = connection.execute("select id, counts from journal").fetchall()
    damaged = [(number,) for number, counts in rows if not _are_counts(counts)]
    connection.executemany("update journal set counts = '[]' where id = ?", damaged)


def _are_counts(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=list[tuple[str, str, str, int]])
    except msgspec.DecodeError:
        return False
    return True


def _lost_commits(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Return how many commits are lost together with their counters, which stand in the same rows.

    Up to the position of the snapshot rows are merged and dropped, and their counters are in the audit; above it no
    number is left out. Where the end of the journal cannot be read, one stands for all that may have been there.
    """
    (saved_up_to,) = target.execute("select coalesce(max(id), 0) from journal").fetchone()
    positions = [position for query in _AUDITED if (position := _number(source, query)) is not None]
    audited = max(positions, default=saved_up_to)
    newest = _number(source, "select coalesce(max(id), 0) from journal")
    if newest is None:
        newest = max(saved_up_to, audited) + 1
    (saved,) = target.execute("select count(*) from journal where id > ?", (audited,)).fetchone()
    return max(0, newest - audited - int(saved))


def _number(source: sqlite3.Connection, query: str) -> int | None:
    """Return the one number that a query finds; None where it cannot be read."""
    with contextlib.suppress(ValueError):
        return next((int(str(row[0])) for row in _rows(source, query)), None)
    return None


def _insert(connection: sqlite3.Connection, table: str, columns: list[str], rows: Iterator[tuple[object, ...]]) -> None:
    """Insert rows that are not there yet; a row that breaks a rule of the schema is left out."""
    verb = "replace" if table == "meta" else "ignore"
    marks = ", ".join("?" * len(columns))
    statement = f"insert or {verb} into {table} ({', '.join(columns)}) values ({marks})"
    for row in rows:
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute(statement, row)
