"""What becomes of an update: its states, in which order they may follow each other, and what is told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class UpdateState(StrEnum):
    """Where an update stands."""

    RECEIVED = "received"
    FETCHING = "fetching"
    VERIFIED = "verified"
    TESTED = "tested"
    SHADOW = "shadow"
    PROBATION = "probation"
    COMMITTED = "committed"
    REFUSED = "refused"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"


_ENDS_BEFORE = {UpdateState.REFUSED, UpdateState.SUPERSEDED}
_NEXT: Mapping[UpdateState, set[UpdateState]] = {
    UpdateState.RECEIVED: {UpdateState.FETCHING, UpdateState.VERIFIED, UpdateState.COMMITTED, *_ENDS_BEFORE},
    UpdateState.FETCHING: {UpdateState.VERIFIED, *_ENDS_BEFORE},
    UpdateState.VERIFIED: {UpdateState.TESTED, *_ENDS_BEFORE},
    UpdateState.TESTED: {UpdateState.SHADOW, UpdateState.PROBATION, *_ENDS_BEFORE},
    UpdateState.SHADOW: {UpdateState.PROBATION, *_ENDS_BEFORE},
    UpdateState.PROBATION: {UpdateState.COMMITTED, UpdateState.ROLLED_BACK},
    UpdateState.COMMITTED: {UpdateState.ROLLED_BACK},
    UpdateState.REFUSED: set(),
    UpdateState.ROLLED_BACK: set(),
    UpdateState.SUPERSEDED: set(),
}
ENDED = (UpdateState.COMMITTED, UpdateState.REFUSED, UpdateState.ROLLED_BACK, UpdateState.SUPERSEDED)
"""Nothing more is done for these by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """An update at one of its transitions.

    Attributes:
        transaction: What the pusher calls it.
        target: The path of the target.
        line: What it takes the place of: ``model/<kind>`` or ``config``; empty until the request was checked.
        name, version: Of the target, as ``line``.
        sha256, size: Of its file, as ``line``.
        state: Where it stands.
        since_ms: Since when, by the gateway's clock.
        starts: How often the agent has started while it was in this state.
        reason: Why it ended, or what it waits for.
        detail: What was measured.
        source: Where the file lies; empty for blocks over MQTT.
        request: The request, until the update has ended.
    """

    transaction: str
    target: str
    line: str = ""
    name: str = ""
    version: int = 0
    sha256: str = ""
    size: int = 0
    state: UpdateState = UpdateState.RECEIVED
    since_ms: int = 0
    starts: int = 0
    reason: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)
    source: str = ""
    request: bytes = b""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is done for it by itself."""
        return self.state in ENDED

    @property
    def kind(self) -> str:
        """The kind whose model it is; empty for a configuration."""
        return self.line.removeprefix("model/") if self.line.startswith("model/") else ""

    def moved(
        self, state: UpdateState, *, now_ms: int, reason: str = "", detail: Mapping[str, object] | None = None
    ) -> "Update":
        """Return it in its next state.

        Raises:
            ValueError: That state cannot follow the present one.
        """
        if state not in _NEXT[self.state]:
            raise ValueError(f"an update that is {self.state} cannot be {state}")
        after = replace(
            self,
            state=state,
            since_ms=now_ms,
            starts=0,
            reason=reason,
            detail=self.detail if detail is None else detail,
        )
        return replace(after, request=b"") if after.has_ended else after


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateChange:
    """An update before and after a transition.

    Attributes:
        before: Its state, empty for a new one.
        after: As it is now.
    """

    before: str
    after: Update


def answer_body(change: UpdateChange) -> dict[str, object]:
    """Return a transition as it is told and shown."""
    after = change.after
    body: dict[str, object] = {
        "transaction": after.transaction,
        "target": after.target,
        "line": after.line,
        "name": after.name,
        "version": after.version,
        "sha256": after.sha256,
        "state": str(after.state),
        "before": change.before,
        "time_ms": after.since_ms,
        "reason": after.reason,
        "detail": dict(after.detail),
        "final": after.has_ended,
    }
    return body
