"""Facts about `attwin detect`."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def detect(*options: str) -> "subprocess.CompletedProcess[str]":
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "attwin", "detect", *options], capture_output=True, text=True, check=False
    )


def a_file(folder: Path, rows: list[str], head: str = "timestamp,value") -> Path:
    """Return a CSV file."""
    path = folder / "data.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_row_has_one_score(tmp_path: Path) -> None:
    """Beside its time and its value as they stood; the strangest row is named with its line."""
    values = np.random.default_rng(2).normal(20, 1, 400).round(2).tolist()
    values[350] = 60.0
    times = [f"2014-04-{1 + n // 288:02} {n % 288 // 12:02}:{n % 12 * 5:02}:00" for n in range(400)]
    texts = [f"{time},{value}" for time, value in zip(times, values, strict=True)]
    texts[100] = f"{times[100]},"
    file = a_file(tmp_path, texts)

    done = detect(
        "--csv", str(file), "--time", "timestamp", "--value", "value", "--out", str(tmp_path / "o.csv"), "--json"
    )

    found, rows = json.loads(done.stdout), rows_of(tmp_path / "o.csv")
    assert [(row["timestamp"], row["value"]) for row in rows] == [tuple(text.split(",")) for text in texts]
    assert [n for n, row in enumerate(rows) if not row["score"]] == [100]
    assert max(range(400), key=lambda n: float(rows[n]["score"] or 0)) == 350
    assert (found["rows"], found["without_value"], found["strangest"][0]["line"]) == (400, 1, 352)


def test_entities_do_not_touch_each_other(tmp_path: Path) -> None:
    """The rows of an entity have the scores that they have alone."""
    rng = np.random.default_rng(4)
    both = [(n, name, round(float(rng.normal()), 3)) for n in range(300) for name in ("a", "b")]
    file = a_file(tmp_path, [f"{1_400_000_000 + 300 * n},{v},{e}" for n, e, v in both], "time,value,room")
    detect("--csv", str(file), "--value", "value", "--entity", "room", "--out", str(tmp_path / "both.csv"))
    alone = a_file(tmp_path, [f"{1_400_000_000 + 300 * n},{v}" for n, e, v in both if e == "b"], "time,value")
    detect("--csv", str(alone), "--value", "value", "--out", str(tmp_path / "b.csv"))

    together = [row["score"] for row in rows_of(tmp_path / "both.csv") if row["entity"] == "b"]

    assert together == [row["score"] for row in rows_of(tmp_path / "b.csv")]


@pytest.mark.parametrize(
    ("head", "row", "options", "words"),
    [
        pytest.param("t,value", "1,2", (), "which column holds the time? It has t, value", id="no time column"),
        pytest.param("time,v", "1,2", (), "no column `value`; it has time, v", id="no value column"),
        pytest.param("time,value", "1,much", (), "data.csv:3: column `value` holds `much`, which", id="text"),
        pytest.param("time,value", "soon,1", (), "data.csv:3: column `time` holds `soon`; a time is ISO", id="no time"),
        pytest.param("time,value", "1,2,3", (), "data.csv:3: 3 cells; the header has 2", id="too many cells"),
        pytest.param("time,value", "1,2", ("--zone", "Mars"), "no IANA time zone", id="no zone"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, head: str, row: str, options: tuple[str, ...], words: str
) -> None:
    """With the line; and nothing is written."""
    file = a_file(tmp_path, ["1,2", row], head)

    done = detect("--csv", str(file), "--value", "value", "--out", str(tmp_path / "o.csv"), *options)

    assert done.returncode != 0
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_times_that_go_back_are_counted(tmp_path: Path) -> None:
    """They have scores all the same."""
    file = a_file(tmp_path, [f"{n},{n % 3}" for n in (1, 2, 5, 3, 4, 9)], "time,value")

    done = detect("--csv", str(file), "--value", "value", "--out", str(tmp_path / "o.csv"), "--json")

    assert json.loads(done.stdout)["time_went_back"] == 2
    assert len(rows_of(tmp_path / "o.csv")) == 6
