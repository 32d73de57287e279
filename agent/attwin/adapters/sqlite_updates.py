"""The tables ``updates``, ``update_events``, ``slots`` and ``floors``.

What is written here belongs to a writer's transaction.
"""

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from attwin.adapters.sqlite_database import lock_database
from attwin.core.updates import ENDED, Update, UpdateChange, UpdateState, answer_body
from attwin.ports import Slot

_UPDATE = (
    "transaction_id, target, line, name, version, sha256, size, "
    "state, since_ms, starts, reason, detail, source, request"
)
_ENDED = ", ".join(f"'{state}'" for state in ENDED)
_SLOT = "line, sha256, name, version, previous, over, since_ms"


def save(
    connection: sqlite3.Connection,
    changes: Sequence[UpdateChange],
    slots: Sequence[Slot],
    floors: Mapping[str, int],
) -> None:
    """Keep updates as they are now, every transition, what serves, and below which version nothing is taken."""
    for change in changes:
        save_update(connection, change.after)
        body = answer_body(change)
        connection.execute(
            "insert into update_events (transaction_id, time_ms, line, body) values (?, ?, ?, ?)",
            (change.after.transaction, change.after.since_ms, change.after.line, json.dumps(body)),
        )
    connection.executemany(
        f"insert or replace into slots ({_SLOT}) values (?, ?, ?, ?, ?, ?, ?)",
        [(s.line, s.sha256, s.name, s.version, s.previous, s.over, s.since_ms) for s in slots],
    )
    connection.executemany("insert or replace into floors (line, version) values (?, ?)", list(floors.items()))


def save_update(connection: sqlite3.Connection, update: Update) -> None:
    """Keep an update as it is now."""
    connection.execute(
        f"insert or replace into updates ({_UPDATE}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(update.transaction, update.target, update.line, update.name, update.version, update.sha256, update.size),
            *(str(update.state), update.since_ms, update.starts, update.reason, json.dumps(dict(update.detail))),
            *(update.source, update.request),
        ),
    )


def count_start(path: Path) -> None:
    """Count a start of the agent for every update that is under way, before anything that may fail.

    Raises:
        StoreError: Another agent has the database, or it cannot be written.
    """
    if not path.is_file():
        return
    lock = lock_database(path)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"update updates set starts = starts + 1 where state not in ({_ENDED})")
    except sqlite3.Error:
        # an older schema has none; damage is found when it is opened
        return
    finally:
        os.close(lock)


def load_update(connection: sqlite3.Connection, transaction: str) -> Update | None:
    """Return an update by its transaction, None where there is none."""
    row = connection.execute(f"select {_UPDATE} from updates where transaction_id = ?", (transaction,)).fetchone()
    return None if row is None else _as_update(row)


def load_open(connection: sqlite3.Connection) -> list[Update]:
    """Return the updates that have not ended, oldest first."""
    rows = connection.execute(
        f"select {_UPDATE} from updates where state not in ({_ENDED}) order by since_ms"
    ).fetchall()
    return [_as_update(row) for row in rows]


def load_rolled_back(connection: sqlite3.Connection, sha256: str) -> str:
    """Return why a file was rolled back here, empty where it was not."""
    row = connection.execute(
        "select reason from updates where sha256 = ? and state = ? order by since_ms desc limit 1",
        (sha256, str(UpdateState.ROLLED_BACK)),
    ).fetchone()
    return "" if row is None else str(row[0]) or "it was rolled back"


def load_committing(connection: sqlite3.Connection, sha256: str) -> Update | None:
    """Return the update that put a file to service, None where it came in another way."""
    row = connection.execute(
        f"select {_UPDATE} from updates where sha256 = ? and state in (?, ?) order by since_ms desc limit 1",
        (sha256, str(UpdateState.COMMITTED), str(UpdateState.PROBATION)),
    ).fetchone()
    return None if row is None else _as_update(row)


def load_slots(connection: sqlite3.Connection) -> dict[str, Slot]:
    """Return what serves by line, where it did not come from the configuration."""
    rows = connection.execute(f"select {_SLOT} from slots").fetchall()
    slots = (
        Slot(line=line, sha256=sha, name=name, version=version, previous=previous, over=over, since_ms=since)
        for line, sha, name, version, previous, over, since in rows
    )
    return {slot.line: slot for slot in slots}


def load_floors(connection: sqlite3.Connection) -> dict[str, int]:
    """Return below which version nothing is taken, by line."""
    return {str(line): int(version) for line, version in connection.execute("select line, version from floors")}


def load_history(connection: sqlite3.Connection, line: str | None, limit: int) -> list[dict[str, object]]:
    """Return the newest transitions, oldest first; those of a line where one is given."""
    rows = connection.execute(
        "select body from update_events where ?1 is null or line = ?1 order by id desc limit ?2", (line, limit)
    ).fetchall()
    return [json.loads(body) for (body,) in rows[::-1]]


def _as_update(row: tuple[object, ...]) -> Update:
    transaction, target, line, name, version, sha256, size, state, since_ms, starts, reason, detail, source, request = (
        row
    )
    return Update(
        transaction=str(transaction),
        target=str(target),
        line=str(line),
        name=str(name),
        version=int(str(version)),
        sha256=str(sha256),
        size=int(str(size)),
        state=UpdateState(str(state)),
        since_ms=int(str(since_ms)),
        starts=int(str(starts)),
        reason=str(reason),
        detail=json.loads(str(detail)),
        source=str(source),
        request=request if isinstance(request, bytes) else b"",
    )
