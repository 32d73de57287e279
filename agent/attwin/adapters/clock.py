"""The clocks of this machine."""

import ctypes
import time
from pathlib import Path

from attwin.core.clock_trust import ClockTrust, Jump

_TIMEX_BYTES = 512
"""More than a ``struct timex`` has."""
_TIME_ERROR = 5


class SystemClock:
    """Implements ``ports.Clock``."""

    def __init__(self, *, floor_ms: int = 0, file: str = "") -> None:
        """Start believing the wall clock, where it can be right.

        Args:
            floor_ms: A time that has certainly passed.
            file: A file that exists once the clock is synchronised; the kernel is asked where this is empty.
        """
        self._file = file
        self._trust = ClockTrust(floor_ms, _wall_ms(), _steady_ms(), synchronised=self._is_synchronised())

    @property
    def is_trusted(self) -> bool:
        """Whether the wall clock can be right."""
        return not self._trust.problem

    @property
    def problem(self) -> str:
        """Why it cannot, empty where it can."""
        return self._trust.problem

    @property
    def offset_ms(self) -> int:
        """The believed time less the time since the machine was booted."""
        return self._trust.offset_ms

    def now_ms(self) -> int:
        """Return the believed time [ms since the Unix epoch, UTC]."""
        return _steady_ms() + self._trust.offset_ms

    def monotonic_ms(self) -> int:
        """Return a clock that never jumps [ms]."""
        return time.monotonic_ns() // 1_000_000

    def monotonic_us(self) -> int:
        """Return the same clock, finer [us]."""
        return time.monotonic_ns() // 1000

    def check(self) -> Jump | None:
        """Find out whether the wall clock has jumped. Call a few times a second."""
        return self._trust.observe(_wall_ms(), _steady_ms(), synchronised=self._is_synchronised())

    def _is_synchronised(self) -> bool:
        if self._file:
            return Path(self._file).exists()
        # adjtimex with no mode set only asks; its answer is the state of the clock
        return _LIBC.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) not in (-1, _TIME_ERROR)


_LIBC = ctypes.CDLL(None)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _steady_ms() -> int:
    """Return a clock that never jumps and that counts while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
