"""Facts about the logistic regression and the maps between scores and logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin_converter.fitting import logistic, logit, sigmoid

PENALTY = 1e-2


@given(seed=st.integers(0, 1000), rows=st.integers(4, 60), columns=st.integers(1, 4))
def test_at_the_weights_that_it_finds_the_slope_is_zero(seed: int, rows: int, columns: int) -> None:
    """The minimum of the mean weighted cross-entropy and the penalty; labels may lie between 0 and 1."""
    rng = np.random.default_rng(seed)
    x, y, weight = rng.normal(size=(rows, columns)), rng.random(rows), 0.1 + rng.random(rows)

    found = logistic(x, y, weight, PENALTY)

    away = weight / weight.sum() * (sigmoid(x @ found[:-1] + found[-1]) - y)
    slope = np.append(x.T @ away + PENALTY * found[:-1], away.sum())
    assert np.abs(slope).max() < 1e-4


def test_a_row_that_weighs_nothing_teaches_nothing() -> None:
    """Dropped rows count by their weight."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 2)), (rng.random(50) > 0.5).astype(float)
    weight = np.append(np.ones(50), np.zeros(5))
    strange = np.full((5, 2), 100.0)

    found = logistic(np.concatenate([x, strange]), np.append(y, np.ones(5)), weight, PENALTY)

    np.testing.assert_allclose(found, logistic(x, y, np.ones(50), PENALTY), atol=1e-6)


def test_labels_that_a_line_parts_do_not_run_away() -> None:
    """The penalty keeps weights finite where the likelihood alone would not."""
    x = np.array([[-1.0], [1.0]])

    found = logistic(x, np.array([0.0, 1.0]), np.ones(2), PENALTY)

    assert 1 < found[0] < 100
    assert found[1] == pytest.approx(0, abs=1e-6)


@given(z=st.floats(-12, 12))
def test_a_logit_is_where_the_sigmoid_came_from(z: float) -> None:
    """Far out too, where exp would overflow."""
    assert logit(sigmoid(np.array([z])))[0] == pytest.approx(z, abs=1e-6)
    assert sigmoid(np.array([-1000.0, 1000.0])).tolist() == [0.0, 1.0]
