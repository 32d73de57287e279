"""Which series are stale: nothing was heard of them for three of their expected periods, or the sensor side said so.

Silence is measured by the monotonic clock, so a jump of the wall clock makes nothing stale. It goes on over a restart,
without the time that the agent was away: nobody can say who was silent then. While the broker is away series go stale,
as nobody knows their values, but the silence of an entity does not grow.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attwin.core.catalogue import Metric
from attwin.core.columns import NEVER_MS, grown

STALE_PERIODS = 3
_FIRST_CAPACITY = 64
_NEVER_S = -(2**31)


class Staleness:
    """When series and entities were heard, since the start; what was heard before it has a time below zero.

    Attributes:
        stale: Which series are stale. Shape (S,).
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.stale = np.zeros(_FIRST_CAPACITY, np.bool_)
        self._heard_s = np.full(_FIRST_CAPACITY, _NEVER_S, np.int32)
        self._entity_heard_ms = np.full(_FIRST_CAPACITY, NEVER_MS, np.int64)
        # as heard, but later by the time in which nobody could be heard
        self._excused_ms = np.zeros(_FIRST_CAPACITY, np.int64)
        self._now_ms = 0
        limits = [STALE_PERIODS * metric.every_ms / 1000 for metric in metrics]
        self._limit_s = np.array([limit or np.inf for limit in limits])

    def hear(self, series: NDArray[np.int32], now_ms: int) -> None:
        """Note that series were heard."""
        self._now_ms = now_ms
        self._make_room(int(series.max(initial=-1)) + 1)
        self._heard_s[series] = now_ms // 1000
        self._excused_ms[series] = now_ms
        self.stale[series] = False

    def hear_entities(self, entities: NDArray[np.int32], now_ms: int) -> None:
        """Note that entities were heard, in whatever way."""
        self._entity_heard_ms = grown(self._entity_heard_ms, int(entities.max(initial=-1)) + 1, NEVER_MS)
        self._entity_heard_ms[entities] = now_ms

    def silent_for_ms(self, entity: int, now_ms: int) -> int:
        """Return for how long nothing was heard of an entity; 0 where nothing ever was."""
        if entity >= len(self._entity_heard_ms) or self._entity_heard_ms[entity] == NEVER_MS:
            return 0
        return now_ms - int(self._entity_heard_ms[entity])

    def entities_silent_ms(self, entities: NDArray[np.int32], now_ms: int) -> NDArray[np.int64]:
        """Return for how long nothing was heard of entities; of those that never were, since the start. Shape (N,)."""
        self._entity_heard_ms = grown(self._entity_heard_ms, int(entities.max(initial=-1)) + 1, NEVER_MS)
        heard_ms = self._entity_heard_ms[entities]
        return now_ms - np.where(heard_ms == NEVER_MS, 0, heard_ms)

    def series_silent_ms(self, series: NDArray[np.int32], now_ms: int) -> NDArray[np.int64]:
        """Return for how long nothing was heard of series, as of entities. Shape (N,)."""
        self._make_room(int(series.max(initial=-1)) + 1)
        silent_ms: NDArray[np.int64] = now_ms - self._excused_ms[series]
        return silent_ms

    def silence(self, series: Sequence[int]) -> None:
        """Note that the sensor side says that nothing more comes for now."""
        self._make_room(max(series, default=-1) + 1)
        self.stale[list(series)] = True

    def update(self, number: NDArray[np.int16], now_ms: int) -> NDArray[np.int64]:
        """Return the series that have become stale since the last call.

        Args:
            number: The place of the metric of every series. Shape (S,).
            now_ms: The monotonic clock, since the start.
        """
        self._now_ms = now_ms
        self._make_room(len(number))
        count = len(number)
        late = (self._heard_s[:count] != _NEVER_S) & (now_ms / 1000 - self._heard_s[:count] > self._limit_s[number])
        became = np.flatnonzero(late & ~self.stale[:count])
        self.stale[became] = True
        return became

    def expect(self, series: NDArray[np.int64], now_ms: int) -> None:
        """Begin to wait for series that were heard before the start, where it is not known how long ago."""
        self._make_room(int(series.max(initial=-1)) + 1)
        self._heard_s[series[self._heard_s[series] == _NEVER_S]] = now_ms // 1000

    def expect_entities(self, entities: NDArray[np.int64], now_ms: int) -> None:
        """Begin to wait for entities that were known before the start, where it is not known when they were heard."""
        self._entity_heard_ms = grown(self._entity_heard_ms, int(entities.max(initial=-1)) + 1, NEVER_MS)
        self._entity_heard_ms[entities[self._entity_heard_ms[entities] == NEVER_MS]] = now_ms

    def excuse(self, duration_ms: int) -> None:
        """Take back some silence of all entities and series: nobody could be heard."""
        self._excused_ms += duration_ms
        self._entity_heard_ms[self._entity_heard_ms != NEVER_MS] += duration_ms

    def forget(self, series: range, entity: int) -> None:
        """Forget an entity and its series."""
        self._make_room(series.stop)
        own = slice(series.start, series.stop)
        self.stale[own], self._heard_s[own], self._excused_ms[own] = False, _NEVER_S, self._now_ms
        if entity < len(self._entity_heard_ms):
            self._entity_heard_ms[entity] = NEVER_MS

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return for how long each series and each entity has been silent, -1 for always, and which are stale."""
        heard_s, heard_ms = self._heard_s.astype(np.int64), self._entity_heard_ms
        return {
            "silent_s": np.where(heard_s == _NEVER_S, -1, self._now_ms // 1000 - heard_s),
            "entity_silent_ms": np.where(heard_ms == NEVER_MS, -1, self._now_ms - heard_ms),
            "stale": self.stale.astype(np.uint8),
        }

    def load(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on, at the start, from what ``dump`` returned."""
        silent_s, silent_ms = arrays["silent_s"].astype(np.int64), arrays["entity_silent_ms"].astype(np.int64)
        self._heard_s = np.where(silent_s < 0, _NEVER_S, -silent_s).astype(np.int32)
        self._excused_ms = -1000 * np.maximum(silent_s, 0)
        self._entity_heard_ms = np.where(silent_ms < 0, NEVER_MS, -silent_ms)
        self.stale = arrays["stale"].astype(np.bool_)

    def _make_room(self, length: int) -> None:
        self.stale, self._heard_s = grown(self.stale, length), grown(self._heard_s, length, _NEVER_S)
        self._excused_ms = grown(self._excused_ms, length, self._now_ms)
