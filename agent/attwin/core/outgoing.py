"""What goes upstream: topics, payloads and lanes.

Every message has the id ``<gateway>:<store id>:<lane>:<sequence>``, so that a receiver drops duplicates and knows gaps.
"""

import json
from dataclasses import dataclass, replace

from attwin.core.alerts import AlertFacts
from attwin.core.topics import quote_id

URGENT, REST = "urgent", "rest"
LANES = (URGENT, REST)
"""In the order in which they leave."""
_MOST_MEMBERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message before the outbox has numbered it.

    Attributes:
        lane: Which order it keeps.
        topic: In full.
        retain: Whether the broker keeps it; then only the newest of its topic waits.
        body: The payload without its id; None for an empty payload, which ends a retained topic.
    """

    lane: str
    topic: str
    retain: bool
    body: dict[str, object] | None

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
        sequence: Its number in the lane.
        topic: In full.
        payload: As sent.
        retain: Whether the broker keeps it.
    """

    lane: str
    sequence: int
    topic: str
    payload: bytes
    retain: bool


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
    return [
        Draft(
            lane=URGENT,
            topic=f"{base}/events",
            retain=False,
            body={
                "type": ("update" if told else "new") if after.is_active else "end",
                "before": _told(before) if before and told else None,
                "after": body,
            },
        ),
        Draft(
            lane=URGENT,
            topic=f"{base}/alert/{quote_id(after.entity)}/{quote_id(after.rule)}",
            retain=True,
            body=body if after.is_active else None,
        ),
    ]


def _told(facts: AlertFacts) -> dict[str, object]:
    """Return an alert as it is published: of a large group, the first members."""
    return replace(facts, members=facts.members[:_MOST_MEMBERS]).as_dict()


def twin_draft(base: str, entity: str, body: dict[str, object] | None) -> Draft:
    """Return the message about an entity's current state; None ends it."""
    return Draft(lane=REST, topic=f"{base}/twin/{quote_id(entity)}", retain=True, body=body)


def health_draft(base: str, body: dict[str, object]) -> Draft:
    """Return the message about the gateway's own health."""
    return Draft(lane=REST, topic=f"{base}/health", retain=True, body=body)
