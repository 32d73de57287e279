"""Sources as configured: their topics, their decoders, their units."""

import importlib.util
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import numpy as np

from attwin.adapters.csv_payload import CsvDecoder
from attwin.adapters.json_objects import ObjectDecoder, ObjectShape
from attwin.adapters.json_payload import JsonDecoder
from attwin.adapters.json_tree import path_of
from attwin.adapters.label_payload import LabelDecoder
from attwin.adapters.payload_time import TimeReader
from attwin.adapters.senml_payload import SenmlDecoder, cbor_records, json_records
from attwin.adapters.sparkplug_payload import SparkplugDecoder
from attwin.core.catalogue import Catalogue
from attwin.core.deliveries import Deliveries
from attwin.core.names import name_pattern
from attwin.core.routes import Routes, Source
from attwin.core.topics import compile_template
from attwin.core.units import conversion
from attwin.ports import Decoder
from attwin.runtime.ingest import Conversion, Ingest
from attwin.settings.load import pseudonym_key
from attwin.settings.model import Settings, SourceSettings
from attwin.settings.payloads import OBJECT_FORMATS, filters_of, payload_says, time_field, time_forms


def sources_of(settings: Settings) -> list[Source]:
    """Return the sources with names resolved."""
    key, kinds = pseudonym_key(settings.privacy), list(settings.kinds)
    sources = [_source(source, kinds, key) for source in settings.sources]
    if settings.labels:
        # what is said of an entity is no reading: its payload says all but the entity
        sources.append(Source(templates=(compile_template(settings.labels.topic),), kind=-1, payload_says=True))
    return sources


def names_of(settings: Settings) -> list[str]:
    """Return what the sources are called where they are counted."""
    return [*(source.topic for source in settings.sources), *([settings.labels.topic] if settings.labels else [])]


def ingest_of(
    settings: Settings, sources: Sequence[Source], catalogue: Catalogue, *, own_base: str, deliveries: Deliveries
) -> Ingest:
    """Return the ingest stage.

    Args:
        settings: The configuration.
        sources: What ``sources_of`` returned.
        catalogue: Knows entities and series.
        own_base: The base of the agent's own topics.
        deliveries: What was taken before.
    """
    routes = Routes(sources, catalogue, learn=settings.limits.learn, own_base=f"{own_base}/")
    zone = ZoneInfo(settings.gateway.zone)
    return Ingest(
        routes,
        [
            *(_decoder(given, own, routes, zone) for given, own in zip(settings.sources, sources, strict=False)),
            *([LabelDecoder(routes, zone)] if settings.labels else []),
        ],
        names_of(settings),
        most_payload=settings.limits.payload_bytes,
        conversions={i: _conversion(s, settings) for i, s in enumerate(settings.sources) if s.payload.units},
        deliveries=deliveries,
    )


def inspect_sources(settings: Settings, report: Callable[[str, str], None]) -> None:
    """Report sources whose format needs a package that is not installed."""
    for index, source in enumerate(settings.sources):
        if source.payload.format == "senml-cbor" and not importlib.util.find_spec("cbor2"):
            report(f"sources[{index}].payload.format", "senml-cbor needs cbor2: pip install 'attwin[cbor]'")


def _source(settings: SourceSettings, kinds: Sequence[str], key: bytes) -> Source:
    templates = tuple(compile_template(text) for text in filters_of(settings))
    says = payload_says(settings, frozenset(templates[-1].fields))
    return Source(
        templates=templates,
        kind=kinds.index(settings.kind),
        entity=settings.entity,
        metric=settings.metric,
        payload_says=says.entity or says.metric or settings.payload.format != "json" or bool(settings.payload.items),
        entity_levels=("node", "device") if settings.payload.format == "sparkplug" else ("entity",),
        identifiers=frozenset(settings.identifiers),
        key=key,
        domain=settings.kind,
    )


def _decoder(settings: SourceSettings, source: Source, routes: Routes, zone: ZoneInfo) -> Decoder:
    payload, kind = settings.payload, routes.catalogue.kinds[source.kind]
    times = TimeReader(time_forms(payload), zone)
    names = {name: metric for metric, name in payload.values.items()}
    says = payload_says(settings, frozenset(source.templates[-1].fields))
    hides_names = bool(source.identifiers)
    match payload.format:
        case "senml" | "senml-cbor":
            read = json_records() if payload.format == "senml" else cbor_records()
            pattern = name_pattern(payload.name, entity_elsewhere=not says.entity)
            return SenmlDecoder(read, pattern, names, routes, hides=hides_names)
        case "sparkplug":
            return SparkplugDecoder(settings.topic, names, routes, hides=hides_names)
        case "csv":
            return CsvDecoder(
                payload.columns,
                payload.separator,
                names,
                routes,
                times,
                time_is_text=time_forms(payload) == ("iso",),
                hides=hides_names,
            )
    hidden = _hidden_fields(settings, source)
    if not source.payload_says:
        (time_unit,) = time_forms(payload)
        return JsonDecoder(
            value_field=payload.value,
            time_field=time_field(payload),
            time_unit=time_unit,
            zone=zone,
            hidden=hidden,
            metric_of=routes.catalogue.metric_of if any(metric.categories for metric in kind.metrics) else None,
        )
    several = payload.format != "json" and says.metric
    values = payload.values or ({metric.name: metric.name for metric in kind.metrics} if several else {})
    shape = ObjectShape(
        items=path_of(payload.items),
        values={} if payload.metric else {metric: path_of(field) for metric, field in values.items()},
        value=path_of(payload.value),
        time=path_of(time_field(payload)),
        entity=path_of(payload.entity),
        metric=path_of(payload.metric),
        metrics=names,
        hidden=[path_of(field) for field in hidden],
        words=payload.format == "state",
        others=several,
    )
    return ObjectDecoder(shape, routes, times)


def _hidden_fields(settings: SourceSettings, source: Source) -> list[str]:
    """Return the payload fields that hold identifiers."""
    if settings.payload.format not in OBJECT_FORMATS:
        return []
    hidden = [name for name in settings.identifiers if name != "entity"]
    return [*hidden, settings.payload.entity] if source.hides_entity and settings.payload.entity else hidden


def _conversion(settings: SourceSettings, everything: Settings) -> Conversion:
    metrics = everything.kinds[settings.kind].metrics
    ways = [conversion(settings.payload.units.get(n, m.unit), m.unit) or (1.0, 0.0) for n, m in metrics.items()]
    return Conversion(scale=np.array([scale for scale, _ in ways]), offset=np.array([offset for _, offset in ways]))
