"""The alerts that are active: gives transitions their numbers and their facts."""

from collections.abc import Sequence
from dataclasses import replace

from attwin.core.catalogue import Catalogue
from attwin.core.outgoing import AlertFacts
from attwin.core.rules import Rule
from attwin.core.types import AlertState, Transition
from attwin.ports import AlertChange


class AlertBook:
    """One alert a rule and entity."""

    def __init__(
        self, rules: Sequence[Rule], catalogue: Catalogue, active: Sequence[AlertFacts], *, next_alert: int
    ) -> None:
        self.active = {(facts.rule, facts.entity): facts for facts in active}
        self._rules = tuple(rules)
        self._catalogue = catalogue
        self._next = next_alert

    def apply(self, transitions: Sequence[Transition]) -> list[AlertChange]:
        """Return each transition as an alert before and after it."""
        return [change for t in transitions for change in [self._change(t)] if change]

    def kind_of(self, entity_id: str) -> int:
        """Return the index of an entity's kind, -1 where the entity is not known."""
        entity = self._catalogue.find(entity_id)
        return -1 if entity is None else int(self._catalogue.entity_kind[entity])

    def raise_own(
        self,
        rule: str,
        entity: str,
        subject: str,
        *,
        value: float,
        now_ms: int,
        severity: str = "critical",
        threshold: float = 0.0,
        since_ms: int | None = None,
    ) -> AlertChange:
        """Return an alert of the agent's own, about the gateway or a kind, since now unless told."""
        after = AlertFacts(
            alert=self._next,
            rule=rule,
            entity=entity,
            severity=severity,
            subject=subject,
            state="active",
            value=value,
            threshold=threshold,
            since_ms=now_ms if since_ms is None else since_ms,
            time_ms=now_ms,
        )
        self._next += 1
        self.active[rule, entity] = after
        return AlertChange(before=None, after=after)

    def end(self, facts: AlertFacts, *, now_ms: int, value: float | None = None) -> AlertChange:
        """Return the end of an alert that no rule ends: its rule or entity is gone, or it is of the agent's own.

        Args:
            facts: The alert.
            now_ms: When it ends.
            value: What ends it, where that is a value.
        """
        after = replace(facts, state="cleared", time_ms=now_ms, value=facts.value if value is None else value)
        self.active.pop((facts.rule, facts.entity), None)
        return AlertChange(before=facts, after=after)

    def _change(self, transition: Transition) -> AlertChange | None:
        rule, entity = self._rules[transition.rule], self._catalogue.entity_ids[transition.entity]
        before = self.active.pop((rule.name, entity), None)
        if transition.state is AlertState.CLEARED:
            if before is None:
                return None
            after = replace(before, state="cleared", value=transition.value, time_ms=transition.time_ms)
            return AlertChange(before=before, after=after)
        if before is not None:
            self.active[rule.name, entity] = before
            return None
        after = AlertFacts(
            alert=self._next,
            rule=rule.name,
            entity=entity,
            severity=rule.severity,
            subject=rule.subject,
            state="active",
            value=transition.value,
            threshold=rule.threshold,
            since_ms=transition.since_ms,
            time_ms=transition.time_ms,
        )
        self._next += 1
        self.active[rule.name, entity] = after
        return AlertChange(before=None, after=after)
