"""Facts about `attwin forecast backtest`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HOUR_S = 3600


def backtest(*options: str) -> "subprocess.CompletedProcess[str]":
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "attwin", "forecast", "backtest", *options], capture_output=True, text=True, check=False
    )


def a_file(folder: Path, weeks: int = 8) -> Path:
    """Return hourly counts of two sensors, one of which has gaps."""
    rng = np.random.default_rng(1)
    shape = rng.uniform(100, 1000, 168)
    first_s = 1_600_000_000 // HOUR_S * HOUR_S
    rows = [
        f"{first_s + HOUR_S * hour},{shape[hour % 168] + rng.normal(0, 20):.1f},{name}"
        for hour in range(168 * weeks)
        for name in ("a", "b")
        if name == "a" or rng.random() > 0.1
    ]
    path = folder / "counts.csv"
    path.write_text("\n".join(["time,count,sensor", *rows]) + "\n", encoding="utf-8")
    return path


def test_a_file_is_graded_by_entity_and_horizon(tmp_path: Path) -> None:
    """Against persistence and the seasonal naive forecast of the season that was found."""
    options = ("--value", "count", "--entity", "sensor", "--horizon", "1h", "--horizon", "24h", "--test-weeks", "2")

    found = json.loads(backtest("--csv", str(a_file(tmp_path)), *options, "--json").stdout)

    assert (found["step_ms"], found["season_ms"]) == (3_600_000, 7 * 86_400_000)
    assert [(row["entity"], row["horizon"]) for row in found["rows"]] == [(e, h) for e in "ab" for h in ("1h", "1d")]
    for row in found["rows"]:
        assert row["mae"] < row["persistence_mae"] / 2
        assert row["mase"] < 1.0
        assert row["mae"] < row["seasonal_mae"]
        assert 0.8 < row["coverage"] < 0.98
    assert found["rows"][0]["forecasts"] == 2 * 168
    assert found["rows"][2]["forecasts"] < 2 * 168
    means = {row["horizon"]: row["mase"] for row in found["means"]}
    assert means["1h"] == pytest.approx(np.mean([row["mase"] for row in found["rows"][::2]]))


def test_the_future_of_the_test_changes_nothing_before_it(tmp_path: Path) -> None:
    """The same beginning of the test is graded the same, whatever comes after it."""
    path = a_file(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    time = lines[-1].split(",")[0]
    short = tmp_path / "short.csv"
    short.write_text("\n".join(lines[:-100]) + "\n", encoding="utf-8")
    options = (
        "--value",
        "count",
        "--entity",
        "sensor",
        "--horizon",
        "1h",
        "--test-from",
        str(int(time) - 200 * HOUR_S),
    )

    whole, part = (json.loads(backtest("--csv", str(file), *options, "--json").stdout) for file in (path, short))

    assert part["rows"][0]["forecasts"] < whole["rows"][0]["forecasts"]
    assert part["test_from_ms"] == whole["test_from_ms"]
    assert part["rows"][0]["mae"] == pytest.approx(whole["rows"][0]["mae"], rel=0.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(("--horizon", "soon"), "a duration such as 5s or 2m", id="no duration"),
        pytest.param(("--horizon", "1m"), "1m is shorter than a step of the file, 1h", id="shorter than a step"),
        pytest.param(("--horizon", "1h", "--test-from", "2031-01-01"), "must begin within the file", id="after it"),
        pytest.param(("--horizon", "1h", "--test-weeks", "9"), "must begin within the file", id="before it"),
        pytest.param(("--horizon", "1h", "--season", "60d"), "longer than what comes before", id="season"),
        pytest.param(("--horizon", "365d"), "must begin within the file", id="too far"),
    ],
)
def test_what_cannot_be_tested_is_said(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    """With what is allowed."""
    done = backtest("--csv", str(a_file(tmp_path)), "--value", "count", "--entity", "sensor", *options)

    assert done.returncode != 0
    assert words in done.stderr
