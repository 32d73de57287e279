"""From messages that were seen to sources, kinds and metrics that would read them."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from attwin.core.topics import is_id, quote_id
from attwin.core.units import UNITS

_VALUE_FIELDS = ("value", "v", "val", "reading")
_TIME_FIELDS = ("time", "timestamp", "ts", "t")
_NOT_METRICS = frozenset((*_TIME_FIELDS, "last_seen", "seq", "linkquality"))
_USUAL_UNITS = (
    ("temp", "Cel"), ("humid", "%RH"), ("co2", "ppm"), ("lux", "lx"), ("illuminance", "lx"), ("light", "lx"),
    ("pressure", "hPa"), ("noise", "dB"), ("battery", "%"), ("dwell", "s"), ("duration", "s"), ("power", "W"),
    ("people", "count"), ("count", "count"), ("visitors", "count"),
)  # fmt: skip
_MS_SINCE = 1e11
"""A number of milliseconds since 1970; seconds are smaller."""
_PRESETS = {"te": "thin-edge", "zigbee2mqtt": "state"}
_FOREIGN = ("$SYS", "attwin", "homeassistant")


@dataclass(slots=True, kw_only=True)
class FoundMetric:
    """A metric that was seen.

    Attributes:
        name: As it may be called in the configuration.
        wire: As payloads call it, empty where the topic does.
        unit: A guess by its name, or what a payload said.
        low, high: The range that was seen.
        count: How many readings.
    """

    name: str
    wire: str
    unit: str
    low: float
    high: float
    count: int = 1

    def see(self, value: float) -> None:
        """Note another reading."""
        self.low, self.high, self.count = min(self.low, value), max(self.high, value), self.count + 1


@dataclass(slots=True, kw_only=True)
class FoundSource:
    """Topics that belong together.

    Attributes:
        topic: As a template.
        kind: A name for what is found there.
        payload: The settings of the payload.
        metrics: By name.
        topics: How many topics there were.
        messages: How many messages.
    """

    topic: str
    kind: str
    payload: dict[str, object]
    metrics: dict[str, FoundMetric] = field(default_factory=dict)
    topics: int = 0
    messages: int = 0

    def see(self, wire: str, value: float, unit: str = "") -> None:
        """Note a reading of a metric."""
        name = _plain(wire)
        if not name or name == "attention":
            name = f"{name or 'metric'}_value"
        if name in self.metrics:
            self.metrics[name].see(value)
        else:
            guess = unit if unit in UNITS else _unit_of(name)
            self.metrics[name] = FoundMetric(name=name, wire=wire, unit=guess, low=value, high=value)


def discover(messages: Sequence[tuple[str, bytes]]) -> tuple[list[FoundSource], dict[str, int]]:
    """Return the sources that would read some messages, and how many of which topics nobody would.

    Args:
        messages: (topic, payload), in order of arrival.
    """
    groups: dict[tuple[str, str, int], list[tuple[list[str], object]]] = defaultdict(list)
    strange: dict[str, int] = defaultdict(int)
    for topic, payload in messages:
        levels = topic.split("/")
        if levels[0] in _FOREIGN:
            continue
        form, content = _form(levels, payload)
        if form:
            groups[form, levels[0], len(levels)].append((levels, content))
        else:
            strange[topic] += 1
    found: list[FoundSource] = []
    for (form, _, _), seen in sorted(groups.items(), key=lambda group: group[0]):
        source = _MAKE[form](seen)
        twin = next((other for other in found if other.topic == source.topic), None)
        if source.metrics and twin:
            # a number alone and an object with a value may come under one template
            twin.metrics = source.metrics | twin.metrics
            twin.payload = source.payload | twin.payload
            twin.messages += len(seen)
        elif source.metrics:
            source.topics = len({"/".join(levels) for levels, _ in seen})
            source.messages = len(seen)
            source.kind = _unused(source.kind, [other.kind for other in found])
            found.append(source)
        else:
            for levels, _ in seen:
                strange["/".join(levels)] += 1
    return found, dict(strange)


def _form(levels: Sequence[str], payload: bytes) -> tuple[str, object]:
    """Return how a payload is to be read, and what it holds; empty for not at all."""
    if levels[0] == "spBv1.0":
        return "", None
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return "", None
    if isinstance(content, list):
        records = [record for record in content if isinstance(record, dict)]
        is_senml = bool(records) and isinstance(records[0].get("n", records[0].get("bn")), str)
        return ("senml" if is_senml else ""), records
    if isinstance(content, dict):
        return _object_form(levels[0], content), content
    return ("number" if _is_number(content) else ""), content


def _object_form(base: str, content: Mapping[str, object]) -> str:
    if base in _PRESETS:
        return _PRESETS[base]
    value = next((name for name in _VALUE_FIELDS if _is_number(content.get(name))), "")
    return f"one:{value}" if value else "several"


def _from_topic(seen: Sequence[tuple[list[str], object]], *, metric_too: bool) -> str:
    """Return a template: levels that vary become the metric (the last of them) and the entity, others any text."""
    columns = [sorted({levels[place] for levels, _ in seen}) for place in range(len(seen[0][0]))]
    varying = [place for place, values in enumerate(columns) if len(values) > 1]
    metric = len(columns) - 1 if metric_too else None
    candidates = [place for place in varying if place != metric]
    usual = [place for place in range(1, len(columns)) if place != metric]
    entity = candidates[-1] if candidates else (usual[-1] if usual else 0)
    parts = []
    for place, values in enumerate(columns):
        if place == metric:
            parts.append("{metric}")
        elif place == entity:
            parts.append("{entity}")
        else:
            parts.append(values[0] if len(values) == 1 else "+")
    return "/".join(parts)


def _make_numbers(seen: Sequence[tuple[list[str], object]], payload: dict[str, object]) -> FoundSource:
    source = FoundSource(topic=_from_topic(seen, metric_too=True), kind=_kind_of(seen), payload=payload)
    value_field = str(payload.get("value", "value"))
    for levels, content in seen:
        value = content.get(value_field) if isinstance(content, dict) else content
        if _is_number(value) and is_id(levels[-1]) and quote_id(levels[-1]) == levels[-1]:
            source.see(levels[-1], float(value))  # type: ignore[arg-type] # _is_number
    # the topic says the metric, so it cannot have another name
    source.metrics = {m.wire: m for m in source.metrics.values()}
    for metric in source.metrics.values():
        metric.name, metric.wire = metric.wire, ""
    return source


def _make_one(seen: Sequence[tuple[list[str], object]]) -> FoundSource:
    contents = [content for _, content in seen if isinstance(content, dict)]
    value = next(name for name in _VALUE_FIELDS if _is_number(contents[0].get(name)))
    payload: dict[str, object] = {"value": value} if value != "value" else {}
    return _make_numbers(seen, payload | _time_settings(contents))


def _make_several(seen: Sequence[tuple[list[str], object]], form: str = "json") -> FoundSource:
    contents = [content for _, content in seen if isinstance(content, dict)]
    payload: dict[str, object] = {} if form == "json" else {"format": form}
    if form == "json":
        payload |= _time_settings(contents)
    source = FoundSource(topic=_from_topic(seen, metric_too=False), kind=_kind_of(seen), payload=payload)
    for content in contents:
        for path, value in _numbers(content):
            source.see(path, value)
    named = {m.name: m.wire for m in source.metrics.values() if form == "json" or m.name != m.wire}
    if named:
        payload["values"] = {m.name: m.wire for m in source.metrics.values()}
    return source


def _make_thin_edge(seen: Sequence[tuple[list[str], object]]) -> FoundSource:
    source = _make_several(seen, "thin-edge")
    source.topic = "te/device/{entity}///m/+"
    return source


def _make_senml(seen: Sequence[tuple[list[str], object]]) -> FoundSource:
    columns = [sorted({levels[place] for levels, _ in seen}) for place in range(len(seen[0][0]))]
    template = "/".join(values[0] if len(values) == 1 else "+" for values in columns)
    source = FoundSource(topic=template, kind=_kind_of(seen), payload={"format": "senml"})
    for _, records in seen:
        base_name = base_unit = ""
        for record in records if isinstance(records, list) else []:
            base_name, base_unit = str(record.get("bn", base_name)), str(record.get("bu", base_unit))
            value = record.get("v", record.get("vb"))
            entity, _, metric = re.sub(r"[:/]", "/", base_name + str(record.get("n", ""))).rpartition("/")
            if _is_number(value) and metric and entity:
                source.see(metric, float(value), str(record.get("u", base_unit)))
    values = {m.name: m.wire for m in source.metrics.values() if m.name != m.wire}
    if values:
        source.payload["values"] = values
    return source


_MAKE = {
    "number": lambda seen: _make_numbers(seen, {}),
    "several": _make_several,
    "state": lambda seen: _make_several(seen, "state"),
    "thin-edge": _make_thin_edge,
    "senml": _make_senml,
    **{f"one:{name}": _make_one for name in _VALUE_FIELDS},
}


def _time_settings(contents: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return the settings of the time that payloads carry."""
    for name in _TIME_FIELDS:
        given = next((content[name] for content in contents if name in content), None)
        if given is None:
            continue
        settings: dict[str, object] = {} if name == "time" else {"time": name}
        if isinstance(given, str):
            return settings | {"time_unit": "iso"}
        if _is_number(given):
            return settings | ({"time_unit": "ms"} if float(given) > _MS_SINCE else {})  # type: ignore[arg-type] # _is_number
    return {}


def _numbers(content: Mapping[str, object], before: str = "") -> list[tuple[str, float]]:
    """Return (path, value) of the numbers of an object, two levels deep, times and the like left out."""
    found: list[tuple[str, float]] = []
    for name, value in content.items():
        if name in _NOT_METRICS or "." in name:
            continue
        if _is_number(value):
            found.append((before + name, float(value)))  # type: ignore[arg-type] # _is_number
        elif isinstance(value, dict) and not before:
            found += _numbers(value, f"{name}.")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float) and abs(value) < 1e300  # noqa: PLR2004 -- a float, whatever JSON allows


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_").lower()[:64]


def _unit_of(name: str) -> str:
    return next((unit for part, unit in _USUAL_UNITS if part in name), "1")


def _kind_of(seen: Sequence[tuple[list[str], object]]) -> str:
    name = _plain(seen[0][0][0])
    return name if name and is_id(name) else "thing"


def _unused(name: str, used: Sequence[str]) -> str:
    return next(n for n in (name, *(f"{name}{number}" for number in range(2, 1000))) if n not in used)
