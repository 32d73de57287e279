"""Cross-validates candidates and ranks them. The test rows are not looked at.

The score is the mean squared error of out-of-fold probabilities (the Brier score, where labels are 0 and 1), because a
score is read as a probability. Where rows have sensors it is the mean of two: of the rows as they are, and of the rows
as other sensors would give them, because a model is trained in one place and serves in others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import AttwinError
from attwin_converter.candidates import CHEAPEST, Candidate
from attwin_converter.fitting import logistic, sigmoid
from attwin_converter.material import Indices, Material
from attwin_converter.progress import Progress
from attwin_converter.tasks import Executor, Task, prepared

Folds = Sequence[tuple[Indices, Indices]]
_FIRST_FOLDS = 2
_KEPT_SHARE, _LEAST_KEPT = 3, 4
_HOPELESS = 1.25
"""What is so many times worse on the first folds is not tried on the others."""
_FINALISTS = 2
_VARIANTS = 2


class SearchError(AttwinError):
    """No candidate could be fitted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """What cross-validation says of a candidate.

    Attributes:
        candidate: It.
        seeds: How many models were averaged.
        plain, shifted: The mean squared error of each fold that was tried, NaN for others; of the rows as they are,
            and with other sensors (the same, where there are no sensors). Shape (K,).
        logit: Out of fold, of every row as it is; NaN where its fold was not tried. Shape (N,).
        epochs: For how long networks trained, the median.
        problem: Why it failed; empty where it did not.
    """

    candidate: Candidate
    seeds: int
    plain: NDArray[np.float64]
    shifted: NDArray[np.float64]
    logit: NDArray[np.float64]
    epochs: int
    problem: str = ""

    @property
    def errors(self) -> NDArray[np.float64]:
        """What is to be small, by fold. Shape (K,)."""
        both: NDArray[np.float64] = (self.plain + self.shifted) / 2
        return both

    @property
    def score(self) -> float:
        """Its mean over the folds that were tried; infinite where it failed."""
        return np.inf if self.problem else float(np.nanmean(self.errors))

    @property
    def is_whole(self) -> bool:
        """Whether every fold was tried."""
        return not self.problem and not np.isnan(self.plain).any()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How candidates are compared.

    Attributes:
        material: What they are fitted to.
        folds: (rows to train on, rows to validate on).
        executor: Runs the fits.
        work: Where they are kept: the same fit is not done twice.
        progress: Told of every fit.
    """

    material: Material
    folds: Folds
    executor: Executor
    work: Path
    progress: Progress

    def run(self, tried: Sequence[Candidate], seeds: Callable[[Candidate], int]) -> list[Trial]:
        """Return the trials, in the order in which to take them.

        What the cheapest family makes of time and baselines says with which of them the others are worth trying: with
        the two best of four. Those are tried on two folds, the better third of them on all unless they are hopeless,
        the best two with all their seeds.

        Args:
            tried: The candidates.
            seeds: How many models of one may be averaged.

        Raises:
            SearchError: None could be fitted.
        """
        every = range(len(self.folds))
        cheap = [one for one in tried if one.family == CHEAPEST]
        scouts = self._round("trying inputs", [(one, 1) for one in cheap], every)
        others = [one for one in tried if one.family != CHEAPEST and one.variant in _best_variants(scouts, tried)]
        some = self._first_folds()
        first = self._round("trying families", [(one, 1) for one in others], some)
        _demand_one(scouts + first)
        right = sorted((trial for trial in first if not trial.problem), key=_score)
        best = min(float(trial.errors[some].mean()) for trial in scouts + first if not trial.problem)
        kept = right[: max(_LEAST_KEPT, -(-len(right) // _KEPT_SHARE))]
        kept = [trial for trial in kept if trial.score <= _HOPELESS * best]
        second = self._round("cross-validating the better ones", [(trial.candidate, 1) for trial in kept], every)
        _demand_one(scouts + second)
        order = ranked([trial for trial in scouts + second if not trial.problem])
        finalists = [trial for trial in order[:_FINALISTS] if seeds(trial.candidate) > 1]
        third = self._round("averaging seeds", [(t.candidate, seeds(t.candidate)) for t in finalists], every)
        averaged = {trial.candidate: trial for trial in third if not trial.problem}
        last = ranked([averaged.get(trial.candidate, trial) for trial in order[:_FINALISTS]])
        done = {trial.candidate for trial in order}
        return last + order[_FINALISTS:] + sorted((t for t in scouts + first if t.candidate not in done), key=_score)

    def _first_folds(self) -> list[int]:
        """Return the folds of the first round, far from each other."""
        last = len(self.folds) - 1
        return sorted({round(place * last / (_FIRST_FOLDS - 1)) for place in range(_FIRST_FOLDS)})

    def _round(self, name: str, tried: Sequence[tuple[Candidate, int]], numbers: Sequence[int]) -> list[Trial]:
        if not tried:
            return []
        self.progress.stage(name, len(tried) * len(numbers))
        tasks = {
            (candidate, number): self._task(candidate, number, seeds)
            for candidate, seeds in tried
            for number in numbers
        }
        problems = self.executor.run(list(tasks.values()), self.progress.step)
        return [
            self._trial(candidate, seeds, {number: tasks[candidate, number] for number in numbers}, problems)
            for candidate, seeds in tried
        ]

    def _task(self, candidate: Candidate, number: int, seeds: int) -> Task:
        train, validation = self.folds[number]
        material = self.material
        scored = [features[validation] for features in (material.plain, *material.shifted)]
        first = material.settings.training.seed
        plan, rows, _ = material.fit(candidate, train, scored, seeds=range(first, first + seeds))
        return prepared(self.work, f"{candidate.name}, fold {number + 1}", "fit", plan, rows)

    def _trial(self, candidate: Candidate, seeds: int, tasks: dict[int, Task], problems: dict[Path, str]) -> Trial:
        label = self.material.part.label
        nothing = np.full(len(self.folds), np.nan)
        trial = Trial(
            candidate=candidate,
            seeds=seeds,
            plain=nothing.copy(),
            shifted=nothing.copy(),
            logit=np.full(len(label), np.nan),
            epochs=0,
        )
        epochs: list[int] = []
        for number, task in tasks.items():
            if task.folder in problems:
                return replace(trial, problem=problems[task.folder])
            validation = self.folds[number][1]
            with np.load(task.result) as done:
                plain, *shifted = np.split(done["logit"], 1 + len(self.material.shifted))
                epochs += done["epochs"].tolist()
            trial.logit[validation] = plain
            trial.plain[number] = _error(plain, label[validation])
            trial.shifted[number] = np.mean([_error(other, label[validation]) for other in shifted or [plain]])
        return replace(trial, epochs=int(np.median(epochs)))


def _demand_one(trials: Sequence[Trial]) -> None:
    if all(trial.problem for trial in trials):
        raise SearchError(f"no candidate could be fitted; {trials[0].candidate.name}: {trials[0].problem}")


def _score(trial: Trial) -> float:
    return trial.score


def _best_variants(scouts: Sequence[Trial], tried: Sequence[Candidate]) -> set[tuple[bool, bool]]:
    """Return the variants of inputs that are worth trying with every family."""
    order = [trial.candidate.variant for trial in sorted(scouts, key=_score) if not trial.problem]
    return set(list(dict.fromkeys(order))[:_VARIANTS]) or {candidate.variant for candidate in tried}


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Return trials in the order in which to take them: of those as good as the best the simplest family first.

    As good means that the mean of the differences by fold is within their standard error (Breiman et al. 1984, the
    one-standard-error rule, on paired differences).
    """
    order = sorted(trials, key=_score)
    if not order or order[0].problem:
        return order

    def is_as_good(trial: Trial) -> bool:
        by_fold = trial.errors - order[0].errors
        return bool(by_fold.mean() <= np.std(by_fold, ddof=1) / np.sqrt(len(by_fold)))

    equal = [trial for trial in order if not trial.problem and is_as_good(trial)]
    equal.sort(key=lambda trial: trial.candidate.effort)
    return equal + [trial for trial in order if trial not in equal]


def calibration(trial: Trial, label: NDArray[np.float32]) -> tuple[float, float]:
    """Return slope and offset that make probabilities of logits, by logistic regression on out-of-fold rows.

    Source: Platt 1999.
    """
    known = ~np.isnan(trial.logit)
    slope, offset = logistic(trial.logit[known, None], label[known], np.ones(int(known.sum())), 0.0)
    return float(slope), float(offset)


def _error(logit: NDArray[np.float64], label: NDArray[np.float32]) -> float:
    return float(np.mean((sigmoid(logit) - label) ** 2))
