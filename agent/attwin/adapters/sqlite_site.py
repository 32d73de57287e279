"""The tables ``reactions``, ``labels`` and ``warnings``. What is written here belongs to a writer's transaction."""

import sqlite3

from attwin.ports import Commit, Doing


def next_reaction(connection: sqlite3.Connection, name: str, after: int) -> Doing | None:
    """Return the oldest of what is to be done for a reaction that has a higher number; None where there is none."""
    row = connection.execute(
        "select id, body, created_ms, tries, problem from reactions "
        "where state = 'waiting' and name = ? and id > ? order by id limit 1",
        (name, after),
    ).fetchone()
    if row is None:
        return None
    number, body, created_ms, tries, problem = row
    return Doing(number=number, body=body, created_ms=created_ms, tries=tries, problem=problem)


def save(connection: sqlite3.Connection, commit: Commit) -> None:
    """Add what is to be done, note what became of such, and keep labels; one that is said again is replaced."""
    for draft in commit.reactions:
        connection.execute(
            "insert into reactions (name, alert_id, body, created_ms) values (?, ?, ?, ?)",
            (draft.name, draft.alert, draft.body, commit.now_ms),
        )
    for reacted in commit.reacted:
        if reacted.outcome == "done":
            connection.execute("delete from reactions where id = ?", (reacted.number,))
        else:
            connection.execute(
                "update reactions set state = ?, tries = ?, problem = ? where id = ?",
                (reacted.outcome, reacted.tries, reacted.problem, reacted.number),
            )
    connection.executemany(
        "insert into warnings (rule, entity, made_ms, expected_ms, earliest_ms, latest_ms, came_ms) "
        "values (?, ?, ?, ?, ?, ?, ?)",
        [(w.rule, w.entity, w.made_ms, w.expected_ms, w.earliest_ms, w.latest_ms, w.came_ms) for w in commit.warned],
    )
    connection.executemany(
        "insert or replace into labels values (?, ?, ?, ?, ?)",
        [(label.entity, label.time_ms, label.value, label.by, commit.now_ms) for label in commit.labels],
    )
