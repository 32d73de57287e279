"""CSV files as columns of text, with messages that name the line."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from attwin.core.categories import code_of, wanted
from attwin.core.errors import DataError

_MISSING = frozenset(("", "na", "nan", "null", "none", "n/a", "?"))
_BOOLEANS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
DELIMITERS = ",;\t"
"""What may stand between cells; the one that the header has most of does."""
A_TIME = "a time is ISO 8601 such as 2015-02-04 17:51:00, or a number since 1970"
_FIRST_MS_NUMBER = 1e11
"""A numeric time from here on is in milliseconds: in seconds it would be after the year 5138."""
_LATEST_MS = float(1 << 43)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """A CSV file.

    Attributes:
        path: The file.
        names: The header, in order. A first column that the header leaves out is called ``row``.
        rows: One list of texts a row, as long as the header.
        lines: The line of each row in the file.
    """

    path: Path
    names: list[str]
    rows: list[list[str]]
    lines: list[int]

    def place(self, name: str) -> int:
        """Return the place of a column, found by its name or by its name without case and punctuation.

        Raises:
            DataError: There is no such column.
        """
        if name in self.names:
            return self.names.index(name)
        alike = [i for i, own in enumerate(self.names) if plain_name(own) == plain_name(name)]
        if len(alike) == 1:
            return alike[0]
        raise DataError(f"{self.path}: no column `{name}`; it has {', '.join(self.names)}")

    def texts(self, name: str) -> list[str]:
        """Return a column as it is written."""
        place = self.place(name)
        return [row[place].strip() for row in self.rows]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers, true and yes as 1, false and no as 0; what is missing is NaN.

        Raises:
            DataError: A cell is none of these, and not empty.
        """
        texts = self.texts(name)
        found = numbers_of(texts)
        if found is not None:
            return found
        place = next(i for i, text in enumerate(texts) if numbers_of([text]) is None)
        raise DataError(
            f"{self.path}:{self.lines[place]}: column `{name}` holds `{texts[place][:40]}`, which is no number"
        )

    def codes(self, name: str, categories: Sequence[str]) -> NDArray[np.float64]:
        """Return a column of categories as their codes; what is missing is NaN.

        Raises:
            DataError: A cell is neither one of them nor empty.
        """
        found: list[float] = []
        for line, text in zip(self.lines, self.texts(name), strict=True):
            code = code_of(categories, float(text) if _is_number(text) and text not in categories else text)
            if code is None and text.lower() not in _MISSING:
                raise DataError(f"{self.path}:{line}: column {wanted(name, categories, repr(text[:40]))}")
            found.append(math.nan if code is None else code)
        return np.array(found)

    def is_numeric(self, name: str) -> bool:
        """Return whether a column holds numbers and nothing else but missing cells."""
        texts = [t for t in self.texts(name) if t.lower() not in _MISSING]
        return bool(texts) and all(map(_is_number, texts))

    def times_ms(self, name: str, zone: ZoneInfo) -> NDArray[np.int64]:
        """Return a column as times: ISO 8601 (in ``zone`` where it has no offset), or seconds or ms since 1970.

        Raises:
            DataError: A cell is no time.
        """
        times = []
        for line, text in zip(self.lines, self.texts(name), strict=True):
            try:
                times.append(parse_time_ms(text, zone))
            except (ValueError, OverflowError):
                raise DataError(f"{self.path}:{line}: column `{name}` holds `{text[:40]}`; {A_TIME}") from None
        return np.array(times, np.int64)


def read_table(path: Path) -> Table:
    """Return the CSV file in ``path``: UTF-8, a header, commas, semicolons or tabs.

    Raises:
        DataError: It cannot be read, is no such file, or a row has too many or too few cells.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from error
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=head.count))
    try:
        cells = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not CSV: {error}") from error
    if len(cells) < 2:  # noqa: PLR2004 -- a header and one row
        raise DataError(f"{path}: no rows below the header")
    names = [name.strip() for name in cells[0][1]]
    # the convention of R: a header one short leaves out the column of row names
    if all(len(row) == len(names) + 1 for _, row in cells[1:]):
        names = ["row", *names]
    for line, row in cells[1:]:
        if len(row) != len(names):
            raise DataError(f"{path}:{line}: {len(row)} cells; the header has {len(names)}")
    return Table(path=path, names=names, rows=[row for _, row in cells[1:]], lines=[line for line, _ in cells[1:]])


def plain_name(name: str) -> str:
    """Return a name without case and punctuation, to find ``HumidityRatio`` by ``humidity_ratio``."""
    return "".join(c for c in name.lower() if c.isalnum())


def find_time_column(names: Sequence[str]) -> str | None:
    """Return the column that is called as times are called, if any."""
    usual = ("time", "date", "timestamp", "datetime", "ts")
    return next((name for word in usual for name in names if plain_name(name) == word), None)


def numbers_of(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """Return cells as numbers, true and yes as 1, false and no as 0, missing ones as NaN; None if one is no number."""
    try:
        return np.array([_cell(text) for text in texts], np.float64)
    except ValueError:
        return None


def is_missing(text: str) -> bool:
    """Return whether a cell says that there is nothing."""
    return text.lower() in _MISSING


def _cell(text: str) -> float:
    word = text.lower()
    if word in _MISSING:
        return math.nan
    return _BOOLEANS[word] if word in _BOOLEANS else _finite(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


def _is_number(text: str) -> bool:
    try:
        _finite(text)
    except ValueError:
        return False
    return True


def parse_time_ms(text: str, zone: ZoneInfo) -> int:
    """Return the time that a text means: ISO 8601, or a number of seconds or ms since 1970.

    Raises:
        ValueError: It is neither.
    """
    if _is_number(text):
        number = float(text)
        if abs(number) >= _LATEST_MS:
            raise ValueError(f"{text} is after 2248")
        return round(number if abs(number) >= _FIRST_MS_NUMBER else number * 1000)
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    return round((found - _EPOCH).total_seconds() * 1000)
