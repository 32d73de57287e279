"""A first configuration, from what a broker has."""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import yaml

from attwin.adapters.mqtt_watcher import Watcher
from attwin.core.catalogue import Catalogue, Kind
from attwin.core.clean import Recent
from attwin.core.deliveries import Deliveries
from attwin.core.discover import discover, kinds_of, skipped_as
from attwin.core.errors import DataError
from attwin.core.found import ANY_KIND, FoundMetric, FoundSource
from attwin.core.outgoing import base_topic
from attwin.core.types import EmptyReason
from attwin.ports import Messages
from attwin.settings.model import BrokerSettings, Settings
from attwin.wiring.brokers import address_of
from attwin.wiring.models import metrics_of
from attwin.wiring.sources import ingest_of, sources_of

_EXISTS = "{path} exists; --force replaces it, --out names another file"
_MOST_MESSAGES = 50_000
_LOOK_SECONDS = 0.1
_MOST_AT_ONCE = 1000
_SPARKPLUG = "spBv1.0"
_MACHINE = "machine"


def listen(
    broker: BrokerSettings, topic: str, seconds: float, *, progress: Callable[[float], object]
) -> list[tuple[str, bytes]]:
    """Return the messages that a broker has for some seconds, retained ones too.

    Args:
        broker: Where it is.
        topic: The filter to subscribe to.
        seconds: For how long.
        progress: Told the seconds that have passed, now and then.

    Raises:
        SettingsError: The certificates cannot be used.
        LinkDownError: The broker cannot be reached, or refuses.
    """
    where = address_of(broker, "")
    watcher = Watcher(where.host, where.port, topic, username=where.username, password=where.password, tls=where.tls)
    found: list[tuple[str, bytes]] = []
    started = time.monotonic()
    try:
        while (passed := time.monotonic() - started) < seconds and len(found) < _MOST_MESSAGES:
            time.sleep(min(_LOOK_SECONDS, seconds - passed))
            found += [(arrival.topic, arrival.payload) for arrival in watcher.take()]
            progress(min(time.monotonic() - started, seconds))
    finally:
        watcher.close()
    return found


def propose(messages: Sequence[tuple[str, bytes]], *, gateway: str, broker: BrokerSettings, zone: str) -> str:
    """Return a commented configuration that reads the messages.

    Args:
        messages: (topic, payload), in order of arrival.
        gateway: Its id.
        broker: Where they came from.
        zone: The time zone of the site.

    Raises:
        DataError: There is nothing in them that can be read.
    """
    sources, strange = discover(messages)
    groups = sorted({topic.split("/")[1] for topic, _ in messages if topic.startswith(f"{_SPARKPLUG}/")} - {"STATE"})
    if not sources and not groups:
        raise DataError(
            f"{len(messages)} messages, and none with a reading; is --topic right, and do the sensors publish?"
        )
    kinds = kinds_of(sources)
    given = {name: getattr(broker, name) for name in ("url", "username", "password_file", "ca_file")}
    machine = next(
        name for name in (_MACHINE, *(f"{_MACHINE}{number}" for number in range(2, 99))) if name not in kinds
    )
    lines = [
        "# Made by `attwin init` from what the broker had. Look through it, then run `attwin config check`.",
        "version: 1",
        "",
        f"gateway: {_flow({'id': gateway, 'zone': zone})}   # of what commands print, and of ISO times",
        f"broker: {_flow({name: said for name, said in given.items() if said})}",
        "# upstream: {url: mqtts://hub.example.org}   # gets alerts and states; leave it out to work alone",
        "",
        "kinds:",
    ]
    if len(kinds) > 1:
        lines += ["  # An entity id is the same entity in all topics, and of one kind: sources that may name the same"]
        lines += ["  # entities need one kind, also where none of them was seen in both."]
    for kind, metrics in kinds.items():
        topics = [source.topic for source in sources if source.kind == kind]
        if kind.startswith(ANY_KIND) and len(topics) > 1:
            lines += [f"  # {' and '.join(map(_flow, topics[:3]))} tell of the same entities: call this what those are"]
        lines += [f"  {_flow(kind)}:", "    metrics:", *map(_metric_line, metrics)]
    if groups:
        lines += [
            f"  {machine}:",
            "    metrics:",
            "      value: {unit: '1'}   # name what the births name, see docs/formats.md",
        ]
    lines += ["", "sources:"]
    for source in sources:
        lines += _source_lines(source)
    for group in groups:
        lines += [
            f"  - topic: {_flow(f'{_SPARKPLUG}/{group}')}",
            f"    kind: {machine}",
            "    payload: {format: sparkplug, values: {value: 'Name/Of/The/Metric'}}",
        ]
    skipped = Counter(what for topic, _ in messages if (what := skipped_as(topic)))
    if skipped:
        lines += ["", "# Skipped, as no readings of sensors:"]
        lines += [f"#   {what}: {_of(count, 'message')}" for what, count in sorted(skipped.items())]
    if strange:
        lines += ["", "# Not recognised:"]
        lines += [f"#   {topic!r}: {_of(count, 'message')}" for topic, count in sorted(strange.items())[:20]]
    lines += ["", "rules: []", "# - name: too-high", f"#   kind: {sources[0].kind if sources else machine}"]
    first = next(iter(kinds[sources[0].kind])) if sources else None
    lines += [f"#   when: {_example_rule(first)}", "#   for: 5m", ""]
    return "\n".join(lines)


def rehearse(settings: Settings, messages: Sequence[tuple[str, bytes]], *, now_ms: int) -> tuple[int, Counter[str]]:
    """Return how many readings an agent with a configuration would take from messages, and what it would not and why.

    Args:
        settings: The configuration.
        messages: (topic, payload), in order of arrival.
        now_ms: When they arrived.
    """
    kinds = [
        Kind(name=name, metrics=metrics_of(kind), windows_ms=(), step_ms=1000, lateness_ms=0)
        for name, kind in settings.kinds.items()
    ]
    catalogue = Catalogue(kinds, most_entities=settings.limits.entities)
    base = base_topic(settings.gateway.id)
    ingest = ingest_of(settings, sources_of(settings), catalogue, own_base=base, deliveries=Deliveries())
    recent, readings, rejected = Recent(), 0, Counter[str]()
    for start in range(0, len(messages), _MOST_AT_ONCE):
        part = messages[start : start + _MOST_AT_ONCE]
        arrived = Messages()
        for topic, payload in part:
            arrived.add(topic.encode(), payload, length=len(payload), flags=0, packet_id=0)
        found = ingest.decode(arrived, now_ms=now_ms)
        repeated = recent.duplicates(found.batch, np.zeros(len(found.batch), np.bool_))
        recent.remember(found.batch.where(~repeated))
        readings += int((~repeated).sum())
        rejected["duplicate"] += int(repeated.sum())
        for reject in found.rejects:
            rejected[reject.reason] += reject.count
        for (_, name, reason), count in found.counts.items():
            rejected[reason] += count if name == "messages_empty" and reason == EmptyReason.NO_READING else 0
    return readings, +rejected


def local_zone() -> str:
    """Return the IANA name of this machine's time zone, UTC where it has none."""
    linked = os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    for name in (os.environ.get("TZ", "").removeprefix(":"), linked):
        try:
            return ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return "UTC"


def check_new(path: Path, *, force: bool) -> None:
    """Find out whether a file could be written that does not exist yet, without writing it.

    Raises:
        DataError: It exists, or cannot be written.
    """
    if path.exists() and not force:
        raise DataError(_EXISTS.format(path=path))
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise DataError(f"{path}: cannot be written there")


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a file that does not exist yet.

    Raises:
        DataError: It exists, or cannot be written.
    """
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise DataError(_EXISTS.format(path=path)) from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _example_rule(metric: FoundMetric | None) -> str:
    """Return a condition that nothing that was seen would fulfil."""
    if metric is None:
        return "{metric: value, above: 100, clear_below: 90}"
    beyond = metric.high + max(metric.high - metric.low, abs(metric.high) / 10, 1e-3)
    above = _round_up(beyond)
    return f"{{metric: {metric.name}, above: {above:g}, clear_below: {(metric.high + above) / 2:g}}}"


def _round_up(value: float) -> float:
    """Return a number of two digits that is not smaller."""
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    return math.ceil(value / step) * step


def _metric_line(metric: FoundMetric) -> str:
    seen = f"{metric.low:g}" if metric.low == metric.high else f"{metric.low:g} to {metric.high:g}"
    remark = f"{seen} in {_of(metric.count, 'reading')}; add min, max, every"
    return f"      {_flow(metric.name)}: {{unit: {_flow(metric.unit)}}}   # {remark}"


def _source_lines(source: FoundSource) -> list[str]:
    seen = f"{_of(source.topics, 'topic')}, {_of(source.messages, 'message')}"
    remarks = [
        f"{seen}; if entities are people or devices, add `identifiers: [entity]`",
        "guessed from one topic: check which level is the entity" if source.is_guess else "",
        "several topics say the same entity and metric: check which level is the entity"
        if source.has_namesakes
        else "",
        "`+` may name people; as {person} it can be one of the `identifiers`" if source.leaves_out_people else "",
    ]
    lines = [
        *(f"  # {remark}" for remark in remarks if remark),
        f"  - topic: {_flow(source.topic)}",
        f"    kind: {_flow(source.kind)}",
    ]
    said = {"entity": source.entity, "metric": source.metric, "payload": source.payload}
    return [*lines, *(f"    {name}: {_flow(given)}" for name, given in said.items() if given)]


def _of(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _flow(value: object) -> str:
    """Return a value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()
