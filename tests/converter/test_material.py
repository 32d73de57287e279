"""Facts about what fits are made of."""

from dataclasses import replace

import numpy as np
import pytest

from attwin_converter.candidates import Candidate, candidates
from attwin_converter.dataset import TrainingSettings
from attwin_converter.exporting import calibration_of
from attwin_converter.material import Material, material_of, shifted_rows
from attwin_converter.pool import Pool
from support.datasets import INDEPENDENT, SETTINGS, a_part

PART = a_part()
EVERY = np.arange(len(PART.label))
LOGISTIC = Candidate(family="logistic", given="newest", penalty=1e-3)
NORMALISED = replace(LOGISTIC, normalised=True)
DENSE = Candidate(family="dense", given="newest", penalty=1e-4)


def a_material(**training: object) -> Material:
    """Return the material of the small data set."""
    settings = replace(SETTINGS, training=TrainingSettings(folds=3, **training))  # type: ignore[arg-type]
    pool = Pool(settings, candidates(is_independent=False, families=["logistic", "dense"]), PART.wide)
    return material_of(settings, PART, pool, lambda _said: None)


def test_some_rows_come_again_with_holes_and_count_less() -> None:
    """A metric is dropped as a whole, its flag set; the label is that of the whole row."""
    _, rows, _ = a_material().fit(LOGISTIC, EVERY, [], seeds=[1])

    whole, holes = np.split(rows["inputs"], 2)
    assert (rows["label"][:240] == rows["label"][240:]).all()
    assert rows["weight"][:240].tolist() == [1] * 240
    assert rows["weight"][240:] == pytest.approx(0.1)
    lost = (holes[:, 2] == 1) & (whole[:, 2] == 0)
    assert 0.05 < lost.mean() < 0.3
    assert (holes[lost, 0] == 0).all()
    same = (holes[:, 2:] == whole[:, 2:]).all(axis=1)
    assert (holes[same] == whole[same]).all()


def test_nothing_is_dropped_where_nobody_asks_for_it() -> None:
    """``drop: 0``."""
    _, rows, _ = a_material(drop=0.0).fit(LOGISTIC, EVERY, [], seeds=[1])

    assert len(rows["inputs"]) == 240


def test_networks_stop_by_rows_that_they_are_not_trained_on() -> None:
    """Those are of the training rows of the fold; how long is then known, and all rows are used."""
    material = a_material(drop=0.0)
    train = np.arange(200)

    plan, rows, _ = material.fit(DENSE, train, [], seeds=[1, 2])
    later, whole, _ = material.fit(DENSE, train, [], seeds=[1, 2], epochs=7)

    assert (plan["epochs"], later["epochs"], plan["seeds"]) == (40, 7, [1, 2])
    assert len(rows["inputs"]) + len(rows["watched"]) <= 200
    assert 30 < len(rows["watched"]) < 120
    assert ("watched" in whole, len(whole["inputs"])) == (False, 200)


def test_the_rarer_label_may_count_more() -> None:
    """Balanced, both labels weigh the same in all."""
    train = EVERY[PART.label[EVERY] == 0].tolist() + EVERY[PART.label == 1][:10].tolist()

    _, rows, _ = a_material(class_weight="balanced", drop=0.0).fit(LOGISTIC, np.array(train), [], seeds=[1])

    label = rows["label"]
    assert rows["weight"][label == 1].sum() == pytest.approx(rows["weight"][label == 0].sum(), rel=1e-4)


def test_other_sensors_are_off_by_half_a_deviation_and_baselines_forgive_them() -> None:
    """Up here and down there; a model sees it that reads levels as they are, one with baselines sees less of it."""
    wide = PART.wide
    up, down = (shifted_rows(SETTINGS, wide, sign) for sign in (1, -1))
    material = a_material()

    away = (up.values - wide.values) / np.nanstd(wide.values, axis=0)
    assert np.nanmin(np.abs(away)) == pytest.approx(0.5)
    assert np.nanmax(np.abs(away)) == pytest.approx(0.5)
    np.testing.assert_allclose(up.values + down.values, 2 * wide.values)
    late = EVERY[-20:]
    moved = []
    for candidate in (LOGISTIC, NORMALISED):
        _, rows, _ = material.fit(candidate, EVERY, [f[late] for f in (material.plain, material.shifted[0])], seeds=[1])
        plain, shifted = np.split(rows["scored"], 2)
        moved.append(float(np.abs(shifted - plain)[:, 0].mean()))
    assert moved[0] == pytest.approx(0.5, abs=0.01)
    assert moved[1] < 0.95 * moved[0]


def test_independent_rows_have_no_other_sensors() -> None:
    """A web session is counted the same everywhere."""
    part = a_part(120, entities=120)
    pool = Pool(INDEPENDENT, candidates(is_independent=True), part.wide)

    assert material_of(INDEPENDENT, part, pool, lambda _said: None).shifted == []


def test_calibration_rows_are_drawn_and_have_holes_among_them() -> None:
    """Int8 must know what a missing metric looks like."""
    material = a_material()
    _, rows, _ = material.fit(LOGISTIC, EVERY, [], seeds=[1])

    found = calibration_of(rows["inputs"], 1)

    assert len(found) == 480
    assert found[:, 2].max() == 1
    assert len(calibration_of(np.zeros((5000, 4), np.float32), 1)) == 2000
