"""The settings of what goes upstream, and what is wrong with them."""

import re
from dataclasses import dataclass, field
from typing import Literal

from attwin.settings.reader import Reader
from attwin.settings.types import DurationMs, SizeBytes

_DAY_MS, _HOUR_MS, _MINUTE_MS = 86_400_000, 3_600_000, 60_000
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_LEAST_BYTES = 1_000
"""Less holds no announcement of what was dropped."""
_LEAST_EVERY_MS = 1_000
Overflow = Literal["drop-oldest", "drop-newest", "coalesce"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings:
    """How much of a lane waits for upstream.

    Attributes:
        ttl: After this time a message is dropped; 0 for never.
        budget: How much may wait, topics included.
        overflow: What goes where more would; coalesce keeps the newest of each topic, then drops the oldest.
    """

    ttl: DurationMs = 0
    budget: SizeBytes = 32_000_000
    overflow: Overflow = "drop-oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationsLane(LaneSettings):
    """How many recommendations wait."""

    ttl: DurationMs = _DAY_MS
    budget: SizeBytes = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthLane(LaneSettings):
    """How much of the gateway's health waits."""

    ttl: DurationMs = _DAY_MS
    budget: SizeBytes = 1_000_000
    overflow: Overflow = "coalesce"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinLane(LaneSettings):
    """How many twins wait."""

    ttl: DurationMs = 7 * _DAY_MS
    budget: SizeBytes = 16_000_000
    overflow: Overflow = "coalesce"


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatesLane(LaneSettings):
    """How many aggregates wait."""

    ttl: DurationMs = 30 * _DAY_MS
    budget: SizeBytes = 64_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LanesSettings:
    """How much waits while upstream is away, lane by lane, in the order in which they leave.

    Attributes:
        alerts: Transitions of alerts; critical ones may use the room of all lanes, and are dropped last.
        recommendations: What the agent recommends.
        health: The gateway's health.
        twin: States of entities.
        aggregates: Aggregates.
    """

    alerts: LaneSettings = field(default_factory=LaneSettings)
    recommendations: RecommendationsLane = field(default_factory=RecommendationsLane)
    health: HealthLane = field(default_factory=HealthLane)
    twin: TwinLane = field(default_factory=TwinLane)
    aggregates: AggregatesLane = field(default_factory=AggregatesLane)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectSettings:
    """When a metered link is open; it is closed as soon as nothing waits.

    Attributes:
        every: How often it opens, the first time at the start.
        for_: Written for: how long it is open at most.
        at: Times of day at which it opens too, such as "06:00", in gateway.zone.
        urgent: Whether a critical alert opens it at once.
    """

    every: DurationMs = 0
    for_: DurationMs = 5 * _MINUTE_MS
    at: list[str] = field(default_factory=list)
    urgent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatesSettings:
    """What is told of all entities, in batches.

    Attributes:
        every: The interval; 0 for no aggregates.
        metrics: Metrics to tell count, mean, min and max of, beside attention; of every kind that has them.
        change: An entity is left out until its mean has moved by this share of min to max, or of itself.
        full: After so many intervals all entities are told.
    """

    every: DurationMs = _MINUTE_MS
    metrics: list[str] = field(default_factory=list)
    change: float = 0.05
    full: int = 60


def minutes_of(text: str) -> int | None:
    """Return the minutes after midnight of a time of day such as 06:00; None where it is none."""
    match = _TIME_OF_DAY.fullmatch(text)
    return 60 * int(match[1]) + int(match[2]) if match else None


def check_lanes(lanes: LanesSettings, largest: int, where: str, reader: Reader) -> None:
    """Report what is wrong with the lanes."""
    if largest < _LEAST_BYTES:
        reader.report_at(f"{where}.largest", f"{_LEAST_BYTES}B or more")
    for name in ("alerts", "recommendations", "health", "twin", "aggregates"):
        lane: LaneSettings = getattr(lanes, name)
        if lane.budget < largest:
            reader.report_at(f"{where}.lanes.{name}.budget", f"less than the largest message, {largest} bytes")
        if name in ("alerts", "recommendations") and lane.overflow == "coalesce":
            reader.report_at(f"{where}.lanes.{name}.overflow", "would lose all events but the newest")


def check_connect(connect: ConnectSettings, where: str, reader: Reader) -> None:
    """Report what is wrong with a schedule."""
    if not connect.every and not connect.at:
        reader.report_at(where, "either `every:` or `at:`, or both")
    for index, text in enumerate(connect.at):
        if minutes_of(text) is None:
            reader.report_at(f"{where}.at[{index}]", f'a time of day such as "06:00", not `{text}`')
    if connect.for_ < _LEAST_EVERY_MS:
        reader.report_at(f"{where}.for", "1s or more")
    if connect.every and connect.every < connect.for_:
        reader.report_at(
            f"{where}.every", "shorter than it is open; leave `connect` out for a link that is always open"
        )


def check_aggregates(aggregates: AggregatesSettings, known: set[str], where: str, reader: Reader) -> None:
    """Report what is wrong with aggregates, where ``known`` are the metrics of all kinds."""
    if 0 < aggregates.every < _LEAST_EVERY_MS:
        reader.report_at(f"{where}.every", "1s or more, or 0 for none")
    if aggregates.change < 0:
        reader.report_at(f"{where}.change", "0 or more")
    if aggregates.full < 1:
        reader.report_at(f"{where}.full", "1 or more")
    for index, name in enumerate(aggregates.metrics):
        if name not in known:
            reader.report_at(
                f"{where}.metrics[{index}]", f"`{name}` is a metric of no kind; known: {', '.join(sorted(known))}"
            )
        elif name in aggregates.metrics[:index]:
            reader.report_at(f"{where}.metrics[{index}]", f"`{name}` stands twice")
