"""Facts about data that no model is made of: what the command line says about it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from attwin.core.errors import DataError
from attwin_converter import cli as command_line
from attwin_converter.cli import cli

Rows = list[list[str]]
TIME, LEVEL, NOISE, BUSY = range(4)
DATASET = """\
version: 1
name: small
kind: room
entity: room
metrics: {metrics}
label: {label}
split: {{by: time, files: [data.csv], at: '1970-01-01 02:00:00', embargo: 0}}
features: {{windows: [2m], statistics: [last]}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, and let no runtime be asked for: nothing gets as far as that."""
    monkeypatch.setattr(command_line, "runtimes", lambda _pythons: [])
    return tmp_path


def refused(
    folder: Path,
    change: Callable[[Rows], Rows],
    *,
    metrics: str = "{level: {}, noise: {}}",
    label: str = "busy",
    command: str = "train",
) -> str:
    """Return what a command says of 200 rows in which a high level means busy, after a change."""
    rng = np.random.default_rng(1)
    level = rng.normal(0, 1, 200)
    rows = [[str(60 * i), f"{x:.4f}", f"{rng.normal():.4f}", str(int(x > 0))] for i, x in enumerate(level)]
    lines = [",".join(row) for row in change(rows)]
    (folder / "data.csv").write_text("time,level,noise,busy\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "dataset.yaml").write_text(DATASET.format(metrics=metrics, label=label), encoding="utf-8")
    out = ["--out", str(folder / "o.zip")] if command == "train" else []
    done = CliRunner().invoke(cli, [command, str(folder / "dataset.yaml"), *out])
    assert not (folder / "o.zip").exists()
    if command == "inspect":
        assert done.exit_code == 1
        return done.output
    assert isinstance(done.exception, DataError), done.output
    return str(done.exception)


def put(column: int, text: Callable[[int], str], *, only: int | None = None) -> Callable[[Rows], Rows]:
    """Return a change that writes another text into a column, of all rows or of one."""

    def change(rows: Rows) -> Rows:
        for number, row in enumerate(rows):
            if only in (None, number):
                row[column] = text(number)
        return rows

    return change


WRONG = [
    pytest.param(
        put(BUSY, lambda i: str(i % 3)),
        "data.csv:4: label `busy` is `2`; a label is 0 or 1, or a share between them; found 0, 1, 2: make one of it",
        id="three classes",
    ),
    pytest.param(
        put(BUSY, lambda i: ("low", "mid", "high")[i % 3]),
        "data.csv:2: column `busy` holds `low`, which is no number; a label is 0 or 1, true or false, or a share "
        "between; found high, low, mid",
        id="three texts",
    ),
    pytest.param(
        put(BUSY, lambda _: "nan", only=5), "data.csv:7: label `busy` has no value; a label is", id="NaN label"
    ),
    pytest.param(put(BUSY, lambda _: ""), "data.csv:2: label `busy` has no value; a label is", id="no labels"),
    pytest.param(put(BUSY, lambda _: "1"), "label: all 120 training rows have the label 1. A model", id="one class"),
    pytest.param(
        put(LEVEL, lambda i: ("cold", "warm")[i % 2]),
        "data.csv:2: column `level` holds `cold`, which is no number; a metric is a number, or nothing; one of text "
        "needs `categories` (metrics.level.categories)",
        id="column of text",
    ),
    pytest.param(put(LEVEL, lambda _: "inf", only=7), "data.csv:9: column `level` holds `inf`", id="infinity"),
    pytest.param(put(LEVEL, lambda _: "nan"), "level: no value in any training row: dead. Leave it out", id="only NaN"),
    pytest.param(
        lambda rows: rows[114:126],
        "rows: 6 rows to train on; at least 50 are needed, and 500 for a model worth having. Collect more rows",
        id="12 rows",
    ),
    pytest.param(
        lambda rows: rows[:12],
        "split by time: of 12 rows from 1970-01-01 00:00 to 1970-01-01 00:11 UTC none is left to test on",
        id="12 rows and no test",
    ),
    pytest.param(lambda _: [], "data.csv: no rows below the header", id="no rows"),
    pytest.param(
        put(TIME, lambda _: "noon", only=4), "data.csv:6: column `time` holds `noon`; a time is", id="no time"
    ),
    pytest.param(
        lambda rows: [row[:3] if place == 9 else row for place, row in enumerate(rows)],
        "data.csv:11: 3 cells; the header has 4",
        id="short row",
    ),
]


@pytest.mark.parametrize("command", ["train", "inspect"])
@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_rows_are_refused_with_place_and_what_is_allowed(
    folder: Path, change: Callable[[Rows], Rows], message: str, command: str
) -> None:
    """Before anything is fitted, and no bundle is written."""
    if command == "inspect":
        # which prints the advice on a line of its own, and the severity before the place
        message = message.partition(". ")[0].partition(": ")[2]

    assert message in refused(folder, change, command=command)


def test_a_third_text_beside_the_positive_one_is_refused(folder: Path) -> None:
    """A label of text has two values."""
    change = put(BUSY, lambda i: ("low", "mid", "high")[i % 3])

    said = refused(folder, change, label="{column: busy, positive: high}")

    assert "data.csv:3: label `busy` is `mid`, a third value beside `high` and `low`" in said


def test_a_column_of_identifiers_is_no_category(folder: Path) -> None:
    """It would be learned by heart."""
    change = put(LEVEL, lambda i: f"visitor-{i}")

    said = refused(folder, change, metrics="{level: {categories: auto}, noise: {}}")

    assert "metrics.level.categories: the training rows hold 120 different texts; 1 to 64" in said
