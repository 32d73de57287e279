"""Sparkplug B payloads, encoded by Google's protobuf from the public schema."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = descriptor_pb2.FieldDescriptorProto
_METRIC = (
    ("name", 1, _TYPES.TYPE_STRING),
    ("alias", 2, _TYPES.TYPE_UINT64),
    ("timestamp", 3, _TYPES.TYPE_UINT64),
    ("datatype", 4, _TYPES.TYPE_UINT32),
    ("is_null", 7, _TYPES.TYPE_BOOL),
    ("int_value", 10, _TYPES.TYPE_UINT32),
    ("long_value", 11, _TYPES.TYPE_UINT64),
    ("float_value", 12, _TYPES.TYPE_FLOAT),
    ("double_value", 13, _TYPES.TYPE_DOUBLE),
    ("boolean_value", 14, _TYPES.TYPE_BOOL),
    ("string_value", 15, _TYPES.TYPE_STRING),
    ("bytes_value", 16, _TYPES.TYPE_BYTES),
)
_PAYLOAD = (("timestamp", 1, _TYPES.TYPE_UINT64), ("seq", 3, _TYPES.TYPE_UINT64), ("uuid", 4, _TYPES.TYPE_STRING))


def _payload_class() -> Any:  # noqa: ANN401 -- protobuf makes the class at run time
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    for name, fields in (("Metric", _METRIC), ("Payload", _PAYLOAD)):
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            message.field.add(name=field, number=number, type=kind, label=_TYPES.LABEL_OPTIONAL)
    file.message_type[1].field.add(
        name="metrics", number=2, type=_TYPES.TYPE_MESSAGE, label=_TYPES.LABEL_REPEATED, type_name=".sparkplug.Metric"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sparkplug.Payload"))


_Payload = _payload_class()


def encode(*metrics: dict[str, object], seq: int | None = None, timestamp: int | None = None) -> bytes:
    """Return a payload."""
    payload = _Payload(metrics=metrics)
    if seq is not None:
        payload.seq = seq
    if timestamp is not None:
        payload.timestamp = timestamp
    encoded: bytes = payload.SerializeToString()
    return encoded


def parse(data: bytes) -> Any:  # noqa: ANN401 -- protobuf made the class at run time
    """Return a payload as Google's protobuf reads it."""
    return _Payload.FromString(data)
