"""Facts about the settings of what goes upstream."""

from pathlib import Path

import pytest

from attwin.core.errors import SettingsError
from attwin.core.lanes import DEFAULT_OUTBOX, LanePolicy, Overflow
from attwin.settings.load import load_settings
from attwin.settings.model import UpstreamSettings
from attwin.settings.show import as_plain
from attwin.wiring.outbox import outbox_policy

TEXT = """\
version: 1
gateway: {id: g}
broker: {url: "mqtt://127.0.0.1"}
upstream: {url: "mqtt://127.0.0.1", MORE}
kinds:
  room: {metrics: {co2: {unit: ppm}}}
sources:
  - {topic: "s/{entity}/{metric}", kind: room}
"""


def load(folder: Path, more: str) -> UpstreamSettings:
    """Return the settings of an upstream."""
    path = folder / "attwin.yaml"
    path.write_text(TEXT.replace("MORE", more), encoding="utf-8")
    settings = load_settings(path, {})
    assert settings.upstream
    return settings.upstream


def test_what_is_not_said_is_as_the_outbox_has_it_by_itself() -> None:
    """The defaults of the settings and of the outbox are the same."""
    assert outbox_policy(UpstreamSettings(url="")) == outbox_policy(None) == DEFAULT_OUTBOX


def test_a_lane_is_changed_in_part(tmp_path: Path) -> None:
    """The rest of it, and the other lanes, stay as they are."""
    policy = outbox_policy(load(tmp_path, "lanes: {aggregates: {ttl: 1h}, twin: {overflow: drop-newest, ttl: 0}}"))

    assert policy.lanes["aggregates"] == LanePolicy(
        ttl_ms=3_600_000, budget_bytes=64_000_000, overflow=Overflow.DROP_OLDEST
    )
    assert policy.lanes["twin"] == LanePolicy(ttl_ms=0, budget_bytes=16_000_000, overflow=Overflow.DROP_NEWEST)
    assert policy.lanes["health"] == DEFAULT_OUTBOX.lanes["health"]


def test_what_is_shown_reads_back(tmp_path: Path) -> None:
    """Lanes and schedules too."""
    more = 'connect: {every: 1h, for: 5m, at: ["06:00"]}, limit: 10KB, lanes: {twin: {budget: 5MB}}'
    load(tmp_path, more)
    path = tmp_path / "attwin.yaml"
    plain = as_plain(load_settings(path, {}))

    shown = plain["upstream"]
    assert isinstance(shown, dict)
    assert shown["connect"] == {"every": "1h", "for": "5m", "at": ["06:00"], "urgent": True}
    assert (shown["limit"], shown["lanes"]["twin"]["budget"]) == ("10KB", "5MB")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("lanes: {alerts: {overflow: coalesce}}", "lanes.alerts.overflow: would lose all events but the newest"),
        ("lanes: {twin: {budget: 1KB}}", "lanes.twin.budget: less than the largest message, 64000 bytes"),
        ("lanes: {twins: {ttl: 1h}}", "lanes.twins: not a setting; did you mean `twin`?"),
        (
            "lanes: {twin: {overflow: drop}}",
            "lanes.twin.overflow: one of drop-oldest, drop-newest, coalesce, not `drop`",
        ),
        ("largest: 10B", "largest: 1000B or more"),
        ("connect: {for: 5m}", "connect: either `every:` or `at:`, or both"),
        ('connect: {at: ["6:00"]}', 'connect.at[0]: a time of day such as "06:00", not `6:00`'),
        ("connect: {every: 1m, for: 5m}", "connect.every: shorter than it is open"),
        ("connect: {every: 1h, for: 1ms}", "connect.for: 1s or more"),
        ("aggregates: {metrics: [co3]}", "aggregates.metrics[0]: `co3` is a metric of no kind; known: co2"),
        ("aggregates: {metrics: [co2, co2]}", "aggregates.metrics[1]: `co2` stands twice"),
        ("aggregates: {every: 10ms}", "aggregates.every: 1s or more, or 0 for none"),
        ("aggregates: {change: -1}", "aggregates.change: 0 or more"),
        ("aggregates: {full: 0}", "aggregates.full: 1 or more"),
        ("twin_change: -0.1", "twin_change: 0 or more"),
    ],
)
def test_a_wrong_setting_is_told(tmp_path: Path, more: str, expected: str) -> None:
    """With its place and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, more)

    assert len(caught.value.problems) == 1
    assert f"upstream.{expected}" in caught.value.problems[0]
