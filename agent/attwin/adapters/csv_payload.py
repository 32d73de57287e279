"""CSV lines: a payload of one or more lines with the same columns."""

import csv
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.payload_rows import Rows, withheld
from attwin.adapters.payload_time import TimeReader
from attwin.core.routes import Routes, Scope
from attwin.core.types import RejectReason
from attwin.ports import Decoded

NO_COLUMN = "_"
"""The name of a column that does not matter."""
_OWN = frozenset(("time", "entity", "metric", "value", NO_COLUMN))


class CsvDecoder:
    """Implements ``ports.Decoder`` for one source."""

    def __init__(
        self,
        columns: Sequence[str],
        separator: str,
        metrics: Mapping[str, str],
        routes: Routes,
        times: TimeReader,
        *,
        time_is_text: bool,
        hides: bool,
    ) -> None:
        """Make a decoder.

        Args:
            columns: ``time``, ``entity``, ``metric``, ``value``, the name of a metric, or ``_``.
            separator: One character.
            metrics: The metric that a name in the payload stands for, where it is another.
            routes: Where names lead.
            times: Reads the time.
            time_is_text: Whether it is ISO text and no number.
            hides: Whether the lines hold identifiers of people or devices.
        """
        self._columns = tuple(columns)
        self._separator = separator
        self._metrics = metrics
        self._routes = routes
        self._times = times
        self._time_is_text = time_is_text
        self._hides = hides
        self._named = [(place, name) for place, name in enumerate(columns) if name not in _OWN]

    keeps_state = False

    def masked(self, payload: bytes) -> bytes:
        """Return a payload as it may be kept."""
        return withheld(payload, hides=self._hides)

    def decode(self, payloads: Sequence[bytes], slots: NDArray[np.int64], now_ms: int) -> Decoded:  # noqa: ARG002 -- the port's
        """Return the readings of payloads; ``slots`` are places of scopes."""
        rows = Rows(self._routes)
        for place, (payload, slot) in enumerate(zip(payloads, slots.tolist(), strict=True)):
            try:
                text = payload.decode()
                lines = [line for line in csv.reader(text.splitlines(), delimiter=self._separator) if line]
            except (UnicodeDecodeError, csv.Error) as error:
                rows.fault(place, RejectReason.NOT_DECODABLE, f"not lines of CSV: {error}")
                continue
            if not lines:
                rows.fault(place, RejectReason.NOT_DECODABLE, "no line")
            if len(lines) > 1 and self._is_header(lines[0]):
                lines = lines[1:]
            if lines and all(len(line) != len(self._columns) for line in lines):
                rows.fault(place, RejectReason.NOT_DECODABLE, self._other_columns(lines[0]))
                continue
            for line in lines:
                self._take(rows, place, self._routes.scopes[slot], line)
        return rows.decoded(len(payloads))

    def _is_header(self, line: Sequence[str]) -> bool:
        """Return whether a line names the columns that hold values; then it holds none."""
        named = [(place, name) for place, name in enumerate(self._columns) if name == "value" or name not in _OWN]
        return len(line) == len(self._columns) and all(line[place].strip() == name for place, name in named)

    def _other_columns(self, line: Sequence[str]) -> str:
        return f"{len(line)} columns; {len(self._columns)} are wanted: {', '.join(self._columns)}"

    def _take(self, rows: Rows, place: int, scope: Scope, line: Sequence[str]) -> None:
        if len(line) != len(self._columns):
            rows.refuse(place, RejectReason.NOT_DECODABLE, self._other_columns(line))
            return
        cells = {name: cell.strip() for name, cell in zip(self._columns, line, strict=True)}
        time: object = cells.get("time") or None
        if isinstance(time, str) and not self._time_is_text:
            time = _number(time)
        try:
            time_ms = self._times.read(time)
        except ValueError as error:
            rows.refuse(place, RejectReason.BAD_TIME, str(error))
            return
        entity = cells.get("entity", "")
        if "value" in cells:
            metric = cells.get("metric", "")
            rows.add(place, scope, entity, self._metrics.get(metric, metric), _number(cells["value"]), time_ms)
        for column, name in self._named:
            if cell := line[column].strip():
                rows.add(place, scope, entity, self._metrics.get(name, name), _number(cell), time_ms)


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
