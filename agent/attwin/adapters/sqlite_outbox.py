"""The outbox: messages that wait for upstream, in lanes, each with a place and an id that are never given again.

What it writes belongs to the transaction of a commit. What it remembers in memory follows once that is durable, so a
commit that failed can be tried again.

What is in flight is durable without a write a message: a lane's ``sent_up_to`` says up to which place messages may have
been sent. It runs ahead of what is sent, moves with the commits, and nothing beyond it is sent.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path

from attwin.adapters.outbox_lanes import NOTICE, URGENT, Lane, Waiting, Written
from attwin.adapters.sqlite_database import as_store_error
from attwin.adapters.sqlite_lanes import message_checksum
from attwin.adapters.sqlite_outbox_writing import DROPPED_AT_ONCE, INSERT, OutboxWriting
from attwin.core.lanes import DropReason, OutboxPolicy, Overflow, ParkReason
from attwin.core.outgoing import LANES, Draft, OutgoingMessage

_COLUMNS = "select sequence, topic, payload, retain, rank, checksum from outbox where lane = ?"
_Row = tuple[int, str, bytes, int, int, bytes]

log = logging.getLogger("attwin")


class Outbox:
    """The table ``outbox`` of an open database. Belongs to the writer."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        path: Path,
        *,
        prefix: str,
        base: str,
        policy: OutboxPolicy,
    ) -> None:
        """Begin with what waits.

        Args:
            connection: The writer's.
            transaction: Begins a transaction, and turns errors of SQLite into those of the store.
            path: The database.
            prefix: Of the ids of messages.
            base: Of topics.
            policy: What is kept.
        """
        self._connection = connection
        self._transaction = transaction
        self._path = path
        self._policy = policy
        self._damaged: list[tuple[str, int]] = []
        self._lanes = {name: self._load(name) for name in LANES}
        self._writing = OutboxWriting(connection, self._lanes, prefix=prefix, base=base, policy=policy)
        with transaction():
            for name, lane in self._lanes.items():
                lane.sent_up_to = max(lane.old, self._writing.reserved(name, 0, lane.next_sequence - 1))
                connection.execute("update lanes set sent_up_to = ? where lane = ?", (lane.sent_up_to, name))

    @property
    def waiting(self) -> int:
        """Return how many messages wait for upstream."""
        return sum(lane.count for lane in self._lanes.values())

    def unsent(self, lane: str) -> int:
        """Return how many messages of a lane wait and are not on their way."""
        return self._lanes[lane].count - len(self._lanes[lane].taken)

    def in_flight(self) -> dict[str, int]:
        """Return how many messages of each lane are on their way."""
        return {name: len(lane.taken) for name, lane in self._lanes.items()}

    def has_urgent(self) -> bool:
        """Return whether something urgent waits."""
        return any(lane.counts[URGENT] for lane in self._lanes.values())

    def date_by(self, boot: int) -> None:
        """Take times from now on by the clock of a boot."""
        self._writing.boot = boot

    def write(
        self,
        drafts: Sequence[Draft],
        delivered: Sequence[OutgoingMessage],
        parked: Sequence[tuple[OutgoingMessage, str]],
        now_ms: int,
    ) -> Written:
        """Forget delivered messages, set others aside, and add new ones to their lanes; what has no room is dropped.

        Where only the newest message of a topic waits, it takes the place of the one before.
        """
        written = Written()
        self._writing.forget(delivered, written)
        for message, reason in parked:
            self._writing.park(message.lane, message.sequence, reason, now_ms, written)
        for draft in drafts:
            self._writing.add(draft, now_ms, written)
        if drafts:
            self._writing.make_room(written)
        self._writing.finish(written, now_ms)
        return written

    def committed(self, written: Written) -> None:
        """Remember what is durable now."""
        for name, change in written.lanes.items():
            self._lanes[name].apply(change)
        self._writing.parked_bytes += written.parked_bytes

    def take(self, lane: str, limit: int, most_bytes: int) -> list[OutgoingMessage]:
        """Return messages of a lane that wait and are not on their way, oldest first; from now on they are.

        Damaged ones are left out; ``park_damaged`` parks them.

        Args:
            lane: Which.
            limit: At most so many.
            most_bytes: At most so many bytes, or one message.

        Raises:
            StoreError: They cannot be read; none of them counts as taken.
        """
        own = self._lanes[lane]
        found: list[OutgoingMessage] = []
        places: list[int] = []
        damaged, size = [], 0
        try:
            for sequence, topic, payload, retain, rank, checksum in islice(self._rows(lane, limit), limit):
                size += len(topic) + len(payload)
                if places and size > most_bytes:
                    break
                places.append(sequence)
                if checksum not in (b"", message_checksum(lane, sequence, topic, payload, retain=bool(retain))):
                    damaged.append((lane, sequence))
                    continue
                found.append(
                    OutgoingMessage(
                        lane=lane,
                        sequence=sequence,
                        topic=topic,
                        payload=payload,
                        retain=bool(retain),
                        urgent=rank == URGENT,
                        resend=own.was_sent(sequence),
                        notice=rank == NOTICE,
                    )
                )
        except sqlite3.Error as error:
            raise as_store_error(error, self._path) from error
        own.take(places, again=min(len(own.again), len(places)))
        self._damaged += damaged
        return found

    def give_back(self, messages: Iterable[OutgoingMessage]) -> None:
        """Let messages wait again that were on their way and did not arrive."""
        for message in messages:
            lane = self._lanes[message.lane]
            if message.sequence in lane.taken:
                lane.taken.discard(message.sequence)
                lane.put_back(message.sequence)

    def park_damaged(self, now_ms: int) -> None:
        """Set aside the damaged messages that were found; those that the disk does not take wait."""
        while self._damaged:
            lane, sequence = self._damaged[0]
            self._park(lane, sequence, ParkReason.DAMAGED, now_ms)
            del self._damaged[0]
            log.error("lane=%s sequence=%d state=parked problem='its checksum is wrong'", lane, sequence)

    def expire(self, now_ms: int, *, boot_id: str | None) -> bool:
        """Drop messages that are older than their lane keeps them, some at a time; return whether there were any.

        Args:
            now_ms: The believed time.
            boot_id: Where the clock is not trusted: this boot of the machine, since which its times differ as they
                should. None where it is.
        """
        for name, policy in self._policy.lanes.items():
            lane = self._lanes[name]
            if not policy.ttl_ms or not lane.count:
                continue
            rows = self._connection.execute(
                "select sequence, number, topic, size, rank from (select sequence, number, topic, "
                "length(topic) + length(payload) as size, rank, created_ms, boot from outbox "
                "where lane = ? and rank < ? order by sequence limit ?) as head "
                "left join boots on head.boot = boots.id "
                "where created_ms + coalesce(shift_ms, 0) < ? and (? is null or boot_id = ?)",
                (name, NOTICE, DROPPED_AT_ONCE, now_ms - policy.ttl_ms, boot_id, boot_id),
            ).fetchall()
            expired = [row for row in rows if row[0] not in lane.taken]
            if expired:
                with self._changing(now_ms) as written:
                    self._writing.drop(name, expired, DropReason.EXPIRED, written)
                log.warning("lane=%s dropped=%d reason=%s", name, len(expired), DropReason.EXPIRED)
                return True
        return False

    def park(self, lane: str, sequence: int, now_ms: int) -> str:
        """Set a message aside because somebody says so; return why it cannot be, empty where it was."""
        if sequence in self._lanes[lane].taken:
            return "in flight"
        query = "select 1 from outbox where lane = ? and sequence = ? and rank < ?"
        if not self._connection.execute(query, (lane, sequence, NOTICE)).fetchone():
            return "gone"
        self._park(lane, sequence, ParkReason.BY_HAND, now_ms)
        return ""

    def retry(self, lane: str, sequence: int) -> bool:
        """Let a message that was set aside wait again in its old place; return whether there was a whole one."""
        own = self._lanes[lane]
        with self._transaction():
            found = self._connection.execute(
                "delete from parked where lane = ? and sequence = ? and reason != ? "
                "returning topic, payload, retain, number, rank, created_ms, boot",
                (lane, sequence, ParkReason.DAMAGED),
            ).fetchone()
            if found is None:
                return False
            topic, payload, retain, number, rank, created_ms, boot = found
            checksum = message_checksum(lane, sequence, topic, payload, retain=bool(retain))
            self._connection.execute(
                INSERT, (lane, sequence, topic, payload, retain, created_ms, checksum, number, rank, boot)
            )
        own.counts[rank] += 1
        own.size += len(topic) + len(payload)
        own.put_back(sequence)
        self._writing.parked_bytes -= len(payload)
        return True

    def _load(self, name: str) -> Lane:
        """Return a lane as it is stored."""
        next_sequence, next_number, sent_up_to = self._connection.execute(
            "select next_sequence, next_number, sent_up_to from lanes where lane = ?", (name,)
        ).fetchone()
        plain, urgent, notices, size = self._connection.execute(
            "select coalesce(sum(rank = 0), 0), coalesce(sum(rank = 1), 0), coalesce(sum(rank = 2), 0), "
            "coalesce(sum(length(topic) + length(payload)), 0) from outbox where lane = ?",
            (name,),
        ).fetchone()
        # the outbox has no index of topics, which each commit would write
        waiting = self._connection.execute(
            "select topic, max(sequence), number, length(topic) + length(payload) from outbox "
            "where lane = ? and rank < ? and (retain or ?) group by topic",
            (name, NOTICE, self._policy.lanes[name].overflow is Overflow.COALESCE),
        )
        return Lane(
            next_sequence=next_sequence,
            next_number=next_number,
            sent_up_to=sent_up_to,
            counts=[plain, urgent, notices],
            size=size,
            topics={topic: Waiting(*rest) for topic, *rest in waiting},
            old=sent_up_to,
        )

    def _rows(self, lane: str, limit: int) -> Iterator[_Row]:
        """Yield the messages that are to be sent again, then those that were not sent."""
        own = self._lanes[lane]
        for sequence in own.again[:limit]:
            yield self._connection.execute(f"{_COLUMNS} and sequence = ?", (lane, sequence)).fetchone()
        yield from self._connection.execute(
            f"{_COLUMNS} and sequence > ? and sequence <= ? order by sequence limit ?",
            (lane, own.cursor, own.sent_up_to, limit),
        )

    def _park(self, lane: str, sequence: int, reason: str, now_ms: int) -> None:
        """Set a message aside, in a transaction of its own."""
        with self._changing(now_ms) as written:
            self._writing.park(lane, sequence, reason, now_ms, written)

    @contextmanager
    def _changing(self, now_ms: int) -> Iterator[Written]:
        """Change the outbox outside of a commit."""
        written = Written()
        with self._transaction():
            yield written
            self._writing.finish(written, now_ms)
            self._writing.count(written)
        self.committed(written)
