"""``alerts.jsonl``: every alert event as one line, for people and log shippers."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

_TAIL_BYTES = 65_536

log = logging.getLogger("attwin")


class AlertFile:
    """Implements ``ports.AlertLog``. A file that cannot be written is said, and made good when it can.

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

    def catch_up(self) -> None:
        """Append the events that the store has and the file has not."""
        events = list(self._events_after(self._last))
        if not events:
            return
        lines = [json.dumps({"event": event, **json.loads(body)}) + "\n" for event, body in events]
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(descriptor, "".join(lines).encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("file=%s problem=%r alerts=%d wait=next", self._path, error.strerror, len(lines))
            return
        self._last = events[-1][0]
        self._note(self._last)


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
