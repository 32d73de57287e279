"""A file in blocks over a link that breaks: what is asked for, what has come, what is asked for again.

The file grows in order: what came early is held until the gap before it is closed. So how far it had come is its
length, and nothing else has to outlive a restart. Blocks are small while the link is slow, because a cut loses those on
their way, and large while it is fast, because each costs a message.
"""

from collections import deque
from collections.abc import Sequence

Range = tuple[int, int]
"""Where a block begins, and its length [bytes]."""

LEAST_BLOCK, MOST_BLOCK = 4_096, 65_536
_WINDOW = 4
"""Blocks on their way: the next one leaves while the one before it arrives."""
_FAST_MS, _SLOW_MS = 500, 4_000
"""A block that comes sooner than the one may be twice as large, later than the other half."""
_PATIENCE_MS = 10_000
_MOST_PATIENCE_MS = 60_000


class Transfer:
    """The blocks of one file.

    Attributes:
        size: The signed length of the file [bytes].
        done: How much of it has come without a gap [bytes].
        stray: How many blocks came that nobody had asked for.
    """

    def __init__(self, size: int, *, done: int = 0, rate: int = 0) -> None:
        """Begin, or go on.

        Args:
            size: The signed length of the file [bytes].
            done: How much is here [bytes].
            rate: How much may be asked for in a second, on average [bytes]; 0 for any.
        """
        self.size = size
        self.done = done
        self.stray = 0
        self._next = done
        self._rate = rate
        self._block = LEAST_BLOCK
        self._asked: dict[int, tuple[int, int]] = {}
        self._again: deque[Range] = deque()
        self._early: dict[int, bytes] = {}
        self._patience_ms = _PATIENCE_MS
        self._paid_ms: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all of it has come."""
        return self.done == self.size

    def wants(self, now_ms: int) -> list[Range]:
        """Return what is to be asked for now; it counts as asked for from now on.

        Args:
            now_ms: The monotonic clock.
        """
        late = [at for at, (_, asked_ms) in self._asked.items() if now_ms - asked_ms > self._patience_ms]
        if late:
            self._block = max(LEAST_BLOCK, self._block // 2)
            self._patience_ms = min(_MOST_PATIENCE_MS, 2 * self._patience_ms)
            self._repeat(late)
        found: list[Range] = []
        while len(self._asked) < _WINDOW and self._may_ask(now_ms):
            wanted = self._take_next()
            if wanted is None:
                break
            self._asked[wanted[0]] = (wanted[1], now_ms)
            self._pay(wanted[1], now_ms)
            found.append(wanted)
        return found

    def take(self, offset: int, data: bytes, now_ms: int) -> Sequence[bytes]:
        """Return what may be written at the end of the file, now that a block has come.

        One that was not asked for, or is not as long as asked, is counted and left out.

        Args:
            offset: Where it begins [bytes].
            data: What it holds.
            now_ms: The monotonic clock.
        """
        length, asked_ms = self._asked.get(offset, (0, 0))
        if not length or length != len(data):
            self.stray += 1
            return ()
        del self._asked[offset]
        took_ms = now_ms - asked_ms
        self._patience_ms = max(_PATIENCE_MS, min(_MOST_PATIENCE_MS, 4 * took_ms))
        if took_ms < _FAST_MS:
            self._block = min(MOST_BLOCK, 2 * self._block)
        elif took_ms > _SLOW_MS:
            self._block = max(LEAST_BLOCK, self._block // 2)
        self._early[offset] = data
        ready = []
        while self.done in self._early:
            part = self._early.pop(self.done)
            self.done += len(part)
            ready.append(part)
        return ready

    def lost(self) -> None:
        """Ask for all again that was on its way: the link was cut."""
        self._repeat(list(self._asked))

    def _repeat(self, offsets: Sequence[int]) -> None:
        for at in sorted(offsets, reverse=True):
            self._again.appendleft((at, self._asked.pop(at)[0]))

    def _take_next(self) -> Range | None:
        """Return the next range, of those that are asked for again or of what was never asked for."""
        if self._again:
            at, length = self._again.popleft()
            if length > self._block:
                self._again.appendleft((at + self._block, length - self._block))
            return at, min(length, self._block)
        if self._next >= self.size:
            return None
        at, length = self._next, min(self._block, self.size - self._next)
        self._next += length
        return at, length

    def _may_ask(self, now_ms: int) -> bool:
        return not self._rate or self._paid_ms is None or now_ms >= self._paid_ms

    def _pay(self, length: int, now_ms: int) -> None:
        """Put the next question off for as long as a block takes at the rate."""
        if self._rate:
            self._paid_ms = max(now_ms, self._paid_ms or now_ms) + 1000 * length // self._rate
