"""What was known when an alert opened, so that a person can be told why, also long after."""

import hashlib
from collections.abc import Sequence

import numpy as np

from attwin.core.alerts import AlertFacts
from attwin.core.columns import NEVER_MS
from attwin.core.rules import Basis, Rule, sentence
from attwin.core.types import QUALITY_WORDS, doubt_words
from attwin.ports import Clock
from attwin.runtime.twin import Scores, Twin

MOST_MEMBERS = 20
"""Of a large group, the newest values of so many are kept."""


class Evidence:
    """Gathers it."""

    def __init__(self, twin: Twin, clock: Clock) -> None:
        self._twin = twin
        self._clock = clock
        self._rules = {states.rule.name: states.rule for states in twin.rules.states}

    def of(self, facts: AlertFacts, scores: Sequence[Scores]) -> dict[str, object]:
        """Return what is known of an alert that opens.

        Args:
            facts: The alert.
            scores: What was scored in the same round.
        """
        clock: dict[str, object] = {"clock": self._clock.problem or "trusted"}
        rule = self._rules.get(facts.rule)
        if rule is None:
            return clock
        names = facts.members[:MOST_MEMBERS] or (facts.entity,)
        places = {name: place for name in names if (place := self._twin.catalogue.find(name)) is not None}
        evidence: dict[str, object] = {
            "rule": sentence(rule),
            "rule_version": version_of(rule),
            **clock,
            "newest": {name: self._newest(place, facts.time_ms) for name, place in places.items()},
        }
        place = places.get(facts.entity)
        if place is not None and rule.subject.basis in (Basis.ATTENTION, Basis.FEATURE):
            evidence |= self._of_model(place, facts.time_ms, scores)
        return evidence

    def _newest(self, entity: int, event_ms: int) -> dict[str, dict[str, object]]:
        """Return the newest reading of each metric, with its age in event time."""
        twin, found = self._twin, dict[str, dict[str, object]]()
        series_of = twin.catalogue.series_of(entity)
        for metric, series in zip(twin.catalogue.kind_of(entity).metrics, series_of, strict=True):
            if series < len(twin.time_ms) and twin.time_ms[series] != NEVER_MS:
                found[metric.name] = {
                    "value": float(twin.value[series]),
                    "time_ms": int(twin.time_ms[series]),
                    "age_ms": max(0, event_ms - int(twin.time_ms[series])),
                    "quality": QUALITY_WORDS[twin.quality[series]],
                    "reason": doubt_words(int(twin.reason[series])),
                }
        return found

    def _of_model(self, entity: int, time_ms: int, scores: Sequence[Scores]) -> dict[str, object]:
        """Return the model, and what it was given for the score at which the alert opened."""
        kind = int(self._twin.catalogue.entity_kind[entity])
        model = self._twin.models[kind]
        manifest = model.manifest
        found: dict[str, object] = {
            "model": {"name": manifest.name, "version": manifest.version, "sha256": model.sha256}
        }
        for made in scores:
            rows = np.flatnonzero((made.entity == entity) & (made.time_ms == time_ms))
            if made.kind == kind and len(rows):
                row = int(rows[0])
                given = made.features[row].astype(np.float64).tolist()
                missing = [name for name, gone in zip(manifest.masks, made.missing[row], strict=True) if gone]
                found |= {
                    "attention": float(made.score[row]),
                    "features": dict(zip(manifest.feature_names(), _plain(given), strict=True)),
                    "missing": missing,
                }
        return found


def version_of(rule: Rule) -> str:
    """Return what changes with every setting of a rule."""
    return hashlib.sha256(repr(rule).encode()).hexdigest()[:12]


def _plain(values: Sequence[float]) -> list[float | None]:
    """Return numbers as JSON can hold them: None for what is not there."""
    return [value if np.isfinite(value) else None for value in values]
