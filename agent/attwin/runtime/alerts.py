"""The alerts that are active: gives transitions their numbers and facts, and says which of them are told.

There is one alert a rule and entity. What happens to it is kept, each change with the facts before and after; it is
told outside as long as nothing mutes it: a quiet hour, a person who snoozed it, an alert that explains it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from attwin.core.alerts import (
    ACTIVE,
    CLEARED,
    OWN_RULES,
    QUIET,
    SNOOZED,
    SUPPRESSED,
    AlertFacts,
    gravest,
)
from attwin.core.catalogue import Catalogue
from attwin.core.columns import NEVER_MS
from attwin.core.errors import AlertGoneError
from attwin.core.groups import Groups
from attwin.core.rules import Rule
from attwin.core.types import AlertState, Transition
from attwin.ports import AlertChange
from attwin.runtime.together import Gathering, Gatherings

AFTER_CAUSE_MS = 30_000
"""How long an alert stays suppressed after the one that explains it has ended: what it explains ends a little later."""

Key = tuple[str, str]


class AlertBook:
    """One alert a rule and entity.

    Attributes:
        active: By rule and entity.
        snoozed: Until when a rule and entity are snoozed, by the gateway's clock; it outlives the alert.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        catalogue: Catalogue,
        active: Sequence[AlertFacts],
        *,
        next_alert: int,
        groups: Groups | None = None,
        snoozed: Mapping[Key, int] | None = None,
    ) -> None:
        self.active = {facts.key: facts for facts in active}
        self.snoozed = dict(snoozed or {})
        self.groups = groups or Groups({})
        self._rules = tuple(rules)
        self._by_name = {rule.name: rule for rule in rules}
        self._explain = {name for rule in rules for name in rule.suppressed_by}
        self._explained_until_ms: dict[Key, int] = {}
        self._catalogue = catalogue
        self._event_ms = self._mended_ms = NEVER_MS
        self._next = next_alert
        self._together = Gatherings(self._rules, [kind.name for kind in catalogue.kinds], self.groups)
        self._restore_gatherings()
        # those whose facts change as time goes by
        self._waiting: set[Key] = set()
        for facts in active:
            self._follow(facts)

    @property
    def is_idle(self) -> bool:
        """Whether nothing changes as time goes by, until a rule says something."""
        return not (self._waiting or self._explained_until_ms or self._together.is_waiting)

    def kind_of(self, entity_id: str) -> int:
        """Return the index of an entity's kind, -1 where the entity is not known."""
        entity = self._catalogue.find(entity_id)
        return -1 if entity is None else int(self._catalogue.entity_kind[entity])

    def belongs(self, facts: AlertFacts) -> bool:
        """Return whether an alert of the store is still one of a configured rule and of what that rule is about."""
        rule = self._by_name.get(facts.rule)
        if rule is None:
            return False
        if rule.together and facts.members:
            members = [name for name in facts.members if facts.entity in self._together.places(rule, name)]
            return bool(members)
        return self.kind_of(facts.entity) == rule.kind and not self._together.places(rule, facts.entity)

    def apply(self, transitions: Sequence[Transition], *, now_ms: int) -> list[AlertChange]:
        """Return what transitions change, each with the alert before and after it.

        Args:
            transitions: In the order in which they happened.
            now_ms: The gateway's clock.
        """
        changes: list[AlertChange] = []
        for transition in transitions:
            self._event_ms = max(self._event_ms, transition.time_ms)
            entity = self._catalogue.entity_ids[transition.entity]
            if not self._together.take(transition, entity):
                changes += self._change(transition, entity, now_ms)
            # without a time to gather, a group's alert is told with what caused it
            changes += self._tell_gathered(transition.time_ms, now_ms)
        return changes + self._explained(changes, now_ms)

    def tick(self, event_ms: int, *, now_ms: int) -> list[AlertChange]:
        """Return what changes as time goes by: groups that have gathered, escalation, the end of what mutes.

        Args:
            event_ms: Event time now.
            now_ms: The gateway's clock.
        """
        self._event_ms = max(self._event_ms, event_ms)
        changes = self._tell_gathered(event_ms, now_ms)
        for key in sorted(self._waiting):
            facts = self.active[key]
            changes += self._changed(facts, self._judged(self._escalated(facts, event_ms), event_ms, now_ms), event_ms)
        self.snoozed = {key: until_ms for key, until_ms in self.snoozed.items() if until_ms > now_ms}
        ended = self._explained_until_ms
        self._explained_until_ms = {key: until_ms for key, until_ms in ended.items() if until_ms > event_ms}
        return changes + self._explained(changes, now_ms)

    def mend(self, event_ms: int) -> None:
        """Note that event time was put right: what an alert waits for is counted from here on."""
        self._event_ms = self._mended_ms = event_ms

    def acknowledge(self, alert: int, *, by: str, note: str, now_ms: int) -> AlertChange:
        """Return the change that a person has taken up an alert.

        Raises:
            AlertGoneError: It is not active.
        """
        facts = self._numbered(alert)
        after = replace(facts, acknowledged_ms=now_ms, by=by, note=note)
        return self._changed(facts, after, self._event_ms)[0]

    def snooze(self, alert: int, *, until_ms: int, by: str, note: str, now_ms: int) -> AlertChange:
        """Return the change that an alert is not to be told until then, nor its next one of the same entity.

        Raises:
            AlertGoneError: It is not active.
        """
        facts = self._numbered(alert)
        self.snoozed[facts.key] = until_ms
        after = replace(facts, snoozed_until_ms=until_ms, by=by, note=note)
        return self._changed(facts, self._judged(after, self._event_ms, now_ms), self._event_ms)[0]

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
            state=ACTIVE,
            value=value,
            threshold=threshold,
            since_ms=now_ms if since_ms is None else since_ms,
            time_ms=now_ms,
            opened_ms=now_ms,
        )
        self._next += 1
        self.active[after.key] = after
        return AlertChange(before=None, after=after)

    def end(self, facts: AlertFacts, *, now_ms: int, value: float | None = None) -> AlertChange:
        """Return the end of an alert that no rule ends: its rule or entity is gone, or it is of the agent's own.

        Args:
            facts: The alert.
            now_ms: When it ends.
            value: What ends it, where that is a value.
        """
        after = replace(facts, state=CLEARED, time_ms=now_ms, value=facts.value if value is None else value)
        self._let_go(facts)
        return AlertChange(before=facts, after=after)

    def forget(self, entity_id: str, *, now_ms: int) -> list[AlertChange]:
        """Return the ends of the alerts of an entity that is forgotten; those of the agent's own stay."""
        own = [facts for key, facts in self.active.items() if key[1] == entity_id and key[0] not in OWN_RULES]
        return [self.end(facts, now_ms=now_ms) for facts in own]

    def _restore_gatherings(self) -> None:
        for index, rule in enumerate(self._rules):
            for facts in self.active.values():
                if facts.rule == rule.name and rule.together:
                    self._together.restore(index, facts.entity, facts.members, facts.since_ms, facts.severity)

    def _numbered(self, alert: int) -> AlertFacts:
        for facts in self.active.values():
            if facts.alert == alert:
                return facts
        raise AlertGoneError(f"no active alert {alert}")

    def _change(self, transition: Transition, entity: str, now_ms: int) -> list[AlertChange]:
        """Return what a transition of an entity's own alert changes; nothing, where the alert is so already."""
        rule = self._rules[transition.rule]
        before = self.active.get((rule.name, entity))
        if transition.state is AlertState.CLEARED:
            return [self._ended(before, transition.time_ms, transition.value)] if before else []
        if before is None:
            return [
                self._opened(
                    rule,
                    entity,
                    value=transition.value,
                    threshold=rule.threshold,
                    severity=transition.severity,
                    since_ms=transition.since_ms,
                    time_ms=transition.time_ms,
                    now_ms=now_ms,
                    flapping=transition.is_flapping,
                    text=transition.text,
                )
            ]
        severity = gravest([before.severity, transition.severity])
        if severity == before.severity:
            return []
        after = replace(before, severity=severity, value=transition.value)
        return self._changed(before, self._judged(after, transition.time_ms, now_ms), transition.time_ms)

    def _tell_gathered(self, event_ms: int, now_ms: int) -> list[AlertChange]:
        """Return what has changed of groups and has waited long enough."""
        return [
            change
            for index, place, own in self._together.due(event_ms)
            for change in self._change_of_group(self._rules[index], place, own, event_ms, now_ms)
        ]

    def _change_of_group(
        self, rule: Rule, place: str, own: Gathering, event_ms: int, now_ms: int
    ) -> Iterator[AlertChange]:
        before, members = self.active.get((rule.name, place)), own.members()
        if not own.is_enough:
            if before:
                yield self._ended(replace(before, members=members), event_ms, float(len(members)), before)
        elif before is None:
            yield self._opened(
                rule,
                place,
                value=float(len(members)),
                threshold=float(own.together.at_least),
                severity=gravest(list(own.severity.values())),
                since_ms=min(own.since_ms.values()),
                time_ms=event_ms,
                now_ms=now_ms,
                members=members,
            )
        elif before.members != members:
            severity = gravest([before.severity, *own.severity.values()])
            after = replace(before, members=members, value=float(len(members)), severity=severity)
            yield from self._changed(before, self._judged(after, event_ms, now_ms), event_ms)

    def _opened(  # noqa: PLR0913 -- the facts of a new alert
        self,
        rule: Rule,
        entity: str,
        *,
        value: float,
        threshold: float,
        severity: str,
        since_ms: int,
        time_ms: int,
        now_ms: int,
        flapping: bool = False,
        members: tuple[str, ...] = (),
        text: str = "",
    ) -> AlertChange:
        facts = AlertFacts(
            alert=self._next,
            rule=rule.name,
            entity=entity,
            severity=severity,
            subject=rule.subject.name,
            state=ACTIVE,
            value=value,
            threshold=threshold,
            since_ms=since_ms,
            time_ms=time_ms,
            opened_ms=time_ms,
            snoozed_until_ms=self.snoozed.get((rule.name, entity)),
            announced=False,
            flapping=flapping,
            members=members,
            text=text,
        )
        self._next += 1
        after = self._judged(facts, time_ms, now_ms)
        self.active[after.key] = after
        self._follow(after)
        return AlertChange(before=None, after=after)

    def _ended(self, facts: AlertFacts, time_ms: int, value: float, before: AlertFacts | None = None) -> AlertChange:
        after = replace(facts, state=CLEARED, time_ms=time_ms, value=facts.value if math.isnan(value) else value)
        self._let_go(facts)
        if facts.rule in self._explain:
            self._explained_until_ms[facts.key] = time_ms + AFTER_CAUSE_MS
        return AlertChange(before=before or facts, after=after)

    def _let_go(self, facts: AlertFacts) -> None:
        self.active.pop(facts.key, None)
        self._waiting.discard(facts.key)

    def _changed(self, before: AlertFacts, after: AlertFacts, event_ms: int) -> list[AlertChange]:
        """Return the change of an active alert, where there is one, as of a time."""
        if after == before:
            return []
        after = replace(after, time_ms=max(before.time_ms, event_ms))
        self.active[after.key] = after
        self._follow(after)
        return [AlertChange(before=before, after=after)]

    def _follow(self, facts: AlertFacts) -> None:
        """Look at an alert again as time goes by, or not any more."""
        rule = self._by_name.get(facts.rule)
        escalates = bool(rule and rule.later and facts.acknowledged_ms is None)
        if facts.muted or escalates:
            self._waiting.add(facts.key)
        else:
            self._waiting.discard(facts.key)

    def _escalated(self, facts: AlertFacts, event_ms: int) -> AlertFacts:
        """Return an alert as it is after so long without anybody who has taken it up."""
        rule = self._by_name.get(facts.rule)
        if rule is None or facts.acknowledged_ms is not None:
            return facts
        since_ms = max(facts.opened_ms, self._mended_ms)
        later = [severity for after_ms, severity in rule.later if event_ms - since_ms >= after_ms]
        severity = gravest([facts.severity, *later])
        return replace(facts, severity=severity)

    def _judged(self, facts: AlertFacts, event_ms: int, now_ms: int) -> AlertFacts:
        """Return an alert with why it is not told now; it is told where nothing speaks against it."""
        rule = self._by_name.get(facts.rule)
        muted = []
        if facts.snoozed_until_ms is not None and facts.snoozed_until_ms > now_ms:
            muted.append(SNOOZED)
        if rule and self._is_explained(facts, rule, event_ms):
            muted.append(SUPPRESSED)
        # what was told before the quiet hours began need not be told again after them
        if rule and rule.quiet and not facts.announced and facts.severity not in rule.quiet_except:
            muted += [QUIET] if rule.quiet.holds_at(event_ms) else []
        snoozed_until_ms = facts.snoozed_until_ms if SNOOZED in muted else None
        return replace(
            facts,
            muted=tuple(muted),
            announced=facts.announced or not muted,
            snoozed_until_ms=snoozed_until_ms,
        )

    def _is_explained(self, facts: AlertFacts, rule: Rule, event_ms: int) -> bool:
        if not rule.suppressed_by:
            return False
        places = self.groups.above(facts.entity)
        return any(
            (cause, place) in self.active or self._explained_until_ms.get((cause, place), event_ms) > event_ms
            for cause in rule.suppressed_by
            for place in places
        )

    def _explained(self, changes: Sequence[AlertChange], now_ms: int) -> list[AlertChange]:
        """Return the alerts that others, which have just begun, explain."""
        begun = {c.after.rule for c in changes if c.before is None} & self._explain
        if not begun:
            return []
        event_ms = max(change.after.time_ms for change in changes)
        found = []
        for facts in list(self.active.values()):
            rule = self._by_name.get(facts.rule)
            if rule and begun.intersection(rule.suppressed_by) and SUPPRESSED not in facts.muted:
                found += self._changed(facts, self._judged(facts, event_ms, now_ms), event_ms)
        return found
