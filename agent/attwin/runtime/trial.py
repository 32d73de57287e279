"""Trying a model: it scores beside the active one, on what the journal holds, and takes its place in a moment.

The model on trial has a twin of its own, which reads the journal: first what its windows reach back, then each commit.
So it is warm when it takes over, costs the loop a slice of time a round, and cannot disturb what serves. Once it
serves, the model before it goes on in its place, as the measure of how the new one does, and ready to take over again.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.core.catalogue import Kind
from attwin.core.comparison import Comparison, Gates, canary_gap
from attwin.core.errors import UpdateRefusedError
from attwin.core.rules import Basis, Rule
from attwin.core.types import AlertState, ReadingBatch, Transition
from attwin.ports import Clock, Judged
from attwin.runtime.drift import DriftKind, DriftWatch
from attwin.runtime.twin import KindModel, Scores, Taken, Twin

_SLICE_MS = 5
_LOOK_MS = 1_000
_CANARY_ROWS = 64
_CANARY_RUNS = 8
_FIRST_LOOK_MS = -(2**62)
_SLACK_MS = 60_000
"""What is read of the journal beyond the windows: times of commits are not those of readings."""

log = logging.getLogger("attwin")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A model that can serve a kind, with all that belongs to it.

    Attributes:
        sha256, name, version: Of its bundle.
        model: Bound to the kind.
        kind: The kind with the windows and the grid of the model.
        rules: The rules that look at what it says, or is given.
        drift: What its inputs are compared with; None for a model without a reference.
        canary_rows, canary_scores: Golden features and the scores that they must give. Shapes (R, F + C), (R,).
    """

    sha256: str
    name: str
    version: int
    model: KindModel
    kind: Kind
    rules: Sequence[Rule]
    drift: DriftKind | None
    canary_rows: NDArray[np.float32]
    canary_scores: NDArray[np.float32]

    def canary(self, clock: Clock) -> tuple[float, float]:
        """Return by how much canary scores are off at most, and how long a row takes [us]."""
        rows = np.resize(self.canary_rows, (_CANARY_ROWS, self.canary_rows.shape[1])).astype(np.float32)
        scores, _ = self.model.score(rows)
        runs = []
        for _ in range(_CANARY_RUNS):
            started = clock.monotonic_us()
            self.model.score(rows)
            runs.append(clock.monotonic_us() - started)
        gap = canary_gap(scores, np.resize(self.canary_scores, _CANARY_ROWS).astype(np.float32))
        # the shortest: others were disturbed by the machine
        return gap, min(runs) / _CANARY_ROWS


Read = Callable[[int], Iterator[tuple[int, ReadingBatch]]]
"""Yields the readings of the journal after a position, each with its position."""


class _Beside:
    """A model that scores beside the one that serves.

    Attributes:
        is_new: Whether it is the new one; else the one before it.
        is_warm: Whether it has come to the end of the journal.
        position: How far it has read.
    """

    def __init__(self, kind: int, candidate: Candidate, main: Twin, position: int, *, is_new: bool) -> None:
        self.kind, self.candidate, self.is_new = kind, candidate, is_new
        self.twin = Twin(
            main.catalogue,
            {kind: candidate.model},
            candidate.rules,
            most_ahead_ms=0,
            kinds={kind: candidate.kind},
        )
        self.twin.inherit(kind, main)
        self.position = position
        self.is_warm = False

    def read(self, number: int, batch: ReadingBatch) -> tuple[list[Scores], list[Transition]]:
        """Take readings of the journal."""
        entity = self.twin.catalogue.series_entity[batch.series]
        self.position = number
        return self.twin.replay(batch.where(self.twin.catalogue.entity_kind[entity] == self.kind))


class ModelTrial:
    """Implements ``ports.Trial``."""

    def __init__(  # noqa: PLR0913 -- all that a model in service touches
        self,
        *,
        twin: Twin,
        drift: DriftWatch,
        clock: Clock,
        gates: Gates,
        kinds: Sequence[str],
        serving: Mapping[str, Candidate],
        load: Callable[[str, str], Candidate],
        read: Read,
        position: Callable[[int], int],
        served: Callable[[str, Candidate], None],
        reload: Callable[[], list[str]],
    ) -> None:
        """Make it.

        Args:
            twin: What serves.
            drift: Counts what it scores.
            clock: For slices, and for latencies.
            gates: How far a new model may be from the one before.
            kinds: The names of all kinds, by their index.
            serving: The models that serve, by kind.
            load: Returns the model of a kind in the file with a hash. Raises ``UpdateRefusedError``.
            read: Reads the journal.
            position: Returns the position of the journal so many milliseconds ago.
            served: Told what serves a kind from now on.
            reload: Lets the agent begin anew with what is to serve; returns problems.
        """
        self._twin, self._drift, self._clock, self._gates = twin, drift, clock, gates
        self._kinds, self._serving = list(kinds), dict(serving)
        self._load, self._read, self._position = load, read, position
        self._served, self._reload = served, reload
        self._beside: _Beside | None = None
        self._comparison = Comparison(has_old=False)
        self._unusable = 0
        self._next_look_ms = _FIRST_LOOK_MS
        self._canary_gap = 0.0

    @property
    def is_behind(self) -> bool:
        """Whether a model still reads what was there before it began."""
        return self._beside is not None and not self._beside.is_warm

    def begin(self, kind: str, sha256: str) -> None:
        """Let a model score beside the active one.

        Raises:
            UpdateRefusedError: It cannot.
        """
        if kind not in self._kinds:
            raise UpdateRefusedError(f"there is no kind `{kind}`")
        self._begin(kind, self._load(kind, sha256), is_new=True)

    def begin_before(self, kind: str, sha256: str) -> None:
        """Let the model that served before score beside the new one; after a start it is not there any more."""
        try:
            self._begin(kind, self._load(kind, sha256), is_new=False)
        except UpdateRefusedError as error:
            log.warning("update=watch kind=%s problem=%r", kind, str(error))
            self._compare(self._kinds.index(kind), has_old=False)

    def _begin(self, kind: str, candidate: Candidate, *, is_new: bool) -> None:
        index = self._kinds.index(kind)
        back_ms = max(candidate.kind.windows_ms) + candidate.kind.lateness_ms + _SLACK_MS
        self._beside = _Beside(index, candidate, self._twin, self._position(back_ms), is_new=is_new)
        self._compare(index, has_old=kind in self._serving or not is_new)

    def _compare(self, kind: int, *, has_old: bool) -> None:
        self._comparison = Comparison(has_old=has_old)
        self._unusable = self._unusable_of(kind)
        self._next_look_ms = _FIRST_LOOK_MS
        self._canary_gap = 0.0

    def _unusable_of(self, kind: int) -> int:
        """Return how many scores of the new model were unusable so far."""
        beside = self._beside
        twin = beside.twin if beside and beside.is_new else self._twin
        return twin.scoring[kind].unusable if kind in twin.scoring else 0

    def step(self) -> None:
        """Read on in the journal, for a slice of time."""
        beside = self._beside
        if beside is None:
            return
        ends_ms = self._clock.monotonic_ms() + _SLICE_MS
        for number, batch in self._read(beside.position):
            made = beside.read(number, batch)
            if beside.is_warm:
                self._note(beside, made)
            if self._clock.monotonic_ms() >= ends_ms:
                return
        beside.is_warm = True

    def _note(self, beside: _Beside, made: tuple[list[Scores], list[Transition]]) -> None:
        scores, transitions = made
        for one in scores:
            self._comparison.note(is_new=beside.is_new, entity=one.entity, time_ms=one.time_ms, score=one.score)
        self._comparison.note_opened(_opened(transitions), is_new=beside.is_new)

    def take(self, taken: Taken) -> None:
        """Take what the twin that serves has made of a batch."""
        beside = self._beside
        if beside is None or not beside.is_warm:
            return
        for one in taken.scores:
            if one.kind == beside.kind:
                self._comparison.note(is_new=not beside.is_new, entity=one.entity, time_ms=one.time_ms, score=one.score)
        names = {rule.name for rule in beside.candidate.rules}
        states = self._twin.rules.states
        mine = [transition for transition in taken.transitions if states[transition.rule].rule.name in names]
        self._comparison.note_opened(_opened(mine), is_new=not beside.is_new)

    def judge_shadow(self, *, is_over: bool) -> Judged:
        """Return how it does; once its time is over also what would be too early to say before."""
        beside = self._beside
        if beside is None:
            return Judged(detail={}, reasons=["nothing is tried"])
        self._look(beside.kind)
        reasons = self._comparison.reasons(self._gates, early=not is_over)
        lacks = self._comparison.lacks(self._gates) if beside.is_warm else "it still reads what was before"
        return Judged(detail=self._comparison.facts(), reasons=reasons, is_enough=not lacks, lacks=lacks)

    def judge_probation(self, kind: str) -> Judged:
        """Return how the active model does."""
        self._look(self._kinds.index(kind))
        reasons = self._comparison.reasons(self._gates)
        served = self._serving.get(kind)
        if served and self._canary_gap > served.model.manifest.tolerance:
            reasons.append(f"a canary score is off by {self._canary_gap:.3f}")
        return Judged(detail=self._comparison.facts(), reasons=reasons)

    def _look(self, kind: int) -> None:
        """Count what is unusable; every second compare scores, and ask both models for canary rows."""
        unusable = self._unusable_of(kind)
        self._comparison.note_unusable(unusable - self._unusable)
        self._unusable = unusable
        now = self._clock.monotonic_ms()
        if now < self._next_look_ms:
            return
        self._next_look_ms = now + _LOOK_MS
        self._comparison.pair()
        active = self._serving.get(self._kinds[kind])
        beside = self._beside
        if active:
            gap, took_us = active.canary(self._clock)
            is_new = beside is None or not beside.is_new
            self._comparison.note_latency(took_us, is_new=is_new)
            self._canary_gap = gap if is_new else 0.0
        if beside:
            _, took_us = beside.candidate.canary(self._clock)
            self._comparison.note_latency(took_us, is_new=beside.is_new)

    def activate(self, line: str, sha256: str) -> str:
        """Let a file serve that is kept, the one of the configuration where the hash is empty; return why it cannot."""
        beside, kind = self._beside, line.removeprefix("model/")
        if beside and beside.candidate.sha256 == sha256 and self._kinds[beside.kind] == kind and self._is_live(beside):
            for number, batch in self._read(beside.position):
                self._note(beside, beside.read(number, batch))
            self._exchange(beside)
            return ""
        return "; ".join(self._reload())

    def revert(self, line: str, sha256: str) -> bool:
        """Let the one serve again that did before; False where that needs ``activate``."""
        beside = self._beside
        if beside is None or beside.is_new or beside.candidate.sha256 != sha256 or not beside.is_warm:
            return False
        if self._kinds[beside.kind] != line.removeprefix("model/"):
            return False
        self._exchange(beside)
        return True

    def _is_live(self, beside: _Beside) -> bool:
        """Return whether a model can take over without a new start: there is one, and rules find their features."""
        rules = {rule.name: rule.subject for rule in beside.candidate.rules if rule.subject.basis is Basis.FEATURE}
        own = {states.rule.name: states.rule.subject for states in self._twin.rules.of(Basis.FEATURE)}
        return beside.kind in self._twin.scoring and all(own[name] == subject for name, subject in rules.items())

    def _exchange(self, beside: _Beside) -> None:
        """Let the model beside serve, and the one that serves go on beside it."""
        name = self._kinds[beside.kind]
        before, after = self._serving[name], beside.candidate
        self._twin.exchange(beside.kind, beside.twin)
        self._serving[name] = after
        beside.candidate, beside.is_new = before, not beside.is_new
        self._drift.replace(beside.kind, after.drift)
        self._compare(beside.kind, has_old=True)
        self._served(name, after)
        log.warning("model=%s version=%d kind=%s state=active", after.name, after.version, name)

    def stop(self) -> None:
        """Forget the model that is tried."""
        self._beside = None

    def forget(self, entity: int) -> None:
        """Forget an entity that the catalogue is about to forget."""
        if self._beside:
            self._beside.twin.forget_readings(entity)

    def restart(self) -> None:
        """Begin anew with what is tried: the times of the journal were put right."""
        beside = self._beside
        if beside:
            self._begin(self._kinds[beside.kind], beside.candidate, is_new=beside.is_new)


def _opened(transitions: Sequence[Transition]) -> int:
    return sum(transition.state is AlertState.ACTIVE for transition in transitions)
