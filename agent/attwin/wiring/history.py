"""What an agent has stored, as columns: the journal's readings of one kind, for who learns from them."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.sqlite_database import reader
from attwin.core.errors import DataError
from attwin.core.journal import decode, joined_segments, shifted
from attwin.core.types import QUALITY_WORDS, Quality, Reason

_SERIES = """
select series.id, entities.name, series.metric, series.unit
from series join entities on entities.id = series.entity_id where entities.kind = ? order by series.id
"""
_JOURNAL = """
select body, coalesce(shift_ms, 0) from journal left join boots on boot = boots.id
where readings > 0 order by journal.id
"""


_SERIES_OF = """
select series.id, series.metric from series join entities on entities.id = series.entity_id
where entities.name = ? order by entities.id desc, series.id
"""
_JOURNAL_BETWEEN = """
select body, coalesce(shift_ms, 0) from journal left join boots on boot = boots.id
where readings > 0 and first_ms + coalesce(shift_ms, 0) <= ? and last_ms + coalesce(shift_ms, 0) >= ?
order by journal.id
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """Readings of one kind, in the order of the journal.

    Attributes:
        entities, metrics, units: What each series is about. Shape (S,) each.
        series: An index into them. Shape (N,).
        time_ms: Shape (N,).
        value: In the unit of the series. Shape (N,).
        left_out: Readings that were bad or say nothing of their time, which features leave out too.
        damaged: Segments that could not be read.
    """

    entities: list[str]
    metrics: list[str]
    units: list[str]
    series: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    left_out: int
    damaged: int


def read_history(database: Path, kind: str) -> History:
    """Return the readings that a database holds of a kind. An agent may go on writing meanwhile.

    Raises:
        StoreError: The database cannot be read.
        DataError: It knows no entity of the kind, or holds no reading of one.
    """
    segments, damaged = [], 0
    with reader(database) as connection:
        # one view of the file, also while the agent merges segments
        connection.execute("begin")
        found = connection.execute(_SERIES, (kind,)).fetchall()
        if not found:
            kinds = [str(name) for (name,) in connection.execute("select distinct kind from entities order by kind")]
            raise DataError(f"{database}: no entity of kind `{kind}`; it knows {', '.join(kinds) or 'none'}")
        keys = np.array([row[0] for row in found], np.int64)
        for body, shift_ms in connection.execute(_JOURNAL):
            segment = None
            with contextlib.suppress(ValueError):
                segment = shifted(decode(body), shift_ms)
            if segment is None:
                damaged += 1
                continue
            segments.append(segment.rows(np.flatnonzero(np.isin(segment.series_key, keys))))
    whole = joined_segments(segments) if segments else None
    if whole is None or not len(whole.time_ms):
        raise DataError(f"{database}: no reading of kind `{kind}`")
    usable = (whole.quality != Quality.BAD) & ((whole.reason & Reason.UNTIMELY) == 0)
    kept = whole.rows(np.flatnonzero(usable))
    return History(
        entities=[str(row[1]) for row in found],
        metrics=[str(row[2]) for row in found],
        units=[str(row[3]) for row in found],
        series=np.searchsorted(keys, kept.series_key).astype(np.int32),
        time_ms=kept.time_ms,
        value=kept.value,
        left_out=int((~usable).sum()),
        damaged=damaged,
    )


def readings_of(database: Path, entity: str, from_ms: int, to_ms: int) -> list[dict[str, object]]:
    """Return what was measured of an entity in a time, in order of time; what is damaged is left out.

    Args:
        database: The file.
        entity: Its id.
        from_ms: The first time that counts.
        to_ms: The last one.

    Raises:
        StoreError: The database cannot be read.
    """
    found: list[dict[str, object]] = []
    with reader(database) as connection:
        connection.execute("begin")
        metric_of = dict(connection.execute(_SERIES_OF, (entity,)).fetchall())
        for body, shift_ms in connection.execute(_JOURNAL_BETWEEN, (to_ms, from_ms)) if metric_of else ():
            with contextlib.suppress(ValueError):
                segment = shifted(decode(body), shift_ms)
                inside = (segment.time_ms >= from_ms) & (segment.time_ms <= to_ms)
                rows = np.flatnonzero(inside & np.isin(segment.series_key, list(metric_of)))
                found += [
                    {
                        "time_ms": int(segment.time_ms[row]),
                        "metric": metric_of[int(segment.series_key[row])],
                        "value": float(segment.value[row]),
                        "quality": QUALITY_WORDS[segment.quality[row]],
                    }
                    for row in rows.tolist()
                ]
    return sorted(found, key=lambda reading: int(str(reading["time_ms"])))
