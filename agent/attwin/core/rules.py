"""Threshold rules: a condition, a separate level to clear, and how long it must hold.

A batch is screened as arrays; only entities for which something can change are then stepped one reading at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import grown
from attwin.core.types import AlertState, Transition

ATTENTION = "attention"
# a column compares with these in a tenth of the time that members of an enum take
_CLEARED, _PENDING = np.int8(AlertState.CLEARED), np.int8(AlertState.PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A threshold on a metric or on attention.

    Attributes:
        name: As in the configuration.
        kind: The index of the kind it is for.
        subject: A metric's name, or ``attention``.
        metric: The metric's index, None for attention.
        above: True where high values are the condition.
        threshold: The level at which the condition begins.
        clear: The level at which it ends; between the two nothing changes.
        for_ms: How long the condition must hold, in event time, before the alert is active.
        severity: A word for people and receivers.
    """

    name: str
    kind: int
    subject: str
    metric: int | None
    above: bool
    threshold: float
    clear: float
    for_ms: int
    severity: str


class RuleStates:
    """The state of one rule for every entity."""

    def __init__(self, index: int, rule: Rule) -> None:
        self.rule = rule
        self._index = index
        self.state = np.zeros(64, np.int8)
        self.since_ms = np.zeros(64, np.int64)

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
        self.state = grown(self.state, int(entity.max()) + 1)
        self.since_ms = grown(self.since_ms, len(self.state))
        if self.rule.above:
            breach, clear = value > self.rule.threshold, value < self.rule.clear
        else:
            breach, clear = value < self.rule.threshold, value > self.rule.clear
        state = self.state[entity]
        # a cleared alert waits for a breach, an active one for a clear value, a pending one for the next value
        matters = np.where(state == _CLEARED, breach, (state == _PENDING) | clear)
        if not matters.any():
            return []
        rows = np.flatnonzero(np.isin(entity, entity[matters]))
        columns = (entity, time_ms, value, breach, clear)
        rows_of = zip(*(column[rows].tolist() for column in columns), strict=True)
        return [t for row in rows_of for t in self._step(*row)]

    def restore(self, entity: int, state: AlertState, since_ms: int) -> None:
        """Set the state of an entity, as the store has it."""
        self.state = grown(self.state, entity + 1)
        self.since_ms = grown(self.since_ms, len(self.state))
        self.state[entity], self.since_ms[entity] = state, since_ms

    def _step(
        self,
        entity: int,
        time_ms: int,
        value: float,
        breach: bool,  # noqa: FBT001 -- one row of columns
        clear: bool,  # noqa: FBT001 -- the same
    ) -> Iterator[Transition]:
        state = self.state[entity]
        if state == AlertState.CLEARED and breach:
            self.state[entity], self.since_ms[entity] = AlertState.PENDING, time_ms
        elif state == AlertState.PENDING and not breach:
            self.state[entity] = AlertState.CLEARED
        elif state == AlertState.ACTIVE and clear:
            self.state[entity] = AlertState.CLEARED
            yield self._transition(entity, AlertState.CLEARED, time_ms, value)
        if self.state[entity] == AlertState.PENDING and time_ms - self.since_ms[entity] >= self.rule.for_ms:
            self.state[entity] = AlertState.ACTIVE
            yield self._transition(entity, AlertState.ACTIVE, time_ms, value)

    def _transition(self, entity: int, state: AlertState, time_ms: int, value: float) -> Transition:
        return Transition(
            rule=self._index,
            entity=entity,
            state=state,
            time_ms=time_ms,
            value=value,
            since_ms=int(self.since_ms[entity]),
        )
