"""Rules: a condition on a number of each entity, a separate level to clear, and how long and how often it must hold.

A batch is evaluated as arrays over all entities at once: which values cause something is found for all of them, then
one value of each entity is stepped, and what is left is looked at again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import NEVER_MS, grown
from attwin.core.durations import format_duration
from attwin.core.schedules import Schedule
from attwin.core.types import MS_PER_SECOND, AlertState, Transition

ATTENTION = "attention"
# a column compares with these in a tenth of the time that members of an enum take
_CLEARED, _PENDING, _ACTIVE = np.int8(AlertState.CLEARED), np.int8(AlertState.PENDING), np.int8(AlertState.ACTIVE)
_FIRST_CAPACITY = 64


class Basis(StrEnum):
    """Where the number of a rule comes from."""

    METRIC = "metric"
    FEATURE = "feature"
    ATTENTION = "attention"
    FORECAST = "forecast"
    WARNING = "warning"
    ANOMALY = "anomaly"
    SILENCE = "silence"
    PEERS = "peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a rule is about.

    Attributes:
        basis: Where its number comes from.
        name: What people read: a metric, a feature, ``attention``.
        column: The metric's place in the kind, or the feature's in the model; None where there is no such.
        horizon_ms: How far ahead a forecast looks; 0 where it is none.
        level: What a warning sees coming.
        upwards: Whether that is reached from below.
    """

    basis: Basis
    name: str
    column: int | None = None
    horizon_ms: int = 0
    level: float = 0.0
    upwards: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level beyond the threshold that makes an alert graver while it is active."""

    threshold: float
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """When an alert that comes and goes is one alert: it opened ``changes`` times within ``within_ms``.

    From then on it stays active until its condition has been away for ``within_ms``.
    """

    changes: int
    within_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """One alert for the entities of a group.

    Attributes:
        groups: The names of the groups; empty for all entities of the kind as one group of its name.
        at_least: For how many of them the condition must hold.
        gather_ms: How long the alert waits for others before it is told, and between two changes that are told.
    """

    groups: tuple[str, ...]
    at_least: int
    gather_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When to alert. Durations are in event time.

    Attributes:
        name: As in the configuration.
        kind: The index of the kind it is for.
        entities: Ids or patterns such as ``north-*``; empty for all entities of the kind.
        subject: What it looks at.
        above: True where high values are the condition.
        threshold: The level at which the condition begins.
        clear: The level at which it ends; between the two nothing changes.
        for_ms: How long the condition must hold before the alert is active.
        count: For how many values in a row it must hold.
        gap_ms: After a longer gap nobody knows whether it held, and it begins anew; 0 for no limit.
        clear_for_ms: How long it must be away before the alert clears.
        cooldown_ms: How long after it cleared an alert cannot become active again.
        flapping: When it comes and goes too often; None for never.
        severity: A word for people and receivers.
        levels: Further levels, each graver than the one before.
        later: (after how long active and not acknowledged [ms], severity), gravest last.
        schedule: When the rule holds; outside it there is no condition. None for always.
        quiet: When an alert that becomes active is not told until it ends; None for never.
        quiet_except: Severities that are told all the same.
        together: One alert for a group; None for one an entity.
        suppressed_by: Rules whose alert on the same entity, on its parents or on its groups explains this one.
    """

    name: str
    kind: int
    subject: Subject
    above: bool
    threshold: float
    clear: float
    severity: str
    entities: tuple[str, ...] = ()
    for_ms: int = 0
    count: int = 1
    gap_ms: int = 0
    clear_for_ms: int = 0
    cooldown_ms: int = 0
    flapping: Flapping | None = None
    levels: tuple[Level, ...] = ()
    later: tuple[tuple[int, str], ...] = ()
    schedule: Schedule | None = None
    quiet: Schedule | None = None
    quiet_except: tuple[str, ...] = ()
    together: Together | None = None
    suppressed_by: tuple[str, ...] = ()

    def severity_at(self, level: int) -> str:
        """Return the severity of an alert that has reached so many of the further levels."""
        return self.levels[level - 1].severity if level else self.severity


def sentence(rule: Rule) -> str:
    """Return what a rule says, for people."""
    side = "above" if rule.above else "below"
    if rule.subject.basis is Basis.WARNING:
        said = [f"{rule.subject.name} within {format_duration(round(rule.threshold * MS_PER_SECOND))}"]
    elif rule.subject.basis is Basis.SILENCE:
        said = [f"{rule.subject.name} for {format_duration(round(rule.threshold * MS_PER_SECOND))}"]
    else:
        said = [f"{rule.subject.name} {side} {rule.threshold:g}"]
        if rule.clear != rule.threshold:
            said.append(f"clears {'below' if rule.above else 'above'} {rule.clear:g}")
    for words, duration_ms in (
        ("for", rule.for_ms),
        ("clears after", rule.clear_for_ms),
        ("not again within", rule.cooldown_ms),
    ):
        if duration_ms:
            said.append(f"{words} {format_duration(duration_ms)}")
    if rule.count > 1:
        said.append(f"{rule.count} values in a row")
    said += [f"{level.severity} {side} {level.threshold:g}" for level in rule.levels]
    said += [f"{severity} after {format_duration(after_ms)}" for after_ms, severity in rule.later]
    if rule.together:
        said.append(f"at least {rule.together.at_least} of {', '.join(rule.together.groups) or 'the kind'}")
    return ", ".join(said)


@dataclass(slots=True)
class _Columns:
    """The state of every entity. Shape (E,) each."""

    state: NDArray[np.int8] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY, np.int8))
    level: NDArray[np.int8] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY, np.int8))
    count: NDArray[np.int32] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY, np.int32))
    flapping: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY, np.bool_))
    since_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_FIRST_CAPACITY, np.int64))
    last_ms: NDArray[np.int64] = field(default_factory=lambda: np.full(_FIRST_CAPACITY, NEVER_MS, np.int64))
    calm_ms: NDArray[np.int64] = field(default_factory=lambda: np.full(_FIRST_CAPACITY, NEVER_MS, np.int64))
    cleared_ms: NDArray[np.int64] = field(default_factory=lambda: np.full(_FIRST_CAPACITY, NEVER_MS, np.int64))


_NEVER_COLUMNS = ("last_ms", "calm_ms", "cleared_ms")


class RuleStates:
    """The state of one rule for every entity.

    Attributes:
        index: The place of the rule among all of them.
        rule: The rule.
    """

    def __init__(self, index: int, rule: Rule) -> None:
        self.index = index
        self.rule = rule
        self._c = _Columns()
        self._opened_ms = self._never_opened()
        self._thresholds = np.array([level.threshold for level in rule.levels])

    @property
    def state(self) -> NDArray[np.int8]:
        """The ``AlertState`` of every entity. Shape (E,)."""
        return self._c.state

    @property
    def since_ms(self) -> NDArray[np.int64]:
        """When the condition of every entity began, where there is one. Shape (E,)."""
        return self._c.since_ms

    def state_of(self, entity: int) -> AlertState:
        """Return the state of an entity."""
        return AlertState(self._c.state[entity]) if entity < len(self._c.state) else AlertState.CLEARED

    def evaluate(
        self, entity: NDArray[np.int32], time_ms: NDArray[np.int64], value: NDArray[np.float64]
    ) -> list[Transition]:
        """Return the transitions that values cause, in the order of the values.

        Args:
            entity: Shape (N,).
            time_ms: Event time of each value. Shape (N,).
            value: Shape (N,). NaN neither starts nor ends a condition.
        """
        if not len(entity):
            return []
        self._make_room(int(entity.max()) + 1)
        breach, calm, beyond = self._conditions(time_ms, value)
        rows = self._worth_a_look(entity, breach, calm, beyond, value)
        if not len(rows):
            return []
        # an entity's values stand together, in their order
        rows = rows[np.argsort(entity[rows], kind="stable")]
        batch = _Rows(
            place=rows,
            entity=entity[rows],
            time_ms=time_ms[rows],
            value=value[rows],
            breach=breach[rows],
            calm=calm[rows],
            beyond=beyond[rows],
            before_ms=_previous(entity[rows], time_ms[rows], self._c.last_ms),
        )
        ends = np.flatnonzero(np.append(batch.entity[1:] != batch.entity[:-1], True))
        self._c.last_ms[batch.entity[ends]] = batch.time_ms[ends]
        found: list[tuple[int, Transition]] = []
        while len(batch.place):
            due = np.flatnonzero(self._due(batch))
            first = due[_firsts(batch.entity[due])]
            self._note_others(batch, first)
            if not len(first):
                break
            found += self._step(batch.at(first))
            batch = batch.after(first, len(self._c.state))
        return [transition for _, transition in sorted(found, key=lambda pair: pair[0])]

    def close(self, time_ms: int) -> list[Transition]:
        """Return the ends of all that is active, and forget what is pending: the rule does not hold now."""
        active = np.flatnonzero(self._c.state == _ACTIVE)
        self._c.state[self._c.state == _PENDING] = _CLEARED
        self._clear(active, np.full(len(active), time_ms))
        return [self._transition(entity, time_ms, np.nan) for entity in active.tolist()]

    def restore(self, entity: int, state: AlertState, since_ms: int, severity: str = "") -> None:
        """Set the state of an entity, as the store has it."""
        self._make_room(entity + 1)
        self._c.state[entity], self._c.since_ms[entity] = state, since_ms
        self._c.calm_ms[entity], self._c.count[entity] = NEVER_MS, self.rule.count
        severities = [self.rule.severity, *(level.severity for level in self.rule.levels)]
        self._c.level[entity] = severities.index(severity) if severity in severities else 0

    def forget(self, entity: int) -> None:
        """Forget an entity: its place may be given to another one."""
        self.restore(entity, AlertState.CLEARED, 0)
        self._c.cleared_ms[entity] = self._c.last_ms[entity] = NEVER_MS
        self._c.flapping[entity] = False
        self._opened_ms[entity] = NEVER_MS

    def reset(self) -> None:
        """Forget all."""
        self._c, self._opened_ms = _Columns(), self._never_opened()

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return all of it as arrays."""
        columns = {name: getattr(self._c, name) for name in _Columns.__slots__}
        return columns | {"flapping": self._c.flapping.astype(np.uint8), "opened_ms": self._opened_ms}

    def load(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from what ``dump`` returned."""
        for name in _Columns.__slots__:
            setattr(self._c, name, arrays[name].astype(getattr(self._c, name).dtype))
        self._opened_ms = arrays["opened_ms"].astype(np.int64).reshape(len(self._c.state), -1)

    def _never_opened(self) -> NDArray[np.int64]:
        """Return when each entity's alert became active the last few times. Shape (E, changes)."""
        changes = self.rule.flapping.changes if self.rule.flapping else 0
        return np.full((_FIRST_CAPACITY, changes), NEVER_MS, np.int64)

    def _conditions(
        self, time_ms: NDArray[np.int64], value: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int8]]:
        """Return where the condition begins, where it ends, and how many of the further levels are passed."""
        rule = self.rule
        breach = value > rule.threshold if rule.above else value < rule.threshold
        calm = value < rule.clear if rule.above else value > rule.clear
        if rule.schedule:
            away = ~rule.schedule.contains(time_ms)
            breach, calm = breach & ~away, calm | away
        beyond = np.zeros(len(value), np.int8)
        for threshold in self._thresholds:
            beyond += value > threshold if rule.above else value < threshold
        return breach, calm, beyond

    def _worth_a_look(
        self,
        entity: NDArray[np.int32],
        breach: NDArray[np.bool_],
        calm: NDArray[np.bool_],
        beyond: NDArray[np.int8],
        value: NDArray[np.float64],
    ) -> NDArray[np.intp]:
        """Return the rows of entities for which anything can change."""
        state = self._c.state[entity]
        active = state == _ACTIVE
        matters = np.where(active, calm | (self._c.calm_ms[entity] != NEVER_MS), (state == _PENDING) | breach)
        if self.rule.levels:
            matters |= active & (beyond > self._c.level[entity])
        if not matters.any():
            return np.empty(0, np.intp)
        chosen = np.zeros(len(self._c.state), np.bool_)
        chosen[entity[matters]] = True
        return np.flatnonzero(chosen[entity] & ~np.isnan(value))

    def _due(self, batch: "_Rows") -> NDArray[np.bool_]:
        """Return which rows would cause something, if they were the next of their entity."""
        c, entity = self._c, batch.entity
        state = c.state[entity]
        pending = ~batch.breach | self._has_gap(batch) | self._is_ripe(batch, c.count[entity] + batch.rank() + 1)
        is_calm = c.calm_ms[entity] != NEVER_MS
        hold_ms = self._hold_ms(entity)
        over = batch.calm & ((hold_ms == 0) | (is_calm & (batch.time_ms - c.calm_ms[entity] >= hold_ms)))
        active = over | (batch.calm != is_calm) | (batch.beyond > c.level[entity])
        return np.where(state == _CLEARED, batch.breach, np.where(state == _PENDING, pending, active))

    def _step(self, batch: "_Rows") -> list[tuple[int, Transition]]:
        """Step one row of each entity, and return (place, transition) of those that say something."""
        c, entity, time_ms = self._c, batch.entity, batch.time_ms
        was_active = c.state[entity] == _ACTIVE
        begins = (c.state[entity] == _CLEARED) | (self._has_gap(batch) & (c.state[entity] == _PENDING) & batch.breach)
        goes_on = (c.state[entity] == _PENDING) & batch.breach & ~begins
        c.state[entity[(c.state[entity] == _PENDING) & ~batch.breach]] = _CLEARED
        c.state[entity[begins]], c.since_ms[entity[begins]], c.count[entity[begins]] = _PENDING, time_ms[begins], 1
        c.count[entity[goes_on]] += 1
        ripe = (c.state[entity] == _PENDING) & self._is_ripe(batch, c.count[entity])
        self._open(batch, ripe)

        hold_ms = self._hold_ms(entity)
        is_calm = c.calm_ms[entity] != NEVER_MS
        calm = was_active & batch.calm
        c.calm_ms[entity[was_active & ~batch.calm]] = NEVER_MS
        starts = calm & ~is_calm & (hold_ms > 0)
        c.calm_ms[entity[starts]] = time_ms[starts]
        over = calm & ((hold_ms == 0) | (is_calm & (time_ms - c.calm_ms[entity] >= hold_ms)))
        graver = was_active & ~over & (batch.beyond > c.level[entity])
        c.level[entity[graver]] = batch.beyond[graver]
        self._clear(entity[over], time_ms[over])
        says = np.flatnonzero(ripe | over | graver).tolist()
        return [
            (int(batch.place[row]), self._transition(int(entity[row]), int(time_ms[row]), float(batch.value[row])))
            for row in says
        ]

    def _open(self, batch: "_Rows", ripe: NDArray[np.bool_]) -> None:
        c, entity = self._c, batch.entity[ripe]
        c.state[entity], c.calm_ms[entity], c.level[entity] = _ACTIVE, NEVER_MS, batch.beyond[ripe]
        if self.rule.flapping:
            opened = np.roll(self._opened_ms[entity], -1, axis=1)
            opened[:, -1] = batch.time_ms[ripe]
            self._opened_ms[entity] = opened
            often = (opened[:, 0] != NEVER_MS) & (opened[:, -1] - opened[:, 0] <= self.rule.flapping.within_ms)
            c.flapping[entity] = often

    def _clear(self, entity: NDArray[np.intp] | NDArray[np.int32], time_ms: NDArray[np.int64]) -> None:
        c = self._c
        c.state[entity], c.cleared_ms[entity], c.calm_ms[entity] = _CLEARED, time_ms, NEVER_MS
        self._opened_ms[entity[c.flapping[entity]]] = NEVER_MS
        c.flapping[entity] = False

    def _has_gap(self, batch: "_Rows") -> NDArray[np.bool_]:
        if not self.rule.gap_ms:
            return np.zeros(len(batch.place), np.bool_)
        return batch.time_ms - batch.before_ms > self.rule.gap_ms

    def _is_ripe(self, batch: "_Rows", count: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return where a condition that holds makes the alert active."""
        c, rule = self._c, self.rule
        ripe = batch.breach & (batch.time_ms - c.since_ms[batch.entity] >= rule.for_ms) & (count >= rule.count)
        if rule.cooldown_ms:
            # what never cleared is below zero
            ripe &= batch.time_ms - np.maximum(c.cleared_ms[batch.entity], -rule.cooldown_ms) >= rule.cooldown_ms
        return ripe

    def _hold_ms(self, entity: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return how long a condition must be away before each alert clears."""
        within_ms = self.rule.flapping.within_ms if self.rule.flapping else 0
        return np.where(self._c.flapping[entity], max(within_ms, self.rule.clear_for_ms), self.rule.clear_for_ms)

    def _note_others(self, batch: "_Rows", first: NDArray[np.intp]) -> None:
        """Count the rows that only prolong a condition: those before the first that causes something."""
        before = batch.before(first, len(self._c.state))
        pending = before & (self._c.state[batch.entity] == _PENDING)
        np.add.at(self._c.count, batch.entity[pending], 1)

    def _transition(self, entity: int, time_ms: int, value: float) -> Transition:
        return Transition(
            rule=self.index,
            entity=entity,
            state=AlertState(self._c.state[entity]),
            time_ms=time_ms,
            value=value,
            since_ms=int(self._c.since_ms[entity]),
            severity=self.rule.severity_at(int(self._c.level[entity])),
            is_flapping=bool(self._c.flapping[entity]),
        )

    def _make_room(self, length: int) -> None:
        if length <= len(self._c.state):
            return
        for name in _Columns.__slots__:
            fill = NEVER_MS if name in _NEVER_COLUMNS else 0
            setattr(self._c, name, grown(getattr(self._c, name), length, fill))
        opened = np.full((len(self._c.state), self._opened_ms.shape[1]), NEVER_MS, np.int64)
        opened[: len(self._opened_ms)] = self._opened_ms
        self._opened_ms = opened


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """Values that may cause something, an entity's together and in their order. Shape (R,) each.

    Attributes:
        place: Of each in its batch.
        before_ms: When the value before it was.
    """

    place: NDArray[np.intp]
    entity: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    breach: NDArray[np.bool_]
    calm: NDArray[np.bool_]
    beyond: NDArray[np.int8]
    before_ms: NDArray[np.int64]

    def at(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "_Rows":
        """Return some of them."""
        return _Rows(**{name: getattr(self, name)[rows] for name in self.__slots__})

    def rank(self) -> NDArray[np.int32]:
        """Return how many of the same entity stand before each."""
        place = np.arange(len(self.entity), dtype=np.int32)
        is_first = np.append(True, self.entity[1:] != self.entity[:-1])
        rank: NDArray[np.int32] = place - np.maximum.accumulate(np.where(is_first, place, 0))
        return rank

    def before(self, first: NDArray[np.intp], entities: int) -> NDArray[np.bool_]:
        """Return which stand before the given row of their entity; all, where there is none."""
        return np.arange(len(self.entity)) < self._stop(first, len(self.entity), entities)

    def after(self, first: NDArray[np.intp], entities: int) -> "_Rows":
        """Return those that stand after the given row of their entity; none, where there is none."""
        return self.at(np.arange(len(self.entity)) > self._stop(first, len(self.entity), entities))

    def _stop(self, first: NDArray[np.intp], without: int, entities: int) -> NDArray[np.intp]:
        stop = np.full(entities, without)
        stop[self.entity[first]] = first
        return stop[self.entity]


def _firsts(entity: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which rows are the first of their entity; an entity's rows stand together."""
    return np.append(np.ones(min(len(entity), 1), np.bool_), entity[1:] != entity[:-1])


def _previous(entity: NDArray[np.int32], time_ms: NDArray[np.int64], last_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the time of the value before each of the same entity."""
    before = np.empty_like(time_ms)
    before[1:] = time_ms[:-1]
    first = _firsts(entity)
    before[first] = last_ms[entity[first]]
    return before
