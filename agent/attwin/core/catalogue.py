"""What the gateway knows: kinds, their metrics, the entities of each kind, and the number of every series.

A series is one metric of one entity. An entity's series are consecutive: ``first_series + metric``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attwin.core.columns import grown

_FIRST_CAPACITY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One measured quantity of a kind.

    Attributes:
        name: As in topics and the configuration.
        unit: SenML symbol.
        low: Smallest possible value, -inf where not limited.
        high: Largest possible value, inf where not limited.
        every_ms: Expected period, 0 where none is promised.
        deadband: A reading this close to the one stored before is left out; NaN for none.
        heartbeat_ms: After this time a reading is stored all the same.
        stuck_after_ms: A value that has not changed for this long is bad; 0 for never.
        step: A greater change from one reading to the next is uncertain; inf for none.
        categories: What the codes 0, 1, ... stand for; empty for a number.
    """

    name: str
    unit: str
    low: float = -np.inf
    high: float = np.inf
    every_ms: int = 0
    deadband: float = np.nan
    heartbeat_ms: int = 600_000
    stuck_after_ms: int = 0
    step: float = np.inf
    categories: tuple[str, ...] = ()

    @property
    def remembers(self) -> bool:
        """Whether a reading is judged by the one before it."""
        return not np.isnan(self.deadband) or self.stuck_after_ms > 0 or self.step < np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What entities of one sort share.

    Attributes:
        name: As in the configuration.
        metrics: In the order of the configuration.
        windows_ms: The one or two windows of the kind's model; empty where the kind has none.
        step_ms: The grid of event time on which scores lie.
        lateness_ms: How long a score waits for readings that are late.
    """

    name: str
    metrics: tuple[Metric, ...]
    windows_ms: tuple[int, ...]
    step_ms: int
    lateness_ms: int

    def metric_index(self, name: str) -> int | None:
        """Return the place of a metric among the kind's metrics, None where the kind has no such metric."""
        for place, metric in enumerate(self.metrics):
            if metric.name == name:
                return place
        return None


class Catalogue:
    """Entities and series by number.

    A number is a place in the columns. The place of a forgotten entity is given to the next new one of its kind;
    its key, which the store uses, is never given again.

    Attributes:
        kinds: All kinds, by index.
        entity_ids: The id of every entity, by index; empty where the place is free.
        entity_key: The lasting key of every entity. Shape (E,).
        entity_kind: The kind's index of every entity. Shape (E,).
        first_series: The first series of every entity. Shape (E,).
        series_key: The lasting key of every series. Shape (S,).
        series_entity: The entity of every series. Shape (S,).
        series_metric: The metric's index, in the entity's kind, of every series. Shape (S,).
        metrics: The metrics of all kinds, one after the other.
        series_number: The place in ``metrics`` of every series. Shape (S,).
        series_place: The place of every series among those of its kind. Shape (S,).
    """

    def __init__(self, kinds: Sequence[Kind], *, most_entities: int) -> None:
        self.kinds = tuple(kinds)
        self.most_entities = most_entities
        self.entity_ids: list[str] = []
        self.series_count = 0
        self.next_entity_key = 1
        self.next_series_key = 1
        self.entity_key = np.zeros(_FIRST_CAPACITY, np.int64)
        self.entity_kind = np.zeros(_FIRST_CAPACITY, np.int16)
        self.first_series = np.zeros(_FIRST_CAPACITY, np.int32)
        self.series_key = np.zeros(_FIRST_CAPACITY, np.int64)
        self.series_entity = np.zeros(_FIRST_CAPACITY, np.int32)
        self.series_metric = np.zeros(_FIRST_CAPACITY, np.int16)
        self.metrics = tuple(metric for kind in self.kinds for metric in kind.metrics)
        self.series_number = np.zeros(_FIRST_CAPACITY, np.int16)
        self.series_place = np.zeros(_FIRST_CAPACITY, np.int32)
        self._count_of = [0] * len(self.kinds)
        self._index: dict[str, int] = {}
        self._free: dict[int, list[int]] = {kind: [] for kind in range(len(self.kinds))}

    def __len__(self) -> int:
        """Return how many places for entities there are, free ones included."""
        return len(self.entity_ids)

    @property
    def live_count(self) -> int:
        """How many entities are known."""
        return len(self._index)

    @property
    def is_full(self) -> bool:
        """Whether no further entity may be learned."""
        return self.live_count >= self.most_entities

    def live(self) -> list[int]:
        """Return the indices of all known entities."""
        return sorted(self._index.values())

    def is_live(self, series: int) -> bool:
        """Return whether the entity of a series is known, and its place not free."""
        return bool(self.entity_ids[int(self.series_entity[series])])

    def find(self, entity_id: str) -> int | None:
        """Return the entity's index, None where it is not known."""
        return self._index.get(entity_id)

    def add(self, entity_id: str, kind: int, *, keys: tuple[int, int] | None = None) -> int:
        """Add an entity with all series of its kind and return its index.

        Args:
            entity_id: Its id, which must be new.
            kind: The index of its kind.
            keys: The lasting keys of the entity and of its first series, where the store knows it already.

        Raises:
            ValueError: The id is taken.
        """
        if entity_id in self._index:
            raise ValueError(f"entity `{entity_id}` is already known")
        metrics = len(self.kinds[kind].metrics)
        entity_key, series_key = keys or (self.next_entity_key, self.next_series_key)
        self.next_entity_key = max(self.next_entity_key, entity_key + 1)
        self.next_series_key = max(self.next_series_key, series_key + metrics)
        entity = self._free[kind].pop() if self._free[kind] else self._new_place(kind)
        first = int(self.first_series[entity])
        self.entity_ids[entity] = entity_id
        self._index[entity_id] = entity
        self.entity_key[entity] = entity_key
        self.series_key[first : first + metrics] = np.arange(series_key, series_key + metrics)
        return entity

    def forget(self, entity: int) -> None:
        """Free an entity's place."""
        del self._index[self.entity_ids[entity]]
        self.entity_ids[entity] = ""
        self._free[int(self.entity_kind[entity])].append(entity)

    def _new_place(self, kind: int) -> int:
        entity, first = len(self.entity_ids), self.series_count
        metrics = self.kinds[kind].metrics
        self.series_count = first + len(metrics)
        self.entity_ids.append("")
        for name in ("entity_key", "entity_kind", "first_series"):
            setattr(self, name, grown(getattr(self, name), entity + 1))
        for name in ("series_key", "series_entity", "series_metric", "series_number", "series_place"):
            setattr(self, name, grown(getattr(self, name), self.series_count))
        self.entity_kind[entity] = kind
        self.first_series[entity] = first
        own = slice(first, self.series_count)
        self.series_entity[own] = entity
        self.series_metric[own] = np.arange(len(metrics))
        self.series_number[own] = sum(len(k.metrics) for k in self.kinds[:kind]) + np.arange(len(metrics))
        self.series_place[own] = self._count_of[kind] + np.arange(len(metrics))
        self._count_of[kind] += len(metrics)
        return entity

    def kind_of(self, entity: int) -> Kind:
        """Return the kind of an entity."""
        return self.kinds[int(self.entity_kind[entity])]

    def series_of(self, entity: int) -> range:
        """Return the series of an entity, in the order of its kind's metrics."""
        first = int(self.first_series[entity])
        return range(first, first + len(self.kind_of(entity).metrics))

    def metric_of(self, series: int) -> Metric:
        """Return the metric of a series."""
        return self.kind_of(int(self.series_entity[series])).metrics[int(self.series_metric[series])]
