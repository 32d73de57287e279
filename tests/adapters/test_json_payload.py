"""Facts about JSON payloads."""

import json
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.adapters.json_payload import JsonDecoder
from attwin.core.types import RejectReason
from attwin.ports import NO_TIME_MS, Decoded
from support.builders import T0_MS


def a_decoder(time_unit: str = "s") -> JsonDecoder:
    """Return a decoder of value and time."""
    return JsonDecoder(value_field="value", time_field="time", time_unit=time_unit, zone=ZoneInfo("Europe/Berlin"))


def decode(decoder: JsonDecoder, payloads: list[bytes]) -> Decoded:
    """Decode payloads of as many series."""
    return decoder.decode(payloads, np.arange(len(payloads)), 0)


@pytest.mark.parametrize(
    ("time_unit", "payload", "value", "time_ms"),
    [
        pytest.param("s", b"21.5", 21.5, NO_TIME_MS, id="a number"),
        pytest.param("s", b" 7 ", 7.0, NO_TIME_MS, id="a whole number"),
        pytest.param("s", b"true", 1.0, NO_TIME_MS, id="a boolean"),
        pytest.param("s", b'{"value": 3}', 3.0, NO_TIME_MS, id="no time"),
        pytest.param("s", b'{"value": false, "time": 1423000000}', 0.0, T0_MS, id="seconds"),
        pytest.param(
            "s", b'{"time": 1423000000.25, "other": {"a": [1]}, "value": 1}', 1.0, T0_MS + 250, id="fractions"
        ),
        pytest.param("ms", b'{"value": 1, "time": 1423000000001}', 1.0, T0_MS + 1, id="milliseconds"),
        pytest.param("iso", b'{"value": 1, "time": "2015-02-03T21:46:40Z"}', 1.0, T0_MS, id="ISO with a zone"),
        pytest.param("iso", b'{"value": 1, "time": "2015-02-03 22:46:40"}', 1.0, T0_MS, id="ISO in the gateway's zone"),
    ],
)
def test_a_payload_gives_value_and_time(time_unit: str, payload: bytes, value: float, time_ms: int) -> None:
    """Alone and among others, a payload means the same."""
    alone = decode(a_decoder(time_unit), [payload])
    among = decode(a_decoder(time_unit), [b'{"value": 1}', payload, b"2", b"nonsense"])

    assert (alone.value.tolist(), alone.time_ms.tolist(), list(alone.faults)) == ([value], [time_ms], [])
    assert (among.value[1], among.time_ms[1]) == (value, time_ms)
    assert [place for place, _, _ in among.faults] == [3]


@pytest.mark.parametrize(
    ("time_unit", "payload", "reason"),
    [
        pytest.param("s", b"", RejectReason.NOT_DECODABLE, id="empty"),
        pytest.param("s", b'{"value": 1', RejectReason.NOT_DECODABLE, id="truncated"),
        pytest.param("s", b"NaN", RejectReason.NOT_DECODABLE, id="NaN"),
        pytest.param("s", b'{"value": Infinity}', RejectReason.NOT_DECODABLE, id="infinity"),
        pytest.param("s", b'{"value": 1e999}', RejectReason.NOT_DECODABLE, id="overflow"),
        pytest.param("s", b'{"value": "21"}', RejectReason.NOT_DECODABLE, id="string for number"),
        pytest.param("s", b'{"value": null}', RejectReason.NOT_DECODABLE, id="null"),
        pytest.param("s", b"{}", RejectReason.NOT_DECODABLE, id="no value"),
        pytest.param("s", b"[1]", RejectReason.NOT_DECODABLE, id="array"),
        pytest.param("s", b'{"value": 1}{"value": 2}', RejectReason.NOT_DECODABLE, id="two documents"),
        pytest.param("s", b"\xff\xfe", RejectReason.NOT_DECODABLE, id="no UTF-8"),
        pytest.param("s", b"[" * 100_000, RejectReason.NOT_DECODABLE, id="deep"),
        pytest.param("s", b'{"value": 1, "time": 1423000000000}', RejectReason.BAD_TIME, id="ms where s is meant"),
        pytest.param("s", b'{"value": 1, "time": -5}', RejectReason.BAD_TIME, id="before 1970"),
        pytest.param("s", b'{"value": 1, "time": "now"}', RejectReason.NOT_DECODABLE, id="text for seconds"),
        pytest.param("iso", b'{"value": 1, "time": "yesterday"}', RejectReason.BAD_TIME, id="no ISO"),
    ],
)
def test_what_is_no_reading_is_a_fault_with_a_reason(time_unit: str, payload: bytes, reason: RejectReason) -> None:
    """The fault says what was found; its neighbours are decoded all the same."""
    decoded = decode(a_decoder(time_unit), [b'{"value": 1}', payload, b'{"value": 2}'])

    assert [(place, found) for place, found, _ in decoded.faults] == [(1, reason)]
    assert decoded.faults[0][2]
    assert (decoded.place.tolist(), decoded.series.tolist(), decoded.value.tolist()) == ([0, 2], [0, 2], [1.0, 2.0])


@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.floats().map(str).map(str.encode), st.text(max_size=20).map(str.encode))
    )
)
def test_no_payload_raises_and_every_one_is_a_reading_or_a_fault(payloads: list[bytes]) -> None:
    """Whatever arrives, each payload has a finite value and time or a fault."""
    decoded = decode(a_decoder(), payloads)

    faults = [place for place, _, _ in decoded.faults]
    assert sorted([*faults, *decoded.place.tolist()]) == list(range(len(payloads)))
    assert np.isfinite(decoded.value).all()


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**42))
def test_every_finite_number_and_time_comes_through(value: float, time_ms: int) -> None:
    """What a sensor writes is what the twin gets."""
    payload = json.dumps({"value": value, "time": time_ms}).encode()

    decoded = decode(a_decoder("ms"), [payload])

    assert (decoded.value.tolist(), decoded.time_ms.tolist()) == ([value], [time_ms])
