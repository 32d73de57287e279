"""TLS over a socket that reads all that has arrived at once.

A broker sends every message as a TLS record of its own, and ``ssl.SSLSocket`` takes one record a call, in two system
calls. Here the socket is read as if it were plain, and OpenSSL takes the records apart in memory.
"""

import contextlib
import socket
import ssl

_RECORD_BYTES = 16_384


class TlsSocket:
    """What paho needs of a socket, over TLS. Errors are those of ``ssl`` and ``socket``."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Shake hands; blocks for at most the socket's time-out a message.

        Args:
            plain: A connected socket. It belongs to this one.
            context: Says whom to trust.
            host: The name that the certificate must have.
        """
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = b""
        self._shake_hands()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._plain.fileno()

    def setblocking(self, blocking: bool) -> None:  # noqa: FBT001 -- the signature of a socket
        """Let calls wait, or raise ``BlockingIOError``."""
        self._plain.setblocking(blocking)

    def recv(self, size: int) -> bytes:
        """Return what has arrived, all of it; empty where the connection has ended.

        Raises:
            BlockingIOError: No whole record has arrived.
        """
        data = self._plain.recv(size)
        if not data:
            return b""
        self._incoming.write(data)
        parts: list[bytes] = []
        with contextlib.suppress(ssl.SSLWantReadError):
            while part := self._tls.read(_RECORD_BYTES):
                parts.append(part)
        with contextlib.suppress(BlockingIOError):
            self.flush()
        if not parts:
            raise BlockingIOError
        return b"".join(parts)

    def send(self, data: bytes) -> int:
        """Encrypt all of ``data`` and send what the socket takes; ``flush`` sends the rest.

        Raises:
            BlockingIOError: The socket has not taken what was sent before; nothing of ``data`` was taken.
        """
        self.flush()
        sent = self._tls.write(data)
        with contextlib.suppress(BlockingIOError):
            self.flush()
        return sent

    def flush(self) -> None:
        """Send what is encrypted already.

        Raises:
            BlockingIOError: The socket does not take all of it now.
        """
        self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self._plain.send(self._unsent) :]

    def has_unsent(self) -> bool:
        """Return whether there is something for ``flush`` to send."""
        return bool(self._unsent)

    def close(self) -> None:
        """Close the socket."""
        self._plain.close()

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                break
            finally:
                # what refuses a certificate goes out too
                self.flush()
            data = self._plain.recv(_RECORD_BYTES)
            if not data:
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the connection ended in the TLS handshake")
            self._incoming.write(data)
