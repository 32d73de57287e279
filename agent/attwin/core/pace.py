"""How fast, and when, the outbox may use its link."""

from collections.abc import Sequence
from dataclasses import dataclass

_DAY_MS = 86_400_000
_BURST_S = 1


class Limit:
    """A bucket of bytes that fills at a rate and holds a second of it, or the largest message."""

    def __init__(self, bytes_per_s: int, largest_bytes: int, now_ms: int) -> None:
        """Begin full.

        Args:
            bytes_per_s: The rate; 0 for no limit.
            largest_bytes: A message of this size must leave at some time.
            now_ms: By a clock that never jumps.
        """
        self._rate = bytes_per_s
        self._most = max(_BURST_S * bytes_per_s, largest_bytes)
        self._held = float(self._most)
        self._since_ms = now_ms

    def room(self, now_ms: int) -> int | None:
        """Return how many bytes may leave now; None where there is no limit."""
        if not self._rate:
            return None
        self._held = min(self._most, self._held + self._rate * (now_ms - self._since_ms) / 1000)
        self._since_ms = now_ms
        return int(self._held)

    def spend(self, size: int) -> None:
        """Take what has left; what is urgent leaves before there is room for it, and others wait the longer."""
        if self._rate:
            self._held -= size


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a metered link is open.

    Attributes:
        every_ms: How often, by the monotonic clock, the first time at the start; 0 for never.
        for_ms: For how long.
        at_ms: Times of day [ms after midnight] at which it opens too, by the clock of the site.
        urgent: Whether what is urgent opens it.
    """

    every_ms: int
    for_ms: int
    at_ms: Sequence[int] = ()
    urgent: bool = True

    def is_open(self, up_ms: int, local_ms: int | None) -> bool:
        """Return whether the link is open.

        Args:
            up_ms: How long the agent has run.
            local_ms: What clocks of the site show [ms since 1970 by their own reading]; None where the gateway's clock
                is not trusted: then a schedule of times of day alone opens as often as it has times.
        """
        every_ms = self.every_ms
        if local_ms is None and not every_ms:
            every_ms = _DAY_MS // max(1, len(self.at_ms))
        if every_ms and up_ms % every_ms < self.for_ms:
            return True
        return local_ms is not None and any((local_ms - at) % _DAY_MS < self.for_ms for at in self.at_ms)
