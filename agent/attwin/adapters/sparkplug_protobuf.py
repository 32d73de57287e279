"""Sparkplug B payloads, read and (as far as a host needs) written.

Only what a host reads of a payload is taken: numbers, booleans, names, aliases, times and the sequence number.

Source: Eclipse Sparkplug 3.0, section 6.4 (payloads) and the protobuf encoding (wire types 0, 1, 2 and 5).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10
_FLOAT_BYTES, _DOUBLE_BYTES = 4, 8
_SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}
_UNSIGNED_BITS = {5: 8, 6: 16, 7: 32, 8: 64}
_BOOLEAN = 11

Field = tuple[int, int, int | bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkplugMetric:
    """One metric of a payload.

    Attributes:
        name: Empty where only the alias is sent.
        alias: None where there is none.
        time_ms: None where it has none of its own.
        datatype: 0 where it is not sent.
        whole: An integer as sent, before its sign is known.
        value: A float or a boolean, None where it is null, text or anything else.
        is_null: Whether it says that there is no value.
    """

    name: str
    alias: int | None
    time_ms: int | None
    datatype: int
    whole: int | None
    value: float | None
    is_null: bool

    def number(self, datatype: int) -> float | None:
        """Return the value by the data type of its birth."""
        if self.whole is None:
            return self.value
        kind = self.datatype or datatype
        bits = _SIGNED_BITS.get(kind)
        if bits:
            whole = self.whole & ((1 << bits) - 1)
            return float(whole - (1 << bits) if whole >> (bits - 1) else whole)
        return float(self.whole & ((1 << _UNSIGNED_BITS.get(kind, 64)) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkplugPayload:
    """A payload.

    Attributes:
        time_ms: None where it has none.
        sequence: 0 to 255, None in a death certificate.
        metrics: In their order.
    """

    time_ms: int | None
    sequence: int | None
    metrics: list[SparkplugMetric]


def read_payload(data: bytes) -> SparkplugPayload:
    """Return a payload.

    Raises:
        ValueError: It is not one.
    """
    time_ms = sequence = None
    metrics = []
    for number, wire, value in _fields(data):
        if number == 1 and wire == _VARINT and isinstance(value, int):
            time_ms = value
        elif number == 3 and wire == _VARINT and isinstance(value, int):  # noqa: PLR2004 -- field numbers of the schema
            sequence = value
        elif number == 2 and isinstance(value, bytes):  # noqa: PLR2004 -- the same
            metrics.append(_metric(value))
    return SparkplugPayload(time_ms=time_ms, sequence=sequence, metrics=metrics)


def rebirth_command(now_ms: int) -> bytes:
    """Return the payload that asks a node to send its birth certificates again."""
    name = b"Node Control/Rebirth"
    metric = (
        b"\x0a" + _varint(len(name)) + name
        + b"\x18" + _varint(now_ms)
        + b"\x20" + _varint(_BOOLEAN)
        + b"\x70\x01"
    )  # fmt: skip
    return b"\x08" + _varint(now_ms) + b"\x12" + _varint(len(metric)) + metric


def _metric(data: bytes) -> SparkplugMetric:  # noqa: C901 -- one branch a field
    name, alias, time_ms, datatype = "", None, None, 0
    whole: int | None = None
    number: float | None = None
    is_null = False
    for field, _wire, value in _fields(data):
        match field, value:
            case 1, bytes():
                name = value.decode()
            case 2, int():
                alias = value
            case 3, int():
                time_ms = value
            case 4, int():
                datatype = value
            case 7, int():
                is_null = bool(value)
            case ((10 | 11), int()):
                whole = value
            case 12, bytes() if len(value) == _FLOAT_BYTES:
                (number,) = struct.unpack("<f", value)
            case 13, bytes() if len(value) == _DOUBLE_BYTES:
                (number,) = struct.unpack("<d", value)
            case 14, int():
                number = float(bool(value))
    return SparkplugMetric(
        name=name, alias=alias, time_ms=time_ms, datatype=datatype, whole=whole, value=number, is_null=is_null
    )


def _fields(data: bytes) -> Iterator[Field]:
    """Yield (field number, wire type, value) of a message."""
    at, end = 0, len(data)
    while at < end:
        key, at = _read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value: int | bytes
            value, at = _read_varint(data, at)
        elif wire in (_FIXED64, _FIXED32, _BYTES):
            size = {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)
            if wire == _BYTES:
                size, at = _read_varint(data, at)
            if at + size > end:
                raise ValueError(f"field {number} ends after the payload")
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"field {number} has the unknown wire type {wire}")
        if number == 0:
            raise ValueError("field number 0")
        yield number, wire, value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_MOST_VARINT_BYTES):
        if at >= len(data):
            raise ValueError("a number ends after the payload")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * shift)
        if not byte & 0x80:
            return value & (2**64 - 1), at
    raise ValueError("a number of more than ten bytes")


def _varint(value: int) -> bytes:
    out = b""
    while True:
        value, low = value >> 7, value & 0x7F
        out += bytes([low | (0x80 if value else 0)])
        if not value:
            return out
