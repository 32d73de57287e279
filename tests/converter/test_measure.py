"""Figures against their definitions."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from attwin_converter.measure import auc, average_precision, best_threshold, f1, figures_of

PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=30)


def columns(pairs: list[tuple[int, int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return labels and scores, many of them equal."""
    return np.array([y for y, _ in pairs], np.float32), np.array([s for _, s in pairs], np.float32) / 5


@given(pairs=PAIRS)
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, int]]) -> None:
    """By definition: how often a positive row scores above a negative one, ties half."""
    label, score = columns(pairs)

    ones, zeros = score[label == 1], score[label == 0]

    if not len(ones) or not len(zeros):
        assert auc(label, score) is None
        return
    order = (ones[:, None] > zeros).mean() + (ones[:, None] == zeros).mean() / 2
    assert auc(label, score) == pytest.approx(float(order))


@given(pairs=PAIRS)
def test_average_precision_is_the_mean_of_precision_over_what_is_gained(pairs: list[tuple[int, int]]) -> None:
    """By definition: at every threshold, how much recall it gains times the precision there."""
    label, score = columns(pairs)
    assume(0 < label.sum() < len(label))

    expected, before = 0.0, 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        called = score >= np.float32(threshold)
        recall = label[called].sum() / label.sum()
        expected, before = expected + (recall - before) * label[called].mean(), recall

    assert average_precision(label, score) == pytest.approx(expected)


@given(pairs=PAIRS)
def test_no_threshold_has_a_higher_f1_than_the_best(pairs: list[tuple[int, int]]) -> None:
    """And it lies between two scores, so that a last digit does not decide."""
    label, score = columns(pairs)
    assume(0 < label.sum() < len(label))

    best = best_threshold(label, score)

    assert best is not None
    assert best == 0 or best not in score
    assert f1(label, score, best) == pytest.approx(max(f1(label, score, float(t)) for t in score))


def test_figures() -> None:
    """Accuracy at 0.5, the mean squared error, and F1 at a threshold of one's own."""
    label, score = np.array([1, 0, 1, 0], np.float32), np.array([0.5, 0.4, 0.0, 1.0], np.float32)

    found = figures_of(label, score, 0.3)

    assert (found.rows, found.accuracy, found.auc) == (4, 0.5, 0.25)
    assert found.brier == pytest.approx((0.25 + 0.16 + 1 + 1) / 4)
    # three are called, one of two found
    assert found.f1 == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))


def test_labels_between_0_and_1_have_an_error_and_no_area() -> None:
    """A regression is measured by its squared error alone."""
    found = figures_of(np.array([0.2, 0.9], np.float32), np.array([0.2, 0.5], np.float32), 0.5)

    assert (found.auc, found.average_precision, found.f1) == (None, None, None)
    assert found.brier == pytest.approx(0.08)
