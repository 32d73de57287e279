"""What the outbox remembers of its lanes, and what a transaction changes in them."""

import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from attwin.core.outgoing import OutgoingMessage, Range

PLAIN, URGENT, NOTICE = 0, 1, 2
"""Ranks, lowest dropped first; an announcement never is."""
AHEAD = 2_048
"""How far ``sent_up_to`` runs ahead: more than leaves between two commits at 10,000 messages a second."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits and that a newer one of its topic replaces."""

    sequence: int
    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Notice:
    """An announcement that waits."""

    sequence: int
    number: int
    size: int
    ranges: list[Range]


@dataclass(slots=True, kw_only=True)
class Lane:
    """What is known of a lane in memory: as durable, but for what is on its way.

    Attributes:
        next_sequence, next_number: Of the next message.
        sent_up_to: Up to which place messages may be sent.
        counts: How many messages wait, by rank.
        size: How many bytes they have.
        topics: What waits of each topic of which only the newest does.
        notice: The announcement that waits and has not been sent.
        old: Up to which place messages may have been sent by the process before.
        cursor: Up to which place messages were taken; beyond it nothing was.
        again: Places up to the cursor that are to be sent again, rising.
        taken: Places that are on their way.
    """

    next_sequence: int
    next_number: int
    sent_up_to: int
    counts: list[int]
    size: int
    topics: dict[str, Waiting]
    old: int
    notice: Notice | None = None
    cursor: int = 0
    again: list[int] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)

    @property
    def count(self) -> int:
        """Return how many messages wait."""
        return sum(self.counts)

    def was_sent(self, sequence: int) -> bool:
        """Return whether a message may have been sent already."""
        return sequence <= max(self.cursor, self.old)

    def take(self, places: Iterable[int], *, again: int) -> None:
        """Note what is on its way now, the first ``again`` of it once more."""
        self.taken.update(places)
        self.cursor = max(self.cursor, max(places, default=0))
        del self.again[:again]
        if self.notice and self.notice.sequence <= self.cursor:
            self.notice = None

    def put_back(self, sequence: int) -> None:
        """Let a message wait in its old place."""
        if sequence <= self.cursor:
            bisect.insort(self.again, sequence)

    def apply(self, change: "Change") -> None:
        """Remember a change that is durable."""
        self.next_sequence, self.next_number = change.next_sequence, change.next_number
        self.sent_up_to, self.notice = change.sent_up_to, change.notice
        self.counts = [count + more for count, more in zip(self.counts, change.counts, strict=True)]
        self.size += change.size
        for topic, waiting in change.topics.items():
            if waiting is None:
                self.topics.pop(topic, None)
            else:
                self.topics[topic] = waiting
        self.taken -= change.gone
        if self.again and change.gone:
            self.again = [sequence for sequence in self.again if sequence not in change.gone]


@dataclass(slots=True, kw_only=True)
class Change:
    """What a transaction changes in a lane.

    Attributes:
        lane: As it was.
        next_sequence, next_number, sent_up_to, notice: As they are now.
        counts, size: What was added, or taken away where it is negative.
        topics: What waits of a topic now; None for nothing.
        gone: Places whose messages wait no more.
        missing: Numbers that were dropped and are not announced yet.
    """

    lane: Lane
    next_sequence: int
    next_number: int
    sent_up_to: int
    notice: Notice | None
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    size: int = 0
    topics: dict[str, Waiting | None] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    missing: list[Range] = field(default_factory=list)

    def waiting(self, topic: str) -> Waiting | None:
        """Return what waits of a topic."""
        return self.topics[topic] if topic in self.topics else self.lane.topics.get(topic)

    def add(self, rank: int, size: int) -> None:
        """Note that a message waits."""
        self.counts[rank] += 1
        self.size += size

    def remove(self, sequence: int, topic: str, rank: int, size: int) -> None:
        """Note that a message waits no more."""
        self.counts[rank] -= 1
        self.size -= size
        self.gone.add(sequence)
        waiting = self.waiting(topic)
        if waiting and waiting.sequence == sequence:
            self.topics[topic] = None


@dataclass(slots=True, kw_only=True)
class Written:
    """What a transaction changed in the outbox.

    Attributes:
        counts: By source, name and lane, for the audit.
        lanes: What changed in each lane.
        parked_bytes: How many more are parked.
    """

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    lanes: dict[str, Change] = field(default_factory=dict)
    parked_bytes: int = 0

    def change(self, name: str, lane: Lane) -> Change:
        """Return what has changed in a lane so far."""
        found = self.lanes.get(name)
        if found is None:
            found = self.lanes[name] = Change(
                lane=lane,
                next_sequence=lane.next_sequence,
                next_number=lane.next_number,
                sent_up_to=lane.sent_up_to,
                notice=lane.notice,
            )
        return found


def runs_of(places: Iterable[int]) -> list[tuple[int, int]]:
    """Return rising places as runs of neighbours, each from its first to its last."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] + 1 == place:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return runs


def rank_of(message: OutgoingMessage) -> int:
    """Return the rank of a message that was taken."""
    return NOTICE if message.notice else URGENT if message.urgent else PLAIN
