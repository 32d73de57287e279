"""Facts about rules on what is expected and on what is strange, from the configuration to the database."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.alert_site import AlertSite

FORECAST = "    forecast: {of: [co2], every: 10m, horizons: [30m, 1h, 2h]}\n"
BY_MINUTE = "    forecast: {of: [co2], every: 1m, horizons: [5m, 15m]}\n"
ANOMALY = "    anomaly: {of: [co2], every: 1m}\n"
RULES = """\
rules:
  - {name: soon, kind: room, when: {warning: co2, above: 1000, within: 1h}, severity: info}
  - {name: later, kind: room, when: {forecast: co2, in: 1h, above: 1000, clear_below: 950}}
  - {name: full, kind: room, when: {metric: co2, above: 1000, clear_below: 990}, severity: critical}
"""


STEPS_A_DAY = 144


def days(count: int, seed: int = 1) -> NDArray[np.float64]:
    """Return CO2 every ten minutes, which rises from 500 to 1200 by noon of each day and falls again."""
    place = np.arange(count * STEPS_A_DAY)
    day = 850 - 350 * np.cos(2 * np.pi * place / STEPS_A_DAY)
    return day + np.random.default_rng(seed).normal(0, 5, len(place))


def play(site: AlertSite, values: Iterable[float], *, every_s: int = 600) -> None:
    """Measure at each step."""
    for value in values:
        site.measure({"lab": value}, then=0)
        site.now_s += every_s


def events(site: AlertSite, rule: str, after_s: int) -> list[tuple[int, str]]:
    """Return (second, type) of the events of a rule after a time."""
    found = [line.split() for line in site.events]
    return [(int(line[0]), line[1]) for line in found if line[4] == rule and int(line[0]) > after_s]


def test_a_warning_comes_before_the_alert_and_says_when(tmp_path: Path) -> None:
    """After some days, within the hour before, with an interval; it is graded when the level is passed."""
    site = AlertSite(tmp_path, RULES, kind=FORECAST)
    play(site, days(12))
    site.close()

    learned = 7 * 86_400
    starts = {
        rule: [second for second, kind in events(site, rule, learned) if kind == "new"]
        for rule in ("full", "soon", "later")
    }
    assert len(starts["full"]) == 5
    for second in starts["full"]:
        assert any(600 <= second - warned <= 4800 for warned in starts["soon"]), starts
        assert any(600 <= second - warned <= 6000 for warned in starts["later"]), starts
    texts = [c.after.text for c in site.changes if c.after.rule == "soon" and c.before is None]
    assert all(re.fullmatch(r"above 1000 in [\d.]+ (min|h), [\d.]+ to [\d.]+", text) for text in texts)
    lately = [warned for warned in site.warned if warned.made_ms > site.now_ms - 1000 * 5 * 86_400]
    came = [(warned.came_ms - warned.made_ms) / 60_000 for warned in lately if warned.came_ms is not None]
    assert len(came) == len(lately) >= 5
    assert all(10 <= lead <= 80 for lead in came)


def test_a_warning_that_does_not_come_true_is_counted(tmp_path: Path) -> None:
    """The day began like the others and turned before the level."""
    site = AlertSite(tmp_path, RULES, kind=FORECAST)
    play(site, days(10))
    last = days(1, seed=2)
    play(site, np.where(last > 950, 950 - (last - 950), last))
    site.close()

    made_today = [w for w in site.warned if w.made_ms > site.now_ms - 1000 * 86_400]
    assert [warned.came_ms for warned in made_today] == [None] * len(made_today)
    assert made_today


def test_an_alert_on_an_anomaly_ends_with_it(tmp_path: Path) -> None:
    """A day of noise, half an hour of something else: one alert while it lasts."""
    rules = "rules:\n  - {name: odd, kind: room, when: {anomaly: co2, above: 0.98, clear_below: 0.5}, count: 2}\n"
    site = AlertSite(tmp_path, rules, kind=ANOMALY)
    values = np.random.default_rng(5).normal(600, 10, 26 * 60)
    values[25 * 60 : 25 * 60 + 30] += 300
    play(site, values, every_s=60)
    site.close()

    (opened, first), (ended, second) = events(site, "odd", 60 * 60)
    assert (first, second) == ("new", "end")
    assert 0 < opened - 25 * 3600 < 300
    assert 0 < ended - (25 * 3600 + 1800) < 600


@pytest.mark.parametrize("with_snapshot", [False, True], ids=["from nothing", "from what was saved"])
def test_what_was_learned_outlives_a_restart(tmp_path: Path, *, with_snapshot: bool) -> None:
    """With it, forecasts go on with their record; without it they begin anew."""
    site = AlertSite(tmp_path, RULES, kind=FORECAST)
    play(site, days(5))
    before = {row.horizon_ms: row for row in site.foresight.rows()}
    site.restart(with_snapshot=with_snapshot)
    play(site, days(1)[:4])
    after = {row.horizon_ms: row for row in site.foresight.rows()}
    site.close()

    hour_ms = 3_600_000
    assert before[hour_ms].grades > 4 * STEPS_A_DAY
    if with_snapshot:
        assert 0 <= after[hour_ms].grades - before[hour_ms].grades <= 5
        assert after[hour_ms].forecaster == before[hour_ms].forecaster
    else:
        # the journal of the last hour is replayed
        assert after[hour_ms].grades < 10


def test_late_and_early_readings_find_their_step(tmp_path: Path) -> None:
    """A step is the mean of what was measured in it, whatever the order of arrival within the lateness."""
    site = AlertSite(tmp_path, "rules: []\n", kind=BY_MINUTE)
    for minute in range(3):
        site.measure({"lab": 10.0 * minute + 1.0}, then=30)
        site.measure({"lab": 10.0 * minute + 3.0}, then=30)
    site.measure({"lab": 99.0}, then=3)
    site.measure({"lab": 99.0})
    site.close()

    (first, *_) = site.foresight.rows()
    # minute 0 is the mean of 1 and 3, minute 2 that of 21 and 23
    assert first.value == pytest.approx(22.0)
