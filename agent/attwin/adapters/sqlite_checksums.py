"""Checksums of the rows that a person or a program acts on: SQLite does not notice most bits that flip.

A row of an earlier version has none (it is empty), and is believed.
"""

import hashlib
import logging
import sqlite3

from attwin.core.audit import STATE

_CHECKED = {
    "state": ("series_id", "time_ms", "value", "trim(quality || ' ' || reason)"),
    "attention": ("entity_id", "time_ms", "score", "missing"),
}
"""The tables of the twin's current state, with what the checksum of a row is of; the key is first."""

log = logging.getLogger("attwin")


def judgement(quality: str, reason: str) -> str:
    """Return what a checksum is of; earlier versions had no reasons."""
    return f"{quality} {reason}".strip()


def row_checksum(*values: float | str) -> bytes:
    """Return the checksum of a row."""
    # SQLite does not keep the sign of a zero
    same = [value + 0.0 if isinstance(value, float) else value for value in values]
    return hashlib.blake2b(repr(same).encode(), digest_size=8).digest()


def is_whole(checksum: bytes, *values: float | str) -> bool:
    """Return whether a row is what was written."""
    return checksum in (b"", row_checksum(*values))


def drop_damaged_rows(connection: sqlite3.Connection) -> None:
    """Drop the rows of the current state that are damaged, and count them; the next snapshot writes them anew."""
    for table, columns in _CHECKED.items():
        rows = connection.execute(f"select {', '.join(columns)}, checksum from {table}")
        damaged = [row[0] for row in rows if not is_whole(row[-1], *row[:-1])]
        if not damaged:
            continue
        connection.execute("begin immediate")
        connection.executemany(f"delete from {table} where {columns[0]} = ?", [(key,) for key in damaged])
        connection.execute(
            "insert into audit values (?, ?, '', ?) on conflict do update set count = count + excluded.count",
            (STATE, f"{table}_rows_damaged", len(damaged)),
        )
        connection.execute("commit")
        log.error("table=%s rows=%d state=dropped problem='their checksums are wrong'", table, len(damaged))
