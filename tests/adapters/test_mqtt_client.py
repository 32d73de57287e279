"""The private names of paho that the read-ahead client leans on, and what it does with any cut of the stream."""

import contextlib
import dataclasses
import os
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from attwin.adapters.mqtt_client import ReadAheadClient
from attwin.adapters.mqtt_link import BrokerAddress
from attwin.adapters.mqtt_sensors import MqttSensorLink
from attwin.core.errors import LinkDownError
from support.certificates import certificate
from support.fakes import FakeClock

MOST_PAYLOAD = 100


def frame(kind: int, body: bytes) -> bytes:
    """Return a packet."""
    size, length = b"", len(body)
    while True:
        length, low = divmod(length, 128)
        size += bytes([low | (128 if length else 0)])
        if not length:
            return bytes([kind]) + size + body


def publish(topic: bytes, payload: bytes, *, packet_id: int = 0, v5: bool = False) -> bytes:
    """Return a PUBLISH packet, QoS 1 where it has an id."""
    head = struct.pack(">H", len(topic)) + topic
    if packet_id:
        head += struct.pack(">H", packet_id)
    if v5:
        head += b"\x05\x02\x00\x00\x00\x3c"  # message expiry, 60 s
    return frame(0x32 if packet_id else 0x30, head + payload)


class Rig:
    """A client on one end of a pair of sockets."""

    def __init__(self, *, v5: bool = False) -> None:
        self.theirs, ours = socket.socketpair()
        ours.setblocking(False)
        self.client = ReadAheadClient(
            CallbackAPIVersion.VERSION2, client_id="x", protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311, manual_ack=True
        )
        self.client.prepare(FakeClock(), MOST_PAYLOAD)
        self.client.suppress_exceptions = False
        self.client._sock = ours

    def feed(self, data: bytes) -> None:
        """Let bytes arrive and be read."""
        self.theirs.sendall(data)
        self.client.loop_read()

    def close(self) -> None:
        """Close both ends."""
        self.theirs.close()
        self.client.hang_up()


STREAM = [
    (b"a/b", b"1", 7),
    (b"sensors/e1/co2", b"x" * 90, 0),
    (b"t", b"", 65_535),
    (b"big/one", b"y" * 300, 9),
    (b"t", b"z" * 127, 3),
]


@settings(max_examples=80, deadline=None)
@given(cuts=st.lists(st.integers(1, 700), max_size=12), v5=st.booleans())
def test_every_cut_of_the_stream_gives_the_same_messages(cuts: list[int], v5: bool) -> None:  # noqa: FBT001 -- drawn
    """TCP may cut anywhere: topics, ids and payloads are the same, long payloads cut at the limit."""
    data = b"".join(publish(topic, payload, packet_id=i, v5=v5) for topic, payload, i in STREAM)
    rig = Rig(v5=v5)

    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, stop in pairwise(bounds):
        rig.feed(data[start:stop])

    found = rig.client.messages
    assert list(zip(found.topics, found.payloads, found.packet_ids, strict=True)) == [
        (topic, payload[:MOST_PAYLOAD], i) for topic, payload, i in STREAM
    ]
    assert list(found.lengths) == [len(payload) for _, payload, _ in STREAM]
    rig.close()


def outcome(data: bytes, cuts: list[int], *, v5: bool) -> tuple[list[tuple[object, ...]], bool, int]:
    """Return the messages of bytes that are cut there, whether the connection broke, and how much is waited for."""
    rig = Rig(v5=v5)
    # what is no PUBLISH is paho's
    rig.client._hand_over = lambda _head, _body: None  # type: ignore[method-assign] # the parser alone
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    try:
        for start, stop in pairwise(bounds):
            rig.feed(data[start:stop])
        is_broken = False
    except LinkDownError:
        is_broken = True
    found, rest = rig.client.messages, len(rig.client._rest)
    columns = (found.topics, found.payloads, found.lengths, found.packet_ids, found.flags)
    rig.close()
    return list(zip(*columns, strict=True)), is_broken, rest


PACKETS = st.lists(
    st.one_of(
        st.tuples(
            st.one_of(st.binary(max_size=8), st.just(b"t" * 300)),
            st.one_of(st.binary(max_size=MOST_PAYLOAD + 3), st.integers(100, 20_000).map(lambda size: b"p" * size)),
            st.one_of(st.just(0), st.integers(1, 65_535)),
        ),
        st.none(),
    ),
    max_size=6,
)
CUTS = st.lists(st.one_of(st.integers(1, 40), st.integers(1, 3_000)), max_size=12)


def stream_of(packets: list[tuple[bytes, bytes, int] | None], *, v5: bool) -> bytes:
    """Return packets as bytes; None is an answer to a ping."""
    return b"".join(b"\xd0\x00" if p is None else publish(p[0], p[1], packet_id=p[2], v5=v5) for p in packets)


@settings(max_examples=200)
@given(packets=PACKETS, cuts=CUTS, v5=st.booleans())
def test_any_packets_cut_anywhere_give_the_same_messages(
    packets: list[tuple[bytes, bytes, int] | None],
    cuts: list[int],
    v5: bool,  # noqa: FBT001 -- drawn
) -> None:
    """Whatever the topics, payloads and ids, they are those that were sent; nothing is waited for at the end."""
    data = stream_of(packets, v5=v5)

    found, is_broken, rest = outcome(data, cuts, v5=v5)

    assert [message[:4] for message in found] == [
        (topic, payload[:MOST_PAYLOAD], len(payload), number) for topic, payload, number in filter(None, packets)
    ]
    assert (is_broken, rest) == (False, 0)


@settings(max_examples=400)
@given(
    packets=PACKETS,
    damage=st.lists(
        st.tuples(st.floats(0, 0.999), st.sampled_from((0, 1, 2)), st.binary(min_size=1, max_size=5)), max_size=4
    ),
    cuts=CUTS,
    v5=st.booleans(),
)
def test_damaged_packets_break_the_connection_at_the_same_place_however_they_are_cut(
    packets: list[tuple[bytes, bytes, int] | None],
    damage: list[tuple[float, int, bytes]],
    cuts: list[int],
    v5: bool,  # noqa: FBT001 -- drawn
) -> None:
    """Nothing but LinkDownError comes out; what was read before it is the same, within the limits and in columns."""
    data = stream_of(packets, v5=v5)
    for where, gone, more in damage:
        place = int(where * len(data))
        data = data[:place] + more + data[place + gone :]

    found, is_broken, rest = outcome(data, cuts, v5=v5)

    whole, is_whole_broken, _ = outcome(data, [], v5=v5)
    assert (found, is_broken) == (whole, is_whole_broken)
    assert all(len(payload) <= MOST_PAYLOAD for _, payload, *_ in found)
    assert rest <= len(data)


@pytest.mark.parametrize("cuts", [[], [66_000], [70_010], list(range(1_000, 70_000, 1_000))])
def test_a_message_whose_properties_are_longer_than_its_topic_may_be_is_too_long(cuts: list[int]) -> None:
    """MQTT 5 lets properties be longer than what is waited for: the payload is not mistaken for an empty one."""
    properties = b"".join(b"\x26\x00\x01k" + struct.pack(">H", 35_000) + b"v" * 35_000 for _ in range(2))
    size = frame(0, properties)[1:4]
    data = frame(0x32, b"\x00\x01a" + b"\x00\x07" + size + properties + b"21.5") + publish(b"b", b"2", v5=True)

    found, is_broken, rest = outcome(data, cuts, v5=True)

    assert [(topic, payload, number) for topic, payload, _, number, _ in found] == [(b"a", b"", 7), (b"b", b"2", 0)]
    assert found[0][2] > MOST_PAYLOAD
    assert (is_broken, rest) == (False, 0)


@pytest.mark.parametrize(("size", "count", "taken"), [(2_000, 100, 100), (20, 8_000, 4_519)], ids=["large", "small"])
def test_large_messages_are_read_twice_and_small_ones_once(size: int, count: int, taken: int) -> None:
    """A round of small messages is bounded by one read of 131,072 bytes; few large ones make a round as well."""
    rig = Rig()
    rig.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_000_000)

    rig.feed(publish(b"topic", b"x" * size) * count)

    assert len(rig.client.messages) == taken
    rig.client.loop_read()
    rig.client.loop_read()
    assert len(rig.client.messages) == count
    rig.close()


def test_a_huge_payload_is_passed_over_in_bounded_memory() -> None:
    """Of 10 MB only the limit is kept, the message is still acknowledgeable, and the next one is read."""
    rig = Rig()
    rig.theirs.setblocking(False)
    data = publish(b"big", b"x" * 10_000_000, packet_id=1) + publish(b"small", b"2", packet_id=2)

    most = 0
    while data:
        with contextlib.suppress(BlockingIOError):
            data = data[rig.theirs.send(data[:200_000]) :]
        rig.client.loop_read()
        most = max(most, len(rig.client._rest))
    for _ in range(10):
        rig.client.loop_read()

    found = rig.client.messages
    assert list(zip(found.topics, found.payloads, found.lengths, strict=True)) == [
        (b"big", b"x" * MOST_PAYLOAD, 10_000_000),
        (b"small", b"2", 1),
    ]
    assert most < 1_000_000
    rig.close()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(0x32, b"\x00\x10abc"), id="topic longer than the packet"),
        pytest.param(frame(0x32, b"\x00\x03abc\x01"), id="no room for the id"),
        pytest.param(frame(0x30, b""), id="empty"),
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="length of five bytes"),
    ],
)
def test_a_malformed_packet_breaks_the_connection_and_nothing_else(data: bytes) -> None:
    """The link drops such a connection; no message comes of it."""
    rig = Rig()

    with pytest.raises(LinkDownError):
        rig.feed(data)

    assert rig.client.messages.topics == []
    rig.close()


def test_other_packets_go_to_paho() -> None:
    """A CONNACK between messages reaches paho's own callback."""
    rig = Rig()
    seen: list[object] = []
    rig.client.on_connect = lambda *args: seen.append(args)

    rig.feed(publish(b"a", b"1") + frame(0x20, b"\x00\x00") + publish(b"a", b"2"))

    assert len(seen) == 1
    assert rig.client.messages.payloads == [b"1", b"2"]
    rig.close()


def test_acknowledgements_leave_in_one_send_and_in_order() -> None:
    """Three PUBACKs are twelve bytes of one write."""
    rig = Rig()

    rig.client.send_acknowledgements([1, 258, 65_535])

    assert rig.theirs.recv(100) == b"\x40\x02\x00\x01\x40\x02\x01\x02\x40\x02\xff\xff"
    rig.close()


def test_half_a_packet_of_a_broken_connection_is_forgotten() -> None:
    """The next connection starts at a packet's first byte; a refusal names the address."""
    address = BrokerAddress(
        host="127.0.0.1", port=1, client_id="x", username="", password="", tls=None, protocol="3.1.1",
        keepalive_s=60, inflight=20,
    )  # fmt: skip
    link = MqttSensorLink(address, FakeClock(), filters=[("a", 1)], most_payload=MOST_PAYLOAD)
    first = Rig()
    link._client._sock = first.client._sock
    first.theirs.sendall(publish(b"a", b"1", packet_id=1)[:-3])
    link.on_readable()
    assert link._client._rest
    link._client._sock = None

    link.tick()
    assert link._connecting is not None
    link._connecting.join()

    assert link._client._rest == b""
    assert not link.is_up()
    link.tick()
    assert "127.0.0.1:1: Connection refused" in link.problem()
    first.close()


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60), v5=st.booleans())
def test_no_bytes_of_a_stranger_break_anything_but_the_connection(data: bytes, v5: bool) -> None:  # noqa: FBT001 -- drawn
    """Whoever listens there, what he sends is a state of the link and never an exception in the loop."""
    address = BrokerAddress(
        host="127.0.0.1", port=1, client_id="x", username="", password="", tls=None,
        protocol="5" if v5 else "3.1.1", keepalive_s=60, inflight=20,
    )  # fmt: skip
    link = MqttSensorLink(address, FakeClock(), filters=[("a", 1)], most_payload=MOST_PAYLOAD)
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    link._client._sock = ours
    theirs.sendall(data + b"\x00" * 8)

    link.on_readable()

    columns = link.take()
    assert len({len(c) for c in (columns.topics, columns.payloads, columns.lengths, columns.packet_ids)}) == 1
    link._client._sock = None
    theirs.close()
    ours.close()


def a_link(clock: FakeClock) -> MqttSensorLink:
    """Return a link to a port where nobody listens."""
    address = BrokerAddress(
        host="127.0.0.1", port=1, client_id="x", username="", password="", tls=None, protocol="3.1.1",
        keepalive_s=60, inflight=20,
    )  # fmt: skip
    return MqttSensorLink(address, clock, filters=[("a", 1)], most_payload=MOST_PAYLOAD)


def test_acknowledgements_of_an_older_connection_are_not_sent() -> None:
    """A packet id means another message on the next connection."""
    link, rig = a_link(FakeClock()), Rig()
    link._client._sock, link._accepted, link.connections = rig.client._sock, True, 2

    link.acknowledge([7], 1)
    link.acknowledge([8], 2)

    assert rig.theirs.recv(100) == b"\x40\x02\x00\x08"
    link._client._sock = None
    rig.close()


def test_a_link_tries_again_less_and_less_often() -> None:
    """Back-off doubles, with jitter, up to its limit; the loop is never kept waiting."""
    clock = FakeClock()
    link = a_link(clock)
    waits = []
    for _ in range(9):
        link.tick()
        assert link._connecting is not None
        link._connecting.join()
        link.tick()
        waits.append(link._next_try_ms - clock.monotonic_ms())
        link.tick()
        assert link._connecting is None
        clock.ticks_ms = link._next_try_ms

    assert all(250 * 2**n <= wait <= 500 * 2**n for n, wait in enumerate(waits[:6]))
    assert max(waits) <= 30_000


def test_a_broker_that_accepts_and_says_nothing_is_given_up() -> None:
    """A connection without an answer is closed after ten seconds, and another is tried."""
    clock = FakeClock()
    link = a_link(clock)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        link._client._host, link.address = "127.0.0.1", dataclasses.replace(link.address, port=mute.getsockname()[1])
        link.tick()
        assert link._connecting is not None
        link._connecting.join()
        link.tick()
        assert link.fileno() is not None

        clock.pass_ms(10_001)
        link.tick()

        assert link.fileno() is None
        assert "does not answer as a broker does" in link.problem()


def test_messages_of_two_connections_are_taken_apart() -> None:
    """What was read before a connection was lost keeps its connection's number."""
    link = a_link(FakeClock())
    for connection, topic in ((1, b"old"), (2, b"new")):
        link.connections = connection
        link._client.messages.topics.append(topic)
        if connection == 1:
            link.on_lost()

    taken = [link.take(), link.take()]

    assert [(messages.connection, messages.topics) for messages in taken] == [(1, [b"old"]), (2, [b"new"])]
    assert link.waiting() == 0


def test_a_client_that_hears_nothing_is_replaced_and_what_was_read_stays() -> None:
    """Three periods of keep-alive without a byte: whatever paho thinks, it is time for another client."""
    clock, rig = FakeClock(), Rig()
    link = a_link(clock)
    link._client._sock, link._accepted = rig.client._sock, True
    link._client.messages.topics.append(b"read")
    before = link._client
    clock.ticks_ms += link.address.keepalive_s * 3_000 + 1

    link.tick()

    assert link._client is not before
    assert not link.is_up()
    assert "nothing was heard" in link.problem()
    assert link.take().topics == [b"read"]
    before._sock = None
    rig.close()


def test_a_connection_attempt_that_does_not_end_is_given_up() -> None:
    """A name server that never answers costs a thread that waits, and nothing else."""
    clock = FakeClock()
    link = a_link(clock)
    hold = threading.Event()
    link._client.connect = lambda *_a, **_k: hold.wait()  # type: ignore[assignment,method-assign] # a connect that hangs
    link.tick()
    before = link._client
    clock.ticks_ms += 61_000

    link.tick()

    assert link._client is not before
    assert "has not ended" in link.problem()
    hold.set()


class SlowBroker:
    """Accepts a connection, shakes hands where it speaks TLS, and keeps what is said until that ends or is enough."""

    def __init__(self, folder: Path, *, over_tls: bool) -> None:
        self.trust = self._context = None
        if over_tls:
            made, key = certificate(folder)
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(made, key)
            self.trust = ssl.create_default_context(cafile=str(made))
        self.heard = b""
        self.may_close = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            far, _ = self._listener.accept()
            far.settimeout(5)
            if self._context:
                far = self._context.wrap_socket(far, server_side=True)
            with far:
                self.heard = far.recv(1)
                self.may_close.wait(5)

    def close(self) -> None:
        """Wait for the end of the connection."""
        self.may_close.set()
        self._thread.join(5)


@pytest.fixture(params=["plain", "tls"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SlowBroker]:
    """A broker that a test connects to once."""
    made = SlowBroker(tmp_path, over_tls=request.param == "tls")
    yield made
    made.close()


def a_link_to(broker: SlowBroker, clock: FakeClock) -> MqttSensorLink:
    """Return a link to it."""
    address = BrokerAddress(
        host="localhost" if broker.trust else "127.0.0.1", port=broker.port, client_id="x", username="", password="",
        tls=broker.trust, protocol="3.1.1", keepalive_s=60, inflight=20,
    )  # fmt: skip
    return MqttSensorLink(address, clock, filters=[("a", 1)], most_payload=MOST_PAYLOAD)


def test_small_packets_leave_at_once(broker: SlowBroker) -> None:
    """Acknowledgements do not wait for those of the packets before them, be it over TLS or not."""
    link = a_link_to(broker, FakeClock())
    link.tick()
    assert link._connecting is not None
    link._connecting.join()
    link.tick()
    descriptor = link.fileno()
    assert descriptor is not None

    with socket.socket(fileno=os.dup(descriptor)) as same:
        option = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert option != 0
    link._client.hang_up()


@pytest.mark.parametrize("ending", ["stuck", "closed"])
def test_a_client_that_was_given_up_says_nothing_when_it_is_connected_at_last(
    broker: SlowBroker, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CONNECT would take the client id from the one that came after it; what it opened is closed."""
    may_connect = threading.Event()
    create_connection = socket.create_connection
    opened: list[socket.socket] = []

    def late(address: tuple[str, int], timeout: float, source_address: tuple[str, int]) -> socket.socket:
        assert may_connect.wait(5)
        opened.append(create_connection(address, timeout, source_address))
        return opened[0]

    monkeypatch.setattr(socket, "create_connection", late)
    clock = FakeClock()
    link = a_link_to(broker, clock)
    link.tick()
    thread, before = link._connecting, link._client
    assert thread is not None

    if ending == "stuck":
        clock.ticks_ms += 61_000
        link.tick()
        assert link._client is not before
    else:
        link.close()
    may_connect.set()
    thread.join(5)
    broker.close()

    assert broker.heard == b""
    assert before.socket() is None
    assert [sock.fileno() for sock in opened] == [-1]


def test_a_client_that_is_given_up_right_before_its_first_word_keeps_silent(broker: SlowBroker) -> None:
    """The socket belongs to the thread that connects, which closes it."""
    link = a_link_to(broker, FakeClock())
    link._client.on_socket_open = lambda client, _data, _sock: client.give_up()

    with pytest.raises(ConnectionAbortedError):
        link._client.connect(link.address.host, link.address.port)

    broker.close()
    assert broker.heard == b""
    assert link._client.socket() is None
