"""Facts about the scorer of the anomaly benchmark."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def nab() -> ModuleType:
    """The benchmark."""
    spec = importlib.util.spec_from_file_location("bench_nab", BENCH / "nab.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # its dataclasses look themselves up
    sys.modules["bench_nab"] = module
    spec.loader.exec_module(module)
    return module


def a_series(nab: ModuleType, *windows: tuple[int, int], count: int = 1000):
    """Return a series with windows."""
    return nab.Labelled(
        name="folder/file.csv",
        time_ms=np.arange(count, dtype=np.int64),
        value=np.zeros(count),
        windows=list(windows),
    )


def scores(*rows: int, count: int = 1000) -> np.ndarray:
    """Return scores of 1 at some rows and 0 elsewhere."""
    found = np.zeros(count)
    found[list(rows)] = 1.0
    return found


def at(nab: ModuleType, series, own: np.ndarray) -> float:
    """Return the score of detections, by the standard profile."""
    weights = nab.Weights(hit=1.0, miss=1.0, false=0.11)
    return nab.score_at([series], [own], 0.5, weights)


def test_who_finds_nothing_has_nothing_and_who_is_perfect_has_all(nab: ModuleType) -> None:
    """0 and 100, as the benchmark has it."""
    series, weights = a_series(nab, (300, 399), (600, 699)), nab.Weights(hit=1.0, miss=1.0, false=0.11)

    nothing, _ = nab.sweep([series], [np.zeros(1000)], weights)
    perfect, threshold = nab.sweep([series], [scores(300, 600)], weights)

    assert (nothing, perfect, threshold) == (0.0, pytest.approx(100.0), 1.0)


def test_the_first_detection_of_a_window_counts(nab: ModuleType) -> None:
    """By hand: in the middle of a window of 100, 2 / (1 + exp(-5 * 50 / 100)) - 1 over the same of -1."""
    series = a_series(nab, (300, 399))
    by_hand = (2 / (1 + math.exp(-2.5)) - 1) / (2 / (1 + math.exp(-5)) - 1)

    assert at(nab, series, scores(350)) == pytest.approx(by_hand)
    assert at(nab, series, scores(350, 360, 398)) == pytest.approx(by_hand)


def test_a_false_alarm_counts_against_by_how_far_it_is_from_the_window_before(nab: ModuleType) -> None:
    """By hand: 0.11 before any window; just behind one nearly nothing; far behind all of it."""
    series = a_series(nab, (300, 399))
    near = 0.11 * (2 / (1 + math.exp(5 * 10 / 99)) - 1)

    assert at(nab, series, scores(200)) == pytest.approx(-1 - 0.11)
    assert at(nab, series, scores(409)) == pytest.approx(-1 + near)
    assert at(nab, series, scores(900)) == pytest.approx(-1 - 0.11)


def test_probation_counts_for_nothing(nab: ModuleType) -> None:
    """The first 15 percent, at most 750 rows."""
    assert at(nab, a_series(nab, (300, 399)), scores(0, 149)) == -1
    assert at(nab, a_series(nab, (300, 399)), scores(150)) == pytest.approx(-1.11)
    assert a_series(nab, count=10_000).probation == 750


def test_the_gaussian_of_the_benchmark_is_the_tail_of_its_window(nab: ModuleType) -> None:
    """By hand: after 1, 2, 3 the mean is 2 and the deviation the root of 2/3; 4 is 2.449 of them away."""
    found = nab.windowed_gaussian(np.array([1.0, 2.0, 3.0, 4.0]))

    assert found[0] == 0
    assert found[3] == pytest.approx(1 - 0.5 * math.erfc(2 / math.sqrt(2 / 3) / math.sqrt(2)))
