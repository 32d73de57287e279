"""Facts about CSV files that are played."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from attwin.settings.load import load_settings
from attwin.wiring.playing import Pace, Recording, _plays, read_recording

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "occupancy" / "datatest.txt"


def recorded(*metrics: str) -> Recording:
    """Return the data set, all of its sensors or some metrics."""
    return read_recording(
        DATA,
        columns={metric: metric.title() for metric in metrics},
        time_column="",
        entity="office",
        entity_column="",
        zone=ZoneInfo("UTC"),
    )


def test_what_is_played_unless_told_is_what_the_example_configuration_reads() -> None:
    """The label of the data set is nothing that a sensor sends; it is played where it is asked for."""
    example = load_settings(ROOT / "config" / "office.yaml")

    assert set(recorded().metrics) == set(example.kinds["room"].metrics)
    assert recorded("occupancy").metrics == ["occupancy"]


@pytest.mark.parametrize(
    ("speed", "rate", "due_s"),
    [
        pytest.param(0, 500, [0.0, 0.002, 0.004], id="as fast as the rate allows"),
        pytest.param(0, 0, [0.0, 0.0, 0.0], id="no limit"),
        pytest.param(590, 500, [0.0, 0.1, 120 / 590], id="slower than the rate"),
        pytest.param(59_000, 500, [0.0, 0.002, 0.004], id="faster than the rate"),
    ],
)
def test_readings_are_sent_at_most_at_the_rate(speed: float, rate: float, due_s: list[float]) -> None:
    """What a broker queues for the agent does not overrun, however fast the file is played."""
    plays = list(_plays(recorded("co2"), "s/{entity}/{metric}", Pace(speed=speed, rate=rate), restamp=False))

    assert [play.after_s for play in plays[:3]] == pytest.approx(due_s)
