"""Figures of a scored data set."""

import numpy as np
from numpy.typing import NDArray

from attwin.core.manifest import Figures

_DECISION = 0.5


def figures_of(label: NDArray[np.float32], score: NDArray[np.float32]) -> Figures:
    """Return accuracy at 0.5, Brier score and AUC of scores against labels of 0 and 1."""
    return Figures(
        rows=len(label),
        accuracy=float(((score >= _DECISION) == (label >= _DECISION)).mean()),
        brier=float(np.mean((score.astype(np.float64) - label) ** 2)),
        auc=auc(label, score),
    )


def auc(label: NDArray[np.float32], score: NDArray[np.float32]) -> float | None:
    """Return the area under the ROC curve; None where there is only one class, as it does not exist there.

    Source: the Mann-Whitney statistic with mid-ranks for ties, AUC = U / (n1 n0).
    """
    positive = label >= _DECISION
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return None
    _, inverse, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[inverse]
    return float((rank[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))
