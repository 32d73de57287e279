"""The configuration as people and editors see it: printed with defaults, and as a JSON Schema."""

import dataclasses
import inspect
import math
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from attwin.settings.model import Settings
from attwin.settings.reader import key_of
from attwin.settings.types import OFF, DurationMark, LevelMark, Secret, SizeMark, format_duration, format_size

_ATTRIBUTE = re.compile(r"^    (\w+): (.+)$")


def as_plain(settings: Settings) -> dict[str, object]:
    """Return the settings with all defaults as plain values; secrets are stars."""
    plain = _plain(Settings, settings)
    return plain if isinstance(plain, dict) else {}


def leaves_of(plain: object, where: str = "") -> Iterator[tuple[str, object]]:
    """Yield every setting of plain values by its path."""
    if isinstance(plain, dict) and plain:
        for key, value in plain.items():
            yield from leaves_of(value, f"{where}.{key}" if where else str(key))
    elif isinstance(plain, list) and plain:
        for place, value in enumerate(plain):
            yield from leaves_of(value, f"{where}[{place}]")
    else:
        yield where, plain


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of the configuration, for editors."""
    schema = _schema(Settings)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "attwin", **schema}


def _plain(kind: Any, value: Any) -> object:  # noqa: ANN401, PLR0911 -- a type and its value; one return a form
    if isinstance(value, Secret):
        return "***"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated and isinstance(arguments[1], DurationMark):
        return format_duration(value) if value else 0
    if origin is Annotated and isinstance(arguments[1], LevelMark):
        return OFF if value == math.inf else value
    if origin is Annotated and isinstance(arguments[1], SizeMark):
        return format_size(value) if value else 0
    if origin in (Union, types.UnionType):
        return _plain(next(a for a in arguments if a is not type(None)), value)
    if isinstance(value, dict):
        return {key: _plain(arguments[1], item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(arguments[0], item) for item in value]
    if dataclasses.is_dataclass(value):
        hints = get_type_hints(type(value), include_extras=True)
        given = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {key_of(name): _plain(hints[name], item) for name, item in given.items() if item is not None}
    plain: object = value
    return plain


def _schema(kind: Any) -> dict[str, object]:  # noqa: ANN401, PLR0911 -- a type; one return a form
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if isinstance(arguments[1], DurationMark):
            return {"anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"}, {"const": 0}]}
        if isinstance(arguments[1], SizeMark):
            return {"anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(B|KB|MB|GB|TB)$"}, {"const": 0}]}
        if isinstance(arguments[1], LevelMark):
            return {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": OFF}]}
        return {"type": "string"}
    if origin in (Union, types.UnionType):
        return _schema(next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0])}
    if dataclasses.is_dataclass(kind) and kind is not Secret:
        return _object_schema(kind)
    names = {str: "string", int: "integer", float: "number", bool: "boolean", Secret: "string"}
    return {"type": names[kind]}


def _object_schema(cls: Any) -> dict[str, object]:  # noqa: ANN401 -- a dataclass
    hints = get_type_hints(cls, include_extras=True)
    described = {}
    for base in reversed(cls.__mro__):
        lines = inspect.cleandoc(base.__doc__ or "").splitlines()
        described.update({m[1]: m[2] for m in map(_ATTRIBUTE.match, lines) if m})
    properties = {}
    required = []
    for field in dataclasses.fields(cls):
        key = key_of(field.name)
        properties[key] = {**_schema(hints[field.name]), "description": described[field.name]}
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(key)
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}
