"""What every test may use."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import Mosquitto

sys.dont_write_bytecode = True


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A real broker on a free port of loopback, for the whole session."""
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).parents[1]
