"""The outbox: messages that wait for upstream, in lanes, each with a number that is never given again.

What it writes belongs to the transaction of a commit. What it remembers in memory follows once that is durable, so a
commit that failed can be tried again.
"""

import hashlib
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from attwin.adapters.sqlite_database import as_store_error
from attwin.core.audit import UPSTREAM
from attwin.core.outgoing import LANES, Draft, OutgoingMessage

log = logging.getLogger("attwin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a commit changed in the outbox.

    Attributes:
        counts: By source, name and lane, for the audit.
        retained: The numbers of the retained messages that were added, by lane and topic.
        delivered: What upstream has.
    """

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    retained: dict[tuple[str, str], int] = field(default_factory=dict)
    delivered: Sequence[OutgoingMessage]


class Outbox:
    """The table ``outbox`` of an open database. Belongs to the writer.

    Attributes:
        waiting: How many messages wait for upstream.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        path: Path,
        prefix: str,
    ) -> None:
        """Begin with what waits.

        Args:
            connection: The writer's.
            transaction: Begins a transaction, and turns errors of SQLite into those of the store.
            path: The database.
            prefix: Of the ids of messages.
        """
        self._connection = connection
        self._transaction = transaction
        self._path = path
        self._prefix = prefix
        self._in_flight: dict[str, int] = dict.fromkeys(LANES, 0)
        self._damaged: list[tuple[str, int]] = []
        # which retained message waits for a topic: the outbox has no index of topics, which each commit would write
        self._retained: dict[tuple[str, str], int] = {
            (lane, topic): sequence
            for lane, topic, sequence in connection.execute(
                "select lane, topic, max(sequence) from outbox where retain group by lane, topic"
            )
        }
        (waiting,) = connection.execute("select count(*) from outbox").fetchone()
        self.waiting = int(waiting)
        self._sent = 0

    @property
    def unsent(self) -> int:
        """Return how many messages ``oldest`` has not returned yet."""
        return self.waiting - self._sent

    def write(self, drafts: Sequence[Draft], delivered: Sequence[OutgoingMessage], now_ms: int) -> Written:
        """Add messages to their lanes, a retained one in the place of one that waits, and forget delivered ones."""
        written = Written(delivered=delivered)
        for lane in {draft.lane for draft in drafts}:
            self._add(lane, [draft for draft in drafts if draft.lane == lane], now_ms, written)
        for message in delivered:
            self._connection.execute(
                "delete from outbox where lane = ? and sequence = ?", (message.lane, message.sequence)
            )
            written.counts[UPSTREAM, "delivered", message.lane] += 1
        return written

    def committed(self, written: Written) -> None:
        """Remember what is durable now."""
        self._retained |= written.retained
        for message in written.delivered:
            if self._retained.get((message.lane, message.topic)) == message.sequence:
                del self._retained[message.lane, message.topic]
        self._sent -= len(written.delivered)
        self.waiting += sum(count if name == "queued" else -count for (_, name, _), count in written.counts.items())

    def oldest(self, limit: int) -> list[OutgoingMessage]:
        """Return up to ``limit`` messages that wait and were not returned before, urgent ones first.

        Damaged ones are left out; ``park_damaged`` parks them.

        Raises:
            StoreError: They cannot be read; none of them counts as returned.
        """
        found: list[OutgoingMessage] = []
        damaged: list[tuple[str, int]] = []
        reached = dict(self._in_flight)
        try:
            for lane in LANES:
                for sequence, topic, payload, retain, checksum in self._connection.execute(
                    "select sequence, topic, payload, retain, checksum from outbox where lane = ? and sequence > ? "
                    "order by sequence limit ?",
                    (lane, reached[lane], limit - len(found)),
                ):
                    reached[lane] = sequence
                    if checksum in (b"", _checksum(lane, sequence, topic, payload, retain=bool(retain))):
                        found.append(
                            OutgoingMessage(
                                lane=lane, sequence=sequence, topic=topic, payload=payload, retain=bool(retain)
                            )
                        )
                    else:
                        damaged.append((lane, sequence))
        except sqlite3.Error as error:
            raise as_store_error(error, self._path) from error
        self._in_flight = reached
        self._damaged += damaged
        self._sent += len(found) + len(damaged)
        return found

    def park_damaged(self) -> None:
        """Set aside the damaged messages that were found; those that the disk does not take wait."""
        while self._damaged:
            self._park(*self._damaged[0])
            del self._damaged[0]

    def _add(self, lane: str, drafts: Sequence[Draft], now_ms: int, written: Written) -> None:
        """Add messages to a lane; a retained one supersedes one that waits and is not on its way."""
        (sequence,) = self._connection.execute("select next_sequence from lanes where lane = ?", (lane,)).fetchone()
        for number, draft in enumerate(drafts, sequence):
            if draft.retain:
                waits = written.retained.get((lane, draft.topic)) or self._retained.get((lane, draft.topic), 0)
                if waits > self._in_flight[lane]:
                    self._connection.execute("delete from outbox where lane = ? and sequence = ?", (lane, waits))
                    written.counts[UPSTREAM, "superseded", lane] += 1
                written.retained[lane, draft.topic] = number
            payload = draft.payload(f"{self._prefix}:{lane}:{number}")
            self._connection.execute(
                "insert into outbox values (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(lane, number, draft.topic, payload, draft.retain, now_ms),
                    _checksum(lane, number, draft.topic, payload, retain=draft.retain),
                ),
            )
            written.counts[UPSTREAM, "queued", lane] += 1
        self._connection.execute("update lanes set next_sequence = ? where lane = ?", (sequence + len(drafts), lane))

    def _park(self, lane: str, sequence: int) -> None:
        """Set a damaged message aside."""
        with self._transaction():
            self._connection.execute(
                "insert into parked select lane, sequence, topic, payload, 'damaged' from outbox "
                "where lane = ? and sequence = ?",
                (lane, sequence),
            )
            self._connection.execute("delete from outbox where lane = ? and sequence = ?", (lane, sequence))
            self._connection.execute(
                "insert into audit values ('upstream', 'parked', ?, 1) "
                "on conflict do update set count = count + excluded.count",
                (lane,),
            )
        self.waiting -= 1
        self._sent -= 1
        log.error("lane=%s sequence=%d state=parked problem='its checksum is wrong'", lane, sequence)


def _checksum(lane: str, sequence: int, topic: str, payload: bytes, *, retain: bool) -> bytes:
    """Return the checksum of a message that waits: SQLite does not notice most bits that flip."""
    head = f"{lane} {sequence} {int(retain)} {len(topic)} {topic} ".encode()
    return hashlib.blake2b(head + payload, digest_size=8).digest()
