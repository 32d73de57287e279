"""The agent's Unix socket: one JSON request a line, one JSON answer a line.

Only root and the user that runs the agent may talk to it.
"""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attwin.core.errors import AgentAwayError, StoreError

_MOST_REQUEST = 65_536
_MOST_CLIENTS = 16
_ANSWER_SECONDS = 5.0
_CREDENTIALS = struct.Struct("3i")
_LONGEST_PATH = 100
_MODE = 0o660
_UNKNOWN, _REFUSED = "unknown; it talks to its user and root", "running; it talks to its user and root"


def control_path(database: Path) -> Path:
    """Return where the agent of a database listens: in its runtime folder, else beside the database."""
    folder = Path(os.environ["RUNTIME_DIRECTORY"].split(":")[0]) if "RUNTIME_DIRECTORY" in os.environ else None
    return (folder or database.parent) / "control.sock"


@dataclass(slots=True)
class _Client:
    """A connection: what it asked and has not got yet."""

    connection: socket.socket
    asked: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)

    def is_busy(self) -> bool:
        """Return whether there is something to send or to answer."""
        return bool(self.answer) or b"\n" in self.asked


class ControlServer:
    """Implements ``ports.Watched``. Never blocks: one request a client and turn, and an answer leaves as it is read."""

    def __init__(self, path: Path, answer: Callable[[dict[str, object]], dict[str, object]]) -> None:
        """Listen.

        Raises:
            StoreError: The socket cannot be made there.
        """
        if len(str(path)) > _LONGEST_PATH:
            raise StoreError(f"{path}: a Unix socket's path has at most {_LONGEST_PATH} characters")
        self.path = path
        self._answer = answer
        self._clients: dict[int, _Client] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        try:
            path.unlink(missing_ok=True)
            # Linux gives the file the mode of the socket less the umask: it is never wider than this
            os.fchmod(self._listener.fileno(), _MODE)
            self._listener.bind(str(path))
            path.chmod(_MODE)
        except OSError as error:
            self._listener.close()
            raise StoreError(f"{path}: no control socket can be made there: {error.strerror}") from error
        self._listener.listen(_MOST_CLIENTS)

    def filenos(self) -> Sequence[int]:
        """Return the listener, and the clients that have asked nothing that is not answered."""
        return [self._listener.fileno(), *(fd for fd, client in self._clients.items() if not client.is_busy())]

    def writers(self) -> Sequence[int]:
        """Return the clients with an answer that has not left in full, or a request that waits for its turn."""
        return [fd for fd, client in self._clients.items() if client.is_busy()]

    def on_ready(self, descriptor: int) -> None:
        """Accept, read, answer one request, or go on sending."""
        if descriptor == self._listener.fileno():
            self._accept()
            return
        client = self._clients[descriptor]
        try:
            if client.answer:
                self._send(client)
            elif client.is_busy():
                self._reply(client)
            elif not self._read(client):
                self._drop(descriptor)
        except OSError:
            self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        self._clients.pop(descriptor).connection.close()

    def close(self) -> None:
        """Close everything and remove the socket."""
        for client in self._clients.values():
            client.connection.close()
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            _, user, _ = _CREDENTIALS.unpack(raw)
            if user not in (0, os.geteuid()) or len(self._clients) >= _MOST_CLIENTS:
                connection.close()
                return
            connection.setblocking(False)
            self._clients[connection.fileno()] = _Client(connection)

    def _read(self, client: _Client) -> bool:
        """Take what was asked, and answer it; return whether the client is still there and modest."""
        data = client.connection.recv(_MOST_REQUEST)
        client.asked += data
        if not data or len(client.asked) > _MOST_REQUEST:
            return False
        if client.is_busy():
            self._reply(client)
        return True

    def _reply(self, client: _Client) -> None:
        """Answer the first request that waits."""
        line, _, rest = bytes(client.asked).partition(b"\n")
        client.asked[:] = rest
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        answer = self._answer(request) if isinstance(request, dict) else {"error": "a JSON object a line"}
        client.answer += json.dumps(answer).encode() + b"\n"
        self._send(client)

    @staticmethod
    def _send(client: _Client) -> None:
        """Send what fits."""
        with contextlib.suppress(BlockingIOError):
            sent = client.connection.send(client.answer)
            del client.answer[:sent]


def ask(path: Path, request: dict[str, object]) -> dict[str, object]:
    """Ask a running agent.

    Raises:
        AgentAwayError: None listens there, it refuses us, or it does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_ANSWER_SECONDS)
            client.connect(str(path))
            client.sendall(json.dumps(request).encode() + b"\n")
            with client.makefile("rb") as answers:
                line = answers.readline()
    except PermissionError as error:
        raise AgentAwayError(f"{path}: {error.strerror}; ask as the agent's user or as root", _UNKNOWN) from error
    except OSError as error:
        raise AgentAwayError(f"{path}: no agent answers ({error.strerror or error})") from error
    if not line:
        raise AgentAwayError(f"{path}: the agent refused; ask as its user or as root", _REFUSED)
    answer: dict[str, object] = json.loads(line)
    return answer
