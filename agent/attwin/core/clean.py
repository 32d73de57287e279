"""The cleaning stage: judge readings, and tell new ones from ones that are here already.

Cleaning never repairs and never drops silently: what was stored can be explained later, what was not is counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attwin.core.catalogue import Catalogue, Metric
from attwin.core.columns import NEVER_MS, grown, newest_before
from attwin.core.types import Quality, ReadingBatch, Reason

_TIME_BITS = 44
_FAR_MS = 2**62
_FEW = 50
RECENT_READINGS = 65_536
"""The horizon within which a reading of the same series and time is known to be a duplicate [readings]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockView:
    """What cleaning may know of the time.

    Attributes:
        now_ms: The gateway's clock [ms since the Unix epoch, UTC].
        is_trusted: Whether that clock can be right.
        most_ahead_ms: How far a reading may be ahead of it.
    """

    now_ms: int
    is_trusted: bool
    most_ahead_ms: int


class Ranges:
    """The range of every metric, as columns."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.low = np.array([metric.low for metric in metrics])
        self.high = np.array([metric.high for metric in metrics])


def judge(batch: ReadingBatch, catalogue: Catalogue, ranges: Ranges, clock: ClockView) -> ReadingBatch:
    """Return ``batch`` with quality lowered and reasons added where a check fails.

    While the clock is not trusted it cannot say what is ahead of it: then every reading is uncertain.
    """
    number = catalogue.series_number[batch.series]
    impossible = ~((batch.value >= ranges.low[number]) & (batch.value <= ranges.high[number]))
    ahead = batch.time_ms > clock.now_ms + clock.most_ahead_ms
    if clock.is_trusted and not (impossible.any() or ahead.any()):
        return batch
    if not clock.is_trusted:
        ahead = np.zeros(len(batch), np.bool_)
    doubtful = ahead if clock.is_trusted else np.ones(len(batch), np.bool_)
    quality = np.where(doubtful, np.minimum(batch.quality, Quality.UNCERTAIN), batch.quality)
    quality = np.where(impossible, Quality.BAD, quality)
    reason = batch.reason | np.where(doubtful, Reason.AHEAD if clock.is_trusted else Reason.CLOCK, Reason.NONE)
    reason |= np.where(impossible, Reason.OUT_OF_RANGE, Reason.NONE)
    return replace(batch, quality=quality, reason=reason)


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
        if not len(batch) or self._are_all_new(batch):
            return duplicate
        old = batch.time_ms <= newest_before(batch.series, batch.time_ms, self.newest_ms)
        # two readings may be received at one time
        old &= (batch.reason & Reason.RECEIVED) == 0
        suspect = np.flatnonzero(old)
        if len(suspect):
            keys = _keys(batch)
            kept = np.flatnonzero(~late)
            known, first = np.unique(keys[kept], return_index=True)
            place = np.minimum(np.searchsorted(known, keys[suspect]), max(len(known) - 1, 0))
            here = (known[place] == keys[suspect]) & (kept[first[place]] < suspect) if len(known) else False
            duplicate[suspect] = here | self._holds(keys[suspect])
        return duplicate

    def _are_all_new(self, batch: ReadingBatch) -> bool:
        """Return whether each of a few readings is newer than all of its series, found out without sorting."""
        few = len(batch) <= _FEW and len(set(batch.series.tolist())) == len(batch)
        return few and bool((batch.time_ms > self.newest_ms[batch.series]).all())

    def _holds(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which keys arrived lately. A few are looked for one by one, which is faster than to sort them all."""
        if len(keys) > _FEW:
            return np.isin(keys, self._keys)
        return np.array([(self._keys == key).any() for key in keys], np.bool_)

    def remember(self, batch: ReadingBatch) -> None:
        """Note readings as arrived."""
        self.newest_ms = grown(self.newest_ms, int(batch.series.max(initial=-1)) + 1, NEVER_MS)
        np.maximum.at(self.newest_ms, batch.series, batch.time_ms)
        keys = _keys(batch)[-RECENT_READINGS:]
        before_end = min(len(keys), RECENT_READINGS - self._next)
        self._keys[self._next : self._next + before_end] = keys[:before_end]
        self._keys[: len(keys) - before_end] = keys[before_end:]
        self._next = (self._next + len(keys)) % RECENT_READINGS

    def forget(self, series: range) -> None:
        """Forget all about some series."""
        self.newest_ms = grown(self.newest_ms, series.stop, NEVER_MS)
        self.newest_ms[series.start : series.stop] = NEVER_MS
        mine = (self._keys >> _TIME_BITS >= series.start) & (self._keys >> _TIME_BITS < series.stop)
        self._keys[mine] = -1

    def dump(self) -> dict[str, NDArray[np.int64]]:
        """Return the state as arrays, for a snapshot."""
        # as differences they compress to a third
        steps = np.roll(self._keys, -self._next)
        steps[1:] -= steps[:-1].copy()
        return {"newest_ms": self.newest_ms, "steps": steps}

    def load(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what ``dump`` returned."""
        self.newest_ms = state["newest_ms"].astype(np.int64)
        self._keys = np.cumsum(state["steps"], dtype=np.int64)
        self._next = 0


class History:
    """The reading before each one, for metrics whose readings are judged by it.

    Deadband: a reading that close to the last one stored is left out, for at most the heartbeat. Stuck: a value that
    has not changed for too long is bad. Step: too great a change is uncertain, once. Other metrics cost nothing.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._checked = np.array([metric.remembers for metric in metrics], np.bool_)
        self._deadband = np.array([metric.deadband for metric in metrics])
        self._heartbeat_ms = np.array([metric.heartbeat_ms for metric in metrics])
        self._stuck_ms = np.array([metric.stuck_after_ms or _FAR_MS for metric in metrics])
        self._step = np.array([metric.step for metric in metrics])
        self.value = np.empty(0)
        self.time_ms = np.empty(0, np.int64)
        self.since_ms = np.empty(0, np.int64)

    def assess(self, batch: ReadingBatch, number: NDArray[np.int16]) -> tuple[ReadingBatch, NDArray[np.bool_]]:
        """Return ``batch`` judged, and which of its readings are within the deadband.

        Args:
            batch: Readings that are new, in order of arrival.
            number: The place of each reading's metric. Shape (N,).
        """
        suppressed = np.zeros(len(batch), np.bool_)
        checked = self._checked[number]
        if not checked.any():
            return batch, suppressed
        counts = (batch.quality != Quality.BAD) & ((batch.reason & Reason.UNTIMELY) == 0)
        rows = np.flatnonzero(checked & counts)
        if not len(rows):
            return batch, suppressed
        self._make_room(int(batch.series[rows].max()) + 1)
        reason = batch.reason.copy()
        for part in _turns(batch.series, rows):
            self._assess_turn(part, batch, number[part], reason, suppressed)
        stuck, stepped = (reason & Reason.STUCK) != 0, (reason & Reason.STEP) != 0
        quality = np.where(stepped, np.minimum(batch.quality, Quality.UNCERTAIN), batch.quality)
        quality = np.where(stuck, Quality.BAD, quality)
        return replace(batch, quality=quality, reason=reason), suppressed

    def forget(self, series: range) -> None:
        """Forget some series."""
        self.time_ms[series.start : series.stop] = NEVER_MS

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays, for a snapshot."""
        return {"value": self.value, "time_ms": self.time_ms, "since_ms": self.since_ms}

    def load(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what ``dump`` returned."""
        self.value = state["value"].astype(np.float64)
        self.time_ms, self.since_ms = state["time_ms"].astype(np.int64), state["since_ms"].astype(np.int64)

    def _assess_turn(
        self,
        part: NDArray[np.int64],
        batch: ReadingBatch,
        number: NDArray[np.int16],
        reason: NDArray[np.uint16],
        suppressed: NDArray[np.bool_],
    ) -> None:
        """Judge readings of as many series, and remember them."""
        series, value, time_ms = batch.series[part], batch.value[part], batch.time_ms[part]
        known, newer = self.time_ms[series] != NEVER_MS, time_ms > self.time_ms[series]
        with np.errstate(over="ignore"):
            # the way from one end of the numbers to the other is endless, and too great a change
            change = np.abs(value - self.value[series])
        near = known & newer & (change <= self._deadband[number])
        suppressed[part] = near & (time_ms - self.time_ms[series] < self._heartbeat_ms[number])
        reason[part[known & newer & (change > self._step[number])]] |= Reason.STEP
        same = known & (change == 0)
        reason[part[newer & same & (time_ms - self.since_ms[series] >= self._stuck_ms[number])]] |= Reason.STUCK
        fresh = newer & ~same
        self.since_ms[series[fresh]] = time_ms[fresh]
        kept = newer & ~suppressed[part]
        self.value[series[kept]], self.time_ms[series[kept]] = value[kept], time_ms[kept]

    def _make_room(self, length: int) -> None:
        self.value = grown(self.value, length)
        self.time_ms = grown(self.time_ms, length, NEVER_MS)
        self.since_ms = grown(self.since_ms, length, NEVER_MS)


def _turns(series: NDArray[np.int32], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield rows in turns, in each of which a series stands once: first readings, second ones, and so on."""
    order = rows[np.argsort(series[rows], kind="stable")]
    own = series[order]
    first = np.concatenate([[True], own[1:] != own[:-1]])
    count = np.arange(len(order))
    turn = count - np.maximum.accumulate(np.where(first, count, 0))
    for number in range(int(turn.max()) + 1):
        yield order[turn == number]


def _keys(batch: ReadingBatch) -> NDArray[np.int64]:
    """Return one number for series and time; times are unique within 557 years."""
    return (batch.series.astype(np.int64) << _TIME_BITS) | (batch.time_ms & ((1 << _TIME_BITS) - 1))
