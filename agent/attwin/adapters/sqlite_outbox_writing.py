"""Writing to the outbox: adding messages, replacing, dropping and parking them, and announcing what is missing.

All of it belongs to the transaction of the caller; what has changed is collected in ``Written``.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import groupby

from attwin.adapters.outbox_lanes import (
    AHEAD,
    NOTICE,
    PLAIN,
    URGENT,
    Change,
    Lane,
    Notice,
    Waiting,
    Written,
    rank_of,
    runs_of,
)
from attwin.adapters.sqlite_lanes import message_checksum
from attwin.core.audit import UPSTREAM
from attwin.core.lanes import PARKED, SUPERSEDED, DropReason, OutboxPolicy, Overflow, ParkReason
from attwin.core.outgoing import LANES, Draft, OutgoingMessage, joined_ranges, notice_draft

DROPPED_AT_ONCE = 500
_MOST_RANGES = 100
"""An announcement with more is left as it is, and another one begun."""
_MOST_PARKED_BYTES = 8_000_000
INSERT = (
    "insert into outbox (lane, sequence, topic, payload, retain, created_ms, checksum, number, rank, boot) "
    "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PARK = (
    "insert into parked (lane, sequence, topic, payload, reason, retain, number, rank, created_ms, boot, parked_ms) "
    "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
Row = tuple[int, int, str, int, int]
"""Of a message: sequence, number, topic, size, rank."""


class OutboxWriting:
    """Writes to the lanes of an outbox.

    Attributes:
        boot: By which boot the times of what is added are.
        parked_bytes: How many are parked, as far as that is durable.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        lanes: Mapping[str, Lane],
        *,
        prefix: str,
        base: str,
        policy: OutboxPolicy,
    ) -> None:
        """Make the writer.

        Args:
            connection: To the database.
            lanes: As they are; only ``Lane.apply`` changes them.
            prefix: Of the ids of messages.
            base: Of topics.
            policy: What is kept.
        """
        self.boot = 0
        (self.parked_bytes,) = connection.execute("select coalesce(sum(length(payload)), 0) from parked").fetchone()
        self._connection = connection
        self._lanes = lanes
        self._prefix, self._base = prefix, base
        self._notice_topic = notice_draft(base, "", ()).topic
        self._policy = policy

    def forget(self, delivered: Sequence[OutgoingMessage], written: Written) -> None:
        """Delete messages that upstream has, a run of places at a time."""
        ordered = sorted(delivered, key=lambda message: (message.lane, message.sequence))
        for name, messages in groupby(ordered, key=lambda message: message.lane):
            gone = list(messages)
            change = written.change(name, self._lanes[name])
            for message in gone:
                change.remove(message.sequence, message.topic, rank_of(message), message.size)
            for first, last in runs_of(message.sequence for message in gone):
                self._connection.execute(
                    "delete from outbox where lane = ? and sequence between ? and ?", (name, first, last)
                )
            written.counts[UPSTREAM, "delivered", name] += len(gone)

    def add(self, draft: Draft, now_ms: int, written: Written) -> None:
        """Add a message to its lane, in the place of the one that it supersedes where there is one."""
        name = draft.lane
        policy, change = self._policy.lanes[name], written.change(name, self._lanes[name])
        coalesces = draft.retain or policy.overflow is Overflow.COALESCE
        replaced = self._replace(draft, change, written) if coalesces else None
        if replaced:
            sequence, number = replaced.sequence, replaced.number
            change.gone.discard(sequence)
        else:
            # an empty payload has no id that a receiver could miss
            sequence, number = change.next_sequence, 0 if draft.body is None else change.next_number
            change.next_sequence += 1
            change.next_number += number > 0
        payload = draft.payload(f"{self._prefix}:{name}:{number}")
        size, rank = len(draft.topic) + len(payload), URGENT if draft.urgent else PLAIN
        written.counts[UPSTREAM, "queued", name] += 1
        if size > self._policy.largest_bytes:
            row = (draft.topic, payload, ParkReason.TOO_LARGE, draft.retain, number, rank, now_ms, self.boot, now_ms)
            self._insert_parked(name, sequence, row, change, written)
        elif (
            policy.overflow is Overflow.DROP_NEWEST
            and rank == PLAIN
            and change.lane.size + change.size + size > policy.budget_bytes
        ):
            written.counts[UPSTREAM, f"dropped({DropReason.OVERFLOW})", name] += 1
            _miss(change, number, DropReason.OVERFLOW)
        else:
            self._insert(name, sequence, draft, payload, (number, rank, now_ms))
            change.add(rank, size)
            if coalesces:
                change.topics[draft.topic] = Waiting(sequence, number, size)

    def make_room(self, written: Written) -> None:
        """Drop what is more than the lanes may hold: in the lane itself, then in the lowest lane there is.

        What is urgent may use the room of all lanes, and is dropped only when nothing else waits in any of them.
        """
        for name in list(written.lanes):
            self._drop_oldest(name, PLAIN, self._policy.lanes[name].budget_bytes - self._size(name, written), written)
        for rank in (PLAIN, URGENT):
            for name in reversed(LANES):
                total = sum(self._size(lane, written) for lane in LANES)
                self._drop_oldest(name, rank, self._policy.budget_bytes - total, written)

    def drop(self, name: str, rows: Sequence[Row], reason: DropReason, written: Written) -> None:
        """Delete messages, and note which numbers are missing now."""
        change = written.change(name, self._lanes[name])
        for sequence, number, topic, size, rank in rows:
            change.remove(sequence, topic, rank, size)
            _miss(change, number, reason)
        self._connection.executemany(
            "delete from outbox where lane = ? and sequence = ?", [(name, row[0]) for row in rows]
        )
        written.counts[UPSTREAM, f"dropped({reason})", name] += len(rows)

    def park(self, name: str, sequence: int, reason: str, now_ms: int, written: Written) -> None:
        """Set a message aside."""
        change = written.change(name, self._lanes[name])
        topic, payload, retain, number, rank, created_ms, boot = self._connection.execute(
            "delete from outbox where lane = ? and sequence = ? "
            "returning topic, payload, retain, number, rank, created_ms, boot",
            (name, sequence),
        ).fetchone()
        change.remove(sequence, topic, rank, len(topic) + len(payload))
        row = (topic, payload, reason, retain, number, rank, created_ms, boot, now_ms)
        self._insert_parked(name, sequence, row, change, written)

    def finish(self, written: Written, now_ms: int) -> None:
        """Announce what is missing, and write how far each lane goes and may be sent."""
        for name, lane in self._lanes.items():
            found = written.lanes.get(name)
            if found and found.missing:
                self._announce(name, found, now_ms, written)
            ends = (found or lane).next_sequence - 1
            # half of the way is enough: a lane at rest writes nothing
            if lane.sent_up_to < min(ends, lane.cursor + AHEAD // 2):
                found = written.change(name, lane)
                found.sent_up_to = max(lane.sent_up_to, self.reserved(name, lane.cursor, ends))
            if found and (found.next_sequence, found.sent_up_to) != (lane.next_sequence, lane.sent_up_to):
                self._connection.execute(
                    "update lanes set next_sequence = ?, next_number = ?, sent_up_to = ? where lane = ?",
                    (found.next_sequence, found.next_number, found.sent_up_to, name),
                )

    def reserved(self, name: str, cursor: int, ends: int) -> int:
        """Return up to which place messages may be sent until the next commit."""
        if ends <= cursor + AHEAD:
            return ends
        # what was dropped may lie between
        (first,) = self._connection.execute(
            "select coalesce(min(sequence), ?) from outbox where lane = ? and sequence > ?", (ends, name, cursor)
        ).fetchone()
        return min(ends, int(first) + AHEAD)

    def count(self, written: Written) -> None:
        """Count what a transaction that is no commit has changed."""
        self._connection.executemany(
            "insert into audit values (?, ?, ?, ?) on conflict do update set count = count + excluded.count",
            [(*key, count) for key, count in written.counts.items()],
        )

    def _replace(self, draft: Draft, change: Change, written: Written) -> Waiting | None:
        """Delete the message that a draft supersedes; return it where the draft gets its place and its id."""
        waiting = change.waiting(draft.topic)
        # an empty message in the place of one with a number would leave a gap
        if not waiting or waiting.sequence in change.lane.taken or (draft.body is None and waiting.number):
            return None
        (rank,) = self._connection.execute(
            "delete from outbox where lane = ? and sequence = ? returning rank", (draft.lane, waiting.sequence)
        ).fetchone()
        written.counts[UPSTREAM, "superseded", draft.lane] += 1
        change.remove(waiting.sequence, draft.topic, rank, waiting.size)
        if not change.lane.was_sent(waiting.sequence):
            return waiting if waiting.number else None
        # somebody may have it: an id never means two things
        _miss(change, waiting.number, SUPERSEDED)
        return None

    def _insert(
        self, name: str, sequence: int, draft: Draft, payload: bytes, number_rank_time: tuple[int, int, int]
    ) -> None:
        number, rank, now_ms = number_rank_time
        checksum = message_checksum(name, sequence, draft.topic, payload, retain=draft.retain)
        self._connection.execute(
            INSERT, (name, sequence, draft.topic, payload, draft.retain, now_ms, checksum, number, rank, self.boot)
        )

    def _insert_parked(
        self, name: str, sequence: int, row: tuple[object, ...], change: Change, written: Written
    ) -> None:
        """Keep a message that was set aside; the oldest of them go where they are too many."""
        _, payload, _, _, number, *_ = row
        self._connection.execute(_PARK, (name, sequence, *row))
        _miss(change, int(str(number)), PARKED)
        written.parked_bytes += len(payload)  # type: ignore[arg-type] # bytes
        excess = self.parked_bytes + written.parked_bytes - _MOST_PARKED_BYTES
        while excess > 0:
            lane, oldest, size = self._connection.execute(
                "select lane, sequence, length(payload) from parked order by parked_ms, sequence limit 1"
            ).fetchone()
            self._connection.execute("delete from parked where lane = ? and sequence = ?", (lane, oldest))
            written.counts[UPSTREAM, f"dropped({DropReason.PARKED_OVERFLOW})", lane] += 1
            written.parked_bytes -= size
            excess -= size

    def _size(self, name: str, written: Written) -> int:
        change = written.lanes.get(name)
        return self._lanes[name].size + (change.size if change else 0)

    def _drop_oldest(self, name: str, rank: int, room: int, written: Written) -> None:
        """Drop the oldest messages of a rank that are not on their way, until there is room."""
        lane = self._lanes[name]
        while room < 0:
            change = written.lanes.get(name)
            if lane.counts[rank] + (change.counts[rank] if change else 0) <= 0:
                return
            rows = self._connection.execute(
                "select sequence, number, topic, length(topic) + length(payload), rank from outbox "
                "where lane = ? and rank = ? order by sequence limit ?",
                (name, rank, DROPPED_AT_ONCE + len(lane.taken)),
            ).fetchall()
            chosen: list[Row] = []
            for row in rows:
                if room < 0 and row[0] not in lane.taken:
                    chosen.append(row)
                    room += row[3]
            if not chosen:
                return
            self.drop(name, chosen, DropReason.OVERFLOW, written)

    def _announce(self, name: str, change: Change, now_ms: int, written: Written) -> None:
        """Say in the lane which numbers are missing, in the announcement that waits where there is one."""
        notice, ranges = change.notice, joined_ranges(change.missing)
        change.missing = []
        if notice and len(notice.ranges) <= _MOST_RANGES and not change.lane.was_sent(notice.sequence):
            sequence, number, ranges = notice.sequence, notice.number, joined_ranges([*notice.ranges, *ranges])
            self._connection.execute("delete from outbox where lane = ? and sequence = ?", (name, sequence))
            change.remove(sequence, self._notice_topic, NOTICE, notice.size)
            change.gone.discard(sequence)
        else:
            sequence, number = change.next_sequence, change.next_number
            change.next_sequence += 1
            change.next_number += 1
            written.counts[UPSTREAM, "queued", name] += 1
        draft = notice_draft(self._base, name, ranges)
        payload = draft.payload(f"{self._prefix}:{name}:{number}")
        size = len(draft.topic) + len(payload)
        self._insert(name, sequence, draft, payload, (number, NOTICE, now_ms))
        change.add(NOTICE, size)
        change.notice = Notice(sequence, number, size, ranges)


def _miss(change: Change, number: int, reason: str) -> None:
    """Note that a number is missing; what has none is not missed."""
    if number:
        change.missing.append((number, number, str(reason)))
