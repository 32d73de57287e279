"""What drifts: every score is counted by its kind and day, and a day that is over is judged once.

The one rule: the counts of a day do not depend on how its scores came, one by one or many at once. So they are only
added up, the newest days that have any are kept, and what is older than those is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from attwin.core.alerts import DRIFT, AlertFacts
from attwin.core.columns import NEVER_MS
from attwin.core.drift import LEAST_SCORES, Reference
from attwin.ports import AlertChange, DriftDay
from attwin.runtime.alerts import AlertBook
from attwin.runtime.twin import Scores

DAY_MS = 86_400_000
SHOWN_DAYS = 8
"""How many days are kept in memory and shown: the running one and a week."""
_MOST_DAYS = 32
"""How many there may be until they are judged, twice a second."""
_GRACE_MS = 3_600_000
"""A day is over once there are scores from so long after it: entities do not all have the same time."""
_MOST_WAITING = 1_024
"""Scores are counted so many at once, which costs a sixth of counting those of each round."""
_TOLD_INPUTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftKind:
    """What the scores of a kind are compared with.

    Attributes:
        name: The kind.
        model: The hash of the bundle; another one begins anew.
        reference: The histograms of its training.
        limit: How far a day may be beyond the days of training before there is an alert; infinite for never.
    """

    name: str
    model: str
    reference: Reference
    limit: float


class _Days:
    """The counts of a kind, by day."""

    def __init__(self, kind: DriftKind) -> None:
        self.kind = kind
        self.counts: dict[int, NDArray[np.int64]] = {}
        self.changed: set[int] = set()
        self.judged = self.dropped = self.newest_ms = NEVER_MS
        self._waiting: list[Scores] = []
        self._rows = 0

    def add(self, made: Scores) -> None:
        self._waiting.append(made)
        self._rows += len(made.score)
        if self._rows >= _MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Count what waits."""
        if not self._rows:
            return
        time_ms = np.concatenate([made.time_ms for made in self._waiting])
        raw = np.concatenate([made.raw for made in self._waiting])
        score = np.concatenate([made.score for made in self._waiting])
        self._waiting, self._rows = [], 0
        self.newest_ms = max(self.newest_ms, int(time_ms.max()))
        group = time_ms // DAY_MS
        days = group[:1]
        # sorting costs, and most often all are of one day
        if (group != days).any():
            days, group = np.unique(group, return_inverse=True)
        else:
            group = np.zeros_like(group)
        for part in range(max(0, len(days) - _MOST_DAYS), len(days), SHOWN_DAYS):
            chosen = days[part : part + SHOWN_DAYS].tolist()
            mine = slice(None) if len(chosen) == len(days) else (group >= part) & (group < part + len(chosen))
            counted = self.kind.reference.count(raw[mine], score[mine], group[mine] - part, len(chosen))
            for day, counts in zip(chosen, counted, strict=True):
                # this day may have been counted before, and there are enough newer ones
                if day > self.dropped:
                    self.counts[day] = self.counts[day] + counts if day in self.counts else counts
                    self.changed.add(day)
        self.drop(_MOST_DAYS)

    def drop(self, most: int) -> None:
        """Keep the newest days."""
        for day in sorted(self.counts)[:-most]:
            del self.counts[day]
            self.changed.discard(day)
            self.dropped = max(self.dropped, day)

    def scores(self, day: int) -> int:
        """Return how many scores a day has."""
        return int(self.counts[day][-1].sum())

    def facts(self, day: int) -> DriftDay:
        """Return what is known of a day."""
        kind = self.kind
        return DriftDay(
            kind=kind.name,
            model=kind.model,
            day_ms=day * DAY_MS,
            is_over=day <= self.judged,
            scores=self.scores(day),
            inputs=kind.reference.names,
            psi=kind.reference.psi(self.counts[day]).tolist(),
            usual=kind.reference.usual.tolist(),
        )


class DriftWatch:
    """Counts scores, and says how far each day is from training."""

    def __init__(self, kinds: Mapping[int, DriftKind]) -> None:
        """Watch kinds, by their index; those that are left out are not watched."""
        self._days = {index: _Days(kind) for index, kind in kinds.items()}

    def replace(self, kind: int, watched: DriftKind | None) -> None:
        """Watch a kind by another model from now on, or not at all."""
        self._days.pop(kind, None)
        if watched:
            self._days[kind] = _Days(watched)

    def add(self, made: Scores) -> None:
        """Take scores; what they are counted by is ``Scores.raw``."""
        days = self._days.get(made.kind)
        if days:
            days.add(made)

    def judge(self) -> list[DriftDay]:
        """Return the days that are over and were not returned before, oldest first."""
        found = []
        for days in self._days.values():
            days.settle()
            over = [day for day in sorted(days.counts) if (day + 1) * DAY_MS + _GRACE_MS <= days.newest_ms]
            for day in over:
                if day > days.judged:
                    days.judged = day
                    found.append(days.facts(day))
            days.drop(SHOWN_DAYS)
        return found

    def forget_after(self, now_ms: int) -> None:
        """Forget days that are still to come: what the clock said when they were counted was wrong."""
        for days in self._days.values():
            days.settle()
            days.newest_ms, today = min(days.newest_ms, now_ms), now_ms // DAY_MS
            days.judged, days.dropped = min(days.judged, today - 1), min(days.dropped, today - 1)
            days.counts = {day: counts for day, counts in days.counts.items() if day <= today}
            days.changed &= days.counts.keys()

    def changed(self) -> list[DriftDay]:
        """Return the days that have changed since ``note_saved``."""
        for days in self._days.values():
            days.settle()
        return [days.facts(day) for days in self._days.values() for day in sorted(days.changed)]

    def note_saved(self) -> None:
        """Note that what ``changed`` returned is durable."""
        for days in self._days.values():
            days.changed.clear()

    def report(self, most: int = SHOWN_DAYS) -> dict[str, object]:
        """Return the newest days of each kind, the running one first."""
        for days in self._days.values():
            days.settle()
        return {
            days.kind.name: [plain(days.facts(day)) for day in sorted(days.counts, reverse=True)[:most]]
            for days in self._days.values()
        }

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return all counts as arrays, for a snapshot."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for index, days in self._days.items():
            days.settle()
            shape = days.kind.reference.counts.shape
            arrays |= {
                f"drift{index}.model": _as_array(days.kind),
                f"drift{index}.day": np.array(list(days.counts), np.int64),
                f"drift{index}.counts": np.array(list(days.counts.values()), np.int64).reshape(-1, *shape),
                f"drift{index}.marks": np.array([days.newest_ms, days.dropped], np.int64),
            }
        return arrays

    def load(self, arrays: Mapping[str, NDArray[np.generic]], judged_ms: Mapping[tuple[str, str], int]) -> None:
        """Take over what ``dump`` returned, of the models that are the same.

        Args:
            arrays: The snapshot; what is not in it begins anew.
            judged_ms: Which day of (kind, model) was judged last.
        """
        for index, days in self._days.items():
            judged = judged_ms.get((days.kind.name, days.kind.model))
            days.judged = NEVER_MS if judged is None else judged // DAY_MS
            # a snapshot of an earlier version has none
            model = arrays.get(f"drift{index}.model", _as_array(None))
            counts = arrays.get(f"drift{index}.counts")
            if counts is None or not np.array_equal(model, _as_array(days.kind)):
                continue
            days.counts = dict(zip(arrays[f"drift{index}.day"].tolist(), counts.astype(np.int64), strict=True))
            days.newest_ms, days.dropped = arrays[f"drift{index}.marks"].tolist()
            days.changed = set(days.counts)

    def keeps(self, facts: AlertFacts, judged_ms: Mapping[tuple[str, str], int]) -> bool:
        """Return whether an alert on drift is about a model that still serves, and wanted."""
        return any(
            facts.entity == days.kind.name
            and days.kind.limit < np.inf
            and (days.kind.name, days.kind.model) in judged_ms
            for days in self._days.values()
        )

    def announce(self, day: DriftDay, book: AlertBook) -> AlertChange | None:
        """Return the alert that a day which is over begins or ends; None where it changes nothing."""
        limit = next(days.kind.limit for days in self._days.values() if days.kind.name == day.kind)
        if day.scores < LEAST_SCORES or limit == np.inf:
            return None
        active = book.active.get((DRIFT, day.kind))
        worst = day.worst()
        far = [entry for entry in worst if entry.psi - entry.usual >= limit]
        end_ms = day.day_ms + DAY_MS
        if active and not far:
            # what it is of now, for what it was raised for
            same = [entry for entry in worst if entry.name == active.subject.split()[0]]
            return book.end(active, now_ms=end_ms, value=(same or worst)[0].psi)
        if active or not far:
            return None
        said = ", ".join(f"{entry.name} {entry.psi:.2f}" for entry in far[:_TOLD_INPUTS])
        more = f" and {len(far) - _TOLD_INPUTS} more" if len(far) > _TOLD_INPUTS else ""
        return book.raise_own(
            DRIFT,
            day.kind,
            said + more,
            severity="warning",
            value=far[0].psi,
            threshold=far[0].usual + limit,
            since_ms=day.day_ms,
            now_ms=end_ms,
        )


def plain(day: DriftDay) -> dict[str, object]:
    """Return a day as plain JSON; of too few scores nothing is said."""
    told = day.worst() if day.scores >= LEAST_SCORES else []
    return {
        "day": datetime.fromtimestamp(day.day_ms / 1000, UTC).strftime("%Y-%m-%d"),
        "running": not day.is_over,
        "scores": day.scores,
        "psi": {entry.name: round(entry.psi, 4) for entry in told},
        "usual": {entry.name: round(entry.usual, 4) for entry in told if entry.usual},
    }


def _as_array(kind: DriftKind | None) -> NDArray[np.uint8]:
    return np.frombuffer(kind.model.encode() if kind else b"", np.uint8)


def told_days(days: Sequence[DriftDay]) -> dict[str, object]:
    """Return days as ``DriftWatch.report`` does, newest first."""
    told: dict[str, list[object]] = {}
    for day in days:
        told.setdefault(day.kind, []).append(plain(day))
    return dict(told)
