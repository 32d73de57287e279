"""Rules over recorded readings: the alerts that would have been, by a clock that the readings set."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.sqlite_database import reader
from attwin.core.alerts import AlertFacts
from attwin.core.errors import DataError
from attwin.core.types import MS_PER_SECOND, readings
from attwin.ports import AlertChange
from attwin.runtime.alerts import AlertBook
from attwin.runtime.twin import Twin
from attwin.settings.model import Settings
from attwin.wiring.history import read_history
from attwin.wiring.house import House
from attwin.wiring.playing import Recording

Change = AlertChange
"""What a rehearsal is made of."""
TICK_MS = MS_PER_SECOND
"""How often what time brings is looked at; the agent does so twice a second."""
_HAPPENED = """
select rule, entity, severity, opened_ms, cleared_ms from alerts
where cleared_ms is null or cleared_ms >= ? order by opened_ms, id
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recorded:
    """Readings of one kind, in order of time.

    Attributes:
        kind: The kind's name.
        entities, metrics: What ``entity`` and ``metric`` count.
        entity, metric, time_ms, value: Shape (N,) each.
    """

    kind: str
    entities: list[str]
    metrics: list[str]
    entity: NDArray[np.int32]
    metric: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An alert from its opening to its end.

    Attributes:
        rule, entity, severity: What it was; the severity is the gravest that it had.
        opened_ms: In event time.
        cleared_ms: None where it went on.
    """

    rule: str
    entity: str
    severity: str
    opened_ms: int
    cleared_ms: int | None

    def overlaps(self, other: "Span") -> bool:
        """Return whether both are about the same and were active at one time."""
        end_ms = np.inf if self.cleared_ms is None else self.cleared_ms
        other_end_ms = np.inf if other.cleared_ms is None else other.cleared_ms
        same = (self.rule, self.entity) == (other.rule, other.entity)
        return same and self.opened_ms <= other_end_ms and other.opened_ms <= end_ms


def of_recording(recording: Recording, kind: str, known: Sequence[str]) -> Recorded:
    """Return the readings of a file.

    Raises:
        DataError: A column is no metric of the kind.
    """
    unknown = [name for name in recording.metrics if name not in known]
    if unknown:
        raise DataError(f"column `{unknown[0]}` is no metric of kind `{kind}`, which has {', '.join(known)}")
    wide = recording.wide
    row, metric = np.nonzero(~np.isnan(wide.values))
    return Recorded(
        kind=kind,
        entities=wide.entities,
        metrics=recording.metrics,
        entity=wide.entity[row],
        metric=metric.astype(np.int32),
        time_ms=wide.time_ms[row],
        value=wide.values[row, metric],
    )


def of_database(database: Path, kinds: Iterable[str], *, from_ms: int) -> list[Recorded]:
    """Return the readings that a database holds since then, of the kinds that it knows.

    Raises:
        StoreError: The database cannot be read.
        DataError: It holds none.
    """
    found, problem = [], DataError(f"{database}: no kind is configured")
    for kind in kinds:
        try:
            history = read_history(database, kind)
        except DataError as error:
            problem = error
            continue
        rows = np.flatnonzero(history.time_ms >= from_ms)
        rows = rows[np.argsort(history.time_ms[rows], kind="stable")]
        entities, metrics = list(dict.fromkeys(history.entities)), list(dict.fromkeys(history.metrics))
        entity_of = np.array([entities.index(name) for name in history.entities], np.int32)
        metric_of = np.array([metrics.index(name) for name in history.metrics], np.int32)
        found.append(
            Recorded(
                kind=kind,
                entities=entities,
                metrics=metrics,
                entity=entity_of[history.series[rows]],
                metric=metric_of[history.series[rows]],
                time_ms=history.time_ms[rows],
                value=history.value[rows],
            )
        )
    if not any(len(recorded.time_ms) for recorded in found):
        raise problem if not found else DataError(f"{database}: no reading in that time")
    return found


def rehearse(
    settings: Settings,
    recorded: Sequence[Recorded],
    *,
    progress: Callable[[int], object] = lambda _readings: None,
) -> list[AlertChange]:
    """Return every change of every alert that the rules would have made, in order.

    The clock is that of the readings, so the same readings give the same alerts whenever this runs.

    Args:
        settings: The configuration with the rules.
        recorded: What was measured.
        progress: Told how many readings were taken, after each second of theirs.

    Raises:
        BundleError: A configured model cannot be trusted or used.
        SettingsError: A rule is about what its model does not have.
    """
    stage = _Stage(House(settings))
    for part, readings_of in _by_second(stage, recorded):
        stage.take(part, readings_of)
        progress(len(readings_of[0]))
    return stage.changes


def spans_of(changes: Iterable[AlertChange]) -> list[Span]:
    """Return the alerts of which changes tell, in the order in which they opened."""
    last: dict[int, AlertFacts] = {}
    for change in changes:
        last[change.after.alert] = change.after
    return [
        Span(
            rule=facts.rule,
            entity=facts.entity,
            severity=facts.severity,
            opened_ms=facts.opened_ms,
            cleared_ms=None if facts.is_active else facts.time_ms,
        )
        for facts in last.values()
    ]


def spans_that_happened(database: Path, *, from_ms: int) -> list[Span]:
    """Return the alerts that a database holds since then.

    Raises:
        StoreError: The database cannot be read.
    """
    with reader(database) as connection:
        rows = connection.execute(_HAPPENED, (from_ms,)).fetchall()
    names = ("rule", "entity", "severity", "opened_ms", "cleared_ms")
    return [Span(**dict(zip(names, row, strict=True))) for row in rows]


def differences(before: Sequence[Span], after: Sequence[Span]) -> list[tuple[str, Span | None, Span | None]]:
    """Return what one list of alerts has and the other has not: ``-`` gone, ``+`` new, ``~`` at another time or graver.

    An alert is the same one where rule and entity are, and both were active at one time.
    """
    found: list[tuple[str, Span | None, Span | None]] = []
    left = list(after)
    for span in before:
        same = next((other for other in left if span.overlaps(other)), None)
        if same is None:
            found.append(("-", span, None))
            continue
        left.remove(same)
        if same != span:
            found.append(("~", span, same))
    found += [("+", None, span) for span in left]
    return sorted(found, key=lambda entry: (entry[1] or entry[2] or _NOTHING).opened_ms)


_NOTHING = Span(rule="", entity="", severity="", opened_ms=0, cleared_ms=None)
_Columns = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]


class _Stage:
    """A twin and its alerts, without a world around them."""

    def __init__(self, house: House) -> None:
        self.twin: Twin = house.twin()
        self._foresight = house.foresight(self.twin)
        self.changes: list[AlertChange] = []
        self.catalogue = house.catalogue
        self.kinds = house.names
        self._book = AlertBook(house.rules, house.catalogue, [], next_alert=1, groups=house.groups)
        for name, entity in house.settings.entities.items():
            self.catalogue.add(name, self.kinds.index(entity.kind))
        self._start_ms: int | None = None
        self._ticked_ms = 0

    def series_of(self, recorded: Recorded) -> NDArray[np.int32]:
        """Return the series of every reading; entities are learned here."""
        kind = self.kinds.index(recorded.kind)
        places = {metric: self.catalogue.kinds[kind].metric_index(name) for metric, name in enumerate(recorded.metrics)}
        first = np.array([self._first_series(name, kind) for name in recorded.entities], np.int32)
        metric = np.array([-1 if places[m] is None else places[m] for m in range(len(recorded.metrics))], np.int32)
        known = (first[recorded.entity] >= 0) & (metric[recorded.metric] >= 0)
        return np.where(known, first[recorded.entity] + metric[recorded.metric], -1).astype(np.int32)

    def take(self, until_ms: int, columns: _Columns) -> None:
        """Let the time come to a second, and take its readings."""
        if self._start_ms is None:
            self._start_ms, self._ticked_ms = until_ms - TICK_MS, until_ms - TICK_MS
        while self._ticked_ms + TICK_MS < until_ms:
            if self._book.is_idle and not self.twin.rules.needs_time:
                self._ticked_ms = until_ms - TICK_MS
                break
            self._tick(self._ticked_ms + TICK_MS)
        series, time_ms, value = columns
        batch = readings(series, time_ms, value)
        taken = self.twin.take(batch, now_ms=until_ms)
        self.twin.hear(batch, int(time_ms.max()) - self._start_ms)
        transitions = [*taken.transitions, *self._foresight.take(taken.stored, taken.scores)]
        self.changes += self._book.apply(transitions, now_ms=until_ms)
        self._tick(until_ms)

    def _tick(self, event_ms: int) -> None:
        self._ticked_ms = event_ms
        since_start_ms = event_ms - (self._start_ms or 0)
        number = self.catalogue.series_number[: self.catalogue.series_count]
        self.twin.staleness.update(number, since_start_ms)
        transitions = self.twin.on_tick(event_ms, is_heard=True, since_start_ms=since_start_ms)
        self.changes += self._book.apply(transitions, now_ms=event_ms)
        self.changes += self._book.tick(event_ms, now_ms=event_ms)

    def _first_series(self, entity_id: str, kind: int) -> int:
        """Return an entity's first series; -1 where it is of another kind now."""
        entity = self.catalogue.find(entity_id)
        if entity is None:
            entity = self.catalogue.add(entity_id, kind)
        return int(self.catalogue.first_series[entity]) if self.catalogue.entity_kind[entity] == kind else -1


def _by_second(stage: _Stage, recorded: Sequence[Recorded]) -> Iterator[tuple[int, _Columns]]:
    """Yield the readings of each second that has any, with the end of that second."""
    series = np.concatenate([stage.series_of(part) for part in recorded])
    time_ms = np.concatenate([part.time_ms for part in recorded])
    value = np.concatenate([part.value for part in recorded])
    known = np.flatnonzero(series >= 0)
    order = known[np.argsort(time_ms[known], kind="stable")]
    series, time_ms, value = series[order], time_ms[order], value[order]
    seconds = time_ms // TICK_MS
    starts = np.flatnonzero(np.append(True, seconds[1:] != seconds[:-1])) if len(seconds) else np.empty(0, np.intp)
    for start, stop in zip(starts, np.append(starts[1:], len(seconds)), strict=True):
        part = slice(start, stop)
        yield (int(seconds[start]) + 1) * TICK_MS, (series[part], time_ms[part], value[part])
