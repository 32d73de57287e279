"""Files as columns: CSV and Parquet as tables of text, long readings and an agent's database as readings."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import DataError
from attwin.core.units import conversion
from attwin.wiring.history import read_history
from attwin.wiring.offline import Table, find_time_column, numbers_of, read_table

_DATABASE, _PARQUET = b"SQLite format 3\0", b"PAR1"
_AS_TEXT = "select coalesce(cast(columns(*) as varchar), '') from read_parquet(?, hive_partitioning = false)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """Readings of several metrics of several entities.

    Attributes:
        path: The file.
        entities, metrics: The names.
        entity, metric: Indices into them. Shape (N,) each.
        time_ms: Shape (N,).
        value: Shape (N,). NaN where there is text.
        text: As it is written; empty where there are numbers only. Shape (N,).
        line: Where each stands in the file; empty where there are no lines. Shape (N,).
        left_out: What was not taken, and how many of it.
    """

    path: Path
    entities: list[str]
    metrics: list[str]
    entity: NDArray[np.int32]
    metric: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    text: NDArray[np.str_]
    line: NDArray[np.int64]
    left_out: Mapping[str, int]

    def rows_of(self, name: str) -> NDArray[np.int64]:
        """Return which readings are of a metric.

        Raises:
            DataError: None is.
        """
        if name not in self.metrics:
            shown = ", ".join(sorted(self.metrics)[:30])
            raise DataError(f"{self.path}: no reading of metric `{name}`; it has {shown}")
        return np.flatnonzero(self.metric == self.metrics.index(name))

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return the values of a metric, NaN for missing ones.

        Raises:
            DataError: There is none, or one is no number.
        """
        rows = self.rows_of(name)
        if not len(self.text):
            return self.value[rows]
        texts = [str(text) for text in self.text[rows]]
        found = numbers_of(texts)
        if found is None:
            wrong = next(i for i, text in enumerate(texts) if numbers_of([text]) is None)
            raise DataError(
                f"{self.place(int(rows[wrong]))}: metric `{name}` holds `{texts[wrong][:40]}`, which is no number"
            )
        return found

    def texts(self, name: str) -> list[str]:
        """Return the values of a metric as they are written.

        Raises:
            DataError: There is none, or the file holds numbers only.
        """
        rows = self.rows_of(name)
        if not len(self.text):
            raise DataError(f"{self.path}: metric `{name}` is a number there, as everything in an agent's database")
        return [str(text) for text in self.text[rows]]

    def place(self, row: int) -> str:
        """Return where a reading stands, for a message."""
        return f"{self.path}:{int(self.line[row])}" if len(self.line) else str(self.path)


def is_database(path: Path) -> bool:
    """Return whether a file is an agent's database, by its first bytes."""
    return _begins_with(path, _DATABASE)


def read_any_table(path: Path) -> Table:
    """Return a CSV or a Parquet file, which is known by its first bytes.

    Raises:
        DataError: It cannot be read.
    """
    return _read_parquet(path) if _begins_with(path, _PARQUET) else read_table(path)


def time_column_of(table: Table, name: str) -> str:
    """Return the column of the times: the one that is told, or the one that is called so.

    Raises:
        DataError: There is none.
    """
    found = name or find_time_column(table.names)
    if not found:
        raise DataError(f"{table.path}: which column holds the time? It has {', '.join(table.names)}")
    return found


def demand_columns(table: Table, names: list[str]) -> None:
    """Refuse a table that lacks columns, naming all of them.

    Raises:
        DataError: It lacks some.
    """
    missing = []
    for name in names:
        try:
            table.place(name)
        except DataError:
            missing.append(name)
    if missing:
        columns = ", ".join(f"`{name}`" for name in dict.fromkeys(missing))
        raise DataError(f"{table.path}: no column {columns}; it has {', '.join(table.names)}")


def read_long(
    path: Path, *, metric: str, value: str, time: str, entity: str, entity_column: str, zone: ZoneInfo
) -> Readings:
    """Return the readings of a file that has one of them a row.

    Args:
        path: CSV or Parquet.
        metric: The column that says the metric.
        value: The column of the values.
        time: The column of the times; the usual names are tried where this is empty.
        entity: The entity that all readings are about, where there is no column for it.
        entity_column: The column that says it; empty for none.
        zone: Of times without an offset.

    Raises:
        DataError: It cannot be read, or a column is missing.
    """
    table = read_any_table(path)
    when = time_column_of(table, time)
    demand_columns(table, [metric, value, *([entity_column] if entity_column else [])])
    count = len(table.rows)
    ids = table.texts(entity_column) if entity_column else [entity] * count
    entities, entity_number = np.unique(np.array(ids, np.str_), return_inverse=True)
    metrics, metric_number = np.unique(np.array(table.texts(metric), np.str_), return_inverse=True)
    return Readings(
        path=path,
        entities=entities.tolist(),
        metrics=metrics.tolist(),
        entity=entity_number.astype(np.int32),
        metric=metric_number.astype(np.int32),
        time_ms=table.times_ms(when, zone),
        value=np.full(count, np.nan),
        text=np.array(table.texts(value), np.str_),
        line=np.array(table.lines, np.int64),
        left_out={},
    )


def read_database(path: Path, kind: str, units: Mapping[str, str]) -> Readings:
    """Return the readings that an agent stored of a kind.

    Args:
        path: Its ``twin.db``.
        kind: The kind of entity.
        units: The unit of each metric that is to be converted.

    Raises:
        StoreError: It cannot be read.
        DataError: There are none, or a unit cannot become what is wanted.
    """
    history = read_history(path, kind)
    scale, offset = np.ones(len(history.units)), np.zeros(len(history.units))
    for series, (metric, unit) in enumerate(zip(history.metrics, history.units, strict=True)):
        if metric in units:
            way = conversion(unit, units[metric])
            if way is None:
                raise DataError(f"{path}: metric `{metric}` is in {unit}, which cannot become {units[metric]}")
            scale[series], offset[series] = way
    entities, entity_of = np.unique(np.array(history.entities, np.str_), return_inverse=True)
    metrics, metric_of = np.unique(np.array(history.metrics, np.str_), return_inverse=True)
    return Readings(
        path=path,
        entities=entities.tolist(),
        metrics=metrics.tolist(),
        entity=entity_of[history.series].astype(np.int32),
        metric=metric_of[history.series].astype(np.int32),
        time_ms=history.time_ms,
        value=history.value * scale[history.series] + offset[history.series],
        text=np.empty(0, np.str_),
        line=np.empty(0, np.int64),
        left_out={"bad readings": history.left_out, "damaged segments of the journal": history.damaged},
    )


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _read_parquet(path: Path) -> Table:
    """Return a Parquet file as the text that a CSV of it would hold; its lines are its rows, counted from 1."""
    if importlib.util.find_spec("duckdb") is None:
        raise DataError(f"{path}: reading Parquet needs duckdb: pip install 'attwin[converter]'")
    duckdb = importlib.import_module("duckdb")
    try:
        with duckdb.connect(":memory:", config={"threads": 1}) as connection:
            # a list of names is taken as it is, where a name alone is a pattern; text of a time says its offset
            found = connection.execute(_AS_TEXT, [[str(path)]])
            names = [str(column[0]) for column in found.description]
            rows = [list(row) for row in found.fetchall()]
    except duckdb.Error as error:
        raise DataError(f"{path}: not readable as Parquet: {str(error).splitlines()[0]}") from error
    if not rows:
        raise DataError(f"{path}: no rows")
    return Table(path=path, names=names, rows=rows, lines=list(range(1, len(rows) + 1)))
