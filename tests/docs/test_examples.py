"""Facts about the documents: what they show works."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from attwin.settings.load import load_settings

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"```yaml\n(.+?)```", re.DOTALL)


def pictures() -> ModuleType:
    """Return the script that draws the pictures."""
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script."""
    return pictures()


@pytest.mark.parametrize("block", _BLOCK.findall((DOCS / "alerts.md").read_text(encoding="utf-8")))
def test_every_example_is_a_configuration(script: ModuleType, tmp_path: Path, block: str) -> None:
    """It can be put into a file and is accepted."""
    (tmp_path / "attwin.yaml").write_text(script.HEAD + block, encoding="utf-8")
    (tmp_path / "secrets.yaml").write_text("chat: a-token\n", encoding="utf-8")

    assert load_settings(tmp_path / "attwin.yaml", {}).rules


_SHOWN = {"forecast": 4, "warning": 4}
"""Of the examples that are learned from for days, the last events are in the picture."""
EXPECTED = {
    "level": ["30 new", "91 end"],
    "for": ["46 new", "76 end"],
    "count": ["65 new", "108 end"],
    "cooldown": ["11 new", "21 end", "51 new", "76 end"],
    "flapping": ["2 new", "5 end", "8 new", "11 end", "14 new", "67 end"],
    "escalate": ["12 new", "23 update", "57 update", "100 end"],
    "schedule": ["553 new", "600 end"],
    "quiet": ["867 new quiet", "966 end quiet", "1107 new quiet", "1320 update"],
    "silent": ["55 new", "80 end"],
    "peers": ["51 new", "93 end"],
    "forecast": ["14880 new", "15290 end", "16330 new", "16740 end"],
    "warning": ["16330 new", "16380 new", "16390 end", "16740 end"],
    "anomaly": ["17460 new", "17780 end"],
    "together": ["30 new", "33 update", "36 update", "98 update", "100 update", "103 end"],
    "suppressed": ["21 new", "22 new suppressed", "61 end", "61 update", "96 end"],
}


def test_every_example_gives_the_alerts_of_its_picture(script: ModuleType) -> None:
    """Minute, what happened, and why nobody was told."""
    found = {}
    for name, _, yaml in script.examples():
        changes = script.rehearse(script.settings_of(yaml), [script.recorded(script.RECORDINGS[name]())])
        found[name] = [
            " ".join([str((c.after.time_ms - script.START_MS) // script.MINUTE_MS), c.type, *c.after.muted])
            for c in changes
        ][-_SHOWN.get(name, len(changes)) :]

    assert found == EXPECTED


def test_every_picture_is_there(script: ModuleType) -> None:
    """And no picture without an example."""
    wanted = {f"alerts-{name}.svg" for name, *_ in script.examples()}

    assert {path.name for path in (DOCS / "img").glob("alerts-*.svg")} == wanted
