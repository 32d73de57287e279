"""Sources as they were found: what samples of one form have in common, as settings that read them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from attwin.core.levels import (
    ONE_ENTITY,
    Places,
    are_measures,
    columns_of,
    is_sort_name,
    may_be_person,
    places_of,
    usual_unit,
)
from attwin.core.samples import Fields, Sample, is_iso, is_number, is_time, number_in, numbers_of, word_number
from attwin.core.topics import is_id, quote_id
from attwin.core.units import UNITS

_ENTITY_FIELDS = (
    *("entity", "entity_id", "device", "device_id", "deviceid", "sensor_id", "sensorid", "node", "node_id", "asset"),
    *("room", "zone", "station", "mac", "dev", "id", "sensor", "name"),
)
_METRIC_FIELDS = (
    *("metric", "measurement", "quantity", "parameter", "property", "channel", "type", "sensor_type", "kind"),
    *("key", "name", "sensor", "id"),
)
_EITHER = frozenset(_ENTITY_FIELDS) & frozenset(_METRIC_FIELDS)
"""Fields that hold either; what they hold decides."""
_WEAK_NAMES = frozenset(("name", "id"))
"""Fields that say the entity where the topic cannot."""
ANY_KIND = "thing"
"""A kind for which nothing has a name."""
_MS_SINCE, _S_SINCE = 1e11, 1e9
"""Numbers of milliseconds since 1970, and of seconds, are larger."""
_THIN_EDGE_DEVICE, _THIN_EDGE_CHILD = 2, 4
"""The levels that name a device, and a service of one."""


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

    def see(self, other: "FoundMetric") -> None:
        """Note other readings."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.count += other.count


@dataclass(slots=True, kw_only=True)
class FoundSource:
    """Topics that belong together.

    Attributes:
        topic: As a template.
        kind: A name for what is found there.
        form: What sort of payload it reads.
        payload: The settings of the payload.
        seen: The samples.
        entity, metric: Where neither topic nor payload says it; empty otherwise.
        metrics: By name.
        entities: Whose readings there were.
    """

    topic: str
    kind: str
    form: str
    payload: dict[str, object]
    seen: Sequence[Sample]
    entity: str = ""
    metric: str = ""
    metrics: dict[str, FoundMetric] = field(default_factory=dict)
    entities: set[str] = field(default_factory=set)

    @property
    def topics(self) -> int:
        """How many topics there were."""
        return len({sample.levels for sample in self.seen})

    @property
    def is_guess(self) -> bool:
        """Whether one topic alone had to tell which of its levels is the entity."""
        return self.topics == 1 and "{entity}" in self.topic and not self.form.startswith("thin-edge")

    @property
    def has_namesakes(self) -> bool:
        """Whether several topics say the same entity and metric."""
        says = [place for place, level in enumerate(self.topic.split("/")) if level.startswith("{")]
        names_metric = "{metric}" in self.topic or bool(self.metric)
        return names_metric and self.topics > len({tuple(sample.levels[p] for p in says) for sample in self.seen})

    @property
    def leaves_out_people(self) -> bool:
        """Whether a level that may name somebody is any text."""
        columns, levels = columns_of(self.seen), self.topic.split("/")
        return any(level == "+" and may_be_person(columns, place) for place, level in enumerate(levels))

    @property
    def messages(self) -> int:
        """How many messages there were."""
        return len(self.seen)

    def see(self, entity: str, wire: str, value: float, unit: str = "") -> None:
        """Note a reading of a metric as a payload names it."""
        name = _plain(wire)
        if not is_id(name) or name == "attention":
            name = f"{name or 'metric'}_value"[-64:]
        self._add(entity, name, wire, value, unit)

    def see_named(self, entity: str, level: str, value: float) -> None:
        """Note a reading of a metric that a topic names: it cannot have another name."""
        if is_id(level) and quote_id(level) == level and level != "attention":
            self._add(entity, level, "", value, "")

    def add_metrics(self, metrics: dict[str, FoundMetric]) -> None:
        """Note the metrics of another source."""
        for name, metric in metrics.items():
            if name in self.metrics:
                self.metrics[name].see(metric)
            else:
                self.metrics[name] = replace(metric)

    def _add(self, entity: str, name: str, wire: str, value: float, unit: str) -> None:
        self.entities.add(entity)
        guess = unit if unit in UNITS else usual_unit(name)
        metric = FoundMetric(name=name, wire=wire, unit=guess, low=value, high=value)
        if name in self.metrics:
            self.metrics[name].see(metric)
        else:
            self.metrics[name] = metric


def source_of(form: str, seen: Sequence[Sample]) -> FoundSource:
    """Return the source that reads samples of one form; it has no metrics where there is none."""
    name, _, rest = form.partition(":")
    match name:
        case "list":
            items, _, inner = rest.partition(":")
            return _objects(seen, inner, items=items)
        case "csv":
            return _csv(seen, rest[0])
        case "senml":
            return _senml(seen)
        case "thin-edge" | "state":
            return _preset(seen, name)
        case "number" | "word":
            return _bare(seen, name)
        case _:
            return _objects(seen, form)


def _bare(seen: Sequence[Sample], form: str) -> FoundSource:
    """Return a source of numbers, or of words that stand for one."""
    places = places_of(seen, entity=True, metric=True)
    payload: dict[str, object] = {"format": "state"} if form == "word" else {}
    source = _new(seen, places, form, payload)
    for sample in seen:
        value = sample.records[0][""]
        number = word_number(value) if isinstance(value, str) else float(value) if is_number(value) else 0.0
        source.see_named(places.entity_of(sample), places.metric_of(sample), number)
    return source


def _preset(seen: Sequence[Sample], form: str) -> FoundSource:
    """Return a source of a format that says by itself where things are."""
    places = places_of(seen, entity=True, metric=False)
    if form == "thin-edge":
        places = Places(entity=_THIN_EDGE_CHILD if seen[0].levels[3] else _THIN_EDGE_DEVICE, metric=-1)
    source = _new(seen, places, form, {"format": form})
    if form == "thin-edge":
        source.topic = source.topic.rpartition("/")[0] + "/+"
    for sample in seen:
        for path, value in numbers_of(sample.records[0], words=form == "state"):
            source.see(places.entity_of(sample), path, value)
    if any(m.name != m.wire for m in source.metrics.values()):
        source.payload["values"] = {m.name: m.wire for m in source.metrics.values()}
    return source


def _objects(seen: Sequence[Sample], shape: str, *, items: str = "") -> FoundSource:
    """Return a source of objects, or of lists of them, with one value each (``one:FIELD``) or with several."""
    form, _, value = shape.partition(":")
    metric = _metric_field(seen) if value else ""
    entity = _entity_field(seen, metric)
    said = {"items": items, "entity": entity, "metric": metric, "value": value if value != "value" else ""}
    payload: dict[str, object] = {name: given for name, given in said.items() if given}
    places = places_of(seen, entity=not entity, metric=bool(value) and not metric)
    source = _new(seen, places, form, payload | _time_settings(seen))
    for sample in seen:
        for record in sample.records:
            whose = str(record.get(entity, sample.outer.get(entity))) if entity else places.entity_of(sample)
            if not value:
                for path, number in numbers_of(record):
                    source.see(whose, path, number)
            elif is_number(given := record[value]) and metric:
                source.see(whose, str(record.get(metric, sample.outer.get(metric))), float(given))
            elif is_number(given):
                source.see_named(whose, places.metric_of(sample), float(given))
    if metric:
        _note_names(source)
    elif not value:
        source.payload["values"] = {m.name: m.wire for m in source.metrics.values()}
    return source


def _csv(seen: Sequence[Sample], separator: str) -> FoundSource:
    """Return a source of CSV lines."""
    rows = [record for sample in seen for record in sample.records]
    columns, time_unit = _csv_columns(rows, seen[0].outer)
    where = {name: place for place, name in columns.items()}
    entity, metric, one = where.get("entity"), where.get("metric"), "value" in where
    places = places_of(seen, entity=entity is None, metric=one and metric is None)
    payload: dict[str, object] = {"format": "csv", "columns": list(columns.values())}
    payload |= {"separator": separator} if separator != "," else {}
    payload |= {"time_unit": time_unit} if time_unit else {}
    source = _new(seen, places, "csv", payload)
    metrics = [p for p, name in columns.items() if name not in ("time", "entity", "metric", "value", "_")]
    for sample in seen:
        for row in sample.records:
            whose = places.entity_of(sample) if entity is None else str(row[entity])
            for place in [where["value"]] if one else metrics:
                number = number_in(str(row[place]))
                if number is None:
                    continue
                if not one:
                    source.see(whose, columns[place], number)
                elif metric is not None:
                    source.see(whose, str(row[metric]), number)
                else:
                    source.see_named(whose, places.metric_of(sample), number)
    _note_names(source)
    return source


def _csv_columns(rows: Sequence[Fields], header: Fields) -> tuple[dict[str, str], str]:
    """Return what the columns of CSV lines are, by their places, and the unit of the time.

    A header names the metrics. Without one, a single column of numbers is the value of a metric that a column or the
    topic names; several are called ``value1`` and so on.
    """
    columns = dict.fromkeys(rows[0], "_")
    time_unit = ""
    for place in columns:
        cells = [str(row[place]) for row in rows if row[place]]
        numbers = [number for cell in cells if (number := number_in(cell)) is not None]
        no_time = bool(cells) and "time" not in columns.values()
        if no_time and all(map(is_iso, cells)):
            columns[place], time_unit = "time", "iso"
        elif cells and len(numbers) == len(cells):
            says_time = is_time(str(header[place])) if header else min(numbers) > _S_SINCE
            columns[place] = "time" if no_time and says_time else "value"
            time_unit = "ms" if columns[place] == "time" and min(numbers) > _MS_SINCE else time_unit
        elif cells and all(map(is_id, cells)):
            columns[place] = "metric" if are_measures(cells) else "entity"
    for name in ("entity", "metric"):
        columns |= dict.fromkeys([place for place in columns if columns[place] == name][1:], "_")
    values = [place for place in columns if columns[place] == "value"]
    if "metric" in columns.values():
        columns |= dict.fromkeys(values[1:], "_")
    elif header or len(values) > 1:
        unique = len({header.get(place) for place in values}) == len(values) and "" not in header.values()
        columns |= {p: str(header[p]) if unique and header else f"value{n}" for n, p in enumerate(values, 1)}
    return columns, time_unit


def _senml(seen: Sequence[Sample]) -> FoundSource:
    source = _new(seen, Places(entity=-1, metric=-1), "senml", {"format": "senml"})
    source.entity = ""
    for sample in seen:
        base_name = base_unit = ""
        for record in sample.records:
            base_name, base_unit = str(record.get("bn", base_name)), str(record.get("bu", base_unit))
            value = record.get("v", record.get("vb"))
            entity, _, metric = re.sub(r"[:/]", "/", base_name + str(record.get("n", ""))).rpartition("/")
            if is_number(value) and metric and entity:
                source.see(entity, metric, float(value), str(record.get("u", base_unit)))
    _note_names(source)
    return source


def _new(seen: Sequence[Sample], places: Places, form: str, payload: dict[str, object]) -> FoundSource:
    fixed = ONE_ENTITY if places.entity < 0 and "entity" not in payload and not _has_entity_column(payload) else ""
    template = places.template(seen)
    return FoundSource(
        topic=template,
        kind=_kind_of(template),
        form=form,
        payload=payload,
        seen=seen,
        entity=fixed,
        metric=places.said_metric,
    )


def _has_entity_column(payload: dict[str, object]) -> bool:
    columns = payload.get("columns")
    return isinstance(columns, list) and "entity" in columns


def _note_names(source: FoundSource) -> None:
    """Say which metric a name stands for, where it is another one."""
    named = {m.name: m.wire for m in source.metrics.values() if m.wire and m.name != m.wire}
    if named:
        source.payload["values"] = named


def _entity_field(seen: Sequence[Sample], metric: str) -> str:
    """Return the field that says the entity, empty where the topic does: then each topic has one."""
    for path in _named_fields(seen, _ENTITY_FIELDS):
        given = [(s.levels, str(r.get(path, s.outer.get(path)))) for s in seen for r in s.records]
        pairs, known = set(given), {whose for _, whose in given}
        topics = {levels for levels, _ in given}
        name = path.rpartition(".")[2].lower()
        # one that every message has anew is the number of the message
        is_number = name == "id" and len(seen) > 1 and len(known) == len(given)
        is_other = path == metric or is_number or (name in _EITHER and are_measures(known))
        # a name that one topic alone gives may be that of the sensor's sort
        topics_tell = len(topics) > 1 or (name in _WEAK_NAMES and len(known) == 1 and len(seen[0].levels) > 1)
        in_topic = all(whose in levels for levels, whose in given) or (topics_tell and len(pairs) == len(topics))
        if not (is_other or in_topic) and all(map(is_id, known)):
            return path
    return ""


def _metric_field(seen: Sequence[Sample]) -> str:
    """Return the field that says the metric, empty where there is none."""
    for name in _named_fields(seen, _METRIC_FIELDS):
        given = {str(record.get(name, sample.outer.get(name))) for sample in seen for record in sample.records}
        if all(_plain(wire) for wire in given) and (name not in _EITHER or are_measures(given)):
            return name
    return ""


def _named_fields(seen: Sequence[Sample], names: Sequence[str]) -> Iterator[str]:
    """Yield the fields of such names that every record has, or the object around it, as text or as a whole number."""
    first = {**seen[0].outer, **seen[0].records[0]}
    for wanted in names:
        for path in first:
            if path.rpartition(".")[2].lower() == wanted and all(
                isinstance(found := record.get(path, sample.outer.get(path)), str)
                or (type(found) is int and wanted != "id")
                for sample in seen
                for record in sample.records
            ):
                yield path


def _time_settings(seen: Sequence[Sample]) -> dict[str, object]:
    """Return the settings of the time that payloads carry."""
    everything = [fields for sample in seen for fields in (*sample.records, sample.outer)]
    for path in dict.fromkeys(path for fields in everything for path in fields if is_time(path)):
        given = next((fields[path] for fields in everything if fields.get(path) is not None), None)
        settings: dict[str, object] = {} if path == "time" else {"time": path}
        if is_iso(given):
            return settings | {"time_unit": "iso"}
        if is_number(given) and not isinstance(given, bool):
            return settings | ({"time_unit": "ms"} if float(given) > _MS_SINCE else {})
    return {}


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_").lower()[:64]


def _kind_of(template: str) -> str:
    """Return a name for the entities of some topics: the fixed text before them that is their sort, else the first."""
    levels = template.split("/")
    before = levels[levels.index("{entity}") - 1] if "{entity}" in levels else ""
    name = _plain(before if is_sort_name(before) else levels[0])
    return name if name and is_id(name) else ANY_KIND
