"""Facts about what the configuration may say of rules and groups."""

from pathlib import Path

import pytest

from attwin.core.catalogue import Kind, Metric
from attwin.core.errors import SettingsError
from attwin.core.rules import Basis, Rule, sentence
from attwin.core.schedules import Hours
from attwin.settings.load import load_settings
from attwin.settings.show import as_plain
from attwin.wiring.rules import rules_of

HEAD = """\
version: 1
gateway: {id: g1, zone: Europe/Berlin}
broker: {url: "mqtt://127.0.0.1"}
kinds:
  room: {metrics: {co2: {unit: ppm, every: 1m}, noise: {unit: dB}}}
sources: [{topic: "s/{entity}/{metric}", kind: room}]
groups: {north: ["n-*"]}
rules:
"""
KINDS = [
    Kind(
        name="room",
        metrics=(Metric(name="co2", unit="ppm", every_ms=60_000), Metric(name="noise", unit="dB")),
        windows_ms=(),
        step_ms=1000,
        lateness_ms=0,
    )
]


def rule_of(folder: Path, rule: str) -> Rule:
    """Return a rule as the agent has it."""
    path = folder / "attwin.yaml"
    path.write_text(HEAD + f"  - {{name: r, kind: room, {rule}}}\n", encoding="utf-8")
    (rule_found,) = rules_of(load_settings(path, {}), KINDS, {})
    return rule_found


def problems(folder: Path, rule: str) -> list[str]:
    """Return what is wrong with a rule."""
    with pytest.raises(SettingsError) as caught:
        rule_of(folder, rule)
    return caught.value.problems


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        pytest.param("when: {above: 3}", "one of metric, feature, attention", id="about nothing"),
        pytest.param("when: {metric: co2, peers: co2, above: 3}", "one of metric, feature", id="about two things"),
        pytest.param("when: {metric: co3, above: 3}", "did you mean `co2`?", id="an unknown metric"),
        pytest.param("when: {peers: co3, above: 3}", "did you mean `co2`?", id="peers of an unknown metric"),
        pytest.param("when: {peers: co2, below: 3}", "with `peers:` goes `above:`", id="peers that are near"),
        pytest.param("when: {attention: true, above: 3}", "kind `room` has no model", id="attention without a model"),
        pytest.param("when: {feature: co2.mean_5m, above: 3}", "has no model", id="a feature without a model"),
        pytest.param("when: {silent: true}", "goes `longer:`", id="silence without a time"),
        pytest.param("when: {silent: true, metric: noise}", "goes `longer:`", id="no period is promised"),
        pytest.param("when: {silent: true, longer: 5m, above: 3}", "has no level", id="silence above a level"),
        pytest.param("when: {metric: co2, above: 3, longer: 5m}", "goes with `silent: true`", id="longer of a value"),
        pytest.param("when: {metric: co2, above: 3}, count: 0", "1 or more", id="no value in a row"),
        pytest.param("when: {metric: co2, above: 3}, flapping: {changes: 1}", "2 or more", id="flaps at once"),
        pytest.param(
            "when: {metric: co2, above: 3}, together: {groups: [nort]}", "did you mean `north`?", id="unknown group"
        ),
        pytest.param("when: {metric: co2, above: 3}, together: {at_least: 0}", "1 or more", id="a group of none"),
        pytest.param("when: {metric: co2, above: 3}, suppressed_by: [drif]", "did you mean `drift`?", id="no rule"),
        pytest.param("when: {metric: co2, above: 3}, suppressed_by: [r]", "does not explain its own", id="itself"),
        pytest.param(
            "when: {metric: co2, above: 3}, escalate: [{severity: critical, below: 2}]",
            "each with `after:` or `above:`",
            id="graver on the other side",
        ),
        pytest.param(
            "when: {metric: co2, above: 3}, escalate: [{severity: critical, above: 2}]",
            "each further than the one before and graver",
            id="graver before it begins",
        ),
        pytest.param(
            "when: {metric: co2, above: 3}, escalate: [{severity: info, above: 5}]",
            "each further than the one before and graver",
            id="milder",
        ),
        pytest.param(
            'when: {metric: co2, above: 3}, schedule: [{from: "8"}]', "a time of day such as 08:30", id="no time of day"
        ),
        pytest.param(
            "when: {metric: co2, above: 3}, quiet: {hours: [{days: [monday]}]}", "days such as mon", id="no day"
        ),
        pytest.param("when: {metric: co2, above: 3}, severity: grave", "one of info, warning, critical", id="severity"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_is_allowed(tmp_path: Path, rule: str, words: str) -> None:
    """The message has the line, and says what may stand there."""
    found = problems(tmp_path, rule)

    assert any(words in problem and problem.startswith("attwin.yaml:9:") for problem in found), found


def test_a_time_of_day_without_quotes_is_text(tmp_path: Path) -> None:
    """To YAML 1.1 22:30 is the number 1350; here it is half past ten."""
    rule = rule_of(tmp_path, "when: {metric: co2, above: 3}, schedule: [{days: [fri], from: 22:30, to: 06:00}]")

    assert rule.schedule is not None
    assert rule.schedule.spans == (Hours(days=(4,), from_minute=22 * 60 + 30, to_minute=6 * 60),)
    assert rule.schedule.zone == "Europe/Berlin"


def test_a_rule_says_in_words_what_it_is(tmp_path: Path) -> None:
    """For `attwin rules list` and `attwin alerts why`."""
    rule = rule_of(
        tmp_path,
        "when: {metric: co2, above: 1000, clear_below: 900}, for: 5m, count: 3, clear_for: 1m, cooldown: 1h, "
        "escalate: [{severity: critical, above: 2000}], together: {groups: [north], at_least: 2}",
    )
    silence = rule_of(tmp_path, "when: {silent: true, metric: co2}")

    assert sentence(rule) == (
        "co2 above 1000, clears below 900, for 5m, clears after 1m, not again within 1h, 3 values in a row, "
        "critical above 2000, at least 2 of north"
    )
    assert (sentence(silence), silence.subject.basis) == ("silence of co2 for 3m", Basis.SILENCE)


def test_quiet_hours_of_all_rules_hold_for_each_that_has_none(tmp_path: Path) -> None:
    """A rule's own come first."""
    path = tmp_path / "attwin.yaml"
    own = "quiet: {hours: [{from: 01:00, to: 02:00}], except: []}"
    path.write_text(
        HEAD
        + "  - {name: a, kind: room, when: {metric: co2, above: 3}}\n"
        + f"  - {{name: b, kind: room, when: {{metric: co2, above: 3}}, {own}}}\n"
        + "quiet: {hours: [{from: 22:00, to: 06:00}]}\n",
        encoding="utf-8",
    )
    settings = load_settings(path, {})

    first, second = rules_of(settings, KINDS, {})

    assert [rule.quiet.spans[0].from_minute for rule in (first, second) if rule.quiet] == [22 * 60, 60]
    assert (first.quiet_except, second.quiet_except) == (("critical",), ())
    assert as_plain(settings)["quiet"] == {
        "hours": [{"days": ["mon-sun"], "from": "22:00", "to": "06:00"}],
        "except": ["critical"],
    }


def test_a_parent_is_an_entity_or_a_group(tmp_path: Path) -> None:
    """Anything else is a slip of the pen."""
    path = tmp_path / "attwin.yaml"
    text = HEAD.replace("rules:", "entities: {a: {kind: room, parent: PARENT}, b: {kind: room}}")

    path.write_text(text.replace("PARENT", "nort"), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {})
    path.write_text(text.replace("PARENT", "b"), encoding="utf-8")

    assert "no entity and no group; did you mean `north`?" in caught.value.problems[0]
    assert load_settings(path, {}).entities["a"].parent == "b"
