"""Boosted trees that teach a network, in the worker process.

Trees learn tables of few rows better than networks do, and no TFLite runtime runs them. So trees are fitted, and the
network learns what they say: of the training rows, and of many more that are made of these by exchanging metrics.

Source: Bucila, Caruana and Niculescu-Mizil 2006, "Model Compression"; trees by Friedman 2001, on histograms.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attwin_converter.fitting import Plan, Rows

EPOCHS, BATCH = 12, 256
_ROWS, _MOST_COPIES = 60_000, 30
_EXCHANGED = 0.15
"""The share of metrics that a made row has from another one."""
_TEACHERS = 3
_TREES = {
    "learning_rate": 0.04,
    "max_iter": 200,
    "max_leaf_nodes": 12,
    "min_samples_leaf": 30,
    "l2_regularization": 5.0,
    "max_features": 0.5,
}


def taught(plan: Plan, rows: Rows, seed: int) -> Rows:
    """Return ``inputs``, ``label`` and ``weight`` to train on: given rows and made ones, with what trees say of them.

    Args:
        plan: ``groups`` says which inputs belong together, because they are of one metric.
        rows: ``inputs``, ``label`` and ``weight``.
        seed: Of what is drawn.
    """
    rng = np.random.default_rng(seed)
    inputs, groups = rows["inputs"], np.array(plan["groups"])
    teachers = [_teacher(rows, seed * _TEACHERS + number) for number in range(_TEACHERS)]
    many = [inputs]
    for _ in range(min(_MOST_COPIES, max(1, round(_ROWS / len(inputs)) - 1))):
        exchanged = rng.random((len(inputs), groups.max() + 1)) < _EXCHANGED
        many.append(np.where(exchanged[:, groups], rng.permutation(inputs), inputs))
    whole = np.concatenate(many)
    said: NDArray[np.float64] = np.mean([_says(teacher, whole) for teacher in teachers], axis=0)
    return {
        "inputs": whole,
        "label": said.clip(0, 1).astype(np.float32),
        "weight": np.tile(rows["weight"], len(many)),
    }


def _teacher(rows: Rows, seed: int) -> Any:  # noqa: ANN401 -- scikit-learn publishes no types
    from sklearn.ensemble import (  # noqa: PLC0415 -- only this process pays for it
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )

    label = rows["label"]
    is_binary = np.isin(label, (0, 1)).all()
    kind = HistGradientBoostingClassifier if is_binary else HistGradientBoostingRegressor
    trees = kind(**_TREES, early_stopping=False, random_state=seed)
    return trees.fit(rows["inputs"], label.astype(int) if is_binary else label, sample_weight=rows["weight"])


def _says(teacher: Any, inputs: NDArray[np.float32]) -> NDArray[np.float64]:  # noqa: ANN401 -- the same
    said = teacher.predict_proba(inputs)[:, 1] if hasattr(teacher, "predict_proba") else teacher.predict(inputs)
    return np.asarray(said, np.float64)
