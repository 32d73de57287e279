"""A CSV file row by row, for who goes through it once and holds none of it."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from attwin.adapters.csv_table import A_TIME, DELIMITERS, numbers_of, parse_time_ms, plain_name
from attwin.core.errors import DataError

_ROWS_A_STEP = 1_000


class CsvStream:
    """Reads a file from its beginning to its end.

    Attributes:
        path: The file.
        names: The header, in order; a first column that it leaves out is called ``row``.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            DataError: The file cannot be read, or has no row.
        """
        self.path = path
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                head, first = file.readline(), file.readline()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from error
        if not first.strip():
            raise DataError(f"{path}: no rows below the header")
        self._delimiter = max(DELIMITERS, key=head.count)
        self.names, row = (self._cells(line) for line in (head, first))
        # the convention of R: a header one short leaves out the column of row names
        if len(row) == len(self.names) + 1:
            self.names = ["row", *self.names]

    def _cells(self, line: str) -> list[str]:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter))]

    def place(self, name: str) -> int:
        """Return the place of a column, found by its name or by its name without case and punctuation.

        Raises:
            DataError: There is no such column.
        """
        alike = [i for i, own in enumerate(self.names) if own == name or plain_name(own) == plain_name(name)]
        exact = [i for i in alike if self.names[i] == name]
        if len(exact or alike) == 1:
            return (exact or alike)[0]
        raise DataError(f"{self.path}: no column `{name}`; it has {', '.join(self.names)}")

    def time_ms(self, line: int, column: str, text: str, zone: ZoneInfo) -> int:
        """Return a cell as a time, in ``zone`` where it has no offset.

        Raises:
            DataError: It is none.
        """
        try:
            return parse_time_ms(text, zone)
        except (ValueError, OverflowError):
            raise DataError(f"{self.path}:{line}: column `{column}` holds `{text[:40]}`; {A_TIME}") from None

    def number(self, line: int, column: str, text: str) -> float:
        """Return a cell as a number, NaN where it is empty.

        Raises:
            DataError: It is neither.
        """
        found = numbers_of([text])
        if found is None:
            raise DataError(f"{self.path}:{line}: column `{column}` holds `{text[:40]}`, which is no number")
        return float(found[0])

    def rows(
        self, places: Sequence[int], *, progress: Callable[[int], object] = lambda _bytes: None
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield the line and some cells of every row.

        Args:
            places: Of the columns.
            progress: Told how many bytes were read since the last call.

        Raises:
            DataError: A row has too many or too few cells, or cannot be read.
        """
        try:
            with self.path.open("rb") as raw:
                before = 0
                reader = csv.reader(_texts(raw), delimiter=self._delimiter)
                next(reader)
                for count, row in enumerate(reader):
                    if not row:
                        continue
                    if len(row) != len(self.names):
                        raise DataError(
                            f"{self.path}:{reader.line_num}: {len(row)} cells; the header has {len(self.names)}"
                        )
                    yield reader.line_num, [row[place].strip() for place in places]
                    if count % _ROWS_A_STEP == 0:
                        progress(raw.tell() - before)
                        before = raw.tell()
                progress(raw.tell() - before)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: not UTF-8 text: {error.reason}") from error
        except csv.Error as error:
            raise DataError(f"{self.path}:{reader.line_num}: not CSV: {error}") from error


def _texts(raw: "Iterator[bytes]") -> Iterator[str]:
    """Yield the lines of a file of bytes, whose position stays known."""
    first = True
    for line in raw:
        yield line.decode("utf-8-sig" if first else "utf-8")
        first = False
