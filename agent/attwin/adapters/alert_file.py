"""``alerts.jsonl``: every alert event as one line, for people and log shippers."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

_TAIL_BYTES = 65_536


class AlertFile:
    """Implements ``ports.AlertLog``.

    The events are in the database first, so a crash in between is made good at the next start. The file is opened for
    each write: a log rotation that moves it away finds a new one at the next event.
    """

    def __init__(self, path: Path, events_after: Callable[[int], Iterator[tuple[int, str]]]) -> None:
        self._path = path
        self._events_after = events_after
        self._last = _last_event(path)

    def catch_up(self) -> None:
        """Append the events that the store has and the file has not."""
        lines = []
        for event, body in self._events_after(self._last):
            lines.append(json.dumps({"event": event, **json.loads(body)}) + "\n")
            self._last = event
        if lines:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(descriptor, "".join(lines).encode())
            finally:
                os.close(descriptor)


def _last_event(path: Path) -> int:
    """Return the number of the last whole line; a line that a crash cut short is closed."""
    try:
        with path.open("rb+") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = file.read()
            if tail and not tail.endswith(b"\n"):
                file.write(b"\n")
    except FileNotFoundError:
        return 0
    for line in reversed(tail.splitlines()):
        try:
            return int(json.loads(line)["event"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0
