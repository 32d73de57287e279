"""Facts about rules over recorded readings."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from attwin.settings.load import load_settings
from attwin.wiring.rehearsal import Recorded, Span, differences, of_database, rehearse, spans_of
from support.alert_site import START_MS, AlertSite

RULES = """\
rules:
  - name: stuffy
    kind: room
    when: {metric: co2, above: 1000, clear_below: 900}
    for: 20s
    escalate: [{severity: critical, after: 2m}]
  - {name: dead, kind: room, when: {silent: true, longer: 5m}}
"""


def a_recording(seconds: list[int], values: list[float]) -> Recorded:
    """Return readings of one room."""
    count = len(seconds)
    return Recorded(
        kind="room",
        entities=["lab"],
        metrics=["co2"],
        entity=np.zeros(count, np.int32),
        metric=np.zeros(count, np.int32),
        time_ms=START_MS + 1000 * np.array(seconds, np.int64),
        value=np.array(values),
    )


def rehearsed(folder: Path, *recorded: Recorded) -> list[str]:
    """Return what the rules of a site give."""
    changes = rehearse(load_settings(folder / "attwin.yaml", {}), recorded)
    return [
        f"{(c.after.time_ms - START_MS) // 1000} {c.type} {c.after.severity} {c.after.entity} {c.after.rule}"
        for c in changes
    ]


def test_a_rehearsal_gives_what_happened(tmp_path: Path) -> None:
    """The readings that a site has stored give its alerts again, those that time brings included."""
    site = AlertSite(tmp_path, RULES)
    for number in range(30):
        site.measure({"lab": 1200.0 if number > 5 else 500.0, "hall": 400.0}, then=10)
    site.wait(400)
    site.measure({"lab": 500.0, "hall": 400.0})
    site.close()

    recorded = of_database(tmp_path / "twin.db", ["room"], from_ms=0)

    assert rehearsed(tmp_path, *recorded) == site.events
    assert len(site.events) == 7


def test_a_rehearsal_is_the_same_each_time(tmp_path: Path) -> None:
    """Its clock is that of the readings, and how they are cut does not matter."""
    AlertSite(tmp_path, RULES).close()
    rng = np.random.default_rng(7)
    seconds = np.cumsum(rng.integers(1, 30, 200)).tolist()
    recording = a_recording(seconds, rng.choice([500.0, 950.0, 1200.0], 200).tolist())

    first, second = rehearsed(tmp_path, recording), rehearsed(tmp_path, recording)

    assert first == second
    assert len(first) > 3


def test_differences_are_what_one_has_and_the_other_has_not() -> None:
    """An alert is the same where rule and entity are, and both were active at one time."""

    def span(rule: str, opened: int, cleared: int | None, severity: str = "warning") -> Span:
        return Span(rule=rule, entity="lab", severity=severity, opened_ms=opened, cleared_ms=cleared)

    same, later, graver = span("a", 0, 10), span("b", 0, 10), span("c", 0, None)
    gone, new = span("d", 5, 10), span("d", 20, 30)
    before, after = [same, later, graver, gone], [same, span("b", 3, 12), span("c", 0, None, "critical"), new]

    found = differences(before, after)

    assert [(sign, (old or new_one).rule) for sign, old, new_one in found if old or new_one] == [  # type: ignore[union-attr]
        ("~", "b"),
        ("~", "c"),
        ("-", "d"),
        ("+", "d"),
    ]


def test_what_goes_on_has_no_end(tmp_path: Path) -> None:
    """A span without one overlaps all that comes later."""
    AlertSite(tmp_path, RULES).close()
    recording = a_recording([0, 10, 20, 30], [1200.0] * 4)
    changes = rehearse(load_settings(tmp_path / "attwin.yaml", {}), [recording])

    (span,) = spans_of(changes)

    assert (span.opened_ms, span.cleared_ms) == (START_MS + 20_000, None)


def test_the_command_prints_alerts_and_differences(tmp_path: Path) -> None:
    """From a file; another configuration gives other alerts, and each difference is said."""
    AlertSite(tmp_path, RULES).close()
    old = tmp_path / "attwin.yaml"
    new = tmp_path / "new.yaml"
    new.write_text(old.read_text(encoding="utf-8").replace("for: 20s", "for: 60s"), encoding="utf-8")
    rows = "".join(f"{START_MS // 1000 + second},{1200 if second > 50 else 500}\n" for second in range(0, 300, 10))
    (tmp_path / "co2.csv").write_text("time,co2\n" + rows, encoding="utf-8")
    command = [sys.executable, "-m", "attwin", "rules", "test", "--replay", str(tmp_path / "co2.csv"), "--json"]

    told = subprocess.run([*command, "--config", str(old)], capture_output=True, text=True, check=True)
    other = subprocess.run(
        [*command, "--config", str(new), "--diff", "--against", str(old)], capture_output=True, text=True, check=True
    )

    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(event["type"], event["severity"]) for event in events] == [("new", "warning"), ("update", "critical")]
    (difference,) = map(json.loads, other.stdout.splitlines())
    assert difference["difference"] == "~"
    assert difference["after"]["opened_ms"] - difference["before"]["opened_ms"] == 40_000
