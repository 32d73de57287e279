"""The tables ``alerts`` and ``alert_events``. What is written here belongs to a transaction of the writer."""

import json
import sqlite3
from collections.abc import Sequence

from attwin.core.alerts import ACTIVE, AlertFacts
from attwin.ports import AlertChange

_COLUMNS = (
    *("id", "rule", "entity", "severity", "subject", "state", "value", "threshold", "since_ms", "time_ms", "opened_ms"),
    *("acknowledged_ms", "by", "note", "snoozed_until_ms", "text", "muted", "announced", "flapping", "members"),
)
_PLAIN = _COLUMNS[1:-4]
_SELECT = f"select {', '.join(_COLUMNS)} from alerts"
_INSERT = (
    f"insert into alerts ({', '.join(_COLUMNS)}, cleared_ms, evidence) values ({', '.join('?' * (len(_COLUMNS) + 2))})"
)
_UPDATE = f"update alerts set {', '.join(f'{name} = ?' for name in _COLUMNS[1:])}, cleared_ms = ? where id = ?"


def facts_of(row: Sequence[object]) -> AlertFacts:
    """Return a row of ``_COLUMNS`` as facts."""
    alert, *middle, muted, announced, flapping, members = row
    named = dict(zip(_PLAIN, middle, strict=True))
    return AlertFacts(
        alert=alert,  # type: ignore[arg-type] # the table is strict
        muted=tuple(str(muted).split(",")) if muted else (),
        announced=bool(announced),
        flapping=bool(flapping),
        members=tuple(json.loads(str(members))),
        **named,  # type: ignore[arg-type] # the same
    )


def load_active(connection: sqlite3.Connection) -> list[AlertFacts]:
    """Return the alerts that are active, oldest first."""
    return [facts_of(row) for row in connection.execute(f"{_SELECT} where state = ? order by id", (ACTIVE,))]


def load_snoozed(connection: sqlite3.Connection, now_ms: int) -> dict[tuple[str, str], int]:
    """Return until when (rule, entity) are snoozed."""
    rows = connection.execute(
        "select rule, entity, max(snoozed_until_ms) from alerts where snoozed_until_ms > ? group by rule, entity",
        (now_ms,),
    )
    return {(rule, entity): until_ms for rule, entity, until_ms in rows}


def save(connection: sqlite3.Connection, changes: Sequence[AlertChange]) -> None:
    """Add new alerts, change those that are known, and add an event for each change."""
    for change in changes:
        after = change.after
        cleared_ms = None if after.is_active else after.time_ms
        if change.before is None:
            connection.execute(_INSERT, (*_row(after), cleared_ms, json.dumps(change.evidence)))
        else:
            connection.execute(_UPDATE, (*_row(after)[1:], cleared_ms, after.alert))
        connection.execute(
            "insert into alert_events (alert_id, time_ms, type, body) values (?, ?, ?, ?)",
            (after.alert, after.time_ms, change.type, json.dumps(change.as_event())),
        )


def _row(facts: AlertFacts) -> tuple[object, ...]:
    plain = tuple(getattr(facts, name) for name in _PLAIN)
    flags = (",".join(facts.muted), facts.announced, facts.flapping, json.dumps(facts.members))
    return (facts.alert, *plain, *flags)
