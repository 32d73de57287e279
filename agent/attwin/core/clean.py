"""The cleaning stage: judge readings, and tell new ones from ones that are here already.

Cleaning never repairs and never drops silently: what was stored can be explained later, what was not is counted.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attwin.core.catalogue import Catalogue
from attwin.core.columns import NEVER_MS, grown, newest_before
from attwin.core.types import Quality, ReadingBatch, Reason

_TIME_BITS = 44
RECENT_READINGS = 65_536
"""The horizon within which a reading of the same series and time is known to be a duplicate [readings]."""


def judge(batch: ReadingBatch, catalogue: Catalogue, *, now_ms: int, most_ahead_ms: int) -> ReadingBatch:
    """Return ``batch`` with quality lowered and reasons added where a check fails.

    Args:
        batch: The readings to judge.
        catalogue: Knows the range of every series.
        now_ms: The gateway's clock [ms since the Unix epoch, UTC].
        most_ahead_ms: How far a reading may be ahead of that clock.
    """
    impossible = ~((batch.value >= catalogue.low[batch.series]) & (batch.value <= catalogue.high[batch.series]))
    ahead = batch.time_ms > now_ms + most_ahead_ms
    if not (impossible.any() or ahead.any()):
        return batch
    quality = np.where(ahead, np.minimum(batch.quality, Quality.UNCERTAIN), batch.quality)
    quality = np.where(impossible, Quality.BAD, quality)
    reason = batch.reason | np.where(ahead, Reason.AHEAD, 0) | np.where(impossible, Reason.OUT_OF_RANGE, 0)
    return replace(batch, quality=quality.astype(np.uint8), reason=reason.astype(np.uint16))


class Recent:
    """Which readings arrived lately: finds a second reading of the same series and time.

    A reading newer than everything of its series cannot be a duplicate, so the last ``RECENT_READINGS`` keys are
    only searched for the others.
    """

    def __init__(self) -> None:
        self.newest_ms = np.full(64, NEVER_MS, np.int64)
        self._keys = np.full(RECENT_READINGS, -1, np.int64)
        self._next = 0

    def duplicates(self, batch: ReadingBatch, late: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which readings repeat the series and time of an earlier one that is kept.

        Args:
            batch: The readings.
            late: Which of them will not be kept unless they are duplicates. Shape (N,).

        Returns:
            Shape (N,). A late reading that was kept before is a duplicate; one that never was stays late.
        """
        self.newest_ms = grown(self.newest_ms, int(batch.series.max(initial=-1)) + 1, NEVER_MS)
        duplicate = np.zeros(len(batch), np.bool_)
        if not len(batch):
            return duplicate
        old = batch.time_ms <= newest_before(batch.series, batch.time_ms, self.newest_ms)
        suspect = np.flatnonzero(old)
        if len(suspect):
            keys = _keys(batch)
            kept = np.flatnonzero(~late)
            known, first = np.unique(keys[kept], return_index=True)
            place = np.minimum(np.searchsorted(known, keys[suspect]), max(len(known) - 1, 0))
            here = (known[place] == keys[suspect]) & (kept[first[place]] < suspect) if len(known) else False
            duplicate[suspect] = here | np.isin(keys[suspect], self._keys)
        return duplicate

    def remember(self, batch: ReadingBatch) -> None:
        """Note readings as arrived."""
        self.newest_ms = grown(self.newest_ms, int(batch.series.max(initial=-1)) + 1, NEVER_MS)
        np.maximum.at(self.newest_ms, batch.series, batch.time_ms)
        keys = _keys(batch)[-RECENT_READINGS:]
        places = (self._next + np.arange(len(keys))) % RECENT_READINGS
        self._keys[places] = keys
        self._next = int(self._next + len(keys)) % RECENT_READINGS

    def forget(self, series: range) -> None:
        """Forget all about some series."""
        self.newest_ms = grown(self.newest_ms, series.stop, NEVER_MS)
        self.newest_ms[series.start : series.stop] = NEVER_MS
        mine = (self._keys >> _TIME_BITS >= series.start) & (self._keys >> _TIME_BITS < series.stop)
        self._keys[mine] = -1

    def dump(self) -> dict[str, NDArray[np.int64]]:
        """Return the state as arrays, for a snapshot."""
        return {"newest_ms": self.newest_ms, "keys": np.roll(self._keys, -self._next)}

    def load(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what ``dump`` returned."""
        self.newest_ms, self._keys = state["newest_ms"].astype(np.int64), state["keys"].astype(np.int64)
        self._next = 0


def _keys(batch: ReadingBatch) -> NDArray[np.int64]:
    """Return one number for series and time; times are unique within 557 years."""
    return (batch.series.astype(np.int64) << _TIME_BITS) | (batch.time_ms & ((1 << _TIME_BITS) - 1))
