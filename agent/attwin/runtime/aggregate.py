"""Aggregates upstream: every entity's interval in few messages, by exception."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attwin.core.aggregates import Aggregates, Interval
from attwin.core.outgoing import Draft, aggregates_draft
from attwin.core.types import ReadingBatch
from attwin.ports import AlertChange
from attwin.runtime.twin import Scores, Twin

_ATTENTION = "attention"
_ROW_BYTES, _COLUMN_BYTES = 24, 36
"""What an entity and four numbers take as text, about."""


class AggregatePublisher:
    """Collects what was measured and scored, and tells it at each interval.

    An entity that has hardly moved since it was told is left out; after ``full`` intervals all are told.
    """

    def __init__(
        self,
        twin: Twin,
        *,
        base: str,
        every_ms: int,
        metrics: Sequence[str],
        change: float,
        full: int,
        largest_bytes: int,
        now_ms: int,
    ) -> None:
        """Begin an interval.

        Args:
            twin: Knows the entities.
            base: Of topics.
            every_ms: The interval.
            metrics: To tell beside attention.
            change: As a share of a metric's range, or of its mean where it has none; of attention itself.
            full: After so many intervals all entities are told.
            largest_bytes: Of a message.
            now_ms: By the monotonic clock.
        """
        self._twin, self._base, self._every_ms = twin, base, every_ms
        self._names = [_ATTENTION, *metrics]
        self._aggregates = Aggregates(len(self._names), every_ms)
        self._change, self._full = change, full
        # half of what is allowed: an entity's name may be long
        self._most_rows = max(1, largest_bytes // 2 // (_ROW_BYTES + _COLUMN_BYTES * len(self._names)))
        self._until_full = 0
        self._next_ms = now_ms + every_ms
        self._alerts = Counter[str]()
        catalogue = twin.catalogue
        self._column = np.array([1 + metrics.index(m.name) if m.name in metrics else -1 for m in catalogue.metrics])
        self._range = np.full((len(catalogue.kinds), len(self._names)), np.nan)
        self._range[:, 0] = 1.0
        for kind, found in enumerate(catalogue.kinds):
            for metric in found.metrics:
                if metric.name in metrics and np.isfinite(metric.high - metric.low):
                    self._range[kind, 1 + metrics.index(metric.name)] = metric.high - metric.low

    def note_scores(self, made: Scores) -> None:
        """Take scores in."""
        column = np.zeros(len(made.entity), np.int64)
        self._aggregates.add(made.entity, column, made.time_ms, made.score.astype(np.float64))

    def note_readings(self, stored: ReadingBatch) -> None:
        """Take the readings of the metrics that are told in."""
        if len(self._names) == 1 or not len(stored):
            return
        catalogue = self._twin.catalogue
        column = self._column[catalogue.series_number[stored.series]]
        rows = column >= 0
        series = stored.series[rows]
        self._aggregates.add(catalogue.series_entity[series], column[rows], stored.time_ms[rows], stored.value[rows])

    def note_alerts(self, changes: Sequence[AlertChange]) -> None:
        """Count alerts that began."""
        self._alerts.update(change.after.entity for change in changes if change.before is None)

    def forget(self, entity: int) -> None:
        """Forget an entity."""
        self._aggregates.forget(entity)

    def due(self, now_ms: int, *, at_end: bool = False) -> list[Draft]:
        """Return the messages of an interval that is over by the monotonic clock, or of all there is at the end."""
        if now_ms < self._next_ms and not at_end:
            return []
        self._next_ms = now_ms + self._every_ms
        is_full = self._until_full <= 0
        self._until_full = self._full - 1 if is_full else self._until_full - 1
        drafts = []
        for interval in self._aggregates.take(everything=at_end):
            chosen = (
                interval if is_full else interval.where(self._aggregates.worth_telling(interval, self._band(interval)))
            )
            self._aggregates.note_told(chosen)
            drafts += self._drafts(chosen, is_full=is_full)
        if self._alerts:
            drafts.append(aggregates_draft(self._base, {"every_ms": self._every_ms, "alerts": dict(self._alerts)}))
            self._alerts.clear()
        return drafts

    def _band(self, interval: Interval) -> NDArray[np.float64]:
        """Return what is no change of entities. Shape (R, K)."""
        span = self._range[self._twin.catalogue.entity_kind[interval.entity]]
        own = np.where(np.isnan(span), np.abs(self._aggregates.told_mean(interval.entity)), span)
        band: NDArray[np.float64] = self._change * own
        return band

    def _drafts(self, interval: Interval, *, is_full: bool) -> list[Draft]:
        """Return an interval as messages that are not too large."""
        drafts = []
        for start in range(0, len(interval.entity), self._most_rows):
            rows = np.zeros(len(interval.entity), np.bool_)
            rows[start : start + self._most_rows] = True
            part = interval.where(rows)
            names = self._twin.catalogue.entity_ids
            body: dict[str, object] = {
                "from_ms": part.from_ms,
                "every_ms": self._every_ms,
                "full": is_full,
                "entity": [names[entity] for entity in part.entity.tolist()],
            }
            for place, name in enumerate(self._names):
                if part.count[:, place].any():
                    body[name] = {
                        "count": part.count[:, place].tolist(),
                        "mean": _short(part.mean[:, place]),
                        "min": _short(part.low[:, place]),
                        "max": _short(part.high[:, place]),
                    }
            drafts.append(aggregates_draft(self._base, body))
        return drafts


def _short(values: NDArray[np.float64]) -> list[float | int | None]:
    """Return numbers with five digits, whole ones without a fraction, and None where there is none."""
    short: list[float | int | None] = []
    for value in values.tolist():
        rounded = None if value != value else float(f"{value:.5g}")  # noqa: PLR0124 -- NaN
        short.append(int(rounded) if rounded is not None and rounded.is_integer() else rounded)
    return short
