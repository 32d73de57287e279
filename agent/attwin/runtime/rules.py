"""The rules stage: gives every rule the numbers that it looks at, as they come."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attwin.core.alerts import AlertFacts
from attwin.core.catalogue import Catalogue
from attwin.core.groups import Groups, Membership
from attwin.core.peers import LEAST_PEERS, distances
from attwin.core.rules import Basis, Rule, RuleStates
from attwin.core.stale import Staleness
from attwin.core.types import MS_PER_SECOND, AlertState, Quality, ReadingBatch, Transition

Arrays = Mapping[str, NDArray[np.generic]]


class RuleBoard:
    """All rules, with their state for every entity."""

    def __init__(self, rules: Sequence[Rule], catalogue: Catalogue, groups: Groups | None = None) -> None:
        self._catalogue = catalogue
        self._groups = groups or Groups({})
        self.states = [RuleStates(index, rule) for index, rule in enumerate(rules)]
        self._siblings_of: dict[int, tuple[tuple[int, int], list[NDArray[np.intp]]]] = {}
        self._members = [Membership(rule.entities) if rule.entities else None for rule in rules]

    @property
    def needs_time(self) -> bool:
        """Whether a rule looks at something while nothing is measured."""
        return any(states.rule.schedule for states in self.states) or bool(self.of(Basis.SILENCE, Basis.PEERS))

    def of(self, *bases: Basis) -> list[RuleStates]:
        """Return the rules that look at one of some things."""
        return [states for states in self.states if states.rule.subject.basis in bases]

    def on_readings(
        self, batch: ReadingBatch, entity: NDArray[np.int32], counts: NDArray[np.bool_]
    ) -> list[Transition]:
        """Return what readings cause.

        Args:
            batch: The readings.
            entity: The entity of each. Shape (N,).
            counts: Which of them are usable and in time. Shape (N,).
        """
        transitions: list[Transition] = []
        metric, kind = self._catalogue.series_metric[batch.series], self._catalogue.entity_kind[entity]
        rows_of: dict[tuple[int, int | None], NDArray[np.intp]] = {}
        for states in self.of(Basis.METRIC):
            of = states.rule.kind, states.rule.subject.column
            if of not in rows_of:
                rows_of[of] = np.flatnonzero(counts & (metric == of[1]) & (kind == of[0]))
            rows = rows_of[of]
            transitions += self._evaluate(states, entity[rows], batch.time_ms[rows], batch.value[rows])
        return transitions

    def on_scores(
        self,
        kind: int,
        entity: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        score: NDArray[np.float32],
        features: NDArray[np.float32],
    ) -> list[Transition]:
        """Return what scores cause, and the features of which they were made.

        Args:
            kind: Of which kind they are.
            entity: Shape (R,).
            time_ms: Shape (R,).
            score: Shape (R,).
            features: Before any baseline. Shape (R, F).
        """
        transitions: list[Transition] = []
        for states in self.of(Basis.ATTENTION, Basis.FEATURE):
            subject = states.rule.subject
            if states.rule.kind == kind:
                value = score if subject.basis is Basis.ATTENTION else features[:, subject.column]
                transitions += self._evaluate(states, entity, time_ms, value.astype(np.float64))
        return transitions

    def on_numbers(
        self, states: RuleStates, entity: NDArray[np.int32], event_ms: int, number: NDArray[np.float64]
    ) -> list[Transition]:
        """Return what numbers of entities cause that are all of one time.

        Args:
            states: The rule that looks at them.
            entity: Shape (N,).
            event_ms: Their time.
            number: Shape (N,).
        """
        return self._evaluate(states, entity, np.full(len(entity), event_ms), number)

    def on_tick(
        self,
        event_ms: int,
        *,
        staleness: Staleness,
        value: NDArray[np.float64],
        quality: NDArray[np.uint8],
        is_heard: bool,
        since_start_ms: int,
    ) -> list[Transition]:
        """Return what the time that goes by causes: silence, a distance from others, the end of a schedule.

        Args:
            event_ms: Event time now.
            staleness: When everything was heard.
            value: The newest of every series. Shape (S,).
            quality: Shape (S,).
            is_heard: Whether the broker is there: what cannot be heard is not silent.
            since_start_ms: The monotonic clock, since the start.
        """
        transitions: list[Transition] = []
        for states in self.states:
            rule = states.rule
            if rule.schedule and not rule.schedule.holds_at(event_ms):
                transitions += states.close(event_ms)
                continue
            basis = rule.subject.basis
            if basis is Basis.SILENCE and is_heard:
                entity = self._entities(rule.kind)
                numbers = self._silence_s(rule, entity, staleness, since_start_ms)
            elif basis is Basis.PEERS:
                entity = self._entities(rule.kind)
                numbers = self._distances(rule, entity, value, quality, staleness)
            else:
                continue
            transitions += self._evaluate(states, entity, np.full(len(entity), event_ms), numbers)
        return transitions

    def forget(self, entity: int) -> None:
        """Forget an entity."""
        for states in self.states:
            states.forget(entity)

    def reset(self) -> None:
        """Forget the state of everything."""
        for states in self.states:
            states.reset()

    def set_active(self, active: Sequence[AlertFacts]) -> None:
        """Make the alerts of the store the active ones, and no others."""
        for states in self.states:
            wanted: dict[int, AlertFacts] = {}
            for facts in active:
                if facts.rule == states.rule.name:
                    names = facts.members if states.rule.together and facts.members else (facts.entity,)
                    found = [self._catalogue.find(name) for name in names]
                    wanted |= {entity: facts for entity in found if entity is not None}
            for entity in np.flatnonzero(states.state == AlertState.ACTIVE).tolist():
                # of a group that has too few for an alert, the store knows nothing
                if entity not in wanted and not states.rule.together:
                    states.restore(entity, AlertState.CLEARED, 0)
            for entity, facts in wanted.items():
                if states.state_of(entity) != AlertState.ACTIVE:
                    states.restore(entity, AlertState.ACTIVE, facts.since_ms, facts.severity)

    def dump(self) -> dict[str, dict[str, NDArray[np.generic]]]:
        """Return the parts of a snapshot."""
        return {_part(states.rule): states.dump() for states in self.states}

    def load(self, parts: Mapping[str, Arrays]) -> None:
        """Take over the rules of a snapshot that are the same."""
        for states in self.states:
            own = parts.get(_part(states.rule))
            if own:
                states.load(own)

    def _evaluate(
        self,
        states: RuleStates,
        entity: NDArray[np.int32],
        time_ms: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> list[Transition]:
        members = self._members[states.index]
        if members and len(entity):
            own = members.mask(self._catalogue)[entity]
            entity, time_ms, value = entity[own], time_ms[own], value[own]
        return states.evaluate(entity, time_ms, value)

    def _entities(self, kind: int) -> NDArray[np.int32]:
        live = np.array(self._catalogue.live(), np.int32)
        own: NDArray[np.int32] = live[self._catalogue.entity_kind[live] == kind]
        return own

    def _silence_s(
        self, rule: Rule, entity: NDArray[np.int32], staleness: Staleness, since_start_ms: int
    ) -> NDArray[np.float64]:
        """Return for how long nothing was heard of each entity, or of its metric [s]."""
        if rule.subject.column is None:
            return staleness.entities_silent_ms(entity, since_start_ms) / MS_PER_SECOND
        series = self._catalogue.first_series[entity] + rule.subject.column
        return staleness.series_silent_ms(series, since_start_ms) / MS_PER_SECOND

    def _distances(
        self,
        rule: Rule,
        entity: NDArray[np.int32],
        value: NDArray[np.float64],
        quality: NDArray[np.uint8],
        staleness: Staleness,
    ) -> NDArray[np.float64]:
        """Return how far the metric of each entity is from those of its groups; of its kind where it has none."""
        series = self._catalogue.first_series[entity] + (rule.subject.column or 0)
        known = series < min(len(value), len(staleness.stale))
        newest = np.full(len(entity), np.nan)
        newest[known] = value[series[known]]
        usable = known.copy()
        usable[known] = (quality[series[known]] != Quality.BAD) & ~staleness.stale[series[known]]
        newest[~usable] = np.nan
        found = np.full(len(entity), np.nan)
        for rows in self._siblings(rule.kind, entity):
            found[rows] = distances(newest[rows])
        return found

    def _siblings(self, kind: int, entity: NDArray[np.int32]) -> list[NDArray[np.intp]]:
        """Return the rows of entities that are compared with each other: those of the same groups."""
        version = (self._catalogue.next_entity_key, self._catalogue.live_count)
        if kind not in self._siblings_of or self._siblings_of[kind][0] != version:
            rows_of: dict[tuple[str, ...], list[int]] = {}
            for row, place in enumerate(entity.tolist()):
                rows_of.setdefault(self._groups.of(self._catalogue.entity_ids[place]), []).append(row)
            found = [np.array(rows) for rows in rows_of.values() if len(rows) >= LEAST_PEERS]
            self._siblings_of[kind] = (version, found)
        return self._siblings_of[kind][1]


def _part(rule: Rule) -> str:
    """Return the name of a rule's part of a snapshot; it changes with the rule."""
    return "rule" + hashlib.sha256(repr(rule).encode()).hexdigest()[:16]
