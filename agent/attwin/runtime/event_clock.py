"""What time it is for the readings: the newest time of theirs, and what has gone by since.

Readings of years ago can be played through the agent; what waits for time to go by must not think that it is today.
"""

from attwin.core.columns import NEVER_MS


class EventClock:
    """Goes on from the newest reading, by the clock that never jumps."""

    def __init__(self) -> None:
        self._event_ms = NEVER_MS
        self._monotonic_ms = 0

    def note(self, event_ms: int, monotonic_ms: int) -> None:
        """Note the newest time of any reading; one that is known already says nothing of now."""
        if event_ms not in (NEVER_MS, self._event_ms):
            self._event_ms, self._monotonic_ms = event_ms, monotonic_ms

    def at(self, monotonic_ms: int, now_ms: int) -> int:
        """Return event time; where there was no reading yet, that of the gateway's clock, ``now_ms``."""
        if self._event_ms == NEVER_MS:
            return now_ms
        return self._event_ms + monotonic_ms - self._monotonic_ms
