"""Facts about how files become rows with labels, and how train and test are kept apart."""

import importlib.util
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.catalogue import Catalogue, Kind, Metric
from attwin.core.errors import DataError, SettingsError
from attwin.core.types import Quality, Reason
from attwin.ports import Commit
from attwin_converter.dataset import DatasetSettings, Part, load_dataset
from attwin_converter.parts import Dataset, read_dataset
from support.builders import a_batch

ROOT = Path(__file__).parents[2]


def described(folder: Path, text: str) -> DatasetSettings:
    """Return the settings of a description that begins as all do."""
    path = folder / "dataset.yaml"
    path.write_text(f"version: 1\nname: small\nkind: room\n{text}\n", encoding="utf-8")
    return load_dataset(path)


def a_file(folder: Path, *lines: str, name: str = "data.csv") -> Path:
    """Write a file."""
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def wide(
    folder: Path,
    *lines: str,
    header: str = "time,level,busy",
    metrics: str = "{level: {}}",
    label: str = "busy",
    at: str = "'1970-01-01 00:10:00'",
    more: str = "",
) -> Dataset:
    """Return the data set of a wide file that is split by time, without an embargo."""
    a_file(folder, header, *lines)
    return read_dataset(
        described(
            folder,
            f"entity: hall\nmetrics: {metrics}\nlabel: {label}\n"
            f"split: {{by: time, files: [data.csv], at: {at}, embargo: 0}}\n{more}",
        )
    )


def rows(part: Part) -> list[tuple[str, int, list[float], float]]:
    """Return entity, time, values (-1 for missing) and label of every row."""
    values = np.nan_to_num(part.wide.values, nan=-1.0).tolist()
    names = [part.wide.entities[place] for place in part.wide.entity.tolist()]
    return list(zip(names, part.wide.time_ms.tolist(), values, part.label.tolist(), strict=True))


LONG = (
    "entity,metric,time,value",
    "hall,co2,0,400",
    "hall,door,0,open",
    "hall,co2,10,410",
    "hall,busy,10,1",
    "hall,co2,10,999",
    "hall,mode,12,x",
    "hall,door,15,shut",
    "hall,co2,20,420",
    "yard,co2,20,390",
    "yard,busy,20,0",
    "hall,co2,400,430",
    "hall,busy,700,0",
    "hall,co2,700,440",
)
LONG_DATASET = """\
long: {{}}
metrics: {{co2: {{unit: ppm}}, door: {{categories: [shut, open]}}}}
label: {label}
split: {{by: time, files: [{file}], at: 650, embargo: 0}}
features: {{windows: [2m], statistics: [last]}}
"""


def test_long_readings_become_rows_at_every_time(tmp_path: Path) -> None:
    """A metric without a reading at that time is missing; of two the first counts; a label holds for a window."""
    a_file(tmp_path, *LONG)

    found = read_dataset(
        described(tmp_path, LONG_DATASET.format(label="{column: busy}", file="data.csv").replace("650", "'650'"))
    )

    assert rows(found.train) == [
        ("hall", 10_000, [410, -1], 1),
        ("hall", 15_000, [-1, 0], 1),
        ("hall", 20_000, [420, -1], 1),
        ("yard", 20_000, [390, -1], 0),
    ]
    assert rows(found.test) == [("hall", 700_000, [440, -1], 0)]
    # the first row, before any label, and the one at 400 s, long after the last
    assert found.left_out == {"readings given twice": 1, "rows without a label": 2}


def test_a_label_of_long_readings_may_be_an_expression(tmp_path: Path) -> None:
    """Its metrics are held from their last reading on, those of the model among them."""
    a_file(tmp_path, *LONG)

    found = read_dataset(
        described(tmp_path, LONG_DATASET.format(label="co2 / 820", file="data.csv").replace("650", "'650'"))
    )

    assert found.settings.task == "regression"
    assert [row[3] for row in rows(found.train)] == pytest.approx(
        [400 / 820, 410 / 820, 410 / 820, 420 / 820, 390 / 820, 430 / 820]
    )


def test_a_metric_that_long_readings_lack_is_named(tmp_path: Path) -> None:
    """With those that there are."""
    a_file(tmp_path, *LONG)
    text = (
        LONG_DATASET.format(label="{column: busy}", file="data.csv").replace("co2: {", "co3: {").replace("650", "'650'")
    )

    with pytest.raises(DataError, match="no reading of metric `co3`; it has busy, co2, door, mode"):
        read_dataset(described(tmp_path, text))


@pytest.mark.parametrize(
    ("labels", "file", "expected"),
    [
        pytest.param(
            ("entity,time,busy", "hall,5,0", "hall,15,1", "yard,0,1"),
            "{path: labels.csv}",
            {("hall", 10): 0, ("hall", 15): 1, ("hall", 20): 1, ("yard", 20): 1},
            id="from a time on",
        ),
        pytest.param(
            ("room,start,stop,busy", "hall,0,10,0", "hall,10,20,1"),
            "{path: labels.csv, entity: room, begin: start, end: stop}",
            {("hall", 0): 0, ("hall", 10): 1, ("hall", 15): 1},
            id="in intervals of one",
        ),
        pytest.param(
            ("time,busy", "0,1", "600,0"),
            "labels.csv",
            {("hall", 0): 1, ("hall", 10): 1, ("hall", 15): 1, ("hall", 20): 1, ("yard", 20): 1, ("hall", 700): 0},
            id="of all entities",
        ),
    ],
)
def test_labels_may_stand_in_a_file_of_their_own(
    tmp_path: Path, labels: Sequence[str], file: str, expected: dict[tuple[str, int], float]
) -> None:
    """They hold from their time on, or in their interval without its end; rows without one are left out."""
    a_file(tmp_path, *LONG)
    a_file(tmp_path, *labels, name="labels.csv")
    label = f"{{column: busy, file: {file}}}"
    text = LONG_DATASET.format(label=label, file="data.csv").replace("at: 650", "at: '15'")

    found = read_dataset(described(tmp_path, text))

    both = rows(found.train) + rows(found.test)
    assert {(row[0], row[1] // 1000): row[3] for row in both} == expected


def test_intervals_without_a_value_are_1_and_the_rest_is_0(tmp_path: Path) -> None:
    """As the windows of anomalies are given."""
    a_file(tmp_path, "begin,end", "60,120", name="labels.csv")

    found = wide(
        tmp_path,
        *(f"{60 * i},{i},0" for i in range(12)),
        label="{file: {path: labels.csv, begin: begin, end: end}}",
    )

    assert found.train.label.tolist() == [0, 1, *[0] * 8]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(("60,120", "100,200"), "labels.csv:3: the interval overlaps that of line 2", id="overlap"),
        pytest.param(("60,60",), "labels.csv:2: the interval ends before it begins", id="backwards"),
    ],
)
def test_intervals_that_contradict_are_refused(tmp_path: Path, lines: Sequence[str], message: str) -> None:
    """With the line."""
    a_file(tmp_path, "begin,end", *lines, name="labels.csv")

    with pytest.raises(DataError, match=message):
        wide(tmp_path, "0,1,0", label="{file: {path: labels.csv, begin: begin, end: end}}")


def test_parquet_is_read_as_the_same_table(tmp_path: Path) -> None:
    """Wide and long: times with and without zone, numbers to the last bit, booleans, missing values."""
    duckdb = pytest.importorskip("duckdb", reason="the extra `converter` brings it")
    path = tmp_path / "data.parquet"
    duckdb.execute(
        "copy (select timestamp '1970-01-01 00:00:00' + to_seconds(i * 60) as time, (i / 7.0)::double as level, "
        "case when i = 3 then null else 1 - i end as noise, i % 2 = 0 as busy from range(12) t(i)) "
        f"to '{path}' (format parquet)"
    )

    found = read_dataset(
        described(
            tmp_path,
            "entity: hall\nmetrics: {level: {}, noise: {}}\nlabel: busy\n"
            "split: {by: time, files: [data.parquet], at: '600', embargo: 0}",
        )
    )

    assert found.train.wide.time_ms.tolist() == [60_000 * i for i in range(10)]
    assert found.train.wide.values[:, 0].tolist() == [i / 7.0 for i in range(10)]
    assert np.flatnonzero(np.isnan(found.train.wide.values[:, 1])).tolist() == [3]
    assert found.train.label.tolist() == [1, 0] * 5
    duckdb.execute(
        "copy (select 'hall' as entity, m as metric, timestamptz '1970-01-01 01:00:00+01' + to_seconds(i) as time, "
        f"i as value from range(3) t(i), (values ('co2'), ('busy')) as u(m) where i < 2) to '{path}' (format parquet)"
    )
    long = read_dataset(
        described(
            tmp_path,
            "long: {}\nmetrics: {co2: {}}\nlabel: {column: busy}\n"
            "split: {by: time, files: [data.parquet], at: '1', embargo: 0}",
        )
    )
    assert rows(long.train) + rows(long.test) == [("hall", 0, [0], 0), ("hall", 1000, [1], 1)]


def test_parquet_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a damaged file is told as one."""
    (tmp_path / "data.parquet").write_bytes(b"PAR1 and nothing")
    settings = described(
        tmp_path, "entity: hall\nmetrics: {level: {}}\nlabel: busy\nsplit: {by: time, files: [data.parquet], at: '600'}"
    )

    with pytest.raises(DataError, match="not readable as Parquet"):
        read_dataset(settings)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DataError, match=r"needs duckdb: pip install 'attwin\[converter\]'"):
        read_dataset(settings)


def a_database(folder: Path) -> None:
    """Write the database of an agent that knows two rooms and a shelf."""
    room = Kind(
        name="room",
        metrics=tuple(
            Metric(name=n, unit=u, low=-np.inf, high=np.inf) for n, u in (("co2", "ppm"), ("t", "Cel"), ("busy", "1"))
        ),
        windows_ms=(60_000,),
        step_ms=1000,
        lateness_ms=0,
    )
    shelf = Kind(name="shelf", metrics=room.metrics[:1], windows_ms=(60_000,), step_ms=1000, lateness_ms=0)
    catalogue = Catalogue((room, shelf), most_entities=9)
    first = [catalogue.first_series[catalogue.add(name, kind)] for name, kind in (("hall", 0), ("yard", 0), ("s1", 1))]
    store = SqliteStore(folder / "twin.db", catalogue, gateway="g", durability="full")
    series = [first[0], first[0] + 1, first[0] + 2, first[1], first[1] + 2, first[2], first[0], first[0], first[0]]
    times = [1000, 1000, 1000, 1000, 1000, 1000, 2000, 3000, 4000]
    batch = a_batch(values=[400, 20, 1, 500, 0, 7, 401, 9999, 402], times_ms=times, series=series)
    batch.quality[7] = Quality.BAD
    batch.reason[8] = Reason.RETAINED
    store.commit(Commit(now_ms=5000, stored=batch, counts={("s", "readings_stored", ""): 9}))
    store.close()


def test_an_agents_database_gives_its_readings_of_a_kind(tmp_path: Path) -> None:
    """By entity and metric, in the units of the description; what features leave out is left out here."""
    a_database(tmp_path)

    found = read_dataset(
        described(
            tmp_path,
            "metrics: {co2: {unit: ppb}, temperature: {column: t, unit: K}}\nlabel: {column: busy}\n"
            "split: {by: group, files: [twin.db], test_entities: [yard]}",
        )
    )

    assert rows(found.train) == [
        ("hall", 1000, [pytest.approx(4e5), pytest.approx(293.15)], 1),
        ("hall", 2000, [pytest.approx(4.01e5), -1], 1),
    ]
    assert rows(found.test) == [("yard", 1000, [pytest.approx(5e5), -1], 0)]
    assert found.left_out == {"bad readings": 2}


def test_a_damaged_segment_costs_its_own_readings(tmp_path: Path) -> None:
    """The rest is read, and the damage counted."""
    a_database(tmp_path)
    with closing(sqlite3.connect(tmp_path / "twin.db")) as connection, connection:
        connection.execute(
            "insert into journal (created_ms, readings, first_ms, last_ms, body, counts) "
            "values (1, 5, 1, 2, x'07', '[]')"
        )

    found = read_dataset(
        described(
            tmp_path,
            "metrics: {co2: {unit: ppm}}\nlabel: {column: busy}\n"
            "split: {by: group, files: [twin.db], test_entities: [yard]}",
        )
    )

    assert found.left_out == {"bad readings": 2, "damaged segments of the journal": 1}
    assert len(found.train.label) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("unit: ppm", "unit: m/s", "`co2` is in ppm, which cannot become m/s", id="unit"),
        pytest.param("kind: room", "kind: roof", "no entity of kind `roof`; it knows room, shelf", id="kind"),
        pytest.param("{co2:", "{co3:", "no reading of metric `co3`", id="metric"),
    ],
)
def test_a_database_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """With what it has."""
    a_database(tmp_path)
    path = tmp_path / "d.yaml"
    text = (
        "version: 1\nname: small\nkind: room\nmetrics: {co2: {unit: ppm}}\nlabel: {column: busy}\n"
        "split: {by: group, files: [twin.db], test_entities: [yard]}\n"
    )
    path.write_text(text.replace(old, new), encoding="utf-8")

    with pytest.raises(DataError, match=message):
        read_dataset(load_dataset(path))


def test_categories_become_numbers_in_the_order_given(tmp_path: Path) -> None:
    """What is none of them is missing and counted; an empty cell is missing only."""
    found = wide(
        tmp_path,
        "0,New,0",
        "60,Old,1",
        "120,Odd,0",
        "180,,1",
        "600,Odd,1",
        metrics="{level: {categories: [Old, New]}}",
    )

    assert [row[2] for row in rows(found.train)] == [[1], [0], [-1], [-1]]
    assert found.unknown == {"level": {"Odd": 2}}


def test_categories_may_be_those_of_the_training_rows(tmp_path: Path) -> None:
    """What the test alone holds is unknown; numbers are ordered as numbers."""
    found = wide(tmp_path, "0,10,0", "60,9,1", "120,10,0", "600,11,1", metrics="{level: {categories: auto}}")

    assert found.settings.metrics["level"].categories == ["9", "10"]
    assert [row[2] for row in rows(found.train) + rows(found.test)] == [[1], [0], [1], [-1]]
    assert found.unknown == {"level": {"11": 1}}


def test_an_identifier_is_no_category(tmp_path: Path) -> None:
    """Hundreds of different texts are refused."""
    with pytest.raises(DataError, match=r"metrics\.level\.categories: .* 100 different texts"):
        wide(tmp_path, *(f"{i},id{i},0" for i in range(100)), "700,x,1", metrics="{level: {categories: auto}}")


def test_booleans_are_numbers(tmp_path: Path) -> None:
    """TRUE, yes, false and No are 1 and 0, in metrics and labels."""
    found = wide(tmp_path, "0,TRUE,yes", "60,false,No", "600,yes,TRUE")

    assert [row[2:] for row in rows(found.train) + rows(found.test)] == [([1], 1), ([0], 0), ([1], 1)]


@pytest.mark.parametrize(
    ("label", "cells", "expected", "task"),
    [
        pytest.param("busy", "010", [0, 1, 0], "binary", id="a column"),
        pytest.param("{column: busy, positive: Y}", "NYN", [0, 1, 0], "binary", id="two texts"),
        pytest.param("busy / 4", "041", [0, 1, 0.25], "regression", id="a share"),
        pytest.param("busy >= 2", "029", [0, 1, 1], "binary", id="a comparison"),
        pytest.param("clip(busy / 3, 0, 1)", "039", [0, 1, 1], "binary", id="clipped"),
        pytest.param("level / 2", "000", [0, 0.5, 1], "regression", id="of a metric"),
    ],
)
def test_a_label_is_made_of_columns(tmp_path: Path, label: str, cells: str, expected: list[float], task: str) -> None:
    """And what it is, 0 or 1 or a share, is told by its values."""
    found = wide(
        tmp_path,
        *(f"{300 * i},{i},{cell}" for i, cell in enumerate(cells)),
        label=label,
        metrics="{level: {column: level}}",
    )

    assert [row[3] for row in rows(found.train) + rows(found.test)] == expected
    assert found.settings.task == task


@pytest.mark.parametrize(
    ("label", "cells", "task", "message"),
    [
        pytest.param(
            "busy", "012", "auto", "data.csv:4: label `busy` is `2`; a label is 0 or 1, or a", id="three classes"
        ),
        pytest.param("busy", "121", "auto", "two values say which is 1: `label: busy == 2`", id="recoded"),
        pytest.param("busy / 2", "013", "auto", "make one of it, such as `label: clip", id="out of range"),
        pytest.param(
            "busy / 2", "012", "binary", "data.csv:3: label `busy / 2` is `0.5`; a label is 0 or 1; ", id="binary"
        ),
        pytest.param("busy / busy", "110", "auto", "data.csv:4: label `busy / busy` has no value", id="no value"),
        pytest.param("busy", "NYN", "auto", "found N, Y; of two texts say which is 1: `positive: Y`", id="text"),
        pytest.param(
            "{column: busy, positive: Y}", "NYM", "auto", "csv:4: label `busy` is `M`, a third", id="third text"
        ),
        pytest.param("busi", "010", "auto", "no column `busi`; it has time, level, busy", id="no column"),
    ],
)
def test_a_wrong_label_is_refused(tmp_path: Path, label: str, cells: str, task: str, message: str) -> None:
    """The message names file, line, what was found and what is allowed."""
    with pytest.raises(DataError) as caught:
        wide(tmp_path, *(f"{300 * i},{i},{cell}" for i, cell in enumerate(cells)), label=label, more=f"task: {task}")

    assert message in str(caught.value)


def test_all_missing_columns_are_named_at_once(tmp_path: Path) -> None:
    """So that a description is put right in one go."""
    with pytest.raises(DataError, match="no column `light`, `noise`; it has time, level, busy"):
        wide(tmp_path, "0,1,0", metrics="{light: {}, level: {}, noise: {}}")


def independent(folder: Path, split: str = "by: stratified, files: [data.csv]", **more: str) -> DatasetSettings:
    """Return the settings of a hundred independent rows, every fifth of them bought, each visitor with two."""
    a_file(folder, "who,pages,bought", *(f"v{i // 2},{i},{int(i % 5 == 0)}" for i in range(100)))
    extra = "\n".join(f"{name}: {value}" for name, value in more.items())
    return described(folder, f"rows: independent\nmetrics: {{pages: {{}}}}\nlabel: bought\nsplit: {{{split}}}\n{extra}")


def test_independent_rows_are_entities_of_their_own(tmp_path: Path) -> None:
    """Drawn at random with the shares of the label kept, the same by the same seed, each row in one part."""
    settings = independent(tmp_path)

    found, again = read_dataset(settings), read_dataset(settings)
    other = read_dataset(independent(tmp_path, "by: stratified, files: [data.csv], seed: 2"))

    assert (len(found.train.label), len(found.test.label)) == (70, 30)
    assert (found.train.label.sum(), found.test.label.sum()) == (14, 6)
    assert len(np.unique(found.train.wide.entity)) == 70
    assert set(found.train.wide.time_ms.tolist()) == {0}
    pages = [set(part.wide.values[:, 0].tolist()) for part in (found.train, found.test, again.train, other.train)]
    assert pages[0] | pages[1] == set(range(100))
    assert pages[0] == pages[2] != pages[3]
    assert (settings.features.windows, settings.features.statistics) == ([12_000], ["last"])


def test_independent_rows_can_be_split_by_what_they_belong_to(tmp_path: Path) -> None:
    """The entity column is their group."""
    found = read_dataset(
        independent(tmp_path, "by: group, files: [data.csv], test_entities: [v3, v7]", entity_column="who")
    )

    assert found.test.wide.values[:, 0].tolist() == [6, 7, 14, 15]
    assert found.train.group is not None
    assert len(np.unique(found.train.group)) == 48


SERIES = "entity: hall\nmetrics: {level: {}}\nlabel: busy\n"
BY_TIME = "split: {by: time, files: [data.csv], at: '5'}"
ALONE = "rows: independent\nmetrics: {a: {}}\nlabel: b\n"
DRAWN = "split: {by: stratified, files: [data.csv]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(SERIES + DRAWN, "nearly copies of their neighbours", id="random"),
        pytest.param(ALONE + DRAWN + "\nentity: x", "entity: independent rows are each an entity", id="entity alone"),
        pytest.param(ALONE + BY_TIME, "independent rows have no time unless", id="time alone"),
        pytest.param(ALONE + DRAWN[:-1] + ", test_share: 1}", "split.test_share: between 0 and 1", id="share"),
        pytest.param(
            ALONE + DRAWN + "\nfeatures: {statistics: [mean]}", "one window, and `last` only", id="statistics"
        ),
        pytest.param(
            SERIES.replace("busy", "count // 3") + BY_TIME,
            "dataset.yaml:6: label.expression: `count // 3`: expected a number",
            id="expression",
        ),
        pytest.param(SERIES.replace("busy", "'1 / 3'") + BY_TIME, "has no column in it", id="no column"),
        pytest.param(SERIES.replace("busy", "{meaning: m}") + BY_TIME, "label: `column: NAME`, or", id="no label"),
        pytest.param(
            SERIES.replace("busy", "{column: a, file: none.csv}") + BY_TIME,
            "label.file.path: no file",
            id="no label file",
        ),
        pytest.param(
            SERIES.replace("level: {}", "level: {unit: lx, categories: [a]}") + BY_TIME,
            "categories have no unit",
            id="unit of categories",
        ),
        pytest.param(SERIES + BY_TIME[:-1] + ", seed: 3}", "a split by time draws nothing", id="seed"),
    ],
)
def test_a_wrong_description_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """Before any data is read."""
    a_file(tmp_path, "time,level,busy", "0,1,0")

    with pytest.raises(SettingsError) as caught:
        described(tmp_path, text)

    assert message in str(caught.value)


def test_rows_of_a_series_are_drawn_where_forced(tmp_path: Path) -> None:
    """It is said that they are nearly copies; who wants it all the same gets it."""
    a_file(tmp_path, "time,level,busy", *(f"{i},{i},{i % 2}" for i in range(20)))

    found = read_dataset(described(tmp_path, SERIES + "split: {by: stratified, files: [data.csv], force: true}"))

    assert (len(found.train.label), len(found.test.label)) == (14, 6)


@pytest.mark.parametrize(
    ("embargo", "last"),
    [
        pytest.param("", 47, id="the window and the lateness"),
        pytest.param(", embargo: 30m", 29, id="as told"),
        pytest.param(", embargo: 0", 59, id="none"),
    ],
)
def test_rows_before_the_cut_are_left_out(tmp_path: Path, embargo: str, last: int) -> None:
    """No score of the test looks back on a row that was trained on."""
    a_file(tmp_path, "time,level,busy", *(f"{60 * i},{i},{i % 2}" for i in range(100)))

    found = read_dataset(
        described(
            tmp_path,
            SERIES + f"split: {{by: time, files: [data.csv], at: '3600'{embargo}}}\n"
            "features: {windows: [2m, 12m], statistics: [last]}",
        )
    )

    assert found.train.wide.values.max() == last
    assert found.test.wide.values.min() == 60
    assert found.left_out.get("rows in the embargo", 0) == 59 - last


@pytest.mark.parametrize("name", ["occupancy", "shoppers"])
def test_the_data_sets_that_come_along_are_read(name: str) -> None:
    """All their metrics have values, and no category of them is unknown."""
    found = read_dataset(load_dataset(ROOT / "config" / "datasets" / f"{name}.yaml"))

    assert found.settings.task == "binary"
    assert (found.unknown, found.left_out) == ({}, {})
    assert not np.isnan(found.train.wide.values).any()
    expected = {"occupancy": (8143, 2665), "shoppers": (6042, 2589)}[name]
    assert (len(found.train.label), len(found.test.label)) == expected
