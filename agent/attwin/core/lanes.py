"""How much each lane of the outbox keeps, for how long, and what it drops first."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Overflow(StrEnum):
    """What a lane drops where its budget is full.

    ``COALESCE`` keeps of each topic the newest message alone, and then drops the oldest. Retained messages are
    coalesced in every lane.
    """

    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"
    COALESCE = "coalesce"


class DropReason(StrEnum):
    """Why a message did not leave."""

    OVERFLOW = "overflow"
    EXPIRED = "expired"
    PARKED_OVERFLOW = "parked-overflow"


PARKED, SUPERSEDED = "parked", "superseded"
"""More reasons of announcements: what was set aside, which may still come; a state that a newer one stands for."""


class ParkReason(StrEnum):
    """Why a message was set aside."""

    DAMAGED = "damaged"
    TOO_LARGE = "too-large"
    NOT_AUTHORISED = "not-authorised"
    BAD_TOPIC = "bad-topic"
    BAD_PAYLOAD = "bad-payload"
    REFUSED = "refused"
    ENDS_CONNECTION = "ends-connection"
    BY_HAND = "by-hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePolicy:
    """What a lane keeps.

    Attributes:
        ttl_ms: After this time a message is dropped; 0 for never.
        budget_bytes: How much may wait.
        overflow: What goes where more would.
    """

    ttl_ms: int
    budget_bytes: int
    overflow: Overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxPolicy:
    """What the outbox keeps.

    Attributes:
        lanes: By name.
        largest_bytes: Larger messages are parked.
    """

    lanes: Mapping[str, LanePolicy]
    largest_bytes: int

    @property
    def budget_bytes(self) -> int:
        """Return how much may wait in all lanes together; an urgent message may use all of it."""
        return sum(policy.budget_bytes for policy in self.lanes.values())


_DAY_MS = 86_400_000
DEFAULT_LANES = {
    "alerts": LanePolicy(ttl_ms=0, budget_bytes=32_000_000, overflow=Overflow.DROP_OLDEST),
    "recommendations": LanePolicy(ttl_ms=_DAY_MS, budget_bytes=4_000_000, overflow=Overflow.DROP_OLDEST),
    "health": LanePolicy(ttl_ms=_DAY_MS, budget_bytes=1_000_000, overflow=Overflow.COALESCE),
    "twin": LanePolicy(ttl_ms=7 * _DAY_MS, budget_bytes=16_000_000, overflow=Overflow.COALESCE),
    "aggregates": LanePolicy(ttl_ms=30 * _DAY_MS, budget_bytes=64_000_000, overflow=Overflow.DROP_OLDEST),
}
"""An alert outlives any outage; 64 MB are a month of aggregates of 1,000 entities by exception."""
LARGEST_BYTES = 64_000
DEFAULT_OUTBOX = OutboxPolicy(lanes=DEFAULT_LANES, largest_bytes=LARGEST_BYTES)
