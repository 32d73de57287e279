"""Readings as messages say them, before they have a time of receipt."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SEVERAL = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Readings in order of arrival.

    Attributes:
        source: The source of each. Shape (N,).
        place: The message of each, rising. Shape (N,).
        series: Shape (N,).
        value: In the metric's unit. Shape (N,).
        time_ms: ``NO_TIME_MS`` where the message says none. Shape (N,).
        about_now: Where the time is relative to that of receipt. Shape (N,).
    """

    source: NDArray[np.int64]
    place: NDArray[np.int64]
    series: NDArray[np.int32]
    value: NDArray[np.float64]
    time_ms: NDArray[np.int64]
    about_now: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.series)

    def where(self, chosen: NDArray[np.bool_]) -> "Rows":
        """Return some of the rows."""
        return Rows(**{name: getattr(self, name)[chosen] for name in self.__slots__})


def joined_rows(parts: list[Rows]) -> Rows:
    """Return the rows of several sources as one, in order of arrival."""
    if len(parts) < _SEVERAL:
        return parts[0] if parts else NO_ROWS
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Rows.__slots__}
    order = np.argsort(columns["place"], kind="stable")
    return Rows(**{name: column[order] for name, column in columns.items()})


NO_ROWS = Rows(
    source=np.empty(0, np.int64),
    place=np.empty(0, np.int64),
    series=np.empty(0, np.int32),
    value=np.empty(0),
    time_ms=np.empty(0, np.int64),
    about_now=np.empty(0, np.bool_),
)
