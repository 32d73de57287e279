"""Facts about the choice among candidates."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from attwin_converter.candidates import Candidate, candidates
from attwin_converter.fitting import fit, sigmoid
from attwin_converter.folds import folds
from attwin_converter.material import material_of
from attwin_converter.pool import Pool
from attwin_converter.progress import Progress
from attwin_converter.search import Search, SearchError, Trial, calibration, ranked
from attwin_converter.tasks import OnDone, Task, left_of
from support.datasets import SETTINGS, a_part

PART = a_part()
NEWEST = Candidate(family="logistic", given="newest", penalty=1e-3)
QUIET = Progress(stage=lambda _name, _steps: None, step=lambda _said: None)


@dataclass
class Here:
    """Runs logistic fits in this process; networks, and what it is told to, fail."""

    failing: Sequence[str] = ()
    ran: list[str] = field(default_factory=list)

    def run(self, tasks: Sequence[Task], on_done: OnDone) -> dict[Path, str]:
        """Implement ``Executor``."""
        problems = {}
        for task in left_of(tasks, on_done):
            self.ran.append(task.name)
            if not task.name.startswith("logistic") or task.name in self.failing:
                problems[task.folder] = "fit crashed with SIGSEGV"
            else:
                fit(task.folder)
            on_done(task.name)
        return problems


def a_search(work: Path, executor: Here, families: Sequence[str] = ("logistic",)) -> tuple[Search, list[Candidate]]:
    """Return a search over the small data set, and its candidates."""
    tried = candidates(is_independent=False, families=families)
    material = material_of(SETTINGS, PART, Pool(SETTINGS, tried, PART.wide), lambda _said: None)
    return Search(
        material=material, folds=folds(PART, SETTINGS, 3), executor=executor, work=work, progress=QUIET
    ), tried


def a_trial(candidate: Candidate, errors: Sequence[float], problem: str = "") -> Trial:
    """Return a trial with an error in each fold."""
    by_fold = np.array(errors)
    return Trial(
        candidate=candidate, seeds=1, plain=by_fold, shifted=by_fold, logit=np.zeros(4), epochs=0, problem=problem
    )


def test_candidates_are_validated_on_rows_that_they_were_not_fitted_to(tmp_path: Path) -> None:
    """Every row is scored once, by the fold that had not seen it; its error is that of these scores."""
    search, tried = a_search(tmp_path, Here())

    trials = search.run(tried, lambda _candidate: 1)

    assert [trial.candidate for trial in trials] != tried
    assert {trial.candidate for trial in trials} == set(tried)
    first = trials[0]
    assert first.is_whole
    by_hand = [np.mean((sigmoid(first.logit[rows]) - PART.label[rows]) ** 2) for _, rows in search.folds]
    assert first.plain == pytest.approx(by_hand)
    assert (first.shifted != first.plain).all()


def test_the_same_search_again_fits_nothing(tmp_path: Path) -> None:
    """After an interruption it goes on where it was; a fit of other rows or another plan is another."""
    search, tried = a_search(tmp_path, first := Here())
    before = search.run(tried, lambda _candidate: 1)
    again, _ = a_search(tmp_path, second := Here())
    other = replace(again, folds=again.folds[:2])

    after = again.run(tried, lambda _candidate: 1)
    other.run([NEWEST], lambda _candidate: 1)

    assert len(first.ran) == len(set(first.ran)) > 20
    assert second.ran == []
    assert [trial.score for trial in after] == [trial.score for trial in before]


def test_a_candidate_that_crashes_is_passed_over_and_says_why(tmp_path: Path) -> None:
    """The others are compared without it, in whatever fold it failed."""
    executor = Here(failing=["logistic 0.001, newest, fold 2"])
    search, tried = a_search(tmp_path, executor, ["logistic", "gru"])

    trials = search.run(tried, lambda _candidate: 1)

    failed = {trial.candidate.name: trial.problem for trial in trials if trial.problem}
    assert "logistic 0.001, newest" in failed
    assert "gru, buckets" in {name.partition(", clock")[0].partition(", norm")[0] for name in failed}
    assert set(failed.values()) == {"fit crashed with SIGSEGV"}
    assert not trials[0].problem
    assert trials[0].candidate.family == "logistic"


def test_where_all_fail_the_search_says_so(tmp_path: Path) -> None:
    """With the first problem."""
    search, tried = a_search(tmp_path, Here(), ["gru"])

    with pytest.raises(SearchError, match=r"no candidate could be fitted; gru, buckets.*: fit crashed with SIGSEGV"):
        search.run(tried, lambda _candidate: 1)


def test_of_equally_good_candidates_the_simplest_family_is_taken() -> None:
    """Equal is what is better in the mean by less than the folds say of it; in a family the better one comes first."""
    simple, penalised = NEWEST, replace(NEWEST, penalty=1e-2)
    gru = Candidate(family="gru", given="buckets")
    lucky = [a_trial(gru, [0.10, 0.10, 0.10]), a_trial(simple, [0.10, 0.13, 0.09])]
    better = [a_trial(gru, [0.08, 0.08, 0.08]), a_trial(simple, [0.10, 0.11, 0.10])]
    twins = [a_trial(simple, [0.10, 0.13, 0.09]), a_trial(penalised, [0.10, 0.10, 0.10])]

    assert [t.candidate for t in ranked(lucky)] == [simple, gru]
    assert [t.candidate for t in ranked(better)] == [gru, simple]
    assert [t.candidate for t in ranked(twins)] == [penalised, simple]


def test_calibration_makes_probabilities_of_logits() -> None:
    """Logits that are twice too sure, about the wrong place, are put right."""
    rng = np.random.default_rng(1)
    true = rng.normal(0, 2, 20_000)
    label = (rng.random(20_000) < sigmoid(true)).astype(np.float32)
    trial = replace(a_trial(NEWEST, [0.1]), logit=np.append(2 * true + 3, np.nan))

    slope, offset = calibration(trial, np.append(label, 1))

    assert slope == pytest.approx(0.5, abs=0.02)
    assert offset == pytest.approx(-1.5, abs=0.06)
