"""What every test may use."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.processes import Mosquitto

sys.dont_write_bytecode = True

# the first text of a fresh clone builds Hypothesis's table of characters, which takes a second
settings.register_profile("attwin", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("attwin")


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A real broker on a free port of loopback, for the whole session."""
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).parents[1]
