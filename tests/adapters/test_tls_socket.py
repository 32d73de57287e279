"""Facts about TLS over a socket, against OpenSSL on the other side."""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attwin.adapters.tls_socket import TlsSocket
from support.certificates import certificate
from support.processes import wait_until

RECORDS = 100
RECORD_BYTES = 26
"""Of four bytes: a header of five, the type, and a tag of sixteen."""


class Peer:
    """The other side of a connection, which speaks TLS in a thread."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = certificate(folder)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(self.certificate, key)
        # so that a test knows how many bytes it waits for
        self._context.num_tickets = 0
        with socket.create_server(("127.0.0.1", 0)) as listener:
            # small, so that a test can fill it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            self.near = socket.create_connection(listener.getsockname())
            self._far, _ = listener.accept()
        self._far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        self.near.settimeout(5)
        self._far.settimeout(5)
        self.received = b""

    def does(self, work: Callable[[ssl.SSLSocket], None]) -> threading.Thread:
        """Shake hands, then do something, in a thread."""

        def run() -> None:
            try:
                with self._context.wrap_socket(self._far, server_side=True) as far:
                    work(far)
            except OSError:
                # a test refuses the certificate, or hangs up
                self._far.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def raw(self, work: Callable[[socket.socket], None]) -> threading.Thread:
        """Do something that is no TLS, in a thread."""

        def run() -> None:
            with self._far, contextlib.suppress(OSError):
                work(self._far)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def connect(self, host: str = "localhost", *, limit_s: float = 5) -> TlsSocket:
        """Return our side of the connection."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return TlsSocket(self.near, context, host, limit_s=limit_s)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """Another side."""
    made = Peer(tmp_path)
    yield made
    made.near.close()


def test_small_records_are_read_at_once(peer: Peer) -> None:
    """A broker sends every message as a record of its own; one read returns all that are here."""
    done = threading.Event()

    def send(far: ssl.SSLSocket) -> None:
        for number in range(RECORDS):
            far.sendall(b"%04d" % number)
        done.set()
        far.recv(1)

    thread = peer.does(send)
    ours = peer.connect()
    assert done.wait(5)
    all_of_it = RECORDS * RECORD_BYTES
    wait_until(lambda: len(peer.near.recv(65_536, socket.MSG_PEEK)) >= all_of_it, "all of it has arrived", 5)

    data = ours.recv(262_144)

    assert data == b"".join(b"%04d" % number for number in range(RECORDS))
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv(262_144)
    ours.close()
    thread.join(5)


def test_a_part_of_a_record_waits_for_its_rest(peer: Peer) -> None:
    """What has not arrived whole raises as if nothing had, and is not lost."""

    def send(far: ssl.SSLSocket) -> None:
        far.sendall(b"x" * 9_000)
        far.recv(1)

    thread = peer.does(send)
    ours = peer.connect()
    ours.setblocking(False)
    found: list[bytes] = []

    def read_little() -> bool:
        with contextlib.suppress(BlockingIOError):
            found.append(ours.recv(1_000))
        return sum(map(len, found)) == 9_000

    wait_until(read_little, "all of it is here", 5)

    assert b"".join(found) == b"x" * 9_000
    ours.close()
    thread.join(5)


def test_what_the_socket_does_not_take_is_sent_later(peer: Peer) -> None:
    """What was taken is encrypted and kept; more is refused until it is gone; all of it arrives in order."""
    may_read = threading.Event()
    data = bytes(range(256)) * 20_000

    def read(far: ssl.SSLSocket) -> None:
        assert may_read.wait(5)
        while len(peer.received) < len(data) + 3:
            peer.received += far.recv(65_536)

    thread = peer.does(read)
    ours = peer.connect()
    ours.setblocking(False)

    assert ours.send(data) == len(data)
    assert ours.has_unsent()
    with pytest.raises(BlockingIOError):
        ours.send(b"no")
    may_read.set()

    def is_flushed() -> bool:
        try:
            ours.flush()
        except BlockingIOError:
            return False
        return True

    wait_until(is_flushed, "the socket has taken all", 5)
    assert not ours.has_unsent()
    ours.send(b"end")
    thread.join(5)
    assert peer.received == data + b"end"


def test_a_record_is_read_byte_by_byte(peer: Peer) -> None:
    """However little a call takes from the socket, the record comes once it is whole, and once only."""

    def send(far: ssl.SSLSocket) -> None:
        far.sendall(b"1234")
        far.recv(1)

    thread = peer.does(send)
    ours = peer.connect()
    for _ in range(RECORD_BYTES - 1):
        with pytest.raises(BlockingIOError):
            ours.recv(1)

    assert ours.recv(1) == b"1234"
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    ours.close()
    thread.join(5)


def read_to_the_end(ours: TlsSocket) -> list[bytes]:
    """Return what ``recv`` gives, until it gives nothing or raises; only calls it where the descriptor is readable."""
    found: list[bytes] = []
    while found[-1:] != [b""]:
        assert select.select([ours], [], [], 1)[0], "somebody who waits for the descriptor never comes back"
        with contextlib.suppress(BlockingIOError):
            found.append(ours.recv(262_144))
    return found


@pytest.mark.parametrize(
    "leave",
    [
        # waits for the answer, with the connection open
        pytest.param(ssl.SSLSocket.unwrap, id="goodbye"),
        pytest.param(lambda far: far.shutdown(socket.SHUT_RDWR), id="without a word"),
    ],
)
def test_the_end_of_the_connection_is_read_behind_what_came_before(
    peer: Peer, leave: Callable[[ssl.SSLSocket], object]
) -> None:
    """What came first is returned, then nothing, for as often as somebody asks."""

    def send_and_leave(far: ssl.SSLSocket) -> None:
        far.sendall(b"last")
        leave(far)

    thread = peer.does(send_and_leave)
    ours = peer.connect()
    ours.setblocking(False)

    assert b"".join(read_to_the_end(ours)) == b"last"
    assert ours.recv(262_144) == b""
    ours.close()
    thread.join(5)


def test_what_came_whole_before_a_broken_record_is_not_lost(peer: Peer) -> None:
    """It is returned; the error is raised by the next call, for which the descriptor is readable."""
    broken = b"\x17\x03\x03\x00\x20" + b"\0" * 32
    sent = threading.Event()

    def send(far: ssl.SSLSocket) -> None:
        for number in range(5):
            far.sendall(b"%04d" % number)
        with socket.socket(fileno=far.detach()) as raw:
            raw.sendall(broken)
            sent.set()
            raw.recv(1)

    thread = peer.does(send)
    ours = peer.connect()
    ours.setblocking(False)
    assert sent.wait(5)
    all_of_it = 5 * RECORD_BYTES + len(broken)
    wait_until(lambda: len(peer.near.recv(65_536, socket.MSG_PEEK)) == all_of_it, "all of it has arrived", 5)

    data = ours.recv(262_144)

    assert data == b"00000001000200030004"
    for _ in range(2):
        assert select.select([ours], [], [], 1)[0]
        with pytest.raises(ssl.SSLError):
            ours.recv(262_144)
    ours.close()
    thread.join(5)


def test_what_came_whole_is_not_lost_where_nothing_can_be_sent(peer: Peer) -> None:
    """An answer of TLS that finds the connection closed is an error of the next ``flush``."""
    sent = threading.Event()

    def send(far: ssl.SSLSocket) -> None:
        far.sendall(b"1234")
        sent.set()
        far.recv(1)

    thread = peer.does(send)
    ours = peer.connect()
    ours.setblocking(False)
    assert sent.wait(5)
    wait_until(lambda: len(peer.near.recv(65_536, socket.MSG_PEEK)) == RECORD_BYTES, "it has arrived", 5)
    ours._outgoing.write(b"an answer")
    peer.near.shutdown(socket.SHUT_WR)

    assert ours.recv(262_144) == b"1234"
    assert ours.has_unsent()
    with pytest.raises(BrokenPipeError):
        ours.flush()
    ours.close()
    thread.join(5)


def test_a_certificate_of_another_name_is_refused(peer: Peer) -> None:
    """The name is checked; nothing stays open."""
    thread = peer.does(lambda _far: None)

    with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"):
        peer.connect("elsewhere.example")

    assert peer.near.fileno() == -1
    thread.join(5)


def test_a_connection_that_ends_while_hands_are_shaken_says_so(peer: Peer) -> None:
    """Instead of waiting for ever; nothing stays open."""
    peer._far.close()

    with pytest.raises((ssl.SSLEOFError, ConnectionError, BrokenPipeError)):
        peer.connect()

    assert peer.near.fileno() == -1


def test_a_handshake_that_drips_has_one_limit_in_all(peer: Peer) -> None:
    """A byte now and then does not begin the wait anew; nothing stays open."""
    gave_up = threading.Event()
    drops = 0

    def drip(far: socket.socket) -> None:
        nonlocal drops
        # the head of a record that is as long as one may be
        far.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
        while drops < 100 and not gave_up.wait(0.05):
            far.sendall(b"\x03")
            drops += 1

    thread = peer.raw(drip)

    with pytest.raises(TimeoutError):
        peer.connect(limit_s=0.3)

    gave_up.set()
    thread.join(5)
    assert peer.near.fileno() == -1
    assert 0 < drops < 20
