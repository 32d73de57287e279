"""TLS over a socket that reads all that has arrived at once.

A broker sends every message as a TLS record of its own, and ``ssl.SSLSocket`` takes one record a call, in two system
calls. Here the socket is read as if it were plain, and OpenSSL takes the records apart in memory.
"""

import contextlib
import socket
import ssl
import time

_RECORD_BYTES = 16_384


class TlsSocket:
    """What paho needs of a socket, over TLS. Errors are those of ``ssl`` and ``socket``."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str, *, limit_s: float) -> None:
        """Shake hands.

        Args:
            plain: A connected socket. It belongs to this one: its time-out is changed, and it is closed where the
                handshake fails.
            context: Says whom to trust.
            host: The name that the certificate must have.
            limit_s: How long the handshake may take in all.
        """
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = b""
        self._has_ended = False
        self._problem: OSError | None = None
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
            self._shake_hands(time.monotonic() + limit_s)
        except BaseException:
            plain.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._plain.fileno()

    def setblocking(self, blocking: bool) -> None:  # noqa: FBT001 -- the signature of a socket
        """Let calls wait, or raise ``BlockingIOError``."""
        self._plain.setblocking(blocking)

    def recv(self, size: int) -> bytes:
        """Return what has arrived, all of it; empty where the connection has ended.

        What arrived whole before an end or an error is returned first; the next call tells of that.

        Raises:
            BlockingIOError: No whole record has arrived.
        """
        found = b"" if self._has_ended else self._read(size)
        if found:
            return found
        if self._problem:
            raise self._problem
        if self._has_ended:
            return b""
        raise BlockingIOError

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

    def _read(self, size: int) -> bytes:
        """Return what is in the records that are whole now, and note whether the connection has ended behind them."""
        data = self._plain.recv(size)
        self._incoming.write(data)
        parts: list[bytes] = []
        try:
            while part := self._tls.read(_RECORD_BYTES):
                parts.append(part)
            # the other side has said goodbye
            self._has_ended = True
        except ssl.SSLWantReadError:
            self._has_ended = not data
        except OSError as error:
            self._has_ended, self._problem = True, error
        # what cannot be sent is unsent still: the next flush meets the error
        with contextlib.suppress(OSError):
            self.flush()
        if self._has_ended:
            # the descriptor stays readable, so that whoever waits for it comes back for the end
            with contextlib.suppress(OSError):
                self._plain.shutdown(socket.SHUT_RD)
        return b"".join(parts)

    def _shake_hands(self, deadline: float) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_by(deadline)
                self._receive_by(deadline)
            except ssl.SSLError:
                # what refuses a certificate goes out too
                with contextlib.suppress(OSError):
                    self._send_by(deadline)
                raise
            else:
                self._send_by(deadline)
                return

    def _send_by(self, deadline: float) -> None:
        data = self._outgoing.read()
        if data:
            self._wait_until(deadline)
            self._plain.sendall(data)

    def _receive_by(self, deadline: float) -> None:
        self._wait_until(deadline)
        data = self._plain.recv(_RECORD_BYTES)
        if not data:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the connection ended in the TLS handshake")
        self._incoming.write(data)

    def _wait_until(self, deadline: float) -> None:
        """Let the next call on the socket wait for what is left of the time."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the TLS handshake took too long")
        self._plain.settimeout(left)
