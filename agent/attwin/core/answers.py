"""What an answer of the upstream broker means for the message it is about.

Source: MQTT 5.0, section 2.4 (reason codes) and 3.4.2.1 (those of PUBACK). MQTT 3.1.1 knows one answer, success.
"""

from dataclasses import dataclass
from enum import Enum, auto

LOST = -1
"""In the place of a reason code: the connection ended without an answer."""
SUCCESS, NO_SUBSCRIBER = 0x00, 0x10
_UNSPECIFIED, _IMPLEMENTATION = 0x80, 0x83
_NOT_AUTHORISED, _SERVER_BUSY, _BAD_TOPIC, _ID_IN_USE = 0x87, 0x89, 0x90, 0x91
_TOO_LARGE, _QUOTA, _BAD_PAYLOAD = 0x95, 0x97, 0x99
_PARKED = {
    _NOT_AUTHORISED: "not-authorised",
    _BAD_TOPIC: "bad-topic",
    _TOO_LARGE: "too-large",
    _BAD_PAYLOAD: "bad-payload",
}
_BACK_OFF = {
    NO_SUBSCRIBER: "nobody subscribes to it",
    _UNSPECIFIED: "an error that it does not name",
    _IMPLEMENTATION: "an error of its own",
    _SERVER_BUSY: "it is busy",
    _QUOTA: "the quota is exceeded",
}
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 1_000, 60_000
_SUSPICIOUS_LOSSES, _MOST_LOSSES = 3, 8
"""After so many connections that ended without one answer messages go one at a time; the one that goes on ending them,
while the link waits longer and longer between (a minute and a half in all), is set aside."""


class Outcome(Enum):
    """What becomes of the message."""

    DELIVERED = auto()
    AGAIN = auto()
    LATER = auto()
    PARKED = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means.

    Attributes:
        outcome: What becomes of the message.
        reason: Why it is parked (a ``ParkReason``), or what the broker says where it is tried later; empty otherwise.
    """

    outcome: Outcome
    reason: str = ""


_DELIVERED, _AGAIN = Verdict(Outcome.DELIVERED), Verdict(Outcome.AGAIN)


def judge(code: int, *, retain: bool) -> Verdict:
    """Return what the answer to a message means.

    Args:
        code: The reason code, or ``LOST``.
        retain: Whether the broker keeps the message; then a receiver that comes later gets it.
    """
    if code == SUCCESS or (code == NO_SUBSCRIBER and retain):
        return _DELIVERED
    if code in (LOST, _ID_IN_USE):
        return _AGAIN
    if code in _BACK_OFF:
        return Verdict(Outcome.LATER, _BACK_OFF[code])
    return Verdict(Outcome.PARKED, _PARKED.get(code, "refused"))


class Pause:
    """How long a lane waits after an answer that says later: longer each time, until something is delivered.

    Attributes:
        until_ms: By the monotonic clock.
        reason: What the broker said, empty where it takes messages.
    """

    def __init__(self) -> None:
        self.until_ms = 0
        self.reason = ""
        self._wait_ms = _FIRST_PAUSE_MS

    def begin(self, now_ms: int, reason: str) -> None:
        """Wait from now on; what was refused with the first of a window does not make the wait longer."""
        if now_ms < self.until_ms:
            return
        self.until_ms, self.reason = now_ms + self._wait_ms, reason
        self._wait_ms = min(2 * self._wait_ms, _LONGEST_PAUSE_MS)

    def end(self) -> None:
        """Wait no longer: something was delivered."""
        self.until_ms, self.reason, self._wait_ms = 0, "", _FIRST_PAUSE_MS


class Suspicion:
    """Finds the message that ends connections, of which nobody says so: version 3.1.1 knows no answer for it."""

    def __init__(self) -> None:
        self._losses = 0

    @property
    def alone(self) -> bool:
        """Return whether messages are to go one at a time."""
        return self._losses >= _SUSPICIOUS_LOSSES

    def answered(self) -> None:
        """Note that a message was answered: it was not that one."""
        self._losses = 0

    def lost(self, in_flight: int, code: int = LOST) -> str:
        """Note that a connection ended without an answer; return why the one message in flight is parked, or empty.

        Args:
            in_flight: How many messages were on their way.
            code: The reason code with which the broker ended the connection.
        """
        if not in_flight:
            return ""
        self._losses += 1
        if code in _PARKED:
            # one of them is to blame
            self._losses = max(self._losses, _SUSPICIOUS_LOSSES)
            return _PARKED[code] if in_flight == 1 else ""
        return "ends-connection" if in_flight == 1 and self._losses >= _MOST_LOSSES else ""
