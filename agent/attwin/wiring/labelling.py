"""Labels of people: kept by the running agent, or in the database where none runs."""

import contextlib
import math
import time
from datetime import tzinfo
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

from attwin.adapters.control_socket import ask
from attwin.adapters.payload_time import TimeReader
from attwin.adapters.sqlite_database import reader
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.catalogue import Catalogue
from attwin.core.errors import NOT_RUNNING, AgentAwayError, DataError
from attwin.ports import Commit, Label
from attwin.wiring.reading import control_of, site_of

_LABELS = """
select labels.entity, labels.time_ms, labels.value, labels.by, labels.said_ms,
    (select score from scores join entities on entities.id = entity_id
     where name = labels.entity and scores.time_ms <= labels.time_ms order by scores.time_ms desc limit 1) as attention
from labels where ? is null or entity = ? order by labels.time_ms, entity
"""


def label_time_ms(text: str, zone: tzinfo) -> int:
    """Return a time as a person writes it.

    Args:
        text: ISO 8601, or seconds since 1970.
        zone: Of ISO times without an offset.

    Raises:
        DataError: It is neither.
    """
    given: object = text
    with contextlib.suppress(ValueError):
        given = float(text)
    try:
        return TimeReader(("s", "iso"), zone if isinstance(zone, ZoneInfo) else ZoneInfo("UTC")).read(given)
    except ValueError as error:
        raise DataError(f"--at: {error}") from error


def add_label(database: Path, entity: str, *, value: float, time_ms: int, by: str) -> dict[str, object]:
    """Keep a label and return it.

    Raises:
        DataError: The entity is not known, or the value is no number.
        StoreError: No agent runs, and the database cannot be written.
    """
    if not math.isfinite(value):
        raise DataError("a label is a number such as 0 or 1")
    with reader(database) as connection:
        known = connection.execute(
            "select 1 from entities where name = ? and forgotten_ms is null", (entity,)
        ).fetchone()
    if not known:
        raise DataError(f"no entity `{entity}`; `attwin twin list` shows them all")
    label = {"entity": entity, "time_ms": time_ms, "value": value, "by": by}
    try:
        answer = ask(control_of(database), {"verb": "label", **label})
    except AgentAwayError as error:
        if error.state != NOT_RUNNING:
            raise
        gateway, _ = site_of(database)
        catalogue, now_ms = Catalogue([], most_entities=0), time.time_ns() // 1_000_000
        with contextlib.closing(SqliteStore(database, catalogue, gateway=gateway, durability="full")) as store:
            store.commit(Commit(now_ms=now_ms, labels=[Label(entity=entity, time_ms=time_ms, value=value, by=by)]))
        return label
    if "error" in answer:
        raise DataError(str(answer["error"]))
    return cast("dict[str, object]", answer["label"])


def labels_of(database: Path, *, entity: str | None) -> list[dict[str, object]]:
    """Return labels, oldest first, each with the newest stored score before it."""
    with reader(database) as connection:
        found = connection.execute(_LABELS, (entity, entity))
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]
