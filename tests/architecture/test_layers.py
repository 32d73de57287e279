"""The layers of the house. ``MAY_IMPORT`` is the whole rule; a new edge is a decision, not an accident."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "agent" / "attwin"
CONVERTER = ROOT / "converter" / "attwin_converter"
MAY_IMPORT = {
    "core": {"core"},
    "ports": {"core"},
    "settings": {"core", "settings"},
    "runtime": {"core", "ports", "runtime"},
    "adapters": {"core", "ports", "adapters"},
    "wiring": {"core", "ports", "settings", "runtime", "adapters", "wiring"},
    "cli": {"core", "settings", "wiring", "cli"},
}
CONVERTER_MAY_IMPORT = {"core", "ports", "settings", "wiring"}
PURE_CORE_MAY_USE = {
    "base64",
    "collections",
    "dataclasses",
    "enum",
    "fnmatch",
    "functools",
    "hashlib",
    "hmac",
    "itertools",
    "json",
    "numpy",
    "re",
    "struct",
    "types",
    "typing",
    "zlib",
}
SHARED_BY_STAGES = {
    f"attwin.core.{name}"
    for name in (
        "types",
        "errors",
        "units",
        "topics",
        "pseudonyms",
        "columns",
        "durations",
        "local_time",
        "schedules",
        "alerts",
        "catalogue",
        "categories",
        "clock_features",
        "baseline",
        "windows",
        "features",
        "quantise",
        "samples",
        "levels",
        "found",
    )
}


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def modules_of(layer: str) -> list[Path]:
    """Return the files of one layer, be it a package or a single module."""
    return sorted((AGENT / layer).rglob("*.py")) or [AGENT / f"{layer}.py"]


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_a_layer_imports_only_layers_below_it(layer: str) -> None:
    """No import goes up or sideways."""
    for path in modules_of(layer):
        used = {name.split(".")[1] for name in imported(path) if name.startswith("attwin.")}
        assert used <= MAY_IMPORT[layer], path
        assert not any(name.startswith("attwin_converter") for name in imported(path)), path


def test_the_core_is_pure() -> None:
    """``core`` touches no file, socket, clock, log or random source."""
    for path in modules_of("core"):
        outside = {name.split(".")[0] for name in imported(path)} - {"attwin"}
        assert outside <= PURE_CORE_MAY_USE, path


def test_stages_of_the_core_do_not_know_each_other() -> None:
    """A stage sees the shared types only, so each can be read and changed alone."""
    for path in modules_of("core"):
        assert {n for n in imported(path) if n.startswith("attwin.")} <= SHARED_BY_STAGES, path


def test_the_converter_uses_the_agents_inner_layers_only_through_wiring() -> None:
    """The converter computes features by the code that serves, and names no adapter."""
    for path in sorted(CONVERTER.rglob("*.py")):
        used = {name.split(".")[1] for name in imported(path) if name.startswith("attwin.")}
        assert used <= CONVERTER_MAY_IMPORT, path


def test_heavy_modules_stay_off_the_agents_path() -> None:
    """The daemon loads neither sqlite-utils nor TensorFlow nor rich nor a runtime before it has something for them."""
    code = "import sys, attwin.wiring.daemon; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"sqlite_utils", "tensorflow", "rich", "pandas", "amqtt"} & set(loaded)


def test_every_lint_exception_says_why() -> None:
    """Each ``noqa`` and each ``type: ignore`` carries its reason."""
    bare = [
        f"{path}:{number}"
        for folder in (AGENT, CONVERTER)
        for path in folder.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if ("# noqa" in line and " -- " not in line) or ("# type: ignore" in line and line.count("#") < 2)
    ]

    assert bare == []
