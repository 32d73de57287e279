"""Files through the pipeline: the features and scores of a CSV, computed as the agent computes them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.csv_table import (
    Table,
    find_time_column,
    is_missing,
    numbers_of,
    parse_time_ms,
    read_table,
)
from attwin.core.errors import DataError
from attwin.core.manifest import Manifest
from attwin.core.types import readings
from attwin.ports import Scorer
from attwin.runtime.selftest import twin_of
from attwin.runtime.twin import Scores

__all__ = ["Table", "find_time_column", "is_missing", "numbers_of", "parse_time_ms", "read_table"]

_ROWS_A_BATCH = 2_000
_FAR_MS = 1 << 43


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wide:
    """Rows that hold one reading of each metric, in order of time.

    Attributes:
        entities: The ids.
        entity: Which of them each row is about. Shape (N,).
        time_ms: Shape (N,).
        values: NaN where a reading is missing. Shape (N, M).
        order: Which row of the file each row is. Shape (N,).
    """

    entities: list[str]
    entity: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    order: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowScores:
    """What the agent would have said at every row.

    Attributes:
        score: The score at the first tick after each row. Shape (N,).
        score_ms: That tick. Shape (N,).
        missing: Which of the model's masked metrics were missing. Shape (N, M).
        features: What the model was given before standardising. Shape (N, F).
        raw: The same before any baseline. Shape (N, F).
    """

    score: NDArray[np.float32]
    score_ms: NDArray[np.int64]
    missing: NDArray[np.bool_]
    features: NDArray[np.float32]
    raw: NDArray[np.float32]


class NoScorer:
    """Implements ``ports.Scorer`` for who wants features alone: every score is 0."""

    runtime = "none"

    def score(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return zeros."""
        return np.zeros(len(inputs), np.float32)


def read_wide(
    path: Path,
    metrics: Sequence[str],
    *,
    columns: Mapping[str, str],
    time_column: str,
    entity: str,
    entity_column: str,
    zone: ZoneInfo,
    categories: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> tuple[Wide, Table]:
    """Return the rows of a CSV file in order of time, and the file.

    Args:
        path: The file.
        metrics: Which metrics to read.
        columns: The column of a metric, where it is not called like the metric.
        time_column: The column of the times; the usual names are tried where this is empty.
        entity: The entity that all rows are about, where there is no column for it.
        entity_column: The column that says it; empty for none.
        zone: Of times without an offset.
        categories: Those of metrics whose values are texts.

    Raises:
        DataError: A column is missing or holds what it should not.
    """
    table = read_table(path)
    name = time_column or find_time_column(table.names)
    if not name:
        raise DataError(f"{path}: which column holds the time? It has {', '.join(table.names)}")
    time_ms = table.times_ms(name, zone)
    ids = table.texts(entity_column) if entity_column else [entity] * len(time_ms)
    entities = sorted(set(ids))
    number = {entity_id: place for place, entity_id in enumerate(entities)}
    values = np.stack(
        [
            table.codes(columns.get(metric, metric), categories[metric])
            if metric in categories
            else table.numbers(columns.get(metric, metric))
            for metric in metrics
        ],
        axis=1,
    )
    order = np.argsort(time_ms, kind="stable")
    numbers = np.array([number[entity_id] for entity_id in ids], np.int32)
    wide = Wide(entities=entities, entity=numbers[order], time_ms=time_ms[order], values=values[order], order=order)
    return wide, table


def score_rows(
    wide: Wide, manifest: Manifest, scorer: Scorer, *, progress: Callable[[int], object] = lambda _rows: None
) -> RowScores:
    """Play rows through the pipeline of the agent and return what it says at each of them.

    Args:
        wide: The rows, their metrics in the order of the manifest.
        manifest: The model's contract.
        scorer: Runs the model.
        progress: Told how many rows were done, after each batch.
    """
    twin = twin_of(manifest, scorer)
    for entity_id in wide.entities:
        twin.catalogue.add(entity_id, 0)
    made: list[Scores] = []
    for start in range(0, len(wide.time_ms), _ROWS_A_BATCH):
        rows = slice(start, start + _ROWS_A_BATCH)
        value = wide.values[rows]
        measured = ~np.isnan(value)
        row, metric = np.nonzero(measured)
        series = twin.catalogue.first_series[wide.entity[rows][row]] + metric
        batch = readings(series.astype(np.int32), wide.time_ms[rows][row], value[measured])
        made += twin.take(batch, now_ms=_FAR_MS).scores
        progress(len(value))
    made += twin.finish()
    if not made:
        raise DataError("no row holds a reading of any metric of the model")
    return _at_rows(wide, manifest, made)


def _at_rows(wide: Wide, manifest: Manifest, made: list[Scores]) -> RowScores:
    """Find the score of each row's tick; a row without any reading takes the entity's last score before it."""
    entity = np.concatenate([s.entity for s in made])
    time_ms = np.concatenate([s.time_ms for s in made])
    order = np.lexsort((time_ms, entity))
    base = int(min(time_ms.min(), wide.time_ms.min()))
    span = int(max(time_ms.max(), wide.time_ms.max())) - base + 2 * manifest.step_ms
    key = entity[order].astype(np.int64) * span + (time_ms[order] - base)
    tick_ms = (wide.time_ms // manifest.step_ms + 1) * manifest.step_ms
    found = np.searchsorted(key, wide.entity.astype(np.int64) * span + (tick_ms - base), side="right") - 1
    source = order[np.maximum(found, 0)]
    known = (found >= 0) & (entity[source] == wide.entity)
    score = np.concatenate([s.score for s in made])[source]
    return RowScores(
        score=np.where(known, score, np.nan).astype(np.float32),
        score_ms=np.where(known, time_ms[source], tick_ms),
        missing=np.concatenate([s.missing for s in made])[source],
        features=np.concatenate([s.features for s in made])[source],
        raw=np.concatenate([s.raw for s in made])[source],
    )
