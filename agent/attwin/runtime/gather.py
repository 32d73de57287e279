"""When the next read is worth what a round costs.

A round costs about as much as fifty messages, so what comes slowly is let gather: for as long as a round of messages
takes to arrive at the rate of now, within bounds. What was read is processed at once.
"""

SHORTEST_MS = 20
LONGEST_MS = 90
_WORTH_A_ROUND = 25
"""Messages; at 1,000 a second they take 25 ms."""


class Gather:
    """Knows the rate of messages, and from when to read again.

    Attributes:
        hold_ms: How long nothing is read after the last read.
        since_ms: When what was read last began to gather; nothing of it can be older.
        read_from_ms: When to read again.
    """

    def __init__(self, window: int, now_ms: int) -> None:
        """Begin.

        Args:
            window: How many messages are worth reading at any time, because the broker may not send many more.
            now_ms: The monotonic clock.
        """
        self.hold_ms = 0
        self.since_ms = now_ms
        self.read_from_ms = now_ms
        self._window = window
        self._read_ms = now_ms

    def note(self, read: int, now_ms: int) -> None:
        """Note that messages were read, at least one."""
        a_message_ms = (now_ms - self._read_ms) / read
        self.since_ms, self._read_ms = self._read_ms, now_ms
        if read >= self._window // 2:
            self.hold_ms = 0
        else:
            gathered_ms = min(max(_WORTH_A_ROUND * a_message_ms, SHORTEST_MS), LONGEST_MS)
            self.hold_ms = round(min(gathered_ms, self._window * a_message_ms))
        self.read_from_ms = now_ms + self.hold_ms

    def meet(self, deadline_ms: int) -> None:
        """Read when a round is committed that the next read would miss, where that is worth a read of its own."""
        if self.read_from_ms > deadline_ms >= self._read_ms + SHORTEST_MS:
            self.read_from_ms = deadline_ms
