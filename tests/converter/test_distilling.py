"""Facts about what trees teach."""

import numpy as np
import pytest

from attwin_converter.distilling import taught
from attwin_converter.fitting import Rows

GROUPS = [0, 0, 1, 1]


def rows_of(count: int, *, is_binary: bool = True) -> Rows:
    """Return rows of two metrics with an input and its double each; the label is whether they have the same sign."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, count))
    label = first * second > 0 if is_binary else 1 / (1 + np.exp(-first))
    inputs = np.stack([first, 2 * first, second, 2 * second], axis=1).astype(np.float32)
    return {"inputs": inputs, "label": label.astype(np.float32), "weight": np.linspace(0.5, 1, count, dtype=np.float32)}


@pytest.fixture(scope="module")
def lesson() -> Rows:
    """Return what trees say of 600 rows and of those made of them."""
    return taught({"groups": GROUPS}, rows_of(600), 1)


def test_made_rows_exchange_whole_metrics(lesson: Rows) -> None:
    """An input and its double stay together; about a seventh of the metrics come from another row."""
    inputs = lesson["inputs"]

    np.testing.assert_array_equal(inputs[:600], rows_of(600)["inputs"])
    assert len(inputs) == 31 * 600
    np.testing.assert_allclose(inputs[:, 1], 2 * inputs[:, 0], rtol=1e-6)
    np.testing.assert_allclose(inputs[:, 3], 2 * inputs[:, 2], rtol=1e-6)
    own = np.tile(inputs[:600, 0], 30)
    assert (inputs[600:, 0] != own).mean() == pytest.approx(0.15, abs=0.02)
    assert lesson["weight"].tolist() == np.tile(rows_of(600)["weight"], 31).tolist()


def test_the_trees_know_the_labels_of_rows_that_they_have_not_seen(lesson: Rows) -> None:
    """Of made rows too, whose true label is known here."""
    inputs, label = lesson["inputs"][600:], lesson["label"][600:]

    assert ((label > 0.5) == (inputs[:, 0] * inputs[:, 2] > 0)).mean() > 0.9
    assert (label.min() >= 0, label.max() <= 1) == (True, True)


def test_a_share_is_taught_as_a_share() -> None:
    """Labels between 0 and 1 are no classes."""
    rows = rows_of(300, is_binary=False)

    found = taught({"groups": GROUPS}, rows, 1)

    assert np.abs(found["label"][:300] - rows["label"]).mean() < 0.05
