"""Facts about a pushed configuration that is laid over the local one."""

from pathlib import Path

import pytest

from attwin.core.errors import SettingsError
from attwin.settings.layers import Layer
from attwin.settings.load import load_settings, load_with_origins

LOCAL = """\
version: 1
gateway: {id: g}
broker: {url: "mqtt://local"}
kinds:
  room:
    metrics:
      co2: {unit: ppm, max: 5000}
sources:
  - {topic: "s/{entity}/{metric}", kind: room}
rules:
  - {name: stuffy, kind: room, when: {metric: co2, above: 1000}}
  - {name: empty, kind: room, when: {metric: co2, below: 300}}
updates: {pinned: [broker.url, kinds.room.metrics.co2.max]}
"""


def layered(folder: Path, text: str) -> tuple[Path, Layer]:
    """Write both files."""
    (folder / "attwin.yaml").write_text(LOCAL, encoding="utf-8")
    (folder / "layer").write_text(text, encoding="utf-8")
    return folder / "attwin.yaml", Layer(path=folder / "layer", name="house-3")


def problems(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a layer."""
    path, layer = layered(folder, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {}, layer=layer)
    return caught.value.problems


def test_keys_are_merged_and_named_items_replaced(tmp_path: Path) -> None:
    """Rules keep their order, one that the layer names takes its place at the end, a new one is added."""
    path, layer = layered(
        tmp_path,
        """\
kinds: {room: {metrics: {co2: {min: 100}, light: {unit: lx}}}}
rules:
  - {name: stuffy, kind: room, when: {metric: co2, above: 1200}}
  - {name: dark, kind: room, when: {metric: light, below: 10}}
""",
    )
    settings, origins = load_with_origins(path, {}, layer=layer)

    assert [rule.name for rule in settings.rules] == ["empty", "stuffy", "dark"]
    assert settings.rules[1].when.above == 1200
    assert (settings.kinds["room"].metrics["co2"].min, settings.kinds["room"].metrics["co2"].max) == (100, 5000)
    assert "light" in settings.kinds["room"].metrics
    assert origins["kinds.room.metrics.co2.min"] == "house-3:1"
    assert origins["rules[1].when.above"] == "house-3:3"
    assert origins["rules[0].when.below"] == "attwin.yaml:12"


def test_what_is_pinned_stays(tmp_path: Path) -> None:
    """Without a word: the layer is for many gateways."""
    path, layer = layered(
        tmp_path, 'broker: {url: "mqtt://elsewhere"}\nkinds: {room: {metrics: {co2: {max: 9}}}}\nquiet: {hours: []}\n'
    )
    settings = load_settings(path, {}, layer=layer)
    assert settings.broker.url == "mqtt://local"
    assert settings.kinds["room"].metrics["co2"].max == 5000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gateway: {id: other}", "house-3:1: gateway: only the gateway's own file may say that"),
        ("store: {path: /tmp/x}", "house-3:1: store: only the gateway's own file may say that"),
        ("updates: {root: x}", "house-3:1: updates: only the gateway's own file may say that"),
        ("privacy: {key: x}", "house-3:1: privacy: only the gateway's own file may say that"),
        (
            'reactions: [{name: r, command: ["/bin/sh"]}]',
            "house-3:1: reactions: only the gateway's own file may say that",
        ),
        ("- a list", "house-3:1: a pushed configuration is a mapping such as `rules: [...]`"),
        ("rules: [{name: x", "house-3:2: not YAML: "),
        ("\nrulez: []", "house-3:2: rulez: not a setting; did you mean `rules`?"),
    ],
)
def test_what_a_layer_must_not_say_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """Whom it trusts, where it keeps data, who it is, and what it runs is the gateway's own."""
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(said)
