"""What reading commands know: from the running agent where there is one, from the database where there is none."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from attwin.adapters.control_socket import ask, control_path
from attwin.adapters.sqlite_checksums import is_whole, judgement
from attwin.adapters.sqlite_database import reader
from attwin.core.audit import SITE, UPSTREAM, is_of_source
from attwin.core.errors import AgentAwayError, DataError, SettingsError, StoreError
from attwin.core.types import QUALITY_WORDS, Quality
from attwin.ports import DriftDay
from attwin.runtime.commands import MOST_REPLAYED
from attwin.runtime.drift import SHOWN_DAYS, told_days

CONTROL, GATEWAY, ZONE, UPSTREAM_BASE = "control_socket", "gateway", "zone", "upstream_base"
"""The names under which the agent tells where it listens, what it is called, by which clock its site lives, and the
base of its topics upstream; that is empty where there is no upstream."""
BUNDLE = "bundle "
"""Before the hash of a model, the name under which the agent tells where it lies."""

_TWINS = """
select e.id, e.name as entity, e.kind as kind, s.score as attention, s.time_ms as attention_ms, s.missing as missing,
    s.checksum as checksum
from entities e left join attention s on s.entity_id = e.id
where e.forgotten_ms is null order by e.name
"""
_OUTCOMES = ("replayed", "not_whole", "unsure", "gone")
"""What becomes of a reject that is taken again."""
_TAKEN = ("stored", "duplicate", "suppressed", "rejected_again")
"""What becomes of the readings in those that are; of the last, the rejects there are now."""
_WARNED_DAYS = 30
_DAY_MS = 86_400_000
_FORECASTS = """
select entity, subject, horizon_ms, made_ms, value, low, high, forecaster, grades, error, persistence_error, coverage,
    muted
from forecasts order by entity, subject, horizon_ms
"""
_WARNINGS = """
select made_ms, came_ms from warnings where made_ms > (select max(made_ms) from warnings) - ? order by made_ms
"""
_GOOD = QUALITY_WORDS[Quality.GOOD]
_ATTENTION = ("attention_ms", "attention", "missing")
_STATE = """
select series.metric, state.series_id, state.time_ms, state.value, state.quality, state.reason, state.checksum
from state join series on series.id = state.series_id
where series.entity_id = ?
"""
_REJECTS = """
select id as reject, time_ms, reason, topic, detail, payload, is_whole from rejects
where ? is null or reason = ? order by id desc limit ?
"""
_DRIFT = """
with served as (select kind, sha256, row_number() over (partition by kind order by id desc) as place from models),
    shown as (
        select drift.*, dense_rank() over (partition by drift.kind order by day_ms desc) as place
        from drift join served on served.kind = drift.kind and served.sha256 = drift.model and served.place = 1
    )
select kind, model, day_ms, is_over, scores, input, psi, usual from shown where place <= ?
order by kind, day_ms desc, input
"""


def control_of(database: Path) -> Path:
    """Return where the agent of a database listens, as it said at its last start."""
    try:
        with reader(database) as connection:
            row = connection.execute("select value from meta where name = ?", (CONTROL,)).fetchone()
    except StoreError:
        row = None
    return Path(row[0]) if row else control_path(database)


def site_of(database: Path) -> tuple[str, str]:
    """Return the gateway's id and its time zone, as its agent said at its last start; empty and UTC where none has."""
    try:
        with reader(database) as connection:
            said = dict(connection.execute("select name, value from meta where name in (?, ?)", (GATEWAY, ZONE)))
    except StoreError:
        said = {}
    return said.get(GATEWAY, ""), said.get(ZONE, "UTC")


def status_of(database: Path) -> dict[str, object]:
    """Return how the agent is, and what it has counted since the database was made.

    Raises:
        StoreError: No agent runs, and there is no database either.
    """
    agent = "running"
    try:
        live = ask(control_of(database), {"verb": "status"})
    except AgentAwayError as error:
        live, agent = {}, error.state
    # what was counted since the start is part of what was counted since the database was made
    live = {name: value for name, value in live.items() if name != "audit" and not name.endswith("_total")}
    with reader(database) as connection:
        waiting = connection.execute("select count(*) from outbox").fetchone()[0]
        active = connection.execute("select count(*) from alerts where state = 'active'").fetchone()[0]
        entities = connection.execute("select count(*) from entities where forgotten_ms is null").fetchone()[0]
        rows = connection.execute(_DRIFT, (SHOWN_DAYS,)).fetchall()
        warned = _warned(connection.execute(_WARNINGS, (_WARNED_DAYS * _DAY_MS,)).fetchall())
    stored = {
        "entities": entities,
        "alerts_active": active,
        "outbox_waiting": waiting,
        "drift": told_days(_drift_days(rows)),
        **warned,
    }
    return {"agent": agent, **stored, **live, **sums_of(database)}


def _drift_days(rows: Sequence[tuple[Any, ...]]) -> list[DriftDay]:
    """Return rows of drift, which are ordered by day, as days."""
    days = []
    for head, same in itertools.groupby(rows, key=lambda row: row[:5]):
        kind, model, day_ms, is_over, scores = head
        inputs, psi, usual = zip(*(row[5:] for row in same), strict=True)
        days.append(
            DriftDay(
                kind=kind,
                model=model,
                day_ms=day_ms,
                is_over=bool(is_over),
                scores=scores,
                inputs=inputs,
                psi=psi,
                usual=usual,
            )
        )
    return days


def sums_of(database: Path) -> dict[str, object]:
    """Return what has been counted since the database was made: totals by name, and reasons where there are any."""
    with reader(database) as connection:
        rows = connection.execute("select source, name, reason, count from audit_totals").fetchall()
    sums: Counter[str] = Counter()
    for source, name, reason, count in rows:
        if source in (UPSTREAM, SITE) and not is_of_source(name):
            sums[f"{source}_{name}"] += count
            continue
        sums[name] += count
        if reason:
            sums[f"{name}.{reason}"] += count
    return dict(sorted(sums.items()))


def twins_of(
    database: Path, *, away: Callable[[int | None], object] = lambda _saved_ms: None
) -> list[dict[str, object]]:
    """Return all entities with attention, what it lacked, and active alerts.

    Args:
        database: The file.
        away: Told, where no agent answers, of when the state is that was saved last; None where none was.
    """
    try:
        twins = ask(control_of(database), {"verb": "twins"})["twins"]
        return [dict(twin) for twin in twins] if isinstance(twins, list) else []
    except AgentAwayError:
        away(_saved_ms(database))
        return _stored_twins(database)


def twin_of_entity(
    database: Path, entity: str, *, away: Callable[[int | None], object] = lambda _saved_ms: None
) -> dict[str, object]:
    """Return one entity; ``away`` as in ``twins_of``.

    Raises:
        DataError: It is not known.
    """
    for twin in twins_of(database, away=away):
        if twin["entity"] == entity:
            return twin
    raise DataError(f"no entity `{entity}`; `attwin twin list` shows them all")


def tested_models(database: Path) -> set[tuple[str, str]]:
    """Return (hash, runtime) of every model that has served here; none where there is no database yet."""
    try:
        with reader(database) as connection:
            return {
                (str(sha256), str(runtime))
                for sha256, runtime in connection.execute("select sha256, runtime from models")
            }
    except StoreError:
        return set()


def rejects_of(database: Path, *, reason: str | None, limit: int | None) -> list[dict[str, object]]:
    """Return what the reject ring holds, oldest first.

    Args:
        database: The file.
        reason: Only those with this reason.
        limit: Only the newest ones.
    """
    with reader(database) as connection:
        found = connection.execute(_REJECTS, (reason, reason, -1 if limit is None else limit))
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found]
    return [{**row, "payload": bytes(row["payload"]).decode("utf-8", errors="backslashreplace")} for row in rows[::-1]]


def replay_rejects(database: Path, numbers: Sequence[int], *, progress: Callable[[int], object]) -> dict[str, object]:
    """Let the running agent take rejects again.

    Raises:
        AgentAwayError: No agent runs.
        DataError: It refuses.
    """
    became, taken = dict[int, str](), Counter[str]()
    waiting = dict.fromkeys(numbers)
    while waiting:
        part = list(itertools.islice(waiting, MOST_REPLAYED))
        answer = ask(control_of(database), {"verb": "replay_rejects", "numbers": part})
        if "error" in answer:
            raise DataError(str(answer["error"]))
        became |= {number: outcome for outcome in _OUTCOMES for number in cast("list[int]", answer[outcome])}
        taken.update({name: cast("int", answer[name]) for name in _TAKEN})
        before = len(waiting)
        waiting = {number: None for number in waiting if number not in became}
        progress(before - len(waiting))
    sums = Counter(became.values())
    first, *others = _OUTCOMES
    counts = {first: sums[first], **{name: taken[name] for name in _TAKEN}}
    return {**counts, **{outcome: sums[outcome] for outcome in others}}


def reload_agent(database: Path) -> None:
    """Let the running agent take its configuration anew.

    Raises:
        AgentAwayError: No agent runs.
        SettingsError: It refuses, and goes on as before.
    """
    answer = ask(control_of(database), {"verb": "reload"})
    if "error" in answer:
        refusal = SettingsError(str(answer["error"]).splitlines())
        refusal.hint = "The agent goes on as before."
        raise refusal


def forecasts_of(
    database: Path, *, entity: str | None, away: Callable[[int | None], object] = lambda _saved_ms: None
) -> list[dict[str, object]]:
    """Return what is forecast, and how well that was; ``away`` as in ``twins_of``."""
    try:
        rows = cast("list[dict[str, object]]", ask(control_of(database), {"verb": "forecasts"})["forecasts"])
    except AgentAwayError:
        with reader(database) as connection:
            saved = connection.execute("select created_ms from foresight").fetchone()
            found = connection.execute(_FORECASTS)
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found]
        away(int(saved[0]) if saved else None)
        rows = [{**row, "muted": [name for name in str(row["muted"]).split(",") if name]} for row in rows]
    return [row for row in rows if entity is None or row["entity"] == entity]


def _warned(rows: Sequence[tuple[int, int | None]]) -> dict[str, object]:
    """Return how good early warnings were: when each was given, and when what it warned of came, if it did."""
    if not rows:
        return {}
    leads = sorted(came - made for made, came in rows if came is not None)
    days = max(1.0, (rows[-1][0] - rows[0][0]) / _DAY_MS)
    return {
        "warnings": len(rows),
        "warnings_precision": round(len(leads) / len(rows), 3),
        "warnings_median_lead_s": leads[len(leads) // 2] / 1000 if leads else None,
        "warnings_false_a_day": round((len(rows) - len(leads)) / days, 3),
    }


def reactions_left(database: Path) -> list[dict[str, object]]:
    """Return the reactions on site that wait, failed or came too late, oldest first."""
    with reader(database) as connection:
        found = connection.execute(
            "select id as number, name, alert_id as alert, state, tries, created_ms, problem, body from reactions "
            "order by id"
        )
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]


def count_rows(database: Path, table: str) -> int:
    """Return how many rows a table of the database has."""
    with reader(database) as connection:
        return int(connection.execute(f"select count(*) from {table}").fetchone()[0])


def _saved_ms(database: Path) -> int | None:
    """Return when the state was saved last."""
    with reader(database) as connection:
        row = connection.execute("select created_ms from snapshot").fetchone()
    return int(row[0]) if row else None


def _stored_twins(database: Path) -> list[dict[str, object]]:
    with reader(database) as connection:
        found = connection.execute(_TWINS)
        names = [column[0] for column in found.description]
        twins = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        for twin in twins:
            key, checksum = twin.pop("id"), twin.pop("checksum")
            damaged = []
            if checksum and not is_whole(checksum, key, *(twin[name] for name in _ATTENTION)):
                damaged.append("attention")
                twin.update(dict.fromkeys(_ATTENTION))
            for metric, series, time_ms, value, quality, reason, own_checksum in connection.execute(_STATE, (key,)):
                if not is_whole(own_checksum, series, time_ms, value, judgement(quality, reason)):
                    damaged.append(metric)
                    continue
                twin |= {metric: value, f"{metric}_ms": time_ms}
                if quality != _GOOD:
                    twin |= {f"{metric}_quality": quality, f"{metric}_reason": reason}
            if damaged:
                twin["damaged"] = damaged
            rows = connection.execute(
                "select rule from alerts where state = 'active' and entity = ?", (twin["entity"],)
            )
            twin["alerts"] = [rule for (rule,) in rows]
    return twins
