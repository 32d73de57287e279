"""Valid payloads of every format, as the inputs that a fuzzer begins with.

An input is: how long the world was silent, then messages with a separator between them. A message is: which topic, how
it was sent, and the payload. A topic of the fuzzer's own is the last of the list, and stands before the payload.
"""

import json

import cbor2

from support.gauntlet import SECRET, Shot
from support.sources import NOW_MS
from support.sparkplug import encode

SEPARATOR = b"\xf5\xf6"
"""In no UTF-8, and hardly in CBOR or protobuf."""
_END_OF_TOPIC = b"\xf7"
_PAUSES_MS = (100, 100, 100, 1_000, 5_000, 30_000, 61_000, 4_000_000)
_FLAGS = (0x30, 0x31, 0x32, 0x33, 0x3A, 0x3B, 0x32, 0x32)
_MOST_MESSAGES = 64
TOPICS = tuple(
    topic.encode()
    for topic in (
        *(
            "plain/lab/co2",
            "plain/lab/temperature",
            "plain/lab/level",
            "plain/hall/occupied",
            "plain/lab/noise",
            "plain/a%2Fb/co2",
        ),
        *("unit/lab/temperature", "unit/lab/co2", "air/lab", "air/hall", "gateway/readings", "list/co2", "list/noise"),
        *("senml", "senml/lab", "cbor", "csv", "csv/lab", "te/device/main///m/", "te/device/child///m/environment"),
        *("z/lab", "z/hall", "ha/door/state"),
        *(f"spBv1.0/plant/{kind}/n1" for kind in ("NBIRTH", "NDATA", "NDEATH", "NCMD", "NOPE")),
        *(f"spBv1.0/plant/{kind}/n1/d1" for kind in ("DBIRTH", "DDATA", "DDEATH")),
        *("spBv1.0/plant/NDATA/n%2B", "spBv1.0/plant/NBIRTH/n2"),
        *(f"badge/{SECRET}/{SECRET}/co2", f"badge/bob/{SECRET}/noise", "who", "crowd", "senml-of", "cbor-of", "csv-of"),
        *(f"spBv1.0/staff/{kind}/{SECRET}" for kind in ("NBIRTH", "NDATA", "NDEATH")),
        *(f"state/{SECRET}", f"nowhere/{SECRET}", "attwin/g/alert/x", "plain//"),
    )
)
_T_S = NOW_MS // 1000


def shots_of(data: bytes) -> tuple[int, list[Shot]]:
    """Return what an input holds: how long the world was silent, and what arrives then."""
    if not data:
        return 100, []
    shots = []
    for part in data[1:].split(SEPARATOR)[:_MOST_MESSAGES]:
        if len(part) < 2:
            continue
        place, how, payload = part[0], part[1], part[2:]
        if place < len(TOPICS):
            topic = TOPICS[place]
        else:
            topic, _, payload = payload.partition(_END_OF_TOPIC)
        flags = _FLAGS[how & 7]
        packet_id = 1 + (how >> 3 & 15) if flags & 0x06 else 0
        shots.append(Shot(topic=topic, payload=payload, flags=flags, packet_id=packet_id, is_cut=how >> 3 == 31))
    return _PAUSES_MS[data[0] % len(_PAUSES_MS)], shots


def _message(topic: str, payload: object, *, how: int = 2) -> bytes:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    wire = topic.encode()
    head = bytes([TOPICS.index(wire), how]) if wire in TOPICS else bytes([255, how]) + wire + _END_OF_TOPIC
    return head + body


def _seed(*messages: tuple[str, object], pause: int = 0) -> bytes:
    return bytes([pause]) + SEPARATOR.join(
        _message(topic, payload, how=2 + 8 * n) for n, (topic, payload) in enumerate(messages)
    )


_BIRTH = encode({"name": "bdSeq", "datatype": 8, "long_value": 3}, seq=0, timestamp=NOW_MS)
_DEVICE = encode(
    {"name": "Inputs/T", "alias": 1, "datatype": 9, "float_value": 20.5, "timestamp": NOW_MS},
    {"name": "co2", "alias": 3, "datatype": 1, "int_value": 2**32 - 5},
    {"name": "Serial", "alias": 4, "datatype": 12, "string_value": "x"},
    seq=1,
    timestamp=NOW_MS + 7,
)
_DATA = encode({"alias": 1, "float_value": 21.5}, {"alias": 3, "int_value": 7}, seq=2, timestamp=NOW_MS + 9)
_STAFF_BIRTH = encode({"name": "co2", "alias": 3, "datatype": 7, "int_value": 7}, seq=0, timestamp=NOW_MS)
_PACK = [{"bn": "a/", "bt": _T_S, "bu": "Cel", "n": "temperature", "v": 1}, {"n": "co2", "u": "ppm", "v": 700, "t": 5}]
_LABELS = {"bn": -2, "bt": -3, "bu": -4, "n": 0, "u": 1, "v": 2, "t": 6}
_CBOR = [{_LABELS[name]: value for name, value in record.items()} for record in _PACK]

_SHORT: tuple[bytes, ...] = (
    _seed(("plain/lab/co2", 700), ("plain/lab/co2", {"value": 701, "time": NOW_MS}), ("plain/hall/occupied", True)),
    _seed(
        ("plain/lab/temperature", {"value": 60, "time": NOW_MS - 9000}),
        ("plain/lab/temperature", {"value": 20.5, "time": NOW_MS}),
        pause=3,
    ),
    _seed(("unit/lab/temperature", {"value": 70, "time": "2026-09-21T14:13:20Z"}), ("unit/lab/co2", 0.0007)),
    _seed(("air/lab", {"env": {"temp": 70.5, "co2": 650}, "ts": NOW_MS}), ("air/hall", {"env": {"co2": 1}})),
    _seed(
        (
            "gateway/readings",
            {
                "time": _T_S,
                "readings": [
                    {"device": "lab", "type": "temp", "value": 21},
                    {"device": 7, "type": "co2", "value": 0.001, "time": _T_S - 1},
                ],
            },
        )
    ),
    _seed(("list/co2", [{"id": "lab", "value": 1, "time": "2026-09-21T14:13:20+02:00"}, {"id": "b", "value": 2}])),
    _seed(
        ("senml", _PACK),
        ("senml", [{"n": "a/co2", "v": 5, "t": -30}, {"n": "b/occupied", "vb": True}]),
        ("senml/lab", [{"n": "urn:dev:ow:temp", "v": 1}]),
    ),
    _seed(("cbor", cbor2.dumps(_CBOR)), ("cbor", cbor2.dumps([{0: "a/co2", 2: 5.5, 6: -3, 8: b"x"}]))),
    _seed(
        ("spBv1.0/plant/NBIRTH/n1", _BIRTH),
        ("spBv1.0/plant/DBIRTH/n1/d1", _DEVICE),
        ("spBv1.0/plant/DDATA/n1/d1", _DATA),
        ("spBv1.0/plant/DDEATH/n1/d1", encode(seq=3)),
    ),
    _seed(
        ("spBv1.0/plant/NDATA/n1", encode({"name": "co2", "datatype": 10, "double_value": 5.0}, seq=9)),
        ("spBv1.0/plant/NDEATH/n1", encode({"name": "bdSeq", "datatype": 8, "long_value": 3})),
    ),
    _seed(
        ("csv", b"1790000000,lab,co2,700\n1790000001.5,hall,level,2"),
        ("csv/lab", b"2026-09-21T14:13:20Z;20.5;x;700\r\n;21;;"),
    ),
    _seed(
        ("te/device/main///m/", {"time": "2026-09-21T14:13:20Z", "temperature": 20, "air": {"co2": 640}}),
        ("te/device/child///m/environment", {"time": _T_S, "level": 3}),
    ),
    _seed(
        (
            "z/lab",
            {"occupancy": True, "temperature": "21.5", "co2": "unavailable", "linkquality": 80, "last_seen": NOW_MS},
        ),
        ("ha/door/state", b"ON"),
        ("ha/door/state", b"unavailable"),
    ),
    _seed(
        (f"badge/{SECRET}/{SECRET}/co2", {"value": "x", "mac": SECRET}),
        (f"badge/bob/{SECRET}/noise", 1),
        (f"badge/{SECRET}/{SECRET}/co2", {"value": 5, "mac": SECRET}),
        (f"state/{SECRET}", {"co2": "x", "mac": SECRET}),
    ),
    _seed(
        ("who", {"who": {"id": SECRET, "mac": SECRET}, "q": "co2", "value": 2}),
        ("crowd", {"data": {"rows": [{"id": SECRET, "c": 5}, {"id": SECRET, "c": "x"}]}}),
    ),
    _seed(
        ("senml-of", [{"n": f"{SECRET}/co2", "v": 3}, {"n": f"{SECRET}/noise", "v": 3}]),
        ("cbor-of", cbor2.dumps([{0: f"{SECRET}/co2", 2: 1}])),
        ("csv-of", f"{SECRET}|co2|5|1790000000".encode()),
    ),
    _seed((f"spBv1.0/staff/NBIRTH/{SECRET}", _STAFF_BIRTH), (f"spBv1.0/staff/NDATA/{SECRET}", _DATA)),
    _seed((f"nowhere/{SECRET}", 1), ("attwin/g/alert/x", 1), ("plain/%41/co2", 5), ("badge/%77/x%2F/co2", 5), pause=6),
)
SEEDS = (
    *_SHORT,
    *(
        SEPARATOR.join(_SHORT[n : n + 1] + tuple(seed[1:] for seed in _SHORT[n + 1 :] + _SHORT[:n]))
        for n in range(len(_SHORT))
    ),
)
"""Inputs with valid payloads of every source, alone and all together: a round of many messages costs hardly more."""
