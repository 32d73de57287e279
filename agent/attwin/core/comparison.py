"""Two models on the same data: how much they differ, and whether the new one may serve."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = 0.01, 0.99
"""Scores beyond these say as much as a model can say."""
_LEAST_SCORES = 20
"""Of fewer scores saturation says nothing."""
_LEAST_ALERTS = 3
"""So few more alerts may be chance."""
_MOST_WAITING = 50_000
"""So many scores of a model wait for the other's."""
_SLOW_US = 20.0
"""A row that takes less is fast, whatever the other takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """How far a pushed model may be from the one that serves.

    Attributes:
        difference: The mean absolute difference of their scores.
        shift: The difference of their mean scores.
        alerts: How many times as many alerts.
        latency: How many times as long for a row.
        saturation: The share of scores below 0.01 or above 0.99.
        pairs: How many scores are compared before it serves.
    """

    difference: float = 0.25
    shift: float = 0.2
    alerts: float = 2.0
    latency: float = 3.0
    saturation: float = 0.9
    pairs: int = 100


class _Side:
    """What one of the models has said."""

    def __init__(self) -> None:
        self.scores = self.saturated = self.opened = self.unusable = 0
        self.latency_us = 0.0
        self._keys: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.float64]] = []

    def add(self, keys: NDArray[np.int64], score: NDArray[np.float32]) -> None:
        self.scores += len(score)
        self.saturated += int(((score <= LOW) | (score >= HIGH)).sum())
        self._keys.append(keys)
        self._values.append(score.astype(np.float64))

    def waiting(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return what was not compared yet, the newest of it."""
        if not self._keys:
            return np.empty(0, np.int64), np.empty(0)
        return np.concatenate(self._keys)[-_MOST_WAITING:], np.concatenate(self._values)[-_MOST_WAITING:]

    def keep(self, keys: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        self._keys, self._values = [keys], [values]

    @property
    def saturation(self) -> float:
        return self.saturated / self.scores if self.scores else 0.0


class Comparison:
    """Compares the scores of a new model and an old one of the same entities at the same times."""

    def __init__(self, *, has_old: bool) -> None:
        """Begin.

        Args:
            has_old: Whether there is a model to compare with.
        """
        self._has_old = has_old
        self._new, self._old = _Side(), _Side()
        self._pairs = 0
        self._difference = self._shift = 0.0

    def note(
        self, *, is_new: bool, entity: NDArray[np.int32], time_ms: NDArray[np.int64], score: NDArray[np.float32]
    ) -> None:
        """Take scores of one of them.

        Args:
            is_new: Of which.
            entity: Whose. Shape (R,).
            time_ms: Of when. Shape (R,).
            score: Shape (R,).
        """
        side = self._new if is_new else self._old
        # 2**20 entities at any time until the year 10000
        side.add(time_ms << 20 | entity.astype(np.int64), score)

    def note_opened(self, count: int, *, is_new: bool) -> None:
        """Take how many alerts one of them has opened."""
        (self._new if is_new else self._old).opened += count

    def note_unusable(self, count: int) -> None:
        """Take how many scores of the new one were no number in [0, 1]."""
        self._new.unusable += count

    def note_latency(self, latency_us: float, *, is_new: bool) -> None:
        """Take how long a row takes [us]; the shortest counts, as others are disturbed by the machine."""
        side = self._new if is_new else self._old
        side.latency_us = min(side.latency_us or latency_us, latency_us)

    def pair(self) -> None:
        """Compare what both have said of the same entity and time."""
        (keys, new), (others, old) = self._new.waiting(), self._old.waiting()
        both, mine, theirs = np.intersect1d(keys, others, return_indices=True)
        if len(both):
            apart = new[mine] - old[theirs]
            self._pairs += len(both)
            self._difference += float(np.abs(apart).sum())
            self._shift += float(apart.sum())
        left, other_left = np.ones(len(keys), np.bool_), np.ones(len(others), np.bool_)
        left[mine], other_left[theirs] = False, False
        self._new.keep(keys[left], new[left])
        self._old.keep(others[other_left], old[other_left])

    def facts(self) -> dict[str, object]:
        """Return what was measured."""
        pairs = max(1, self._pairs)
        facts: dict[str, object] = {
            "scores": self._new.scores,
            "unusable": self._new.unusable,
            "saturation": round(self._new.saturation, 4),
            "alerts": self._new.opened,
            "latency_us": round(self._new.latency_us, 3),
        }
        if self._has_old:
            facts |= {
                "pairs": self._pairs,
                "difference": round(self._difference / pairs, 4),
                "shift": round(self._shift / pairs, 4),
                "saturation_before": round(self._old.saturation, 4),
                "alerts_before": self._old.opened,
                "latency_before_us": round(self._old.latency_us, 3),
            }
        return facts

    def reasons(self, gates: Gates, *, early: bool = False) -> list[str]:
        """Return why the new model must not serve.

        Args:
            gates: How far it may be from the other.
            early: Whether more is still to come, so that only what is wrong in any case counts.
        """
        new, old = self._new, self._old
        found = []
        if new.unusable:
            found.append(f"{new.unusable} scores were no number between 0 and 1")
        if early:
            return found
        if new.scores >= _LEAST_SCORES and new.saturation >= gates.saturation > old.saturation:
            found.append(f"{new.saturation:.0%} of the scores are at the ends of the scale")
        if not self._has_old:
            return found
        if self._pairs >= max(1, gates.pairs):
            difference, shift = self._difference / self._pairs, self._shift / self._pairs
            if difference > gates.difference:
                found.append(
                    f"scores differ by {difference:.2f} on average from those before; {gates.difference:g} may"
                )
            if abs(shift) > gates.shift:
                found.append(f"scores are {shift:+.2f} off on average from those before; {gates.shift:g} may")
        if new.opened > max(gates.alerts * old.opened, old.opened + _LEAST_ALERTS):
            found.append(f"{new.opened} alerts where there were {old.opened} before; {gates.alerts:g} times may")
        if old.latency_us and new.latency_us > max(gates.latency * old.latency_us, _SLOW_US):
            found.append(
                f"a row takes {new.latency_us:.1f} us where it took {old.latency_us:.1f}; {gates.latency:g} times may"
            )
        return found

    def lacks(self, gates: Gates) -> str:
        """Return what is still needed to judge; empty where there is enough."""
        have, what = (self._pairs, "pairs of scores") if self._has_old else (self._new.scores, "scores")
        return f"{have} of {gates.pairs} {what}" if have < gates.pairs else ""


def canary_gap(found: NDArray[np.float32], promised: NDArray[np.float32]) -> float:
    """Return by how much the scores of canary rows are off at most; endless where one is no number."""
    if not len(promised):
        return 0.0
    worst = float(np.abs(found - promised).max())
    return worst if np.isfinite(worst) else float("inf")
