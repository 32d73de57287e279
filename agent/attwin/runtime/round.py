"""What has been processed since the last commit."""

from collections import Counter

from attwin.core.outgoing import Draft, OutgoingMessage
from attwin.core.types import ReadingBatch, Reject, joined
from attwin.core.updates import UpdateChange
from attwin.core.warning import Warned
from attwin.ports import AlertChange, Commit, DriftDay, Label, Reacted, ReactionDraft, ScoreRow, Slot
from attwin.runtime.deliver import Settled


class Round:
    """What becomes durable together, and the messages that are acknowledged then.

    Attributes:
        started_ms: When the oldest of it arrived at the earliest, by the monotonic clock; None while it is empty.
        unacknowledged: The packet ids of each connection.
        messages: How many messages are in it.
    """

    def __init__(self) -> None:
        self.started_ms: int | None = None
        self.stored: list[ReadingBatch] = []
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.rejects: list[Reject] = []
        self.replayed: list[int] = []
        self.alerts: list[AlertChange] = []
        self.scores: list[ScoreRow] = []
        self.drafts: list[Draft] = []
        self.drift: list[DriftDay] = []
        self.delivered: list[OutgoingMessage] = []
        self.parked: list[tuple[OutgoingMessage, str]] = []
        self.deliveries: list[tuple[int, int]] = []
        self.unacknowledged: list[tuple[int, list[int]]] = []
        self.reactions: list[ReactionDraft] = []
        self.reacted: list[Reacted] = []
        self.labels: list[Label] = []
        self.warned: list[Warned] = []
        self.updates: list[UpdateChange] = []
        self.slots: list[Slot] = []
        self.floors: dict[str, int] = {}
        self.messages = 0

    def is_empty(self) -> bool:
        """Return whether there is nothing to make durable."""
        held = (self.counts, self.alerts, self.scores, self.drafts, self.drift, self.delivered, self.parked)
        return not any((*held, self.reacted, self.labels, self.warned, self.updates, self.slots, self.floors))

    def settle(self, settled: Settled) -> None:
        """Take what upstream has answered."""
        self.delivered += settled.delivered
        self.parked += settled.parked

    def as_commit(self, now_ms: int) -> Commit:
        """Return all of it as one commit."""
        return Commit(
            stored=joined(self.stored),
            deliveries=self.deliveries,
            counts=self.counts,
            rejects=self.rejects,
            replayed=self.replayed,
            alerts=self.alerts,
            scores=self.scores,
            drafts=self.drafts,
            delivered=self.delivered,
            parked=self.parked,
            drift=self.drift,
            reactions=self.reactions,
            reacted=self.reacted,
            labels=self.labels,
            warned=self.warned,
            updates=self.updates,
            slots=self.slots,
            floors=self.floors,
            now_ms=now_ms,
        )
