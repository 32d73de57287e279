"""Payloads that nobody should send: nearly right ones of every format, with hostile numbers, depths and texts."""

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

import cbor2
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from support.gauntlet import SECRET, Shot
from support.sources import NOW_MS
from support.sparkplug import encode

Bytes = SearchStrategy[bytes]
T = TypeVar("T")

_T_S = NOW_MS // 1000
_WHO = json.dumps(SECRET).encode()
NUMBERS = (
    b"0",
    b"-0.0",
    b"1",
    b"21.5",
    b"-40.1",
    b"86",
    b"1e308",
    b"-1e308",
    b"1.7976931348623157e308",
    b"3.5e38",
    b"5e-324",
    b"1e400",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"1" + b"0" * 400,
    b"-1" + b"0" * 5000,
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1_0",
    b"0x10",
    b"+1",
    b"01",
    b"1.",
    "\uff11".encode(),
)
"""As text, JSON or not."""
TIMES = (
    *(str(_T_S + s).encode() for s in (-100_000, -61, -3, -1, 0, 1, 30, 120, 10**7)),
    str(NOW_MS).encode(),
    str(NOW_MS + 1).encode(),
    b"1e308",
    b"-1",
    b"-0.0",
    b"8796093022.2079",
    b"8796093022207.6",
    b"8796093022208",
    b"1" + b"0" * 5000,
    b"NaN",
    b"null",
    b"true",
    b'""',
    b'"2026-09-21T14:13:20Z"',
    b'"2026-09-21 14:13:20.123456"',
    b'"0001-01-01T00:00:00+23:59"',
    b'"9999-12-31T23:59:59-23:59"',
    b'"0001-01-01"',
    b'"9999-12-31T23:59:59"',
    b'"1970-01-01"',
    b'"2026-10-25T02:30:00"',
    b'"2026-W01"',
    b'"20260101T000000"',
    b'"2248-09-26T15:10:22.208Z"',
    '"\uff12\uff10\uff12\uff16-01-01"'.encode(),
)
"""As JSON."""
TEXTS = (
    "",
    "a",
    "lab",
    "co2",
    "temperature",
    "ON",
    "off",
    "unavailable",
    "21.5",
    "nan",
    "1e999",
    "a/b",
    "a b",
    " ",
    "é",
    "Straße",
    "\0",
    "x" * 64,
    "x" * 65,
    "p-aaaa",
    "*" * 3,
    "\u2028",
    "\U0001f600",
    "a\nb",
    'a"b',
    "%41",
    "..",
    "1" * 5000,
    "x_" * 5000 + "_",
)
_DEPTHS = st.one_of(st.integers(1, 5), st.integers(150, 1100), st.sampled_from((3_000, 9_990, 9_999, 20_000, 32_000)))


def _nested(depth: int) -> list[bytes]:
    return [b"[" * depth + b"]" * depth, b'{"a":' * (depth // 4) + b"1" + b"}" * (depth // 4)]


_texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=6))
_text: Bytes = st.one_of(
    _texts.map(json.dumps).map(str.encode), st.sampled_from((b'"\\ud800"', b'"\xff"', b'"\\u0000"'))
)
_number: Bytes = st.one_of(
    st.sampled_from(NUMBERS),
    st.floats().map(json.dumps).map(str.encode),
    st.integers(-100, 100).map(str).map(str.encode),
)
_time: Bytes = st.one_of(st.sampled_from(TIMES), st.integers(NOW_MS - 10_000, NOW_MS + 5_000).map(str).map(str.encode))
_deep: Bytes = _DEPTHS.flatmap(lambda depth: st.sampled_from(_nested(depth)))
_value: Bytes = st.one_of(
    _number, _number, _number, _text, st.sampled_from((b"true", b"false", b"null", b"{}", b"[]", b"[1,2]")), _deep
)


def _mostly(good: SearchStrategy[T], hostile: SearchStrategy[T]) -> SearchStrategy[T]:
    """Seven of eight are good; Hypothesis takes the ends of nested ``one_of`` all alike."""
    return st.sampled_from((good,) * 7 + (hostile,)).flatmap(lambda chosen: chosen)


_good = st.sampled_from((b"0", b"1", b"20.5", b"21", b"22.25", b"60", b"700", b"-3"))
_plain = _mostly(_mostly(_good, _number), _value)
_seconds = _mostly(st.integers(-9, 9).map(lambda s: str(_T_S + s).encode()), _time)
_millis = _mostly(st.integers(-9_999, 9_999).map(lambda ms: str(NOW_MS + ms).encode()), _time)
_iso = _mostly(st.integers(10, 59).map(lambda s: b'"2026-09-21T14:13:%dZ"' % s), _time)


def _object(usual: dict[str, Bytes], **seldom: Bytes) -> Bytes:
    """Objects with the usual fields, of which one may be missing, and sometimes with others."""
    full = st.fixed_dictionaries(usual)
    partial = st.fixed_dictionaries({}, optional=usual | seldom | {"other": _value, "a": _value})
    fields = st.tuples(full, _mostly(st.just({}), partial)).map(lambda pair: pair[0] | pair[1])
    return _mostly(fields, partial).map(
        lambda found: b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in found.items()) + b"}"
    )


def _list(inner: Bytes, most: int = 3) -> Bytes:
    return _mostly(st.lists(inner, min_size=1, max_size=most), st.just([])).map(
        lambda found: b"[" + b",".join(found) + b"]"
    )


_id = _mostly(st.sampled_from((b'"lab"', b'"hall"', b'"e1"', b"7")), st.one_of(st.just(b'"a/b"'), _value))
_metric = _mostly(st.sampled_from((b'"co2"', b'"temperature"', b'"level"')), st.one_of(st.just(b'"noise"'), _value))
_who: Bytes = st.just(_WHO)
_item = _object({"device": _id, "type": _metric, "value": _plain}, temp=_value, time=_seconds)
_dated = _object({"value": _plain}, time=_millis)
_dated_iso = _object({"value": _plain}, time=_iso)
_state = _object(
    {"temperature": _plain, "occupancy": _plain}, co2=_value, occupied=_value, level=_value, last_seen=_millis
)
_senml_name = _mostly(
    st.sampled_from((b'"a/co2"', b'"b/temperature"', b'"e1/level"')),
    st.one_of(st.sampled_from((b'"level"', b'"a:"', b'"urn:dev:ow:temp"', b'"/"', b'"a/noise"')), _text),
)
_ow_name = _mostly(st.sampled_from((b'"urn:dev:ow:temp"', b'"urn:dev:ow:co2"')), _text)
_unit: Bytes = st.one_of(st.sampled_from((b'"Cel"', b'"K"', b'"degF"', b'"ppm"', b'"/"', b'""', b'"furlong"')), _text)
_senml_time = _mostly(
    _seconds, st.sampled_from((b"0", b"-5", b"5", b"268435455", b"268435456", b"-268435455.5", b"1e-9"))
)


def _pack(name: Bytes) -> Bytes:
    plain = _object({"n": name, "v": _mostly(_good, _number)}, t=_senml_time, u=_unit)
    odd = _object(
        {"n": name},
        bn=st.sampled_from((b'""', b'"a/"', b'"urn:"')),
        bt=_senml_time,
        bu=_unit,
        bv=_number,
        bver=_number,
        u=_unit,
        v=_value,
        vb=_value,
        vs=_text,
        vd=_text,
        s=_number,
        t=_senml_time,
        ut=_number,
        x_=_value,
    )
    return _list(_mostly(plain, odd))


_LABELS = (-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8)
_cbor_leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from(TEXTS),
    st.sampled_from((2**64, -(2**64) - 1, 10**400, float(_T_S), 1.7e308)),
)
_cbor_any = st.recursive(
    _cbor_leaf,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=5,
)
_cbor_key = st.one_of(
    st.sampled_from(_LABELS),
    st.sampled_from(("n", "v", "bn", "x_", "")),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
)
_HUGE = 10**5000
_TAGGED = (
    *(cbor2.dumps([{0: "a/co2", key: _HUGE}]) for key in (2, 6, 8, 9)),
    cbor2.dumps([{_HUGE: 1}]),
    *map(
        bytes.fromhex,
        (
            "81a200d81d0002fb4035000000000000",
            "d81c81d81d00",
            "81a1d81ca100d81d0001",
            "81a202c2510100000000000000000000000000000000000064612f636f32",
            "81a202c48201c2490100000000000000000064612f636f32",
            "9f",
            "bf",
            "9bffffffffffffffff",
            "bbffffffffffffffff",
            "5bffffffffffffffff",
            "7b7fffffffffffffff",
            "81a1d901028001",
            "81a102d8236128",
            "81a102c074323032362d30312d30315430303a30303a30305a",
            "81a102c11bffffffffffffffff",
            "81a102d81e820100",
            "81a102d904007f",
            "81a102d90104410a",
            "ff",
            "81ff",
            "f818",
            "81a102f97e00",
            "d9d9f781a20061610102",
        ),
    ),
)
"""Shared and cyclic values, big numbers, endless and enormous lengths, dates, patterns, fractions, addresses."""


def _cbor(name: SearchStrategy[str]) -> Bytes:
    usual = st.fixed_dictionaries(
        {0: name, 2: st.one_of(st.floats(), st.integers(-99, 99))},
        optional={6: st.sampled_from((0, _T_S, -5)), 1: st.sampled_from(("Cel", "ppm", "K"))},
    )
    odd = st.dictionaries(_cbor_key, _cbor_any, max_size=4)
    packs = _mostly(st.lists(_mostly(usual, odd), min_size=1, max_size=3), _cbor_any)
    deep = _DEPTHS.map(lambda n: b"\x81" * n + b"\x80")
    deeper = _DEPTHS.map(lambda n: b"\x81\xa2\x00\x65a/co2\x08" + b"\x81" * n + b"\x80")
    return _mostly(packs.map(_dumps), st.one_of(st.sampled_from(_TAGGED), deep, deeper))


def _dumps(pack: object) -> bytes:
    encoded: bytes = cbor2.dumps(pack)
    return encoded


_u64 = st.one_of(st.integers(0, 3), st.sampled_from((NOW_MS, NOW_MS + 999, 2**43 - 1, 2**43, 2**63, 2**64 - 1)))
_sparkplug_metric = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(
            ("Inputs/T", "co2", "temperature", "level", "bdSeq", "Node Control/Rebirth", "", "other", "é")
        ),
        "alias": _u64,
        "timestamp": _u64,
        "datatype": st.integers(0, 20),
        "is_null": st.booleans(),
        "int_value": st.integers(0, 2**32 - 1),
        "long_value": _u64,
        "float_value": st.sampled_from((float("nan"), float("inf"), 21.5, -1.0)),
        "double_value": st.sampled_from((float("nan"), float("-inf"), 1.7e308, -1e308, 20.0, 5e-324)),
        "boolean_value": st.booleans(),
        "string_value": st.text(max_size=4),
        "bytes_value": st.binary(max_size=4),
    },
)
_sparkplug: Bytes = st.builds(
    lambda metrics, seq, timestamp: encode(*metrics, seq=seq, timestamp=timestamp),
    st.lists(_sparkplug_metric, max_size=4),
    st.one_of(st.none(), st.integers(0, 3), _u64),
    st.one_of(st.none(), _u64),
)
_cell = _mostly(
    _good,
    st.one_of(st.sampled_from(NUMBERS), st.sampled_from(TEXTS).map(str.encode), st.sampled_from(TIMES), st.just(b"")),
)
_good_seconds = _mostly(st.integers(-9, 9).map(lambda s: str(_T_S + s).encode()), _cell)


def _csv(separator: bytes, *cells: Bytes) -> Bytes:
    line = _mostly(st.tuples(*cells), st.lists(st.one_of(*cells, _cell), max_size=6).map(tuple)).map(separator.join)
    return st.lists(line, min_size=1, max_size=4).map(b"\n".join)


_flag = st.sampled_from((0x30, 0x31, 0x32, 0x32, 0x32, 0x33, 0x3A, 0x3A, 0x3B))
_entity = st.sampled_from(
    (*("lab", "e1") * 6, "hall", "e1", "e2", "%41", "a%2Fb", "", " ", "é", "x" * 65, "%ff", "%00", "a%20b", "a b")
)
_any_metric = st.sampled_from(("co2", "co2", "temperature", "temperature", "occupied", "level", "noise", ""))
_node = _mostly(
    st.sampled_from(("n1", "n2", "d1")), st.sampled_from(("n%2B1", "%23", "n%2Fx", "%00", "é", "", "a%20b", "n" * 70))
)
_message = st.sampled_from(("NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH", "NCMD", "DCMD", "STATE", ""))
_secret = st.sampled_from((SECRET, "".join(f"%{byte:02x}" for byte in SECRET.encode()), SECRET + "%2F"))


def _topic(*levels: SearchStrategy[str] | str) -> Bytes:
    drawn = [st.just(level) if isinstance(level, str) else level for level in levels]
    return st.tuples(*drawn).map("/".join).map(str.encode)


def _sparkplug_topic(group: str, node: SearchStrategy[str], device: SearchStrategy[str]) -> Bytes:
    return st.one_of(_topic(group, _message, node, device), _topic(group, _message, node))


_whose = _object({"id": _who}, mac=_who)
_rows = _object({"id": _who, "c": _plain}, time=_seconds)
_crowd = _mostly(_list(_rows), _rows)
_env = _mostly(_object({"temp": _plain, "co2": _plain}), _value)
_who_name: Bytes = st.sampled_from(
    tuple(json.dumps(f"{SECRET}/{metric}").encode() for metric in ("co2", "temperature", "noise"))
)

FORMATS: dict[str, tuple[Bytes, Bytes]] = {
    "number": (_topic("plain", _entity, _any_metric), _mostly(_dated, _value)),
    "number, units": (_topic("unit", _entity, _any_metric), _mostly(_dated_iso, _number)),
    "object": (_topic("air", _entity), _object({"env": _env, "ts": _millis})),
    "items": (
        st.just(b"gateway/readings"),
        _mostly(_object({"readings": _mostly(_list(_item), st.one_of(_item, _value))}, time=_seconds), _value),
    ),
    "list": (_topic("list", _any_metric), _list(_object({"id": _id, "value": _plain}, time=_iso))),
    "senml": (st.just(b"senml"), _pack(_senml_name)),
    "senml, entity": (_topic("senml", _entity), _pack(_ow_name)),
    "cbor": (st.just(b"cbor"), _cbor(st.sampled_from(("a/co2", "b/temperature", "e1/level", "a/noise", "x")))),
    "sparkplug": (_sparkplug_topic("spBv1.0/plant", _node, _node), _sparkplug),
    "csv": (
        st.just(b"csv"),
        _csv(b",", _good_seconds, st.sampled_from((b"lab", b"e3")), st.sampled_from((b"co2", b"level", b"x")), _cell),
    ),
    "csv, wide": (
        _topic("csv", _entity),
        _csv(b";", _iso.map(lambda time: time.strip(b'"')), _cell, _cell, _cell),
    ),
    "thin-edge": (
        _topic("te/device", _entity, "", "", "m", _entity),
        _object({"air": _mostly(_object({"co2": _plain}), _value)}, time=_mostly(_seconds, _iso), temperature=_value),
    ),
    "state": (_topic("z", _entity), _state),
    "state, bare": (_topic("ha", _entity, "state"), st.one_of(st.sampled_from(TEXTS).map(str.encode), _state, _value)),
    "secret number": (
        _topic("badge", _secret, _secret, _any_metric),
        _mostly(_object({"mac": _who, "value": _plain}, time=_seconds), _number),
    ),
    "secret object": (st.just(b"who"), _object({"who": _whose, "q": _metric, "value": _plain}, time=_seconds)),
    "secret items": (st.just(b"crowd"), _object({"data": _object({"rows": _crowd})}, time=_seconds)),
    "secret senml": (st.just(b"senml-of"), _pack(_who_name)),
    "secret cbor": (st.just(b"cbor-of"), _cbor(st.just(f"{SECRET}/co2"))),
    "secret sparkplug": (_sparkplug_topic("spBv1.0/staff", _secret, _secret), _sparkplug),
    "secret csv": (st.just(b"csv-of"), _csv(b"|", st.just(SECRET.encode()), st.just(b"co2"), _cell, _good_seconds)),
    "secret state": (
        _topic("state", _secret),
        _object({"mac": _who, "co2": _plain}, temperature=_value, last_seen=_millis),
    ),
    "series": (
        st.sampled_from((b"plain/e1/co2", b"plain/e1/level", b"plain/e1/temperature", b"badge/b/e9/co2")),
        st.builds(
            lambda value, shift: b'{"value":%s,"time":%d}' % (value, NOW_MS + shift),
            st.one_of(
                st.sampled_from(NUMBERS[:12]),
                st.floats(allow_nan=False, allow_infinity=False).map(repr).map(str.encode),
            ),
            st.integers(-60, 30).map(lambda n: n * 500),
        ),
    ),
    "no source": (
        st.one_of(
            st.sampled_from((b"", b"/", b"attwin/g/x", b"plain/\xff/co2", b"plain//", b"#", b"$SYS/x", b"nowhere")),
            st.binary(max_size=8),
        ),
        st.binary(max_size=8),
    ),
}
"""Topics and payloads of every source of the gauntlet, by what it is."""


def _damaged(payload: bytes, damage: tuple[str, float, int] | None) -> bytes:
    if damage is None:
        return payload
    what, where, byte = damage
    place = int(where * len(payload))
    if what == "cut":
        return payload[:place]
    if what == "flip":
        return payload[:place] + bytes([byte]) + payload[place + 1 :]
    return payload[:place] + bytes([byte]) + payload[place:]


_damage = _mostly(
    st.none(), st.tuples(st.sampled_from(("cut", "flip", "add")), st.floats(0, 0.999), st.integers(0, 255))
)


def _shots(name: str) -> SearchStrategy[Shot]:
    topic, payload = FORMATS[name]
    # a damaged name of a field is no longer what the configuration names, so what it holds is not hidden
    damage = st.none() if name.startswith("secret") and name.split()[1] in _SHOWN else _damage
    make: Callable[..., Shot] = lambda topic, payload, damage, flags, packet_id, is_cut: Shot(  # noqa: E731 -- strategies take functions
        topic=topic,
        payload=_damaged(payload, damage),
        flags=flags,
        packet_id=packet_id if flags & 0x06 else 0,
        is_cut=is_cut,
    )
    is_cut = st.sampled_from((False,) * 19 + (True,))
    return st.builds(make, topic, payload, damage, _flag, st.integers(1, 12), is_cut)


_SHOWN = ("number", "object", "items", "state")
SHOTS: SearchStrategy[Shot] = st.one_of(*(_shots(name) for name in FORMATS), *(_shots("series") for _ in range(4)))
PAUSES_MS = st.sampled_from((100, 100, 100, 1_000, 5_000, 61_000, 4_000_000))
ROUNDS: SearchStrategy[Sequence[tuple[int, Sequence[Shot]]]] = st.lists(
    st.tuples(PAUSES_MS, st.lists(SHOTS, min_size=10, max_size=40)), min_size=1, max_size=3
)
"""Rounds: how long the world was silent before, and what arrives then."""
