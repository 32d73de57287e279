"""One alert for a group: which of its entities the condition holds for, and when that is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from attwin.core.groups import Groups
from attwin.core.rules import Rule, Together
from attwin.core.types import AlertState, Transition


@dataclass(slots=True, kw_only=True)
class Gathering:
    """A group, as far as a rule is about it.

    Attributes:
        together: What the rule says of groups.
        since_ms: By entity, when the condition began.
        severity: By entity.
        due_ms: When what has changed is told, in event time; None where nothing has.
    """

    together: Together
    since_ms: dict[str, int] = field(default_factory=dict)
    severity: dict[str, str] = field(default_factory=dict)
    due_ms: int | None = None

    @property
    def is_enough(self) -> bool:
        """Whether there are so many that the group has an alert."""
        return len(self.since_ms) >= self.together.at_least

    def members(self) -> tuple[str, ...]:
        """Return the entities for which the condition holds, by name."""
        return tuple(sorted(self.since_ms))


class Gatherings:
    """Collects the transitions of entities by rule and group.

    Attributes:
        found: By rule and group.
    """

    def __init__(self, rules: Sequence[Rule], kinds: Sequence[str], groups: Groups) -> None:
        self.found: dict[tuple[int, str], Gathering] = {}
        self._rules = rules
        self._kinds = kinds
        self._groups = groups

    @property
    def is_waiting(self) -> bool:
        """Whether something has changed that is to be told."""
        return any(own.due_ms is not None for own in self.found.values())

    def take(self, transition: Transition, entity_id: str) -> bool:
        """Take a transition; False where the entity has an alert of its own: the rule or no group is about it."""
        rule = self._rules[transition.rule]
        places = self.places(rule, entity_id) if rule.together else ()
        for place in places:
            self._note(rule, transition, entity_id, place)
        return bool(places)

    def places(self, rule: Rule, entity_id: str) -> tuple[str, ...]:
        """Return the groups in which a rule puts an entity."""
        if not rule.together:
            return ()
        if not rule.together.groups:
            return (self._kinds[rule.kind],)
        return tuple(name for name in self._groups.of(entity_id) if name in rule.together.groups)

    def due(self, event_ms: int) -> list[tuple[int, str, Gathering]]:
        """Return what has changed and is to be told now, with its rule and group."""
        due = [key for key, own in self.found.items() if own.due_ms is not None and own.due_ms <= event_ms]
        for key in due:
            self.found[key].due_ms = None
        return [(*key, self.found[key]) for key in due]

    def restore(self, rule: int, place: str, members: Sequence[str], since_ms: int, severity: str) -> None:
        """Go on with an alert of the store."""
        together = self._rules[rule].together
        if together:
            own = self.found.setdefault((rule, place), Gathering(together=together))
            own.since_ms |= dict.fromkeys(members, since_ms)
            own.severity |= dict.fromkeys(members, severity)

    def _note(self, rule: Rule, transition: Transition, entity_id: str, place: str) -> None:
        together = rule.together
        if together is None:
            return
        own = self.found.setdefault((transition.rule, place), Gathering(together=together))
        was_enough = own.is_enough
        if transition.state is AlertState.ACTIVE:
            own.since_ms.setdefault(entity_id, transition.since_ms)
            own.severity[entity_id] = transition.severity
        else:
            own.since_ms.pop(entity_id, None)
            own.severity.pop(entity_id, None)
        due_ms = transition.time_ms + (together.gather_ms if own.is_enough else 0)
        # an end is told at once; who comes later does not put off what waits
        own.due_ms = due_ms if own.due_ms is None or (was_enough and not own.is_enough) else min(own.due_ms, due_ms)
