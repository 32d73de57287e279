"""Facts about what is found in a data set before anything is trained on it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from attwin_converter.cli import cli
from attwin_converter.dataset import load_dataset
from attwin_converter.findings import Finding, Severity, inspect, inspect_files, possible_range, shift_of
from attwin_converter.parts import read_dataset

ROWS = 600


def columns(rng: np.random.Generator) -> dict[str, list[str]]:
    """Return the columns of a data set in which nothing is wrong: a level that says something of the label, a noise."""
    level = rng.normal(50, 10, ROWS)
    busy = (level + rng.normal(0, 10, ROWS) > 50).astype(int)
    return {
        "time": [str(60 * i) for i in range(ROWS)],
        "level": [f"{value:.3f}" for value in level],
        "noise": [f"{value:.3f}" for value in rng.normal(0, 1, ROWS)],
        "busy": [str(value) for value in busy],
    }


def write(
    folder: Path, table: dict[str, Sequence[str]], *, unit: str = "'%RH'", metrics: str = "", more: str = ""
) -> Path:
    """Write the file and its description, split by time at two thirds."""
    lines = [",".join(table), *(",".join(cells) for cells in zip(*table.values(), strict=True))]
    (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = folder / "dataset.yaml"
    path.write_text(
        "version: 1\nname: n\nkind: k\nentity: e\nlabel: busy\n"
        f"metrics: {{level: {{unit: {unit}}}, noise: {{}}{metrics}}}\n"
        f"split: {{by: time, files: [data.csv], at: '{400 * 60}', embargo: 0}}\n{more}\n",
        encoding="utf-8",
    )
    return path


def found(folder: Path, **changes: object) -> list[tuple[str, str, str]]:
    """Return severity, place and text of what is found after some columns are changed."""
    table = columns(np.random.default_rng(1))
    options = {name: str(changes.pop(name)) for name in ("unit", "metrics", "more") if name in changes}
    for name, change in changes.items():
        table[name] = change(table) if callable(change) else list(change)  # type: ignore[call-overload] # one of the two
    read = read_dataset(load_dataset(write(folder, table, **options)))
    return [(finding.severity.value, finding.where, finding.what) for finding in inspect(read)]


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    """Or every finding would be taken for noise."""
    assert [finding for finding in found(tmp_path) if finding[0] != "warning" or finding[1] != "rows"] == []


def first(column: str, count: int, value: str) -> object:
    """Return a change that sets the first rows of a column."""
    return lambda table: [value] * count + table[column][count:]


@pytest.mark.parametrize(
    ("changes", "severity", "where", "what"),
    [
        pytest.param(
            {"noise": ["3"] * ROWS}, "warning", "noise", "always 3 in the training rows: constant", id="constant"
        ),
        pytest.param({"noise": [""] * ROWS}, "error", "noise", "no value in any training row: dead", id="dead"),
        pytest.param(
            {"noise": lambda t: [*t["noise"][:400], *["1"] * 200]},
            "warning",
            "noise",
            "always 1 in the test rows",
            id="stuck in the test",
        ),
        pytest.param(
            {"noise": first("noise", 300, "")},
            "warning",
            "noise",
            "missing in 75% of the training rows",
            id="mostly missing",
        ),
        pytest.param(
            {"level": first("level", 2, "655.35")},
            "warning",
            "level",
            "2 values cannot be in %RH, such as 655.35",
            id="impossible",
        ),
        pytest.param(
            {"level": first("level", 1, "-300"), "unit": "Cel"},
            "warning",
            "level",
            "1 values cannot be in Cel",
            id="below absolute zero",
        ),
        pytest.param(
            {"noise": lambda t: [f"{2 * int(b) + 0.001 * i}" for i, b in enumerate(t["busy"])]},
            "warning",
            "noise",
            "it alone tells the label (AUC 1.0000",
            id="leak",
        ),
        pytest.param(
            {"more": "task: binary", "metrics": ", busy: {}"},
            "error",
            "busy",
            "the label is made of it (`busy`)",
            id="label among metrics",
        ),
        pytest.param(
            {"busy": lambda t: [*t["busy"][:400], *["1"] * 200]},
            "warning",
            "label",
            "all 200 test rows have the label 1",
            id="one label",
        ),
        pytest.param(
            {"busy": lambda _t: ["1" if i % 150 == 0 else "0" for i in range(ROWS)]},
            "warning",
            "label",
            "only 3 of 400 training rows have the label 1",
            id="rare label",
        ),
        pytest.param(
            {"busy": lambda _t: [str(int(i % 10 == 0 if i < 400 else i % 10 != 0)) for i in range(ROWS)]},
            "warning",
            "label",
            "label 1 is 10.0% of the training and 90.0% of the test rows",
            id="recoded share",
        ),
        pytest.param(
            {
                "noise": lambda t: [
                    f"{(1 if i < 400 else -1) * (2 * int(b) + 0.001 * (i % 7) + (i % 9 == 0) * 3)}"
                    for i, b in enumerate(t["busy"])
                ]
            },
            "warning",
            "label",
            "`noise` goes up with it in one part and down in the other",
            id="turned around",
        ),
        pytest.param(
            {"noise": lambda t: [*t["noise"][:400], *(f"{float(n) + 3}" for n in t["noise"][400:])]},
            "warning",
            "noise",
            "much shifted between train and test (PSI",
            id="shift",
        ),
        pytest.param(
            {"busy": lambda t: [*t["busy"][:399], "0.5", *t["busy"][400:]]},
            "warning",
            "label",
            "only 1 of 400 labels lie between 0 and 1, such as 0.5",
            id="nearly binary",
        ),
        pytest.param(
            {"time": lambda t: [t["time"][1], *t["time"][1:]]},
            "warning",
            "rows",
            "1 of 400 training rows have the entity and time of another one",
            id="twice",
        ),
        pytest.param(
            {"time": lambda _t: [str(60 * i - 9000 * (i < 200)) for i in range(ROWS)]},
            "note",
            "rows",
            "1 gaps in the training rows of more than 10 times the usual 60 s, the longest of 151 minutes",
            id="gap",
        ),
    ],
)
def test_a_problem_is_found(tmp_path: Path, changes: dict[str, object], severity: str, where: str, what: str) -> None:
    """With its numbers and place."""
    findings = found(tmp_path, **changes)

    assert [f for f in findings if f[:2] == (severity, where) and what in f[2]], findings


def test_unknown_categories_are_found(tmp_path: Path) -> None:
    """With how often they are there."""
    table = columns(np.random.default_rng(1))
    table["mode"] = ["a" if i % 2 else "b" if i % 3 else "c" for i in range(ROWS)]
    path = write(tmp_path, table, metrics=", mode: {categories: [a, b]}")

    findings = inspect(read_dataset(load_dataset(path)))

    assert [f.what for f in findings if f.where == "mode"] == ["`c` is no category, in 100 rows; they count as missing"]


def test_the_same_rows_in_train_and_test_are_an_error(tmp_path: Path) -> None:
    """Two files with the same days; and a test that lies within the training is said."""
    table = columns(np.random.default_rng(1))
    path = write(tmp_path, table)
    (tmp_path / "part.csv").write_text(
        "\n".join((tmp_path / "data.csv").read_text(encoding="utf-8").splitlines()[:101]), encoding="utf-8"
    )
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("split")] + "split: {by: file, train: [data.csv], test: [part.csv]}\n", "utf-8")

    findings = inspect(read_dataset(load_dataset(path)))

    assert findings[0] == Finding(
        severity=Severity.ERROR,
        what="100 rows are in the training and in the test rows",
        where="split",
        advice="What is tested must not have been trained on.",
    )
    assert "100 of 100 test rows lie within the training period" in [finding.what for finding in findings]


def test_twelve_rows_are_an_error(tmp_path: Path) -> None:
    """It says how many are needed."""
    table = {name: cells[388:] for name, cells in columns(np.random.default_rng(1)).items()}

    _, findings = inspect_files(load_dataset(write(tmp_path, table)))

    assert findings[0].what.startswith("12 rows to train on; at least 50 are needed")


def test_the_command_prints_what_was_found_and_exits_by_it(tmp_path: Path) -> None:
    """1 where there is an error, 0 where there is none; a file that cannot be read is a finding too."""
    table = columns(np.random.default_rng(1))
    path = write(tmp_path, table)

    fine = CliRunner().invoke(cli, ["inspect", str(path)])
    machine = CliRunner().invoke(cli, ["inspect", str(path), "--json"])
    write(tmp_path, table, metrics=", light: {}, sound: {}")
    broken = CliRunner().invoke(cli, ["inspect", str(path)])

    assert (fine.exit_code, "train rows: 400" in fine.output) == (0, True)
    said = json.loads(machine.output)
    assert (said["task"], said["test_rows"]) == ("binary", 200)
    assert all(set(finding) == {"severity", "what", "where", "advice"} for finding in said["findings"])
    assert broken.exit_code == 1
    assert "error    files: " in broken.output
    assert "no column `light`, `sound`; it has time, level, noise, busy" in broken.output


def test_a_shift_is_the_population_stability_index() -> None:
    """By hand: half of the rows move from one of two values to the other; what is missing counts as well."""
    before, after = np.array([0.0, 1.0] * 50), np.array([0.0] * 25 + [1.0] * 75)

    assert shift_of(before, before) == 0
    assert shift_of(before, after) == pytest.approx(0.25 * np.log(0.75 / 0.5) - 0.25 * np.log(0.25 / 0.5))
    assert shift_of(before, np.full(100, np.nan)) > 1


@pytest.mark.parametrize(
    ("unit", "low", "high"),
    [
        pytest.param("degF", -459.67, np.inf, id="a temperature"),
        pytest.param("hPa", 0, np.inf, id="a multiple"),
        pytest.param("%RH", 0, 100, id="a share"),
        pytest.param("1", -np.inf, np.inf, id="a plain number"),
        pytest.param("m", -np.inf, np.inf, id="a height may be below zero"),
    ],
)
def test_what_a_quantity_can_be(unit: str, low: float, high: float) -> None:
    """By its unit, as far as nature says it."""
    assert possible_range(unit) == pytest.approx((low, high), abs=0.01)
