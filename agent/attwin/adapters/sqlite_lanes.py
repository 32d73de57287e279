"""The lanes of the outbox as rows: their checksums, and the lanes of earlier versions."""

import hashlib
import sqlite3

from attwin.core.outgoing import ALERTS, LANES, TWIN

_OLD_LANES = {"urgent": ALERTS, "rest": TWIN}


def message_checksum(lane: str, sequence: int, topic: str, payload: bytes, *, retain: bool) -> bytes:
    """Return the checksum of a message that waits: SQLite does not notice most bits that flip."""
    head = f"{lane} {sequence} {int(retain)} {len(topic)} {topic} ".encode()
    return hashlib.blake2b(head + payload, digest_size=8).digest()


def adopt_old_lanes(connection: sqlite3.Connection) -> None:
    """Move what waits in the lanes of earlier versions to the end of those of today; it keeps the id in its payload.

    It has no number there, so that the numbers of a lane begin at 1.
    """
    for old, lane in _OLD_LANES.items():
        if any(_count(connection, table, old) for table in ("lanes", "outbox", "parked")):
            _adopt(connection, old, lane)


def _count(connection: sqlite3.Connection, table: str, lane: str) -> int:
    return int(connection.execute(f"select count(*) from {table} where lane = ?", (lane,)).fetchone()[0])


def _adopt(connection: sqlite3.Connection, old: str, lane: str) -> None:
    """Move a lane to the end of another."""
    connection.execute("insert or ignore into lanes (lane, next_sequence) values (?, 1)", (lane,))
    (shift,) = connection.execute("select next_sequence - 1 from lanes where lane = ?", (lane,)).fetchone()
    found = connection.execute(
        "select sequence, topic, payload, retain, checksum from outbox where lane = ? order by sequence", (old,)
    ).fetchall()
    for sequence, topic, payload, retain, checksum in found:
        if checksum == message_checksum(old, sequence, topic, payload, retain=bool(retain)):
            # one that is wrong stays wrong
            checksum = message_checksum(lane, sequence + shift, topic, payload, retain=bool(retain))  # noqa: PLW2901 -- the row's new one
        connection.execute(
            "update outbox set lane = ?, sequence = ?, number = 0, checksum = ? where lane = ? and sequence = ?",
            (lane, sequence + shift, checksum, old, sequence),
        )
    connection.execute(
        "update or ignore parked set lane = ?, sequence = sequence + ?, number = 0 where lane = ?", (lane, shift, old)
    )
    connection.execute(
        "update lanes set next_sequence = max(next_sequence, 1 + (select coalesce(max(sequence), 0) from "
        "(select sequence from outbox where lane = ? union all select sequence from parked where lane = ?)), "
        "? + (select coalesce(max(next_sequence), 0) from lanes where lane = ?)) where lane = ?",
        (lane, lane, shift, old, lane),
    )
    connection.execute("delete from lanes where lane = ?", (old,))


def are_complete(lanes: set[str]) -> bool:
    """Return whether a database has the next number of every lane that its version has."""
    return lanes >= set(LANES) or (lanes >= set(_OLD_LANES) and not lanes & set(LANES))
