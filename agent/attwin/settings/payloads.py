"""What each payload format may be told, and what it says by itself."""

from dataclasses import dataclass, fields

from attwin.settings.model import PayloadSettings, SourceSettings

ALLOWED = {
    "json": frozenset(("value", "values", "items", "time", "time_unit", "entity", "metric", "units")),
    "senml": frozenset(("name", "values")),
    "senml-cbor": frozenset(("name", "values")),
    "sparkplug": frozenset(("values", "units")),
    "csv": frozenset(("columns", "separator", "time_unit", "values", "units")),
    "thin-edge": frozenset(("values", "time", "time_unit", "units")),
    "state": frozenset(("value", "values", "time", "time_unit", "units")),
}
"""The settings that mean something, by format."""

OBJECT_FORMATS = frozenset(("json", "thin-edge", "state"))
"""The formats whose payloads have fields that can be named by a path."""

CSV_WORDS = frozenset(("time", "entity", "metric", "value", "_"))
"""Columns that are no metric."""

_TIME_FIELDS = {"state": "last_seen"}
_TIME_FORMS = {"thin-edge": ("s", "iso"), "state": ("ms", "iso")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """Whether a payload says which entity and which metric its readings are of."""

    entity: bool
    metric: bool


def payload_says(source: SourceSettings, topic_fields: frozenset[str]) -> Says:
    """Return what the payloads of a source say, given the fields of its topic."""
    payload = source.payload
    elsewhere = {
        "entity": "entity" in topic_fields or bool(source.entity),
        "metric": "metric" in topic_fields or bool(source.metric),
    }
    match payload.format:
        case "senml" | "senml-cbor":
            return Says(entity=not elsewhere["entity"], metric=True)
        case "sparkplug":
            return Says(entity=True, metric=True)
        case "csv":
            named = set(payload.columns) - CSV_WORDS
            return Says(entity="entity" in payload.columns, metric="metric" in payload.columns or bool(named))
        case "json":
            return Says(entity=bool(payload.entity), metric=bool(payload.metric or payload.values))
        case _:
            return Says(entity=False, metric=not elsewhere["metric"])


def time_field(payload: PayloadSettings) -> str:
    """Return the field of the time."""
    return payload.time or _TIME_FIELDS.get(payload.format, "time")


def time_forms(payload: PayloadSettings) -> tuple[str, ...]:
    """Return how a time may be written."""
    return _TIME_FORMS.get(payload.format, ("s",)) if payload.time_unit == "auto" else (payload.time_unit,)


def given_settings(payload: PayloadSettings) -> set[str]:
    """Return the settings that differ from their defaults, without the format itself."""
    default = PayloadSettings()
    names = {field.name for field in fields(payload)} - {"format"}
    return {name for name in names if getattr(payload, name) != getattr(default, name)}


def filters_of(source: SourceSettings) -> list[str]:
    """Return the topics of a source as templates."""
    if source.payload.format == "sparkplug":
        return [f"{source.topic}/{{type}}/{{node}}", f"{source.topic}/{{type}}/{{node}}/{{device}}"]
    return [source.topic]
