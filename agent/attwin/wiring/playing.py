"""A CSV file as the messages that its sensors would have sent."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import numpy as np

from attwin.adapters.csv_table import find_time_column, plain_name, read_table
from attwin.adapters.mqtt_player import Play, Player
from attwin.core.errors import DataError
from attwin.core.topics import compile_template, quote_id
from attwin.wiring.offline import Wide, read_wide

_LABELS = frozenset(("occupancy", "label", "class", "target"))
"""Columns of data sets that no sensor sends, by their plain names."""
_PORTS = {"mqtt": 1883}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """Rows to play.

    Attributes:
        wide: The rows.
        metrics: Names of the columns of ``wide.values``.
        readings: How many readings they hold.
    """

    wide: Wide
    metrics: list[str]
    readings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where to publish.

    Attributes:
        url: mqtt://host:port.
        username, password: Empty for none.
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast to publish.

    Attributes:
        speed: 60 plays an hour in a minute; 0 plays as fast as ``rate`` allows.
        rate: Most readings a second, so that the broker's queue for the agent does not overrun; 0 for no limit.
    """

    speed: float
    rate: float


def read_recording(
    path: Path,
    *,
    columns: Mapping[str, str],
    time_column: str,
    entity: str,
    entity_column: str,
    zone: ZoneInfo,
) -> Recording:
    """Return a CSV file as rows to play.

    Args:
        path: The file.
        columns: The column of each metric; where this is empty, all numeric columns but labels such as ``Occupancy``,
            by their names in snake case.
        time_column: Empty to find it by its name.
        entity: The entity that all rows are about, where no column says it.
        entity_column: The column that says it; empty for none.
        zone: Of times without an offset.

    Raises:
        DataError: A column is missing or holds what it should not.
    """
    if not columns:
        table = read_table(path)
        time_name = time_column or find_time_column(table.names)
        other = _LABELS.union(plain_name(name) for name in (time_name, entity_column, "row") if name)
        columns = {snake(n): n for n in table.names if plain_name(n) not in other and table.is_numeric(n)}
        if not columns:
            raise DataError(f"{path}: no numeric column to publish")
    wide, _ = read_wide(
        path,
        list(columns),
        columns=columns,
        time_column=time_column,
        entity=entity,
        entity_column=entity_column,
        zone=zone,
    )
    return Recording(wide=wide, metrics=list(columns), readings=int((~np.isnan(wide.values)).sum()))


def play(
    recording: Recording,
    *,
    broker: Broker,
    topic: str,
    pace: Pace,
    qos: int,
    restamp: bool,
    stop: threading.Event,
    done: Callable[[], object],
) -> int:
    """Publish a recording and return how many readings the broker has.

    Args:
        recording: What to play.
        broker: Where to publish.
        topic: A template such as ``sensors/{entity}/{metric}``.
        pace: How fast.
        qos: 0 or 1.
        restamp: Whether a reading gets the time at which it is sent instead of its own.
        stop: Set it to end early.
        done: Called after each reading.

    Raises:
        DataError: The broker's address or the topic is not one.
        LinkDownError: The broker cannot be reached.
    """
    if "://" not in broker.url:
        raise DataError(f"--broker has no scheme: put mqtt:// in front, mqtt://{broker.url}")
    try:
        parts = urlsplit(broker.url)
        host, port = parts.hostname, _PORTS[parts.scheme] if parts.port is None else parts.port
        if parts.scheme not in _PORTS:
            # a password must not leave in the clear because TLS was asked for
            host = None
    except (ValueError, KeyError):
        host = port = None
    if not host or not port:
        raise DataError(f"--broker is mqtt://host:port, not `{broker.url}`")
    try:
        compile_template(topic)
    except ValueError as error:
        raise DataError(f"--topic: {error}") from error
    player = Player(host, port, username=broker.username, password=broker.password)
    try:
        return player.play(_plays(recording, topic, pace, restamp=restamp), qos=qos, stop=stop, done=done)
    finally:
        player.close()


def snake(name: str) -> str:
    """Return a column's name as a metric's: ``HumidityRatio`` is ``humidity_ratio``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"\W+", "_", words).strip("_").lower()


def _plays(recording: Recording, topic: str, pace: Pace, *, restamp: bool) -> Iterator[Play]:
    wide = recording.wide
    after_s = 0.0
    start_ms = int(wide.time_ms[0])
    for entity, time_ms, values in zip(wide.entity.tolist(), wide.time_ms.tolist(), wide.values.tolist(), strict=True):
        place = topic.replace("{entity}", quote_id(wide.entities[entity]))
        for metric, value in zip(recording.metrics, values, strict=True):
            if value == value:  # noqa: PLR0124 -- not NaN
                due_s = (time_ms - start_ms) / 1000 / pace.speed if pace.speed else 0.0
                after_s = max(due_s, after_s)
                yield Play(
                    after_s=after_s,
                    topic=place.replace("{metric}", quote_id(metric)),
                    value=value,
                    time_ms=None if restamp else time_ms,
                )
                after_s += 1 / pace.rate if pace.rate else 0.0
