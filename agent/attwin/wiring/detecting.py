"""Anomaly scores of a CSV file, in one pass, as the agent would have given them."""

import csv
import heapq
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from attwin.adapters.csv_stream import CsvStream
from attwin.adapters.csv_table import find_time_column
from attwin.core.anomaly import Anomalies
from attwin.core.errors import DataError
from attwin.core.local_time import LocalTime
from attwin.runtime.zones import offset_of

_ROWS_A_BATCH = 256
_SHOWN = 5
_DECIMALS = 6


@dataclass(slots=True, kw_only=True)
class Detected:
    """What was found in a file.

    Attributes:
        rows: How many it has.
        missing: How many of them have no value; their score is empty.
        backwards: How many have a time before that of the row above of the same entity.
        entities: How many there are.
        strangest: (score, line, entity, time as it stood, value as it stood) of the highest scores, strangest first.
    """

    rows: int = 0
    missing: int = 0
    backwards: int = 0
    entities: int = 0
    strangest: list[tuple[float, int, str, str, str]] = field(default_factory=list)


def detect(
    path: Path,
    out: Path,
    *,
    time_column: str,
    value_column: str,
    entity_column: str,
    zone: ZoneInfo,
    progress: Callable[[int], object] = lambda _bytes: None,
) -> Detected:
    """Write one score a row, and return what there is to say of them. A row's score depends on no later row.

    Args:
        path: The file.
        out: Where the scores go; it is there in full or not at all.
        time_column: Empty to find it by its name.
        value_column: The column of the values.
        entity_column: The column that says which rows belong together; empty where all do.
        zone: Of times without an offset, and of the time of the day.
        progress: Told how many bytes of the file were read since the last call.

    Raises:
        DataError: A column is missing, or a cell is no time or no number; nothing is written then.
    """
    stream = CsvStream(path)
    name = time_column or find_time_column(stream.names)
    if not name:
        raise DataError(f"{path}: which column holds the time? It has {', '.join(stream.names)}")
    columns = [name, value_column, *([entity_column] if entity_column else [])]
    places = [stream.place(column) for column in columns]
    scoring = _Scoring(stream, zone, columns)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            head = ["entity", stream.names[places[0]], stream.names[places[1]], "score"]
            writer.writerow(head if entity_column else head[1:])
            for row in scoring.rows(stream.rows(places, progress=progress)):
                writer.writerow(row if entity_column else row[1:])
        part.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return scoring.found()


class _Scoring:
    """Scores rows as they come."""

    def __init__(self, stream: CsvStream, zone: ZoneInfo, columns: list[str]) -> None:
        self._stream, self._zone, self._columns = stream, zone, columns
        self._local = LocalTime(offset_of(zone.key))
        self._anomalies = Anomalies()
        self._series: dict[str, int] = {}
        self._newest_ms: list[int] = []
        self._detected = Detected()

    def rows(self, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, str, str, str]]:
        """Yield (entity, time, value, score) of every row, as they stood."""
        batch: list[tuple[int, str, str, str]] = []
        for line, cells in rows:
            batch.append((line, cells[2] if len(cells) > 2 else "", cells[0], cells[1]))  # noqa: PLR2004 -- an entity stands third
            if len(batch) == _ROWS_A_BATCH:
                yield from self._scored(batch)
                batch = []
        if batch:
            yield from self._scored(batch)

    def found(self) -> Detected:
        """Return what there is to say of all of them."""
        self._detected.strangest.sort(reverse=True)
        self._detected.entities = len(self._series)
        return self._detected

    def _scored(self, batch: list[tuple[int, str, str, str]]) -> Iterator[tuple[str, str, str, str]]:
        series = np.array([self._series_of(entity) for _, entity, _, _ in batch], np.int32)
        times, values = self._columns[:2]
        stream = self._stream
        time_ms = np.array([stream.time_ms(line, times, text, self._zone) for line, _, text, _ in batch], np.int64)
        value = np.array([stream.number(line, values, text) for line, *_, text in batch])
        scores, _ = self._anomalies.update(series, time_ms, value, local_ms=self._local.local_ms(time_ms))
        self._detected.rows += len(batch)
        for place, own_ms in zip(series.tolist(), time_ms.tolist(), strict=True):
            self._detected.backwards += own_ms < self._newest_ms[place]
            self._newest_ms[place] = max(self._newest_ms[place], own_ms)
        for (line, entity, time, text), score in zip(batch, scores.tolist(), strict=True):
            if np.isnan(score):
                self._detected.missing += 1
                yield entity, time, text, ""
                continue
            keep = heapq.heappush if len(self._detected.strangest) < _SHOWN else heapq.heappushpop
            keep(self._detected.strangest, (round(score, _DECIMALS), line, entity, time, text))
            yield entity, time, text, f"{score:.{_DECIMALS}f}"

    def _series_of(self, entity: str) -> int:
        if entity not in self._series:
            self._series[entity] = len(self._series)
            self._newest_ms.append(-(2**62))
        return self._series[entity]
