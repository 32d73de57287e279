"""Signals as something that the loop can watch."""

import signal
import socket
from collections.abc import Callable, Sequence


class SignalWatch:
    """Implements ``ports.Watched``: calls ``on_stop`` in the loop when SIGTERM or SIGINT has arrived."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave_it_to_the_loop)

    def filenos(self) -> Sequence[int]:
        """Return the end of the pair that becomes readable at a signal."""
        return [self._ours.fileno()]

    def writers(self) -> Sequence[int]:
        """Return that nothing waits to be sent."""
        return ()

    def on_ready(self, descriptor: int) -> None:
        """Take note of the signal."""
        del descriptor
        self._ours.recv(64)
        self._on_stop()


def _leave_it_to_the_loop(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor has told the loop."""
