"""What goes upstream: topics, payloads and lanes.

Every message has the id ``<gateway>:<store id>:<lane>:<number>``, so that a receiver drops duplicates and knows gaps.
An empty payload has none and takes no number. What is dropped is announced in its lane.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attwin.core.alerts import AlertFacts
from attwin.core.topics import quote_id

_MOST_MEMBERS = 50
ALERTS, RECOMMENDATIONS, HEALTH, TWIN, AGGREGATES = "alerts", "recommendations", "health", "twin", "aggregates"
LANES = (ALERTS, RECOMMENDATIONS, HEALTH, TWIN, AGGREGATES)
"""In the order in which they leave; where space is short, the last one gives first."""
_RESEND = b'{"resend":true,'

Range = tuple[int, int, str]
"""Numbers of a lane from the first to the last of them, and why they were dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message before the outbox has numbered it.

    Attributes:
        lane: Which order it keeps.
        topic: In full.
        retain: Whether the broker keeps it; then only the newest of its topic waits.
        body: The payload without its id; None for an empty payload, which ends a retained topic.
        urgent: Whether it is dropped after everything else, and may open a connection that is to be closed.
    """

    lane: str
    topic: str
    retain: bool
    body: dict[str, object] | None
    urgent: bool = False

    def payload(self, message_id: str) -> bytes:
        """Return the payload as it is sent."""
        if self.body is None:
            return b""
        return json.dumps({"id": message_id, **self.body}, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """A message in the outbox.

    Attributes:
        lane: Which order it keeps.
        sequence: Its place in the lane.
        topic: In full.
        payload: As stored.
        retain: Whether the broker keeps it.
        urgent: As in ``Draft``.
        resend: Whether it may have been sent before.
        notice: Whether it announces what was dropped.
    """

    lane: str
    sequence: int
    topic: str
    payload: bytes
    retain: bool
    urgent: bool = False
    resend: bool = False
    notice: bool = False

    @property
    def size(self) -> int:
        """Return the bytes that it counts."""
        return len(self.topic) + len(self.payload)

    @property
    def as_sent(self) -> bytes:
        """Return the payload as it is sent: one that may have been sent before says so."""
        return _RESEND + self.payload[1:] if self.resend and self.payload else self.payload


def base_topic(gateway: str) -> str:
    """Return the base of all topics of a gateway."""
    return f"attwin/{quote_id(gateway)}"


def alert_drafts(base: str, before: AlertFacts | None, after: AlertFacts) -> list[Draft]:
    """Return the two messages of a transition: the event, and the alert's retained topic, empty once it is cleared.

    There are none of an alert that is muted and was never told; when it is told, it is new to who hears of it.
    """
    if not after.announced:
        return []
    told = before is not None and before.announced
    body = _told(after)
    urgent = after.severity == "critical"
    return [
        Draft(
            lane=ALERTS,
            topic=f"{base}/events",
            retain=False,
            urgent=urgent,
            body={
                "type": ("update" if told else "new") if after.is_active else "end",
                "before": _told(before) if before and told else None,
                "after": body,
            },
        ),
        Draft(
            lane=ALERTS,
            topic=f"{base}/alert/{quote_id(after.entity)}/{quote_id(after.rule)}",
            retain=True,
            urgent=urgent,
            body=body if after.is_active else None,
        ),
    ]


def _told(facts: AlertFacts) -> dict[str, object]:
    """Return an alert as it is published: of a large group, the first members."""
    return replace(facts, members=facts.members[:_MOST_MEMBERS]).as_dict()


def twin_draft(base: str, entity: str, body: dict[str, object] | None) -> Draft:
    """Return the message about an entity's current state; None ends it."""
    return Draft(lane=TWIN, topic=f"{base}/twin/{quote_id(entity)}", retain=True, body=body)


def health_draft(base: str, body: dict[str, object]) -> Draft:
    """Return the message about the gateway's own health."""
    return Draft(lane=HEALTH, topic=f"{base}/health", retain=True, body=body)


def aggregates_draft(base: str, body: dict[str, object]) -> Draft:
    """Return a message about an interval of many entities."""
    return Draft(lane=AGGREGATES, topic=f"{base}/aggregates", retain=False, body=body)


def notice_draft(base: str, lane: str, ranges: Sequence[Range]) -> Draft:
    """Return the message that announces numbers of a lane which do not come, or not before somebody lets them."""
    return Draft(lane=lane, topic=f"{base}/dropped", retain=False, body={"lane": lane, "dropped": list(ranges)})


def joined_ranges(ranges: Sequence[Range]) -> list[Range]:
    """Return ranges in order, those that touch and have one reason as one."""
    joined: list[Range] = []
    for first, last, reason in sorted(ranges):
        if joined and joined[-1][1] + 1 >= first and joined[-1][2] == reason:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]), reason)
        else:
            joined.append((first, last, reason))
    return joined
