"""The outbox as configured, and as commands see and change it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

from attwin.adapters.control_socket import ask
from attwin.adapters.mqtt_upstream import MqttUpLink
from attwin.adapters.sqlite_database import reader
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.audit import UPSTREAM
from attwin.core.catalogue import Catalogue
from attwin.core.errors import AgentAwayError, DataError
from attwin.core.lanes import DEFAULT_OUTBOX, LanePolicy, OutboxPolicy, Overflow
from attwin.core.outgoing import LANES
from attwin.core.pace import Schedule
from attwin.ports import Clock
from attwin.runtime.aggregate import AggregatePublisher
from attwin.runtime.commands import MOST_CHANGED
from attwin.runtime.deliver import Delivery
from attwin.runtime.twin import Twin
from attwin.settings.model import UpstreamSettings
from attwin.settings.upstream import ConnectSettings, LaneSettings, minutes_of
from attwin.wiring.reading import control_of, site_of

_MINUTE_MS = 60_000
_NOT_RUNNING = "not running"
_LANES = """
select lane, count(*), sum(length(topic) + length(payload)), min(created_ms + coalesce(shift_ms, 0))
from outbox left join boots on boot = boots.id group by lane
"""
_MESSAGES = """
select 'waiting' as state, lane, sequence, number, topic, length(payload) as bytes,
    created_ms + coalesce(shift_ms, 0) as time_ms, '' as reason, payload
from outbox left join boots on boot = boots.id
union all
select 'parked', lane, sequence, number, topic, length(payload), created_ms, reason, payload from parked
order by state desc, lane, sequence limit ?
"""


def outbox_policy(settings: UpstreamSettings | None) -> OutboxPolicy:
    """Return how much waits for upstream."""
    if settings is None:
        return DEFAULT_OUTBOX
    lanes: dict[str, LaneSettings] = {name: getattr(settings.lanes, name) for name in LANES}
    return OutboxPolicy(
        lanes={
            name: LanePolicy(ttl_ms=lane.ttl, budget_bytes=lane.budget, overflow=Overflow(lane.overflow))
            for name, lane in lanes.items()
        },
        largest_bytes=settings.largest,
    )


def delivery_of(
    settings: UpstreamSettings, zone: str, store: SqliteStore, uplink: MqttUpLink, clock: Clock
) -> Delivery:
    """Return the deliver stage as configured."""
    site = ZoneInfo(zone)
    return Delivery(
        store,
        uplink,
        clock,
        bytes_per_s=settings.limit,
        largest_bytes=settings.largest,
        schedule=_schedule(settings.connect) if settings.connect else None,
        local_ms=lambda now_ms: now_ms + _offset_ms(now_ms, site),
    )


def _schedule(connect: ConnectSettings) -> Schedule:
    return Schedule(
        every_ms=connect.every,
        for_ms=connect.for_,
        at_ms=[_MINUTE_MS * (minutes_of(text) or 0) for text in connect.at],
        urgent=connect.urgent,
    )


def _offset_ms(now_ms: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(now_ms / 1000, zone).utcoffset()
    return round(offset.total_seconds() * 1000) if offset else 0


def aggregates_of(settings: UpstreamSettings, twin: Twin, base: str, clock: Clock) -> AggregatePublisher | None:
    """Return what tells aggregates, None where there are to be none."""
    aggregates = settings.aggregates
    if not aggregates.every:
        return None
    return AggregatePublisher(
        twin,
        base=base,
        every_ms=aggregates.every,
        metrics=aggregates.metrics,
        change=aggregates.change,
        full=aggregates.full,
        largest_bytes=settings.largest,
        now_ms=clock.monotonic_ms(),
    )


def lanes_of(database: Path) -> list[dict[str, object]]:
    """Return what each lane holds, in the order in which they leave.

    In flight, and why a lane pauses, only a running agent knows: None where there is none.
    """
    try:
        live = cast("dict[str, dict[str, object]]", ask(control_of(database), {"verb": "outbox"}).get("lanes", {}))
    except AgentAwayError:
        live = {}
    now_ms = time.time_ns() // 1_000_000
    with reader(database) as connection:
        waiting = {lane: rest for lane, *rest in connection.execute(_LANES)}
        parked = dict(connection.execute("select lane, count(*) from parked group by lane").fetchall())
        dropped = dict(
            connection.execute(
                "select reason, sum(count) from audit_totals where source = ? and name glob 'dropped(*' "
                "group by reason",
                (UPSTREAM,),
            ).fetchall()
        )
    rows = []
    for lane in LANES:
        count, size, oldest_ms = waiting.get(lane, (0, 0, None))
        rows.append(
            {
                "lane": lane,
                "waiting": count,
                "bytes": size,
                "oldest_s": None if oldest_ms is None else max(0, now_ms - oldest_ms) // 1000,
                "in_flight": live.get(lane, {}).get("in_flight"),
                "parked": parked.get(lane, 0),
                "dropped": dropped.get(lane, 0),
                "paused": live.get(lane, {}).get("paused", ""),
            }
        )
    return rows


def messages_of(database: Path, limit: int) -> list[dict[str, object]]:
    """Return messages that wait or are parked, lane by lane, oldest first."""
    with reader(database) as connection:
        found = connection.execute(_MESSAGES, (limit,))
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found]
    for row in rows:
        row["place"] = f"{row['lane']}:{row.pop('sequence')}"
        row.pop("number")
        row["payload"] = bytes(row["payload"]).decode("utf-8", errors="backslashreplace")
    return rows


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message is in the outbox."""

    lane: str
    sequence: int


def places_of(database: Path, names: Sequence[str], table: str) -> list[Place]:
    """Return the places of messages that are named by their place or by their id.

    Args:
        database: The file.
        names: As people have them from the list, or from upstream.
        table: ``outbox`` or ``parked``.

    Raises:
        DataError: A name is neither, or there is no such message.
    """
    places = []
    with reader(database) as connection:
        for name in names:
            parts = name.rsplit(":", 2)
            if parts[-2:-1] and parts[-2] in LANES and parts[-1].isdigit():
                column = "sequence" if name.count(":") == 1 else "number"
                row = connection.execute(
                    f"select lane, sequence from {table} where lane = ? and {column} = ?",
                    (parts[-2], int(parts[-1])),
                ).fetchone()
            else:
                raise DataError(f"`{name}` is no place such as alerts:12, and no id of a message")
            if row is None:
                raise DataError(f"`{name}`: no such message {'waits' if table == 'outbox' else 'is parked'}")
            places.append(Place(*row))
    return places


def parked_places(database: Path) -> list[Place]:
    """Return the places of all messages that are parked."""
    with reader(database) as connection:
        return [Place(*row) for row in connection.execute("select lane, sequence from parked order by lane, sequence")]


def park(database: Path, places: Sequence[Place]) -> int:
    """Set messages aside that wait; return how many that was possible with."""
    return _change(database, "park_outgoing", places)


def retry(database: Path, places: Sequence[Place]) -> int:
    """Let messages wait again that were set aside; return how many that was possible with."""
    return _change(database, "retry_outgoing", places)


def _change(database: Path, verb: str, places: Sequence[Place]) -> int:
    """Ask the agent for a change, or make it where none runs.

    Raises:
        DataError: The agent refuses.
        StoreError: Another process has the database.
    """
    done = 0
    for start in range(0, len(places), MOST_CHANGED):
        pairs = [[place.lane, place.sequence] for place in places[start : start + MOST_CHANGED]]
        try:
            answer = ask(control_of(database), {"verb": verb, "places": pairs})
        except AgentAwayError as error:
            if error.state != _NOT_RUNNING:
                raise
            return done + _change_alone(database, verb, places[start:])
        if "error" in answer:
            raise DataError(str(answer["error"]))
        done += cast("int", answer["done"])
    return done


def _change_alone(database: Path, verb: str, places: Sequence[Place]) -> int:
    """Change the outbox of a database that no agent has, under the lock of its one writer."""
    gateway, _ = site_of(database)
    store = SqliteStore(database, Catalogue([], most_entities=1), gateway=gateway, durability="full")
    try:
        done = 0
        for place in places:
            if verb == "retry_outgoing":
                done += store.retry_outgoing(place.lane, place.sequence)
            else:
                done += not store.park_outgoing(place.lane, place.sequence, now_ms=time.time_ns() // 1_000_000)
    finally:
        store.close()
    return done
