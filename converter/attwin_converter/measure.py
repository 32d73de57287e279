"""Figures of a scored data set."""

import numpy as np
from numpy.typing import NDArray

from attwin.core.manifest import Figures

DECISION = 0.5


def figures_of(label: NDArray[np.float32], score: NDArray[np.float32], threshold: float | None = None) -> Figures:
    """Return the figures of scores against labels from 0 to 1.

    Args:
        label: Shape (N,).
        score: Shape (N,).
        threshold: From which score on a row is called 1, for F1.
    """
    return Figures(
        rows=len(label),
        accuracy=float(((score >= DECISION) == (label >= DECISION)).mean()),
        brier=float(np.mean((score.astype(np.float64) - label) ** 2)),
        auc=auc(label, score),
        average_precision=average_precision(label, score),
        f1=f1(label, score, threshold) if threshold is not None and has_both(label) else None,
    )


def has_both(label: NDArray[np.float32]) -> bool:
    """Return whether labels are 0 and 1, and there are both."""
    return bool(np.isin(label, (0.0, 1.0)).all()) and len(np.unique(label)) > 1


def auc(label: NDArray[np.float32], score: NDArray[np.float32]) -> float | None:
    """Return the area under the ROC curve; None where labels are not 0 and 1, as it does not exist there.

    Source: the Mann-Whitney statistic with mid-ranks for ties, AUC = U / (n1 n0).
    """
    if not has_both(label):
        return None
    positive = label >= DECISION
    ones, zeros = int(positive.sum()), int((~positive).sum())
    _, inverse, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[inverse]
    return float((rank[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def average_precision(label: NDArray[np.float32], score: NDArray[np.float32]) -> float | None:
    """Return the sum over thresholds of precision times the gain of recall; None where ``auc`` is.

    Source: Zhu 2004, without interpolation; equal scores are one threshold.
    """
    if not has_both(label):
        return None
    _, found, called = _by_threshold(label, score)
    gain = np.diff(found, prepend=0.0) / found[-1]
    return float((gain * found / called).sum())


def f1(label: NDArray[np.float32], score: NDArray[np.float32], threshold: float) -> float:
    """Return the harmonic mean of precision and recall where scores from ``threshold`` on are called 1."""
    called, ones = score >= threshold, label >= DECISION
    return float(2 * (called & ones).sum() / max(int(called.sum()) + int(ones.sum()), 1))


def best_threshold(label: NDArray[np.float32], score: NDArray[np.float32]) -> float | None:
    """Return the threshold of the highest F1, halfway between the last score called 1 and the next; None as ``auc``."""
    if not has_both(label):
        return None
    scores, found, called = _by_threshold(label, score)
    place = int(np.argmax(2 * found / (called + found[-1])))
    below = scores[place + 1] if place + 1 < len(scores) else 0.0
    return float((scores[place] + below) / 2)


def _by_threshold(
    label: NDArray[np.float32], score: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return every score from the highest on, how many ones have at least it, and how many rows."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    found = np.cumsum(label[order], dtype=np.float64)[last]
    return score[order][last].astype(np.float64), found, (last + 1).astype(np.float64)
