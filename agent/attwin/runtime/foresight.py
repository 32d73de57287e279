"""The foresight stage: what comes next and what is strange, on a grid of event time, and the rules about both.

A step of the grid is over when readings are newer than its end and the lateness; then the mean of each entity goes to
the forecasters and the anomaly score. It all follows from readings alone, so a replay gives what was live.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attwin.core.anomaly import Anomalies
from attwin.core.catalogue import Catalogue
from attwin.core.columns import grown
from attwin.core.forecast import FORECASTERS, Forecasts, Outlook, Record
from attwin.core.local_time import LocalTime
from attwin.core.rules import Basis, RuleStates
from attwin.core.types import Quality, ReadingBatch, Reason, Transition
from attwin.core.warning import Ahead, Warned, ahead, sentence
from attwin.ports import ForecastRow
from attwin.runtime.rules import RuleBoard
from attwin.runtime.twin import Scores

Arrays = Mapping[str, NDArray[np.generic]]
_GRACE = 2
"""A warning is false once so many times the time until its latest has gone by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One subject of a kind that is looked at on a grid.

    Attributes:
        kind: The kind's index.
        subject: A metric's name, or ``attention``.
        column: The metric's place in the kind, None for attention.
        step_ms: The distance of the grid.
        horizons_ms: How far ahead is forecast; empty for not at all.
        is_scored: Whether anomalies are looked for.
        lateness_ms: How long a step waits for readings that are late.
    """

    kind: int
    subject: str
    column: int | None
    step_ms: int
    horizons_ms: tuple[int, ...]
    is_scored: bool
    lateness_ms: int


class _Grid:
    """The running steps of one watch: sums and counts of the open step and of the one behind it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.forecasts = (
            Forecasts([h // watch.step_ms for h in watch.horizons_ms], watch.step_ms) if watch.horizons_ms else None
        )
        self.anomalies = Anomalies() if watch.is_scored else None
        self.tick: int | None = None
        self.places = np.full(64, -1, np.int32)
        self.entities: list[int] = []
        self.sums, self.counts = np.zeros((64, 2)), np.zeros((64, 2))
        self.outlook: Outlook | None = None
        self.strange = np.full(64, np.nan)
        self.newest = np.full(64, np.nan)

    def place(self, entity: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the place of each entity among those of the watch; new ones get one."""
        self.places = grown(self.places, int(entity.max()) + 1, -1)
        for new in dict.fromkeys(entity[self.places[entity] < 0].tolist()):
            self.places[new] = len(self.entities)
            self.entities.append(new)
        count = len(self.entities)
        self.sums, self.counts = grown(self.sums, count), grown(self.counts, count)
        self.newest, self.strange = grown(self.newest, count, np.nan), grown(self.strange, count, np.nan)
        return self.places[entity]

    def add(self, entity: NDArray[np.int32], tick: int, value: NDArray[np.float64]) -> None:
        """Add values of one step that is open."""
        place, column = self.place(entity), tick % 2
        np.add.at(self.sums[:, column], place, value)
        np.add.at(self.counts[:, column], place, 1)

    def close(self) -> NDArray[np.float64]:
        """End the open step and return the mean of every entity, NaN where there was nothing."""
        column = (self.tick or 0) % 2
        count = len(self.entities)
        with np.errstate(invalid="ignore"):
            mean = self.sums[:count, column] / self.counts[:count, column]
        self.sums[:, column], self.counts[:, column] = 0.0, 0.0
        self.newest[:count] = np.where(np.isnan(mean), self.newest[:count], mean)
        self.tick = None if self.tick is None else self.tick + 1
        return mean


class Foresight:
    """All watches, with the rules about them.

    Attributes:
        graded: Warnings whose end is known, since somebody emptied this.
    """

    def __init__(
        self, watches: Sequence[Watch], catalogue: Catalogue, rules: RuleBoard, offset_s: Callable[[int], int]
    ) -> None:
        self._watches = tuple(watches)
        self._grids = [_Grid(watch) for watch in self._watches]
        self._catalogue = catalogue
        self._rules = rules
        self._local = LocalTime(offset_s)
        self._open: list[Warned] = []
        self.graded: list[Warned] = []

    def take(self, stored: ReadingBatch, scores: Sequence[Scores]) -> list[Transition]:
        """Take what was stored and scored, end the steps that are over, and return the alerts that change."""
        transitions: list[Transition] = []
        for grid in self._grids:
            watch = grid.watch
            if watch.column is None:
                parts = [(m.entity, m.time_ms, m.score.astype(np.float64)) for m in scores if m.kind == watch.kind]
            else:
                parts = [self._values(watch, watch.column, stored)] if len(stored) else []
            for entity, time_ms, value in parts:
                if len(entity):
                    transitions += self._add(grid, entity, time_ms, value)
        return transitions

    def forget(self, entity: int, name: str) -> None:
        """Forget an entity, by its place, which is given to another one, and by its id."""
        for grid in self._grids:
            place = int(grid.places[entity]) if entity < len(grid.places) else -1
            if place < 0:
                continue
            grid.sums[place], grid.counts[place] = 0.0, 0.0
            grid.newest[place] = grid.strange[place] = np.nan
            for own in (grid.forecasts, grid.anomalies):
                if own is not None:
                    own.forget(range(place, place + 1))
        self._open = [warned for warned in self._open if warned.entity != name]

    def reset(self) -> None:
        """Forget all that was learned: the times of the readings were wrong."""
        self._grids = [_Grid(watch) for watch in self._watches]
        self._open = []

    def rows(self) -> list[ForecastRow]:
        """Return what is said now of everything that is forecast, with how well it was."""
        return [row for grid in self._grids for row in _rows_of(grid, self._catalogue)]

    def strange(self, entity: int) -> dict[str, float]:
        """Return the newest anomaly scores of an entity, by subject."""
        found = {}
        for grid in self._grids:
            place = int(grid.places[entity]) if grid.anomalies and entity < len(grid.places) else -1
            if place >= 0 and not np.isnan(grid.strange[place]):
                found[grid.watch.subject] = float(grid.strange[place])
        return found

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return what was learned, with the names of the entities, for which it holds."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for grid in self._grids:
            prefix = _name(grid.watch)
            names = "\n".join(self._catalogue.entity_ids[entity] for entity in grid.entities)
            arrays[f"{prefix}.names"] = np.frombuffer(names.encode(), np.uint8)
            for part, own in (("forecasts", grid.forecasts), ("anomalies", grid.anomalies)):
                if own is not None:
                    arrays |= {f"{prefix}.{part}.{name}": array for name, array in own.dump().items()}
        return arrays

    def load(self, arrays: Arrays) -> None:
        """Take over what ``dump`` returned, of the watches that are the same."""
        for grid in self._grids:
            prefix = _name(grid.watch)
            if f"{prefix}.names" not in arrays:
                continue
            names = bytes(arrays[f"{prefix}.names"].astype(np.uint8)).decode().split("\n")
            found = [self._catalogue.find(name) for name in names if name]
            if any(entity is None for entity in found) or not found:
                # who is gone has left a place in the columns; it begins anew
                continue
            grid.place(np.array([entity for entity in found if entity is not None], np.int32))
            for part, own in (("forecasts", grid.forecasts), ("anomalies", grid.anomalies)):
                if own is not None:
                    head = f"{prefix}.{part}."
                    own.load({n.removeprefix(head): a for n, a in arrays.items() if n.startswith(head)})

    def _values(
        self, watch: Watch, column: int, stored: ReadingBatch
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
        entity = self._catalogue.series_entity[stored.series]
        mine = (self._catalogue.series_metric[stored.series] == column) & (
            self._catalogue.entity_kind[entity] == watch.kind
        )
        mine &= (stored.quality != Quality.BAD) & ((stored.reason & Reason.UNTIMELY) == 0)
        return entity[mine], stored.time_ms[mine], stored.value[mine]

    def _add(
        self,
        grid: _Grid,
        entity: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> Iterator[Transition]:
        """Add values, the steps in their order; a step ends when values are newer than its end and the lateness."""
        watch = grid.watch
        ticks = time_ms // watch.step_ms
        for tick in np.unique(ticks).tolist():
            if grid.tick is None:
                grid.tick = tick
            while tick > grid.tick + 1:
                yield from self._close(grid)
                if tick > grid.tick + 1 and not grid.counts.any():
                    # nothing was heard for long: the forecasters see the gap by themselves
                    grid.tick = tick - 1
            rows = ticks == tick
            if tick >= grid.tick:
                grid.add(entity[rows], tick, value[rows])
            newest_ms = int(time_ms[rows].max())
            while newest_ms >= (grid.tick + 1) * watch.step_ms + watch.lateness_ms:
                yield from self._close(grid)

    def _close(self, grid: _Grid) -> Iterator[Transition]:
        """End a step: forecast, score, and judge the rules about both."""
        tick, watch = grid.tick or 0, grid.watch
        mean = grid.close()
        end_ms = (tick + 1) * watch.step_ms
        entities = np.array(grid.entities, np.int32)
        self._grade(grid, mean, end_ms)
        local_ms = int(self._local.local_ms(np.array([tick * watch.step_ms], np.int64))[0])
        if grid.anomalies is not None:
            rows = np.arange(len(mean), dtype=np.int32)
            times = np.full(len(mean), tick * watch.step_ms)
            _, grid.strange[: len(mean)] = grid.anomalies.update(
                rows, times, mean, local_ms=np.full(len(mean), local_ms)
            )
            yield from self._judge(grid, Basis.ANOMALY, entities, end_ms, lambda _s: grid.strange[: len(mean)])
        if grid.forecasts is not None:
            grid.outlook = outlook = grid.forecasts.step(tick, mean, local_ms=local_ms)
            yield from self._judge(
                grid, Basis.FORECAST, entities, end_ms, lambda s: outlook.value[:, self._horizon(grid, s)]
            )
            yield from self._warn(grid, outlook, entities, end_ms)

    def _horizon(self, grid: _Grid, states: RuleStates) -> int:
        return grid.watch.horizons_ms.index(states.rule.subject.horizon_ms)

    def _about(self, grid: _Grid, basis: Basis) -> Iterator[RuleStates]:
        for states in self._rules.of(basis):
            subject = states.rule.subject
            if states.rule.kind == grid.watch.kind and subject.column == grid.watch.column:
                yield states

    def _judge(
        self,
        grid: _Grid,
        basis: Basis,
        entities: NDArray[np.int32],
        end_ms: int,
        numbers: Callable[[RuleStates], NDArray[np.float64]],
    ) -> Iterator[Transition]:
        for states in self._about(grid, basis):
            yield from self._rules.on_numbers(states, entities, end_ms, numbers(states))

    def _warn(self, grid: _Grid, outlook: Outlook, entities: NDArray[np.int32], end_ms: int) -> Iterator[Transition]:
        """Yield the warnings that begin and end, and remember those that begin, to be graded."""
        horizons_ms = np.array(grid.watch.horizons_ms, np.float64)
        for states in self._about(grid, Basis.WARNING):
            rule = states.rule
            level = rule.subject.level
            found = ahead(
                grid.newest[: len(entities)],
                outlook.value,
                outlook.low,
                outlook.high,
                horizons_ms,
                level,
                above=rule.subject.upwards,
            )
            # what is not known well enough neither begins nor ends a warning
            seconds = np.where(found.is_narrow | np.isinf(found.expected), found.expected / 1000, np.nan)
            seconds = np.where(np.isinf(seconds), 1e12, seconds)
            for transition in self._rules.on_numbers(states, entities, end_ms, seconds):
                place = int(grid.places[transition.entity])
                text = self._warned(rule.name, transition, found, place, end_ms, level, upwards=rule.subject.upwards)
                # what ends a warning is that nothing is expected: no number
                value = transition.value if transition.state else np.nan
                yield replace(transition, text=text, value=value)

    def _warned(
        self, rule: str, transition: Transition, found: Ahead, place: int, end_ms: int, level: float, *, upwards: bool
    ) -> str:
        expected, earliest, latest = (float(column[place]) for column in (found.expected, found.earliest, found.latest))
        if not transition.state or not np.isfinite(latest):
            return ""
        self._open.append(
            Warned(
                rule=rule,
                entity=self._catalogue.entity_ids[transition.entity],
                made_ms=end_ms,
                expected_ms=end_ms + round(expected),
                earliest_ms=end_ms + round(earliest),
                latest_ms=end_ms + round(latest),
                came_ms=None,
            )
        )
        return sentence("above" if upwards else "below", level, expected, earliest, latest)

    def _grade(self, grid: _Grid, mean: NDArray[np.float64], end_ms: int) -> None:
        """Find out which warnings have come true, and which will not any more."""
        rules = {states.rule.name: states.rule for states in self._about(grid, Basis.WARNING)}
        left = []
        for warned in self._open:
            rule = rules.get(warned.rule)
            entity = self._catalogue.find(warned.entity)
            place = int(grid.places[entity]) if rule and entity is not None and entity < len(grid.places) else -1
            if rule is None or place < 0:
                left.append(warned)
                continue
            value, level = float(mean[place]), rule.subject.level
            if value > level if rule.subject.upwards else value < level:
                self.graded.append(replace(warned, came_ms=end_ms))
            elif end_ms > warned.made_ms + _GRACE * (warned.latest_ms - warned.made_ms):
                self.graded.append(warned)
            else:
                left.append(warned)
        self._open = left


def _rows_of(grid: _Grid, catalogue: Catalogue) -> Iterator[ForecastRow]:
    if grid.forecasts is None or grid.outlook is None or grid.tick is None:
        return
    outlook, record = grid.outlook, grid.forecasts.record()
    made_ms = grid.tick * grid.watch.step_ms
    for place, entity in enumerate(grid.entities[: len(outlook.value)]):
        name = catalogue.entity_ids[entity]
        for h, horizon_ms in enumerate(grid.watch.horizons_ms):
            if name and not np.isnan(outlook.value[place, h]):
                yield _row(outlook, record, name, grid.watch.subject, (place, h), made_ms, horizon_ms)


def _row(
    outlook: Outlook, record: Record, entity: str, subject: str, at: tuple[int, int], made_ms: int, horizon_ms: int
) -> ForecastRow:
    speaker = int(outlook.forecaster[at])
    graded = int(record.grades[at])
    return ForecastRow(
        entity=entity,
        subject=subject,
        horizon_ms=horizon_ms,
        made_ms=made_ms,
        value=float(outlook.value[at]),
        low=float(outlook.low[at]) if np.isfinite(outlook.low[at]) else None,
        high=float(outlook.high[at]) if np.isfinite(outlook.high[at]) else None,
        forecaster=FORECASTERS[speaker],
        grades=graded,
        error=float(record.error[at][speaker]) if graded else None,
        persistence_error=float(record.error[at][0]) if graded else None,
        coverage=float(record.coverage[at]) if graded else None,
        muted=[name for name, is_muted in zip(FORECASTERS, record.muted[at].tolist(), strict=True) if is_muted],
    )


def _name(watch: Watch) -> str:
    """Return what changes with a watch."""
    horizons = ",".join(map(str, watch.horizons_ms))
    return f"foresight {watch.kind} {watch.subject} {watch.step_ms} {horizons}"
