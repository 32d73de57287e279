"""The configuration file: read it, check what its parts say about each other."""

import difflib
import os
import re
import zoneinfo
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from attwin.core.errors import SettingsError
from attwin.core.names import name_pattern
from attwin.core.pseudonyms import LEAST_KEY_BYTES
from attwin.core.rules import ATTENTION
from attwin.core.topics import compile_template
from attwin.core.units import UNITS, conversion
from attwin.settings.layers import Layer
from attwin.settings.model import (
    BrokerSettings,
    KindSettings,
    MetricSettings,
    PayloadSettings,
    PrivacySettings,
    Settings,
    SourceSettings,
    UpstreamSettings,
)
from attwin.settings.payloads import (
    ALLOWED,
    CSV_WORDS,
    OBJECT_FORMATS,
    Says,
    filters_of,
    given_settings,
    payload_says,
    time_field,
)
from attwin.settings.reactions import check_reactions
from attwin.settings.reader import Reader, did_you_mean
from attwin.settings.references import check_kind, check_metric, check_name
from attwin.settings.rules import check_rules
from attwin.settings.updates import check_updates
from attwin.settings.upstream import check_aggregates, check_connect, check_lanes

_MOST_INFLIGHT = 65_535
_LEAST_KEEPALIVE_MS, _MOST_KEEPALIVE_MS = 1_000, 65_535_000
_SCHEMES = ("mqtt", "mqtts")
_DATABASE = "twin.db"
_SYSTEM_FOLDER, _SYSTEM_STATE = Path("/etc/attwin"), "/var/lib/attwin"
"""Where systemd's unit has the configuration, and what it tells the agent as $STATE_DIRECTORY."""


Inspect = Callable[[Settings, Callable[[str, str], None]], None]
"""A further check: is given the settings and whom to tell (path, problem)."""


def load_settings(
    path: Path,
    environment: Mapping[str, str] | None = None,
    *,
    inspect: Inspect | None = None,
    layer: Layer | None = None,
) -> Settings:
    """Return the settings in ``path``.

    Args:
        path: The YAML file.
        environment: Where ``CREDENTIALS_DIRECTORY`` is looked up; the process's own unless given.
        inspect: Checks what lies beyond the file.
        layer: A configuration that was pushed, to be laid over it.

    Raises:
        SettingsError: Anything is wrong; it carries every problem with file and line.
    """
    return load_with_origins(path, environment, inspect=inspect, layer=layer)[0]


def load_with_origins(
    path: Path,
    environment: Mapping[str, str] | None = None,
    *,
    inspect: Inspect | None = None,
    layer: Layer | None = None,
) -> tuple[Settings, dict[str, str]]:
    """Return the settings in ``path`` as ``load_settings`` does, and where each value stands, by its path.

    Raises:
        SettingsError: Anything is wrong; it carries every problem with file and line.
    """
    reader = Reader(path, environment, layer=layer)
    settings = reader.read(Settings)
    if settings is not None:
        _check(settings, reader)
        if inspect:
            inspect(settings, reader.report_at)
    if settings is None or reader.problems:
        raise SettingsError(reader.messages())
    store_path = settings.store.path or default_database(path, environment)
    return replace(settings, store=replace(settings.store, path=store_path)), reader.origins()


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What a command needs of a configuration to look at its database.

    Attributes:
        database: The file.
        gateway: The gateway's id, empty where it cannot be used.
        zone: IANA time zone of the times that are printed.
        problems: How many problems the configuration has.
    """

    database: str
    gateway: str
    zone: str
    problems: int


def load_whereabouts(path: Path, environment: Mapping[str, str] | None = None) -> Whereabouts:
    """Return where the database of a configuration is, also where other parts of the file cannot be used.

    Raises:
        SettingsError: The file does not say that, or a setting that is misspelt may.
    """
    reader = Reader(path, environment)
    settings = reader.read(Settings)
    if settings is not None:
        _check(settings, reader)
    misspelt = not reader.has("store.path") and any(map(_may_be_the_path, reader.unknown))
    if settings is None or misspelt or reader.is_wrong("store.path"):
        raise SettingsError(reader.messages())
    gateway = settings.gateway
    return Whereabouts(
        database=settings.store.path or default_database(path, environment),
        gateway=gateway.id,
        zone=gateway.zone if _is_zone(gateway.zone) else "UTC",
        problems=len(reader.problems),
    )


def _may_be_the_path(unknown: str) -> bool:
    return unknown.startswith("store.") or bool(difflib.get_close_matches(unknown, ["store", "path"], cutoff=0.6))


def default_database(path: Path, environment: Mapping[str, str] | None = None) -> str:
    """Return where the database is of a configuration that does not say: in the state folder that systemd gives.

    Without one, or where there is a database already, it is beside the configuration.
    """
    environment = os.environ if environment is None else environment
    folder = path.parent.absolute()
    beside = folder / _DATABASE
    # who looks at the database is not told where systemd's unit keeps it
    state = environment.get("STATE_DIRECTORY") or (_SYSTEM_STATE if folder == _SYSTEM_FOLDER else "")
    return str(Path(state.split(":")[0], _DATABASE) if state and not beside.exists() else beside)


def _check(settings: Settings, reader: Reader) -> None:
    _check_gateway(settings, reader)
    _check_broker(settings.broker, "broker", reader)
    if settings.upstream:
        _check_broker(settings.upstream, "upstream", reader)
        _check_upstream(settings.upstream, settings, reader)
    for name, kind in settings.kinds.items():
        _check_kind_itself(name, kind, reader)
    _check_privacy(settings, reader)
    for index, source in enumerate(settings.sources):
        _check_source(source, f"sources[{index}]", settings, reader)
    for entity, entity_settings in settings.entities.items():
        check_name(entity, f"entities.{entity}", reader)
        check_kind(entity_settings.kind, f"entities.{entity}.kind", settings, reader)
    check_rules(settings, reader)
    check_reactions(settings, reader)
    check_updates(settings.updates, reader)
    for topic, count in Counter(topic for source in settings.sources for topic in _filters(source)).items():
        if topic and count > 1:
            reader.report_at("sources", f"{count} sources have topics like `{topic}`; a topic belongs to one source")
    _check_limits(settings, reader)


def _filters(source: SourceSettings) -> list[str]:
    try:
        return [compile_template(topic).topic_filter for topic in filters_of(source)]
    except ValueError:
        return []


def _check_limits(settings: Settings, reader: Reader) -> None:
    least = max(1, len(settings.entities))
    if settings.limits.entities < least:
        reader.report_at("limits.entities", f"must be at least {least}")
    if settings.limits.payload_bytes < 1:
        reader.report_at("limits.payload_bytes", "must be at least 1")
    for name, things in (("kinds", settings.kinds), ("sources", settings.sources)):
        if not things and not reader.has_below(name):
            reader.report_at(name, "at least one is needed")


def _check_kind_itself(name: str, kind: KindSettings, reader: Reader) -> None:
    where = f"kinds.{name}"
    check_name(name, where, reader)
    if not kind.metrics and not reader.has_below(f"{where}.metrics"):
        reader.report_at(f"{where}.metrics", "at least one metric is needed")
    for metric_name, metric in kind.metrics.items():
        at = f"{where}.metrics.{metric_name}"
        check_name(metric_name, at, reader)
        if metric_name == ATTENTION:
            reader.report_at(at, "`attention` is the model's output; call the metric something else")
        if metric.unit not in UNITS:
            reader.report_at(f"{at}.unit", f"`{metric.unit}` is no SenML unit; {_unit_advice(metric.unit)}")
        if metric.min is not None and metric.max is not None and metric.min >= metric.max:
            reader.report_at(at, f"min {metric.min:g} is not below max {metric.max:g}")
        for key in ("deadband", "step"):
            value = getattr(metric, key)
            if value is not None and value < 0:
                reader.report_at(f"{at}.{key}", f"0 or more, not {value:g}")
        if metric.categories:
            _check_categories(metric, at, reader)


def _check_categories(metric: MetricSettings, at: str, reader: Reader) -> None:
    for name, count in Counter(metric.categories).items():
        if count > 1:
            reader.report_at(f"{at}.categories", f"`{name}` stands {count} times")
        if not name or name != name.strip():
            reader.report_at(f"{at}.categories", f"`{name}` is empty, or has spaces around it")
    if len(metric.categories) == 1:
        reader.report_at(f"{at}.categories", "two or more; one alone says nothing")
    if metric.unit != "1":
        reader.report_at(f"{at}.unit", f"`{metric.unit}` beside categories, which have no unit")
    for key in ("min", "max", "step"):
        if getattr(metric, key) is not None:
            reader.report_at(f"{at}.{key}", "means nothing beside `categories`")


def _check_gateway(settings: Settings, reader: Reader) -> None:
    check_name(settings.gateway.id, "gateway.id", reader)
    if not _is_zone(settings.gateway.zone):
        reader.report_at("gateway.zone", f"`{settings.gateway.zone}` is no IANA time zone such as Europe/Berlin")


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _check_broker(broker: BrokerSettings, where: str, reader: Reader) -> None:
    _check_url(broker.url, f"{where}.url", reader)
    if broker.password and broker.password_file:
        reader.report_at(f"{where}.password_file", "beside `password`; keep one of them")
    if bool(broker.cert_file) != bool(broker.key_file):
        reader.report_at(where, "cert_file and key_file go together")
    if not _LEAST_KEEPALIVE_MS <= broker.keepalive <= _MOST_KEEPALIVE_MS:
        reader.report_at(f"{where}.keepalive", "1s to 65535s")
    if not 1 <= broker.inflight <= _MOST_INFLIGHT:
        reader.report_at(f"{where}.inflight", f"1 to {_MOST_INFLIGHT}, not {broker.inflight}")
    for name in ("password_file", "ca_file", "cert_file", "key_file"):
        file = getattr(broker, name)
        if file and not Path(file).is_file():
            reader.report_at(f"{where}.{name}", f"no file `{file}`")


def _check_upstream(upstream: UpstreamSettings, settings: Settings, reader: Reader) -> None:
    known = {metric for kind in settings.kinds.values() for metric in kind.metrics}
    check_lanes(upstream.lanes, upstream.largest, "upstream", reader)
    check_aggregates(upstream.aggregates, known, "upstream.aggregates", reader)
    if upstream.connect:
        check_connect(upstream.connect, "upstream.connect", reader)
    if upstream.twin_change < 0:
        reader.report_at("upstream.twin_change", "0 or more")


def _check_url(url: str, where: str, reader: Reader) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    shown = _without_password(url)
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.path.strip("/"):
        reader.report_at(where, f"mqtt://host:port or mqtts://host:port, not `{shown}`")
    elif not _has_possible_port(parts):
        reader.report_at(where, f"a port is 1 to 65535, not as in `{shown}`")
    if parts.password or parts.username:
        reader.report_at(where, "a user and a password belong into `username` and `password`")


def _has_possible_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _without_password(url: str) -> str:
    return "..." if "@" in url else url


def _check_source(source: SourceSettings, where: str, settings: Settings, reader: Reader) -> None:
    known_kind = check_kind(source.kind, f"{where}.kind", settings, reader)
    payload = source.payload
    if reader.is_wrong(f"{where}.payload.format"):
        return
    _check_payload(payload, where, reader)
    if known_kind:
        _check_names(source, where, settings, reader)
    if source.entity:
        check_name(source.entity, f"{where}.entity", reader)
    if source.metric and known_kind:
        check_metric(source.metric, source.kind, f"{where}.metric", settings, reader)
    try:
        templates = [compile_template(topic) for topic in filters_of(source)]
    except ValueError as error:
        reader.report_at(f"{where}.topic", str(error))
        return
    if payload.format == "sparkplug" and not re.fullmatch(r"spBv1\.0/[^/+#{}]+", source.topic):
        reader.report_at(f"{where}.topic", "spBv1.0/GROUP, without the message type and what follows it")
    topic_fields = frozenset(templates[-1].fields)
    says = payload_says(source, topic_fields)
    _check_one_place("entity", source.entity, topic_fields, says, where, reader)
    _check_one_place("metric", source.metric, topic_fields, says, where, reader)
    if payload.format.startswith("senml"):
        try:
            name_pattern(payload.name, entity_elsewhere=not says.entity)
        except ValueError as error:
            reader.report_at(f"{where}.payload.name", str(error))
    _check_identifiers(source, topic_fields, where, settings, reader)


def _check_payload(payload: PayloadSettings, where: str, reader: Reader) -> None:
    for name in sorted(given_settings(payload) - ALLOWED[payload.format]):
        known = ", ".join(sorted(ALLOWED[payload.format]))
        reader.report_at(f"{where}.payload.{name}", f"means nothing in format {payload.format}, which has {known}")
    if payload.value == time_field(payload):
        reader.report_at(f"{where}.payload", f"value and time are both the field `{payload.value}`")
    if len(payload.separator) != 1:
        reader.report_at(f"{where}.payload.separator", "one character")
    _check_columns(payload, where, reader)


def _check_columns(payload: PayloadSettings, where: str, reader: Reader) -> None:
    if payload.format != "csv":
        return
    at = f"{where}.payload.columns"
    named = [column for column in payload.columns if column not in CSV_WORDS]
    if not payload.columns:
        reader.report_at(f"{where}.payload", "columns: is missing; what are the columns, such as [time, value]?")
    elif bool(named) == ("value" in payload.columns):
        reader.report_at(at, "either the column `value`, or columns that are metrics")
    for column, count in Counter(column for column in payload.columns if column != "_").items():
        if count > 1:
            reader.report_at(at, f"`{column}` stands {count} times")


def _check_names(source: SourceSettings, where: str, settings: Settings, reader: Reader) -> None:
    """Check what is said of metrics: their names and their units."""
    payload, metrics = source.payload, settings.kinds[source.kind].metrics
    named = [column for column in payload.columns if column not in CSV_WORDS and column not in payload.values.values()]
    for metric in payload.values:
        check_metric(metric, source.kind, f"{where}.payload.values.{metric}", settings, reader)
    for metric in named:
        check_metric(metric, source.kind, f"{where}.payload.columns", settings, reader)
    for metric, unit in payload.units.items():
        at = f"{where}.payload.units.{metric}"
        check_metric(metric, source.kind, at, settings, reader)
        if unit not in UNITS:
            reader.report_at(at, f"`{unit}` is no unit; {_unit_advice(unit)}")
        elif metric in metrics and metrics[metric].unit in UNITS and not conversion(unit, metrics[metric].unit):
            reader.report_at(at, f"`{unit}` cannot become `{metrics[metric].unit}`")


def _check_identifiers(
    source: SourceSettings, topic_fields: frozenset[str], where: str, settings: Settings, reader: Reader
) -> None:
    for index, name in enumerate(source.identifiers):
        if name == "metric":
            reader.report_at(f"{where}.identifiers[{index}]", "a metric is no identifier")
        elif name not in topic_fields and (close := difflib.get_close_matches(name, topic_fields, n=1, cutoff=0.7)):
            # a field of the payload may be called anything, but hardly almost like a level of the topic
            reader.report_at(
                f"{where}.identifiers[{index}]", f"`{name}` is no field of the topic; did you mean `{close[0]}`?"
            )
        elif name not in topic_fields | {"entity"} and source.payload.format not in OBJECT_FORMATS:
            known = ", ".join(sorted(topic_fields | {"entity"}))
            reader.report_at(f"{where}.identifiers[{index}]", f"`{name}` is no field of the topic; known: {known}")
    has_key = settings.privacy.key or settings.privacy.key_file or reader.is_wrong("privacy.key")
    if source.identifiers and not has_key:
        advice = "put 32 random bytes into a file: (umask 077; head -c 32 /dev/urandom | base64 > pseudonym.key)"
        reader.report_at(f"{where}.identifiers", f"need the secret `privacy.key_file`; {advice}")


def _check_privacy(settings: Settings, reader: Reader) -> None:
    privacy = settings.privacy
    if privacy.key and privacy.key_file:
        reader.report_at("privacy.key_file", "beside `key`; keep one of them")
    if privacy.key_file and not Path(privacy.key_file).is_file():
        reader.report_at("privacy.key_file", f"no file `{privacy.key_file}`")
    elif (privacy.key or privacy.key_file) and len(pseudonym_key(privacy)) < LEAST_KEY_BYTES:
        reader.report_at("privacy", f"the key of pseudonyms has fewer than {LEAST_KEY_BYTES} characters")


def pseudonym_key(privacy: PrivacySettings) -> bytes:
    """Return the secret of pseudonyms, empty where there is none."""
    if privacy.key_file:
        return Path(privacy.key_file).read_bytes().strip()
    return privacy.key.reveal.strip().encode() if privacy.key else b""


def _check_one_place(
    what: str, fixed: str, topic_fields: frozenset[str], says: Says, where: str, reader: Reader
) -> None:
    in_payload: bool = getattr(says, what)
    in_topic = what in topic_fields
    if in_topic and fixed:
        reader.report_at(f"{where}.{what}", f"the topic has {{{what}}} already")
    elif in_payload and (in_topic or fixed):
        reader.report_at(
            f"{where}.payload", f"says the {what}, and so does {'the topic' if in_topic else f'`{what}:`'}"
        )
    elif not (in_topic or fixed or in_payload):
        reader.report_at(where, f"no {{{what}}} in the topic and no `{what}:`; say which {what} it is")


_USUAL_UNITS = {
    **dict.fromkeys(("degc", "°c", "celsius", "degf", "°f"), "Cel"),
    "lux": "lx",
    "pct": "%",
    "percent": "%",
    "seconds": "s",
    "second": "s",
    "sec": "s",
    "minutes": "min",
}


def _unit_advice(unit: str) -> str:
    if unit.lower() in _USUAL_UNITS:
        return f"did you mean `{_USUAL_UNITS[unit.lower()]}`?"
    advice = did_you_mean(unit, sorted(UNITS))
    return advice if advice.startswith("did") else "symbols are such as Cel, %RH, lx, ppm, s, m/s; 1 is a plain number"
