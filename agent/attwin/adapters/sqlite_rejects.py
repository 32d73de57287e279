"""The ring of rejects: what was not stored, with its payload, until newer ones need the room."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from attwin.adapters.sqlite_database import as_store_error
from attwin.core.types import Reject
from attwin.ports import KeptReject

_MOST_BYTES = 10_000_000
_LOAD = """
    with asked as (select id, message from rejects where id in (select value from json_each(?)))
    select id, time_ms, topic, payload, coalesce(message, id), case when is_part then taken else x'' end, is_whole,
        retained
    from rejects where id in (select id from asked) or message in (select message from asked) order by time_ms, id
"""
_NEXT = """
    select 1 + max(
        coalesce((select seq from sqlite_sequence where name = 'rejects'), 0),
        coalesce((select max(id) from rejects), 0)
    )
"""


class RejectRing:
    """The table ``rejects`` of an open database. Belongs to the writer."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        (held,) = connection.execute("select coalesce(sum(bytes), 0) from rejects").fetchone()
        self._held = int(held)

    def load(self, numbers: Sequence[int]) -> list[KeptReject]:
        """Return those of the given rejects that the ring still has, and all others of their messages, by time.

        Raises:
            StoreDamagedError: The ring cannot be read.
        """
        try:
            rows = self._connection.execute(_LOAD, (json.dumps(list(numbers)),)).fetchall()
        except sqlite3.Error as error:
            raise as_store_error(error, self._path) from error
        return [
            KeptReject(
                number=number,
                time_ms=time_ms,
                topic=topic,
                payload=payload,
                message=message,
                taken=taken,
                is_whole=bool(is_whole),
                retained=bool(retained),
            )
            for number, time_ms, topic, payload, message, taken, is_whole, retained in rows
        ]

    def write(self, rejects: Sequence[Reject], replayed: Sequence[int], boot: int) -> int:
        """Take out what was taken again, and add rejects; return how many bytes the ring holds once that is durable."""
        held = self._held - self._forget(replayed)
        if not rejects:
            return held
        (next_number,) = self._connection.execute(_NEXT).fetchone()
        first: dict[int | None, int] = {}
        self._connection.executemany(
            "insert into rejects (id, time_ms, source, topic, reason, detail, bytes, payload, taken, message, "
            "is_whole, is_part, retained, boot) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(number, r.time_ms, r.source, r.topic, r.reason, r.detail, _bytes(r), r.payload, r.taken),
                    first.setdefault(r.message, number) if r.is_part else None,
                    *(r.is_whole, r.is_part, r.retained, boot),
                )
                for number, r in enumerate(rejects, next_number)
            ],
        )
        held += sum(map(_bytes, rejects))
        while held > _MOST_BYTES and (
            oldest := self._connection.execute("select id, bytes from rejects order by id limit 100").fetchall()
        ):
            self._connection.execute("delete from rejects where id <= ?", (oldest[-1][0],))
            held -= sum(size for _, size in oldest)
        return held

    def committed(self, held: int) -> None:
        """Remember what is durable now."""
        self._held = held

    def _forget(self, numbers: Sequence[int]) -> int:
        """Take rejects out of the ring, and return how many bytes they held."""
        freed = 0
        for number in numbers:
            (size,) = self._connection.execute("select bytes from rejects where id = ?", (number,)).fetchone() or (0,)
            self._connection.execute("delete from rejects where id = ?", (number,))
            freed += size
        return freed


def _bytes(reject: Reject) -> int:
    return len(reject.payload) + len(reject.topic) + len(reject.taken)
