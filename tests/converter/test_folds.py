"""Facts about folds: what is alike stays together, and both labels are in every one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.errors import DataError
from attwin.wiring.offline import Wide
from attwin_converter.dataset import DatasetSettings, FeatureSettings, LabelSettings, Part, SplitSettings, load_dataset
from attwin_converter.folds import folds
from attwin_converter.parts import read_parts

OCCUPANCY = Path(__file__).parents[2] / "config" / "datasets" / "occupancy.yaml"
SETTINGS = DatasetSettings(
    version=1, name="n", kind="k", metrics={}, label=LabelSettings(column="y"), split=SplitSettings(by="file")
)
ALONE = replace(SETTINGS, rows="independent")
NO_EMBARGO = replace(SETTINGS, split=SplitSettings(by="file", embargo=0))


def a_part(labels: str, *, entities: str = "", step_ms: int = 60_000, group: list[int] | None = None) -> Part:
    """Return rows a minute apart with labels as digits, by default of one entity."""
    count = len(labels)
    names = entities or "a" * count
    wide = Wide(
        entities=sorted(set(names)),
        entity=np.array([sorted(set(names)).index(name) for name in names], np.int32),
        time_ms=np.arange(count, dtype=np.int64) * step_ms,
        values=np.zeros((count, 1)),
        order=np.arange(count),
    )
    label = np.array([int(digit) for digit in labels], np.float32)
    return Part(wide=wide, label=label, group=None if group is None else np.array(group, np.int32))


def test_every_row_is_validated_once_in_a_block_of_time() -> None:
    """The weekend has nobody in the office: blocks are as even as both labels in each of them allow."""
    settings = load_dataset(OCCUPANCY)
    train, _ = read_parts(settings)

    found = folds(train, settings, 5)

    assert np.concatenate([validation for _, validation in found]).tolist() == list(range(8143))
    for trained, validation in found:
        assert 1300 < len(validation) < 2000
        assert 0 < train.label[validation].mean() < 1
        times, block = train.wide.time_ms[trained], train.wide.time_ms[validation]
        assert len(trained) > 6000
        # half an hour of window and two seconds of lateness
        assert np.abs(times[:, None] - block[[0, -1]]).min() > 1_802_000


@pytest.mark.parametrize(
    ("embargo_ms", "trained"),
    [
        pytest.param(0, 30, id="none"),
        pytest.param(180_000, 27, id="three minutes"),
        pytest.param(None, 20, id="default"),
    ],
)
def test_the_embargo_is_cut_out_on_both_sides(embargo_ms: int | None, trained: int) -> None:
    """The first block has one side; the default is the longest window, ten minutes here, and the lateness."""
    ten_minutes = FeatureSettings(windows=[600_000])
    settings = replace(SETTINGS, features=ten_minutes, split=SplitSettings(by="file", embargo=embargo_ms))

    found = folds(a_part("01" * 20), settings, 4)

    assert len(found[0][0]) == trained
    assert len(found[0][1]) == 10
    assert len(found) == 4


def test_several_entities_are_kept_whole() -> None:
    """No entity is trained on and validated in one fold; nothing of another is cut out."""
    part = a_part("0101" * 15, entities="abcdef" * 10)

    found = folds(part, SETTINGS, 3)

    assert len(found) == 3
    for trained, validation in found:
        assert not set(part.wide.entity[trained]) & set(part.wide.entity[validation])
        assert (len(trained), len(validation)) == (40, 20)


def test_entities_with_one_label_go_with_others() -> None:
    """A room that is always empty does not make a fold of its own."""
    part = a_part("000111" * 10, entities="abcdef" * 10)

    found = folds(part, SETTINGS, 5)

    assert len(found) == 3
    assert [float(part.label[validation].mean()) for _, validation in found] == [0.5, 0.5, 0.5]


def test_one_label_an_entity_leaves_blocks_of_time() -> None:
    """Two rooms, one always empty: by entity no fold would have both labels."""
    part = a_part("01" * 30, entities="ab" * 30)

    found = folds(part, NO_EMBARGO, 3)

    assert [len(validation) for _, validation in found] == [20, 20, 20]
    assert all(set(part.wide.entity[validation]) == {0, 1} for _, validation in found)


def test_fewer_folds_where_the_label_seldom_changes() -> None:
    """Somebody came twice, at the ends: each coming and going can be one block, a fifth cannot."""
    found = folds(a_part("1" * 10 + "0" * 40 + "1" * 10), NO_EMBARGO, 5)

    assert [len(validation) for _, validation in found] == [30, 30]


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        pytest.param("0" * 60, NO_EMBARGO, id="one label"),
        pytest.param("0" * 59 + "1", NO_EMBARGO, id="one row with it"),
        pytest.param("01" * 10, replace(SETTINGS, split=SplitSettings(by="file", embargo=3_600_000)), id="all embargo"),
        pytest.param("0" * 59 + "1", ALONE, id="one independent row"),
    ],
)
def test_folds_that_cannot_be_are_refused(labels: str, settings: DatasetSettings) -> None:
    """The message counts what there is."""
    with pytest.raises(DataError, match=r"no two folds can be made of \d+ rows with label 1 and \d+ with 0"):
        folds(a_part(labels), settings, 5)


def test_independent_rows_are_dealt_out_by_label() -> None:
    """Each fold has the shares of the whole; the same seed deals the same."""
    part = a_part("00001" * 20)

    found, again = folds(part, ALONE, 4), folds(part, ALONE, 4)

    assert [(len(validation), part.label[validation].sum()) for _, validation in found] == [(25, 5)] * 4
    assert all((one[1] == other[1]).all() for one, other in zip(found, again, strict=True))
    assert not (np.diff(found[0][1]) == 1).all()


def test_groups_of_independent_rows_stay_together() -> None:
    """The sessions of one visitor are in one fold."""
    part = a_part("0011" * 15, group=[row // 4 for row in range(60)])

    found = folds(part, ALONE, 5)

    assert len(found) == 5
    assert part.group is not None
    assert all(not set(part.group[trained]) & set(part.group[validation]) for trained, validation in found)


def test_a_regression_needs_no_classes() -> None:
    """Blocks are even."""
    part = a_part("0" * 60)

    found = folds(replace(part, label=np.linspace(0, 1, 60).astype(np.float32)), NO_EMBARGO, 3)

    assert [len(validation) for _, validation in found] == [20, 20, 20]


def test_one_fold_is_a_mistake_of_the_caller() -> None:
    """There would be nothing to train on."""
    with pytest.raises(ValueError, match="1 folds"):
        folds(a_part("01" * 10), SETTINGS, 1)


@given(labels=st.text("01", min_size=2, max_size=40), entities=st.data(), count=st.integers(2, 6), alone=st.booleans())
def test_folds_are_fit_or_refused(labels: str, entities: st.DataObject, count: int, alone: bool) -> None:  # noqa: FBT001 -- Hypothesis names it
    """Whatever the rows: each is validated once, never trained on in the same fold, and both labels are in both."""
    names = entities.draw(st.text("abc", min_size=len(labels), max_size=len(labels)))
    part = a_part(labels, entities=names)
    try:
        found = folds(part, replace(NO_EMBARGO, rows="independent" if alone else "series"), count)
    except DataError:
        return

    assert 2 <= len(found) <= count
    assert sorted(np.concatenate([validation for _, validation in found]).tolist()) == list(range(len(labels)))
    for trained, validation in found:
        assert not set(trained.tolist()) & set(validation.tolist())
        assert {part.label[rows].min() for rows in (trained, validation)} == {0}
        assert {part.label[rows].max() for rows in (trained, validation)} == {1}
