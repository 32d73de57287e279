"""``alerts.jsonl``: every alert event as one line, for people and log shippers."""

import contextlib
import errno
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attwin.adapters.durable import open_or_make, sync
from attwin.core.errors import StoreStalledError
from attwin.ports import AlertChange

_TAIL_BYTES = 65_536
_RESERVE_BYTES = 262_144
"""Room for about a thousand alerts."""

log = logging.getLogger("attwin")


class AlertFile:
    """Implements ``ports.AlertLog``. A file that cannot be written is said, and made good when it can.

    Beside it lies a reserve, a file whose space was taken beforehand: alerts that the database cannot keep because the
    disk is full are written there, line by line.

    The events are in the database first, so a crash in between is made good at the next start. The file is opened for
    each write: a log rotation that moves it away finds a new one at the next event.
    """

    def __init__(
        self,
        path: Path,
        events_after: Callable[[int], Iterator[tuple[int, str]]],
        *,
        written: int = 0,
        note: Callable[[int], None] = lambda _event: None,
    ) -> None:
        """Find out what the file has.

        Args:
            path: The file.
            events_after: Yields (number, body) of the events after a number.
            written: The last event that was written, into a file that may have been rotated away since.
            note: Told what was written last.
        """
        self._path = path
        self._events_after = events_after
        self._note = note
        self._last = _last_event(path) or written
        self._reserve = path.with_name(path.name + ".reserve")
        self._reserved = 0
        self._set_aside()

    def catch_up(self) -> None:
        """Append the events that the store has and the file has not."""
        events = list(self._events_after(self._last))
        if not events:
            return
        lines = [json.dumps({"event": event, **json.loads(body)}) + "\n" for event, body in events]
        try:
            descriptor = open_or_make(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                self._append(descriptor, "".join(lines).encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("file=%s problem=%r alerts=%d wait=next", self._path, error.strerror, len(lines))
            return
        self._last = events[-1][0]
        # where the disk is full now, the file itself tells the next start
        with contextlib.suppress(StoreStalledError):
            self._note(self._last)

    def reserve(self, changes: Sequence[AlertChange]) -> None:
        """Keep alerts that the store cannot keep now, in the space that was set aside for them."""
        lines = "".join(json.dumps({"event": None, **change.as_event()}) + "\n" for change in changes).encode()
        room = _RESERVE_BYTES - self._reserved
        try:
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, lines[:room], self._reserved)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("file=%s problem=%r alerts=%d", self._reserve, error.strerror, len(changes))
            return
        self._reserved += len(lines[:room])

    def release(self) -> None:
        """Forget what was kept so: the store has it."""
        if self._reserved:
            self._reserve.unlink(missing_ok=True)
            self._reserved = 0
            self._set_aside()

    def reserved(self) -> list[str]:
        """Return the lines of alerts that an earlier run kept in the reserve and that no database has."""
        try:
            body = self._reserve.read_bytes().rstrip(b"\0")
        except OSError:
            return []
        return body.decode(errors="replace").splitlines()

    def _append(self, descriptor: int, body: bytes) -> None:
        """Append durably or not at all: the store notes what was written, and a power cut must not make that untrue."""
        size = os.fstat(descriptor).st_size
        try:
            _write(descriptor, body)
            os.fsync(descriptor)
            if not size:
                sync(self._path.parent)
        except OSError:
            os.ftruncate(descriptor, size)
            raise

    def _set_aside(self) -> None:
        """Take the space of the reserve, where that is possible now; what an earlier run left is told first."""
        left = self.reserved()
        for line in left:
            log.error("alert kept in the reserve while the disk was full: %s", line)
        try:
            descriptor = open_or_make(self._reserve, os.O_RDWR)
            try:
                if left:
                    os.pwrite(descriptor, b"\0" * os.fstat(descriptor).st_size, 0)
                os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("file=%s problem=%r", self._reserve, error.strerror)


def _write(descriptor: int, body: bytes) -> None:
    if os.write(descriptor, body) < len(body):
        # a disk that is nearly full takes a part
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _last_event(path: Path) -> int:
    """Return the number of the last whole line; a line that a crash cut short is closed."""
    try:
        with path.open("rb+") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = file.read()
            if tail and not tail.endswith(b"\n"):
                file.write(b"\n")
    except OSError:
        return 0
    for line in reversed(tail.splitlines()):
        try:
            return int(json.loads(line)["event"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0
