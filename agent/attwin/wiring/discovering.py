"""A first configuration, from what a broker has."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from attwin.adapters.mqtt_watcher import Watcher
from attwin.core.discover import FoundMetric, FoundSource, discover
from attwin.core.errors import DataError

_PORTS = {"mqtt": 1883}
_MOST_MESSAGES = 50_000
_LOOK_SECONDS = 0.1
_SPARKPLUG = "spBv1.0"


def listen(
    broker: str, topic: str, seconds: float, *, username: str, password: str, progress: Callable[[float], object]
) -> list[tuple[str, bytes]]:
    """Return the messages that a broker has for some seconds, retained ones too.

    Args:
        broker: mqtt://host:port.
        topic: The filter to subscribe to.
        seconds: For how long.
        username: Empty for none.
        password: Of the user.
        progress: Told the seconds that have passed, now and then.

    Raises:
        DataError: The address is none.
        LinkDownError: The broker cannot be reached, or refuses.
    """
    parts = urlsplit(broker)
    try:
        host, port = parts.hostname, _PORTS[parts.scheme] if parts.port is None else parts.port
    except (KeyError, ValueError):
        host = port = None
    if not host or not port or parts.scheme not in _PORTS:
        # a password must not leave in the clear because TLS was asked for
        raise DataError(f"--broker is mqtt://host:port, without TLS, not `{broker}`")
    watcher = Watcher(host, port, topic, username=username, password=password)
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


def propose(messages: Sequence[tuple[str, bytes]], *, gateway: str, broker: str) -> str:
    """Return a commented configuration that reads the messages.

    Raises:
        DataError: There is nothing in them that can be read.
    """
    sources, strange = discover(messages)
    groups = sorted({topic.split("/")[1] for topic, _ in messages if topic.startswith(f"{_SPARKPLUG}/")} - {"STATE"})
    if not sources and not groups:
        raise DataError(
            f"{len(messages)} messages, and none with a reading; is --topic right, and do the sensors publish?"
        )
    lines = [
        "# Made by `attwin init` from what the broker had. Look through it, then run `attwin config check`.",
        "version: 1",
        "",
        f"gateway: {{id: {_flow(gateway)}}}",
        f"broker: {{url: {_flow(broker)}}}",
        "# upstream: {url: mqtts://hub.example.org}   # gets alerts and states; leave it out to work alone",
        "",
        "kinds:",
    ]
    for source in sources:
        lines += [f"  {_flow(source.kind)}:", "    metrics:"]
        lines += [_metric_line(metric) for metric in source.metrics.values()]
    if groups:
        lines += [
            "  machine:",
            "    metrics:",
            "      value: {unit: '1'}   # name what the births name, see docs/formats.md",
        ]
    lines += ["", "sources:"]
    for source in sources:
        lines += _source_lines(source)
    for group in groups:
        lines += [
            f"  - topic: {_flow(f'{_SPARKPLUG}/{group}')}",
            "    kind: machine",
            "    payload: {format: sparkplug, values: {value: 'Name/Of/The/Metric'}}",
        ]
    if strange:
        lines += ["", "# Not recognised:"]
        lines += [f"#   {topic!r}: {count} messages" for topic, count in sorted(strange.items())[:20]]
    lines += ["", "rules: []", "# - name: too-high", f"#   kind: {sources[0].kind if sources else 'machine'}"]
    first = next(iter(sources[0].metrics.values())).name if sources else "value"
    lines += [f"#   when: {{metric: {first}, above: 100, clear_below: 90}}", "#   for: 5m", ""]
    return "\n".join(lines)


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a file that does not exist yet.

    Raises:
        DataError: It exists, or cannot be written.
    """
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise DataError(f"{path} exists; --force replaces it, --out names another file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _metric_line(metric: FoundMetric) -> str:
    seen = f"{metric.low:g}" if metric.low == metric.high else f"{metric.low:g} to {metric.high:g}"
    readings = "1 reading" if metric.count == 1 else f"{metric.count} readings"
    return f"      {_flow(metric.name)}: {{unit: {_flow(metric.unit)}}}   # {seen} in {readings}; add min, max, every"


def _source_lines(source: FoundSource) -> list[str]:
    topics = "1 topic" if source.topics == 1 else f"{source.topics} topics"
    lines = [
        f"  # {topics}, {source.messages} messages; if entities are people or devices, add `identifiers: [entity]`",
        f"  - topic: {_flow(source.topic)}",
        f"    kind: {_flow(source.kind)}",
    ]
    return [*lines, f"    payload: {_flow(source.payload)}"] if source.payload else lines


def _flow(value: object) -> str:
    """Return a value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()
