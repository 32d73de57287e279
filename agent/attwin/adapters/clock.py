"""The clocks of this machine."""

import time


class SystemClock:
    """Implements ``ports.Clock``."""

    def now_ms(self) -> int:
        """Return the wall clock [ms since the Unix epoch, UTC]."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return a clock that never jumps [ms]."""
        return time.monotonic_ns() // 1_000_000
