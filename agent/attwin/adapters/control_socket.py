"""The agent's Unix socket: one JSON request a line, one JSON answer a line.

Only root and the user that runs the agent may talk to it.
"""

import contextlib
import json
import os
import selectors
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from attwin.core.errors import AgentAwayError, StoreError

_MOST_REQUEST = 65_536
_MOST_CLIENTS = 16
_ANSWER_SECONDS = 5.0
_CREDENTIALS = struct.Struct("3i")
_LONGEST_PATH = 100


def control_path(database: Path) -> Path:
    """Return where the agent of a database listens: in its runtime folder, else beside the database."""
    folder = Path(os.environ["RUNTIME_DIRECTORY"].split(":")[0]) if "RUNTIME_DIRECTORY" in os.environ else None
    return (folder or database.parent) / "control.sock"


class ControlServer:
    """Implements ``ports.Watched``. Never blocks: an answer that a client does not read is dropped with the client."""

    def __init__(self, path: Path, answer: Callable[[dict[str, object]], dict[str, object]]) -> None:
        if len(str(path)) > _LONGEST_PATH:
            raise StoreError(f"{path}: a Unix socket's path has at most {_LONGEST_PATH} characters")
        self._path = path
        self._answer = answer
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        path.chmod(0o660)
        self._listener.listen(_MOST_CLIENTS)

    def filenos(self) -> Sequence[int]:
        """Return the listener and the clients."""
        return [self._listener.fileno(), *self._clients]

    def on_readable(self) -> None:
        """Accept, read and answer whoever has something."""
        with selectors.SelectSelector() as ready:
            for descriptor in self.filenos():
                ready.register(descriptor, selectors.EVENT_READ)
            for key, _ in ready.select(0):
                if key.fd == self._listener.fileno():
                    self._accept()
                else:
                    self._read(key.fd)

    def close(self) -> None:
        """Close everything and remove the socket."""
        for client, _ in self._clients.values():
            client.close()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            _, user, _ = _CREDENTIALS.unpack(raw)
            if user not in (0, os.geteuid()) or len(self._clients) >= _MOST_CLIENTS:
                client.close()
                return
            client.setblocking(False)
            self._clients[client.fileno()] = (client, bytearray())

    def _read(self, descriptor: int) -> None:
        client, buffer = self._clients[descriptor]
        try:
            data = client.recv(_MOST_REQUEST)
        except OSError:
            data = b""
        buffer += data
        alive = bool(data) and len(buffer) <= _MOST_REQUEST
        while alive and b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            alive = self._reply(client, line)
        if not alive:
            client.close()
            del self._clients[descriptor]

    def _reply(self, client: socket.socket, line: bytes) -> bool:
        try:
            request = json.loads(line)
        except ValueError:
            request = None
        answer = self._answer(request) if isinstance(request, dict) else {"error": "a JSON object a line"}
        try:
            client.settimeout(0.05)
            client.sendall(json.dumps(answer).encode() + b"\n")
            client.setblocking(False)
        except OSError:
            return False
        return True


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
    except OSError as error:
        raise AgentAwayError(f"{path}: no agent answers ({error.strerror or error})") from error
    if not line:
        raise AgentAwayError(f"{path}: the agent refused; ask as its user or as root")
    answer: dict[str, object] = json.loads(line)
    return answer
