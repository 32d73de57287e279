"""Alerts for people: what is stored of them, why they opened, and what a person does about them."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from attwin.adapters.control_socket import ask
from attwin.adapters.sqlite_database import reader
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.alerts import MOST_SNOOZE_MS
from attwin.core.catalogue import Catalogue
from attwin.core.durations import format_duration
from attwin.core.errors import NOT_RUNNING, AgentAwayError, AlertGoneError, AttwinError, BundleError, DataError
from attwin.core.manifest import InputBuilder
from attwin.core.outgoing import alert_drafts
from attwin.ports import AlertChange, Commit
from attwin.runtime.alerts import AlertBook
from attwin.wiring.history import readings_of
from attwin.wiring.models import load_bundle
from attwin.wiring.reading import BUNDLE, UPSTREAM_BASE, control_of, site_of

_ALERTS = """
select id as alert, rule, entity, severity, subject, state, value, threshold, since_ms, time_ms, opened_ms, cleared_ms,
    acknowledged_ms, by, note, snoozed_until_ms, muted, announced, flapping, members
from alerts where (? or state = 'active') and (? is null or id = ?) and (? is null or opened_ms >= ?) order by id
"""
SHOWN_BEFORE_MS = 600_000
"""How much of what was measured before an alert opened is shown with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who does something about an alert.

    Attributes:
        name: As the machine knows them.
        note: What they say.
    """

    name: str
    note: str


def alerts_of(
    database: Path, *, everything: bool, alert: int | None = None, from_ms: int | None = None
) -> list[dict[str, object]]:
    """Return alerts, oldest first; only active ones unless told.

    Args:
        database: The file.
        everything: Cleared ones too.
        alert: Only the one of this number.
        from_ms: Only those that opened since then.
    """
    with reader(database) as connection:
        found = connection.execute(_ALERTS, (everything, alert, alert, from_ms, from_ms))
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found]
    return [
        {
            **row,
            "muted": [word for word in str(row["muted"]).split(",") if word],
            "announced": bool(row["announced"]),
            "flapping": bool(row["flapping"]),
            "members": json.loads(str(row["members"])),
        }
        for row in rows
    ]


def alert_of(database: Path, alert: int) -> dict[str, object]:
    """Return one alert.

    Raises:
        DataError: There is none of that number.
    """
    for row in alerts_of(database, everything=True, alert=alert):
        return row
    raise DataError(f"no alert {alert}; `attwin alerts list --all` shows them all")


def alert_events(
    database: Path, *, after: int = 0, last_lines: int | None = None, alert: int | None = None
) -> tuple[int, list[dict[str, object]]]:
    """Return the number of the newest event, and the events after a number or the last few ones.

    Args:
        database: The file.
        after: The number.
        last_lines: How many, in the place of ``after``.
        alert: Only those of this alert.
    """
    with reader(database) as connection:
        (newest,) = connection.execute("select coalesce(max(id), 0) from alert_events").fetchone()
        first = after if last_lines is None else max(0, newest - last_lines)
        rows = connection.execute(
            "select id, body from alert_events where id > ? and id <= ? and (? is null or alert_id = ?) order by id",
            (first, newest, alert, alert),
        ).fetchall()
    return newest, [{"event": event, **json.loads(body)} for event, body in rows]


def why(database: Path, alert: int) -> dict[str, object]:
    """Return what was known when an alert opened: rule, model, inputs, and how much each of them contributed.

    Raises:
        DataError: There is no such alert.
    """
    facts = alert_of(database, alert)
    with reader(database) as connection:
        (body,) = connection.execute("select evidence from alerts where id = ?", (alert,)).fetchone()
    evidence: dict[str, object] = json.loads(body)
    opened_ms = int(str(facts["opened_ms"]))
    found: dict[str, object] = {"alert": facts, **evidence}
    found["readings"] = readings_of(database, str(facts["entity"]), opened_ms - SHOWN_BEFORE_MS, opened_ms)
    features, model = evidence.get("features"), evidence.get("model")
    if isinstance(features, dict) and isinstance(model, dict):
        try:
            found["contributions"] = _contributions(database, features, str(model["sha256"]))
        except AttwinError as error:
            found["contributions_missing"] = str(error)
    return found


def acknowledge(database: Path, alerts: Sequence[int], person: Person) -> list[dict[str, object]]:
    """Note that somebody has taken up alerts, and return them as they are now.

    Raises:
        AlertGoneError: One is not active; those before it are noted.
        StoreError: No agent runs, and the database cannot be written.
    """
    request: dict[str, object] = {"verb": "acknowledge", "by": person.name, "note": person.note}

    def act(book: AlertBook, alert: int, now_ms: int) -> AlertChange:
        return book.acknowledge(alert, by=person.name, note=person.note, now_ms=now_ms)

    return [_change(database, alert, request, act) for alert in alerts]


def snooze(database: Path, alerts: Sequence[int], person: Person, *, for_ms: int) -> list[dict[str, object]]:
    """Note that alerts are not to be told for so long, and return them as they are now.

    Raises:
        AlertGoneError: One is not active; those before it are noted.
        DataError: Nobody may snooze for so long.
        StoreError: No agent runs, and the database cannot be written.
    """
    if not 0 < for_ms <= MOST_SNOOZE_MS:
        raise DataError(f"an alert is snoozed for at most {format_duration(MOST_SNOOZE_MS)}")
    request: dict[str, object] = {"verb": "snooze", "by": person.name, "note": person.note, "for_ms": for_ms}

    def act(book: AlertBook, alert: int, now_ms: int) -> AlertChange:
        return book.snooze(alert, until_ms=now_ms + for_ms, by=person.name, note=person.note, now_ms=now_ms)

    return [_change(database, alert, request, act) for alert in alerts]


def _change(
    database: Path,
    alert: int,
    request: dict[str, object],
    act: Callable[[AlertBook, int, int], AlertChange],
) -> dict[str, object]:
    """Let the agent change an alert; where none runs, change it in the database, whose lock only one may hold."""
    try:
        answer = ask(control_of(database), {**request, "alert": alert})
    except AgentAwayError as error:
        if error.state != NOT_RUNNING:
            raise
        return _change_here(database, alert, act).after.as_dict()
    if "error" in answer:
        raise AlertGoneError(str(answer["error"]))
    return cast("dict[str, object]", answer["alert"])


def _change_here(database: Path, alert: int, act: Callable[[AlertBook, int, int], AlertChange]) -> AlertChange:
    alert_of(database, alert)
    gateway, _ = site_of(database)
    catalogue, now_ms = Catalogue([], most_entities=0), time.time_ns() // 1_000_000
    with contextlib.closing(SqliteStore(database, catalogue, gateway=gateway, durability="full")) as store:
        book = AlertBook(
            [], catalogue, store.active_alerts(), next_alert=store.next_alert(), snoozed=store.snoozed(now_ms)
        )
        change = act(book, alert, now_ms)
        base = store.meta(UPSTREAM_BASE)
        drafts = alert_drafts(base, change.before, change.after) if base else []
        store.commit(Commit(now_ms=now_ms, alerts=[change], drafts=drafts))
    return change


def _contributions(database: Path, features: Mapping[str, float | None], sha256: str) -> list[dict[str, object]]:
    """Return by how much each input moved the score, strongest first: the score less the one with its usual value.

    Raises:
        BundleError: The model that made the score is not there any more.
        ScorerError: No runtime works here.
    """
    with reader(database) as connection:
        row = connection.execute("select value from meta where name = ?", (f"{BUNDLE}{sha256}",)).fetchone()
    if row is None:
        raise BundleError("nobody has noted where the model lies that made this score")
    bundle, scorer = load_bundle(Path(row[0]))
    if bundle.sha256 != sha256:
        raise BundleError(f"{row[0]}: another model by now; the one that made this score is {sha256[:12]}")
    names = bundle.manifest.feature_names()
    given = [features.get(name) for name in names]
    row_of = np.array([[np.nan if value is None else value for value in given]], np.float32)
    inputs, _ = InputBuilder(bundle.manifest).build(row_of)
    # one row as it was, and one for each input with its usual value in its place
    rows = np.repeat(inputs, len(names) + 1, axis=0)
    rows[np.arange(1, len(names) + 1), np.arange(len(names))] = 0.0
    scores = scorer.score(rows).astype(np.float64)
    usual = [spec.mean for spec in bundle.manifest.features]
    found: list[dict[str, object]] = [
        {
            "input": name,
            "value": given[place],
            "usual": usual[place] if place < len(usual) else None,
            "contribution": float(scores[0] - scores[place + 1]),
        }
        for place, name in enumerate(names)
    ]
    return sorted(found, key=lambda entry: -abs(cast("float", entry["contribution"])))
