"""Facts about the population stability index of columns, beside a plain one of numbers."""

import bisect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.drift import HistogramSpec, Reference, ReferenceSpec, word
from support.builders import a_manifest

EDGES = [0.0, 1.0, 2.5, 4.0]
COUNTS = [10, 0, 30]
MISSING = 5
VALUES = st.one_of(
    st.floats(-10, 10, width=32), st.sampled_from([0.0, 1.0, 2.5, 4.0, math.nan, math.inf, -math.inf, -0.0])
)


def a_histogram(metric: str, edges: list[float] = EDGES, counts: list[int] = COUNTS) -> HistogramSpec:
    """Return the histogram of the last value of a metric within a minute."""
    return HistogramSpec(edges=edges, counts=counts, missing=MISSING, metric=metric, window_ms=60_000, statistic="last")


def a_reference(*features: HistogramSpec) -> Reference:
    """Return a reference with ten bins of the score."""
    score = HistogramSpec(edges=[i / 4 for i in range(5)], counts=[40, 30, 20, 10])
    return Reference(ReferenceSpec(features=list(features), score=score), a_manifest(statistics=["last"]).input_keys())


def plain_psi(expected: list[float], found: list[float]) -> float:
    """Return the index by its definition, bin by bin."""
    e, a = [n + 0.5 for n in expected], [n + 0.5 for n in found]
    shares = [(x / sum(a), y / sum(e)) for x, y in zip(a, e, strict=True)]
    return sum((x - y) * math.log(x / y) for x, y in shares)


def plain_counts(edges: list[float], values: list[float]) -> list[float]:
    """Return how many values are in each bin, and last how many are missing."""
    counts = [0.0] * len(edges)
    for value in values:
        place = min(max(bisect.bisect_right(edges, value) - 1, 0), len(edges) - 2)
        counts[-1 if math.isnan(value) else place] += 1
    return counts


@given(rows=st.lists(st.tuples(VALUES, VALUES, st.floats(0, 1, width=32), st.integers(0, 2)), min_size=1, max_size=40))
def test_the_index_is_that_of_a_plain_loop(rows: list[tuple[float, float, float, int]]) -> None:
    """What lies outside the edges is in the outer bins, what is missing in one of its own; groups are apart."""
    reference = a_reference(a_histogram("co2", [0.0, 2.0], [7]), a_histogram("temperature"))
    first, second, score, group = (np.array(column) for column in zip(*rows, strict=True))
    features = np.stack([first, second], axis=1).astype(np.float32)

    counts = reference.count(features, score.astype(np.float32), group, 3)
    psi = reference.psi(counts)

    for number in range(3):
        mine = [row for row in rows if row[3] == number]
        expected = [
            plain_psi([7, MISSING], plain_counts([0.0, 2.0], [row[1] for row in mine])),
            plain_psi([*COUNTS, MISSING], plain_counts(EDGES, [row[0] for row in mine])),
            plain_psi([40, 30, 20, 10], plain_counts([i / 4 for i in range(5)], [row[2] for row in mine])[:-1]),
        ]
        assert psi[number].tolist() == pytest.approx(expected, abs=1e-9)
    assert counts.sum() == 3 * len(rows)


def test_training_itself_has_not_moved() -> None:
    """The index of equal shares is 0; where training was short, half a row is a little."""
    reference = a_reference(a_histogram("co2"))

    assert reference.psi(reference.counts).tolist() == [0.0, 0.0]
    assert reference.psi(1000 * reference.counts).max() < 0.1


def test_an_input_that_never_moved_has_moved_once_it_does() -> None:
    """A single edge is a bin of its own, between what is below and what is above."""
    reference = a_reference(a_histogram("co2", [3.0], [1000]))
    same, other = np.full((500, 2), 3.0, np.float32), np.full((500, 2), 3.1, np.float32)
    score, group = np.full(500, 0.1, np.float32), np.zeros(500, np.int64)

    still, moved = (reference.psi(reference.count(rows, score, group, 1))[0, 0] for rows in (same, other))

    assert still < 0.01
    assert moved > 5


def test_histograms_find_their_inputs_by_name() -> None:
    """In whatever order they stand; those that a bundle leaves out are not watched."""
    assert a_reference(a_histogram("co2")).names == ("co2.last_1m", "score")
    assert a_reference().names == ("score",)


@pytest.mark.parametrize(
    ("psi", "usual", "said"),
    [(0.09, 0.0, "stable"), (0.1, 0.0, "moderate"), (0.25, 0.0, "large"), (2.0, 1.95, "stable"), (0.5, 3.0, "stable")],
)
def test_words(psi: float, usual: float, said: str) -> None:
    """A day is measured by what days of training had."""
    assert word(psi, usual) == said
