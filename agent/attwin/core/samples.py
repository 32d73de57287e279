"""What a payload that was seen looks like: a number, an object, a list of objects, lines of CSV, a SenML pack."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

VALUE_FIELDS = ("value", "v", "val", "reading")
TIME_FIELDS = ("time", "timestamp", "ts", "t", "datetime")
WORDS = frozenset(("on", "off", "true", "false", "open", "closed", "home", "not_home", "occupied", "clear", "detected"))
"""States that stand for a number, as format ``state`` reads them."""
_NOT_METRICS = frozenset((*TIME_FIELDS, "last_seen", "seq", "linkquality"))
_THIN_EDGE, _ZIGBEE, _HOME_ASSISTANT = "te", "zigbee2mqtt", "homeassistant"
_THIN_EDGE_LEVELS = 7
_SEPARATORS = ",;\t|"
_MOST_TEXT = 65_536
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")

Fields = Mapping[str, object]
"""The plain values of an object by their paths, two levels deep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A message that may hold readings.

    Attributes:
        levels: Of its topic.
        form: What messages must have in common to be read by one source.
        records: What it holds, record by record; a CSV line has its cells by their places.
        outer: What the object around a list of records says, or the header of CSV lines.
    """

    levels: tuple[str, ...]
    form: str
    records: Sequence[Fields]
    outer: Fields = field(default_factory=dict)


def sample_of(topic: str, payload: bytes) -> Sample | None:
    """Return what a message holds, None where there is nothing that could be read."""
    levels = tuple(topic.split("/"))
    if len(payload) > _MOST_TEXT or any(mark in topic for mark in "{}"):
        return None
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return _text_sample(levels, payload)
    if is_number(content):
        form = _form_of_state(levels) or "number"
        return Sample(levels=levels, form=form, records=[{"": content}])
    if isinstance(content, list):
        return _list_sample(levels, content)
    if isinstance(content, dict):
        return _object_sample(levels, content)
    return None


def is_number(value: object) -> TypeGuard[bool | int | float]:
    """Return whether a value is a number that a metric may have."""
    return isinstance(value, bool | int | float) and abs(value) < 1e300  # noqa: PLR2004 -- a float, whatever JSON allows


def number_in(text: str) -> float | None:
    """Return the number that a text is, None for none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if is_number(number) else None


def is_iso(text: object) -> bool:
    """Return whether a text is a time as ISO 8601 has it."""
    return isinstance(text, str) and _ISO.fullmatch(text.strip()) is not None


def value_field(record: Fields) -> str:
    """Return the field of an object that has one value, empty where it has none or several."""
    return next((name for name in VALUE_FIELDS if is_number(record.get(name))), "")


def _form_of_state(levels: tuple[str, ...]) -> str:
    """Return the form of a state of Home Assistant, a number or a word by turns; empty for other topics."""
    return f"word:{levels[1]}" if levels[0] == _HOME_ASSISTANT and len(levels) > 1 else ""


def _object_sample(levels: tuple[str, ...], content: Mapping[str, object]) -> Sample | None:
    if levels[0] == _ZIGBEE:
        return Sample(levels=levels, form="state", records=[flat(content)])
    if levels[0] == _THIN_EDGE:
        # of its messages only measurements are readings; a service's stand in other topics than a device's
        if len(levels) != _THIN_EDGE_LEVELS or levels[5] != "m":
            return None
        return Sample(levels=levels, form=f"thin-edge:{levels[3]}", records=[flat(content)])
    for path, items in _lists(content):
        form = _form_of(items)
        if form:
            return Sample(levels=levels, form=f"list:{path}:{form}", records=items, outer=flat(content))
    record = flat(content)
    return Sample(levels=levels, form=_form_of([record]), records=[record]) if _form_of([record]) else None


def _list_sample(levels: tuple[str, ...], content: Sequence[object]) -> Sample | None:
    if not content or not all(isinstance(record, dict) for record in content):
        return None
    records = [record for record in content if isinstance(record, dict)]
    if isinstance(records[0].get("n", records[0].get("bn")), str):
        return Sample(levels=levels, form="senml", records=records)
    items = [flat(record) for record in records]
    form = _form_of(items)
    return Sample(levels=levels, form=f"list:.:{form}", records=items) if form else None


def _form_of(records: Sequence[Fields]) -> str:
    """Return ``one:FIELD`` where every object has one value, ``several`` where they have others, empty for none."""
    field_name = value_field(records[0])
    if field_name and all(is_number(record.get(field_name)) for record in records):
        return f"one:{field_name}"
    return "several" if any(is_number(v) for r in records for p, v in r.items() if not is_time(p)) else ""


def is_time(path: str) -> bool:
    """Return whether a field is a time by its name."""
    return path.rpartition(".")[2].lower() in TIME_FIELDS


def numbers_of(record: Fields, *, words: bool = False) -> Iterator[tuple[str, float]]:
    """Yield (path, value) of the numbers of an object, times and the like left out; of words that stand for one too."""
    for path, value in record.items():
        if path.rpartition(".")[2] in _NOT_METRICS:
            continue
        if is_number(value):
            yield path, float(value)
        elif words and isinstance(value, str) and value.lower() in WORDS:
            yield path, word_number(value)


def word_number(text: str) -> float:
    """Return a guess of the number that a state stands for; it is only shown."""
    return float(text.lower() in ("on", "true", "open", "home", "occupied", "detected"))


def flat(content: Mapping[str, object], before: str = "") -> dict[str, object]:
    """Return the plain values of an object by their paths, two levels deep."""
    found: dict[str, object] = {}
    for name, value in content.items():
        if not name or "." in name:
            continue
        if isinstance(value, dict):
            found |= {} if before else flat(value, f"{name}.")
        elif not isinstance(value, list):
            found[before + name] = value
    return found


def _lists(content: Mapping[str, object], before: str = "") -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Yield the lists of objects in an object by their paths, two levels deep."""
    for name, value in content.items():
        if not name or "." in name:
            continue
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            yield before + name, [flat(item) for item in value]
        elif isinstance(value, dict) and not before:
            yield from _lists(value, f"{name}.")


def _text_sample(levels: tuple[str, ...], payload: bytes) -> Sample | None:
    """Return what a payload that is no JSON holds: lines of CSV, or a word that is a state."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    if text.strip().lower() in WORDS:
        form = _form_of_state(levels) or "word"
        return Sample(levels=levels, form=form, records=[{"": text.strip()}])
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or '"' in text:
        return None
    separator = max(_SEPARATORS, key=lines[0].count)
    rows = [[cell.strip() for cell in line.split(separator)] for line in lines]
    width = len(rows[0])
    if width == 1 or any(len(row) != width for row in rows):
        return None
    has_header = len(rows) > 1 and not any(_is_data(cell) for cell in rows[0])
    header, rows = (rows[0], rows[1:]) if has_header else ([], rows)
    if not all(any(number_in(cell) is not None for cell in row) for row in rows):
        return None
    return Sample(
        levels=levels,
        form=f"csv:{separator}:{width}:{'|'.join(header)}",
        records=[{str(place): cell for place, cell in enumerate(row)} for row in rows],
        outer={str(place): cell for place, cell in enumerate(header)},
    )


def _is_data(cell: str) -> bool:
    return not cell or number_in(cell) is not None or is_iso(cell)
