"""The configuration file: read it, check what its parts say about each other."""

import zoneinfo
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from attwin.core.errors import SettingsError
from attwin.core.rules import ATTENTION
from attwin.core.topics import TopicTemplate, compile_template, is_id
from attwin.core.units import UNITS
from attwin.settings.model import BrokerSettings, KindSettings, RuleSettings, Settings, SourceSettings
from attwin.settings.reader import Reader, did_you_mean

_MOST_INFLIGHT = 65_535
_LEAST_KEEPALIVE_MS, _MOST_KEEPALIVE_MS = 1_000, 65_535_000
_SCHEMES = ("mqtt", "mqtts")


Inspect = Callable[[Settings, Callable[[str, str], None]], None]
"""A further check: is given the settings and whom to tell (path, problem)."""


def load_settings(
    path: Path, environment: Mapping[str, str] | None = None, *, inspect: Inspect | None = None
) -> Settings:
    """Return the settings in ``path``.

    Args:
        path: The YAML file.
        environment: Where ``CREDENTIALS_DIRECTORY`` is looked up; the process's own unless given.
        inspect: Checks what lies beyond the file, once the file itself is right.

    Raises:
        SettingsError: Anything is wrong; it carries every problem with file and line.
    """
    reader = Reader(path, environment)
    settings = reader.read(Settings)
    if settings is not None:
        _check(settings, reader)
        if inspect and not reader.problems:
            inspect(settings, reader.report_at)
    if settings is None or reader.problems:
        raise SettingsError(reader.messages())
    # a default is relative to the configuration's folder too
    store_path = str((path.parent / settings.store.path).absolute())
    return replace(settings, store=replace(settings.store, path=store_path))


def _check(settings: Settings, reader: Reader) -> None:
    _check_gateway(settings, reader)
    _check_broker(settings.broker, "broker", reader)
    if settings.upstream:
        _check_broker(settings.upstream, "upstream", reader)
    for name, kind in settings.kinds.items():
        _check_kind_itself(name, kind, reader)
    for index, source in enumerate(settings.sources):
        _check_source(source, f"sources[{index}]", settings, reader)
    for entity, entity_settings in settings.entities.items():
        _check_name(entity, f"entities.{entity}", reader)
        _check_kind(entity_settings.kind, f"entities.{entity}.kind", settings, reader)
    for index, rule in enumerate(settings.rules):
        _check_rule(rule, f"rules[{index}]", settings, reader)
    for name, count in Counter(rule.name for rule in settings.rules).items():
        if count > 1:
            reader.report_at("rules", f"{count} rules are called `{name}`; a name must be unique")
    for topic, count in Counter(_filter(source.topic) for source in settings.sources).items():
        if topic and count > 1:
            reader.report_at("sources", f"{count} sources have topics like `{topic}`; a topic belongs to one source")
    _check_limits(settings, reader)


def _filter(topic: str) -> str:
    try:
        return compile_template(topic).topic_filter
    except ValueError:
        return ""


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
    _check_name(name, where, reader)
    if not kind.metrics and not reader.has_below(f"{where}.metrics"):
        reader.report_at(f"{where}.metrics", "at least one metric is needed")
    for metric_name, metric in kind.metrics.items():
        at = f"{where}.metrics.{metric_name}"
        _check_name(metric_name, at, reader)
        if metric_name == ATTENTION:
            reader.report_at(at, "`attention` is the model's output; call the metric something else")
        if metric.unit not in UNITS:
            reader.report_at(f"{at}.unit", f"`{metric.unit}` is no SenML unit; {_unit_advice(metric.unit)}")
        if metric.min is not None and metric.max is not None and metric.min >= metric.max:
            reader.report_at(at, f"min {metric.min:g} is not below max {metric.max:g}")


def _check_gateway(settings: Settings, reader: Reader) -> None:
    _check_name(settings.gateway.id, "gateway.id", reader)
    try:
        zoneinfo.ZoneInfo(settings.gateway.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        reader.report_at("gateway.zone", f"`{settings.gateway.zone}` is no IANA time zone such as Europe/Berlin")


def _check_name(name: str, where: str, reader: Reader) -> None:
    if not is_id(name):
        reader.report_at(where, f"`{name}`: a name has 1 to 64 letters, digits or any of . _ : ~ -")


def _check_broker(broker: BrokerSettings, where: str, reader: Reader) -> None:
    try:
        parts = urlsplit(broker.url)
        bad_port = parts.port == 0
    except ValueError:
        bad_port, parts = True, urlsplit("")
    if bad_port or parts.scheme not in _SCHEMES or not parts.hostname or parts.path.strip("/"):
        reader.report_at(
            f"{where}.url", f"mqtt://host:port or mqtts://host:port, not `{_without_password(broker.url)}`"
        )
    if parts.password or parts.username:
        reader.report_at(f"{where}.url", "a user and a password belong into `username` and `password`")
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


def _without_password(url: str) -> str:
    return "..." if "@" in url else url


def _check_kind(kind: str, where: str, settings: Settings, reader: Reader) -> bool:
    if kind not in settings.kinds and not reader.has(f"kinds.{kind}"):
        reader.report_at(where, f"`{kind}` is not a kind; {did_you_mean(kind, settings.kinds)}")
    return kind in settings.kinds


def _check_source(source: SourceSettings, where: str, settings: Settings, reader: Reader) -> None:
    known_kind = _check_kind(source.kind, f"{where}.kind", settings, reader)
    if source.payload.value == source.payload.time:
        reader.report_at(f"{where}.payload", f"value and time are both the field `{source.payload.time}`")
    try:
        template = compile_template(source.topic)
    except ValueError as error:
        reader.report_at(f"{where}.topic", str(error))
        return
    _check_one_place(template, "entity", source.entity, where, reader)
    _check_one_place(template, "metric", source.metric, where, reader)
    if source.entity:
        _check_name(source.entity, f"{where}.entity", reader)
    if source.metric and known_kind:
        _check_metric(source.metric, source.kind, f"{where}.metric", settings, reader)


def _check_metric(metric: str, kind: str, where: str, settings: Settings, reader: Reader) -> None:
    known = settings.kinds[kind].metrics
    if metric not in known and not reader.has(f"kinds.{kind}.metrics.{metric}"):
        reader.report_at(where, f"`{metric}` is not a metric of kind `{kind}`; {did_you_mean(metric, known)}")


def _check_one_place(template: TopicTemplate, what: str, fixed: str, where: str, reader: Reader) -> None:
    in_topic = getattr(template, f"{what}_level") is not None
    if in_topic and fixed:
        reader.report_at(f"{where}.{what}", f"the topic has {{{what}}} already")
    if not in_topic and not fixed:
        reader.report_at(where, f"no {{{what}}} in the topic and no `{what}:`; say which {what} it is")


def _check_rule(rule: RuleSettings, where: str, settings: Settings, reader: Reader) -> None:
    _check_name(rule.name, f"{where}.name", reader)
    when = rule.when
    if _check_kind(rule.kind, f"{where}.kind", settings, reader):
        kind = settings.kinds[rule.kind]
        if when.metric:
            _check_metric(when.metric, rule.kind, f"{where}.when.metric", settings, reader)
        if when.attention and not kind.model:
            reader.report_at(f"{where}.when.attention", f"kind `{rule.kind}` has no model")
    if bool(when.metric) == when.attention:
        reader.report_at(f"{where}.when", "either `metric: NAME` or `attention: true`")
    if (when.above is None) == (when.below is None):
        reader.report_at(f"{where}.when", "either `above:` or `below:`")
    if when.above is not None and (when.clear_above is not None or (when.clear_below or when.above) > when.above):
        reader.report_at(f"{where}.when", "with `above:` goes `clear_below:`, at or below that level")
    if when.below is not None:
        clear = when.below if when.clear_above is None else when.clear_above
        if when.clear_below is not None or clear < when.below:
            reader.report_at(f"{where}.when", "with `below:` goes `clear_above:`, at or above that level")


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
