"""Signals as something that the loop can watch."""

import signal
import socket
from collections.abc import Callable, Sequence


class SignalWatch:
    """Implements ``ports.Watched``: in the loop, calls what belongs to a signal that has arrived."""

    def __init__(self, on_stop: Callable[[], None], on_reload: Callable[[], object]) -> None:
        """Begin to watch.

        Args:
            on_stop: For SIGTERM and SIGINT.
            on_reload: For SIGHUP.
        """
        self._on_stop = on_stop
        self._on_reload = on_reload
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
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
        arrived = set(self._ours.recv(64))
        if arrived & {signal.SIGTERM, signal.SIGINT}:
            self._on_stop()
        elif signal.SIGHUP in arrived:
            self._on_reload()

    def close(self) -> None:
        """Stop watching."""
        signal.set_wakeup_fd(-1)
        self._ours.close()
        self._theirs.close()


def _leave_it_to_the_loop(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor has told the loop."""
