"""Facts about comparing two models."""

import numpy as np
import pytest

from attwin.core.comparison import Comparison, Gates, canary_gap

GATES = Gates(pairs=50)


def compared(new: list[float], old: list[float], *, offset: int = 0) -> Comparison:
    """Return a comparison of scores of one entity at times a second apart, those of the new model later by ticks."""
    comparison = Comparison(has_old=bool(old))
    for is_new, scores, first in ((True, new, offset), (False, old, 0)):
        time_ms = 1_700_000_000_000 + 1000 * (np.arange(len(scores)) + first)
        comparison.note(
            is_new=is_new,
            entity=np.zeros(len(scores), np.int32),
            time_ms=time_ms.astype(np.int64),
            score=np.array(scores, np.float32),
        )
    comparison.pair()
    return comparison


def test_the_same_scores_pass() -> None:
    """Nothing differs, and there is enough of it."""
    scores = np.linspace(0.1, 0.9, 100).tolist()
    found = compared(scores, scores)

    assert found.reasons(GATES) == []
    assert found.lacks(GATES) == ""
    assert (found.facts()["pairs"], found.facts()["difference"]) == (100, 0.0)


def test_only_scores_of_the_same_time_are_compared() -> None:
    """What the other says later is waited for."""
    found = compared([0.2] * 60, [0.2] * 60, offset=30)
    assert found.lacks(GATES) == "30 of 50 pairs of scores"


@pytest.mark.parametrize(
    ("new", "old", "said"),
    [
        ([0.9, 0.1] * 50, [0.1, 0.9] * 50, "scores differ by 0.80"),
        ([0.7] * 100, [0.45] * 100, "scores are +0.25 off"),
        ([1.0] * 95 + [0.5] * 5, [0.9] * 100, "95% of the scores are at the ends"),
    ],
)
def test_scores_that_are_elsewhere_do_not_pass(new: list[float], old: list[float], said: str) -> None:
    """By their distance, by their mean, by how often they say all or nothing."""
    found = compared(new, old)
    assert any(said in reason for reason in found.reasons(GATES)), found.reasons(GATES)
    assert found.reasons(GATES, early=True) == []


def test_scores_that_are_no_numbers_are_a_reason_at_once() -> None:
    """Also early, and for a model with nothing to compare with."""
    found = compared([0.5] * 10, [])
    found.note_unusable(1)
    assert found.reasons(GATES, early=True) == ["1 scores were no number between 0 and 1"]


def test_alerts_and_latency_are_measured_by_those_of_the_other() -> None:
    """A few alerts more may be chance, and a row that is fast is fast enough."""
    found = compared([0.5] * 60, [0.5] * 60)
    found.note_opened(3, is_new=True)
    found.note_latency(15.0, is_new=True)
    found.note_latency(0.5, is_new=False)
    assert found.reasons(GATES) == []

    found.note_opened(1, is_new=True)
    assert found.reasons(GATES) == ["4 alerts where there were 0 before; 2 times may"]
    slow = compared([0.5] * 60, [0.5] * 60)
    slow.note_latency(50.0, is_new=True)
    slow.note_latency(0.5, is_new=False)
    assert slow.reasons(GATES) == ["a row takes 50.0 us where it took 0.5; 3 times may"]


def test_a_canary_that_is_no_number_is_endlessly_off() -> None:
    """It is compared with what was promised."""
    promised = np.array([0.1, 0.2], np.float32)
    assert canary_gap(promised, promised) == 0
    assert canary_gap(np.array([0.1, 0.3], np.float32), promised) == pytest.approx(0.1)
    assert canary_gap(np.array([0.1, np.nan], np.float32), promised) == np.inf
