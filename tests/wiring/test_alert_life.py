"""Facts about alerts as a person meets them, from the configuration to the database, event by event."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.alert_site import START_MS, AlertSite

HOT = """\
rules:
  - name: stuffy
    kind: room
    when: {metric: co2, above: 1000, clear_below: 900}
"""
HIGH, LOW = {"lab": 1200.0}, {"lab": 500.0}


def zoned_ms(text: str) -> int:
    """Return a time of UTC such as 2026-03-29T00:30."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_what_comes_and_goes_is_one_alert_after_a_while(tmp_path: Path) -> None:
    """Three openings within a minute make the third one stay; it ends once the condition was away for a minute."""
    site = AlertSite(tmp_path, HOT + "    flapping: {changes: 3, within: 1m}\n")
    for _ in range(10):
        site.measure(HIGH)
        site.measure(LOW)
    for _ in range(7):
        site.measure(LOW, then=10)
    site.close()

    assert site.events == [
        "0 new warning lab stuffy",
        "1 end warning lab stuffy",
        "2 new warning lab stuffy",
        "3 end warning lab stuffy",
        "4 new warning lab stuffy flapping",
        # the last value above the level was at second 18
        "80 end warning lab stuffy flapping",
    ]


def test_twenty_rooms_that_fail_at_once_are_one_alert(tmp_path: Path) -> None:
    """It waits for the others, names them all, and ends once, when too few are left."""
    groups = 'groups: {north: ["n-*"], south: ["s-*"]}\n'
    site = AlertSite(tmp_path, groups + HOT + "    together: {groups: [north, south], gather: 5s}\n")
    rooms = [f"n-{number:02}" for number in range(20)]
    for room in rooms:
        site.measure({room: 1200.0}, then=0)
    site.measure({"s-1": 500.0, "hall": 1200.0}, then=10)
    site.measure(dict.fromkeys(rooms[:19], 500.0), then=10)
    site.measure({rooms[19]: 500.0}, then=10)
    site.close()

    assert site.events == [
        "0 new warning hall stuffy",
        "5 new warning north stuffy 20",
        "15 update warning north stuffy 1",
        "20 end warning north stuffy",
    ]
    assert site.changes[1].after.members == tuple(rooms)


def test_so_many_of_a_group_are_needed(tmp_path: Path) -> None:
    """With two of three nothing is said; the alert ends when there are fewer than that."""
    groups = 'groups: {north: ["n-*"]}\n'
    site = AlertSite(tmp_path, groups + HOT + "    together: {groups: [north], at_least: 3, gather: 0s}\n")
    site.measure({"n-1": 1200.0, "n-2": 1200.0})
    site.measure({"n-3": 1200.0})
    site.measure({"n-1": 500.0})
    site.close()

    assert site.events == ["1 new warning north stuffy 3", "2 end warning north stuffy 2"]
    assert [change.after.value for change in site.changes] == [3.0, 2.0]


@pytest.mark.parametrize("with_snapshot", [False, True], ids=["from the journal", "from a snapshot"])
class TestARestartInEveryState:
    """Killed and started again, an alert is where it was before the first message."""

    def test_pending(self, tmp_path: Path, *, with_snapshot: bool) -> None:
        """What had to hold goes on to be counted from where it began."""
        site = AlertSite(tmp_path, HOT + "    for: 20s\n")
        site.measure_for(10, HIGH)
        site.restart(with_snapshot=with_snapshot)
        site.measure_for(15, HIGH)
        site.close()

        assert site.events == ["20 new warning lab stuffy"]
        assert site.changes[0].after.since_ms == START_MS

    def test_active(self, tmp_path: Path, *, with_snapshot: bool) -> None:
        """It opens no second time, and ends as the same alert."""
        site = AlertSite(tmp_path, HOT)
        site.measure_for(5, HIGH)
        site.restart(away=60, with_snapshot=with_snapshot)
        assert list(site.book.active) == [("stuffy", "lab")]
        site.measure_for(5, HIGH)
        site.measure_for(5, LOW)
        site.close()

        assert site.events == ["0 new warning lab stuffy", "70 end warning lab stuffy"]
        assert {change.after.alert for change in site.changes} == {1}

    def test_cleared_and_cooling_down(self, tmp_path: Path, *, with_snapshot: bool) -> None:
        """It does not open again before its time."""
        site = AlertSite(tmp_path, HOT + "    cooldown: 30s\n")
        site.measure(HIGH)
        site.measure(LOW)
        site.restart(with_snapshot=with_snapshot)
        site.measure_for(60, HIGH)
        site.close()

        assert site.events == [
            "0 new warning lab stuffy",
            "1 end warning lab stuffy",
            "31 new warning lab stuffy",
        ]

    def test_acknowledged(self, tmp_path: Path, *, with_snapshot: bool) -> None:
        """It escalates no further, and its end says who had it."""
        site = AlertSite(tmp_path, HOT + "    escalate: [{severity: critical, after: 30s}]\n")
        site.measure(HIGH)
        site.acknowledge(1)
        site.restart(with_snapshot=with_snapshot)
        site.measure_for(60, HIGH)
        site.measure(LOW)
        site.close()

        assert site.events == [
            "0 new warning lab stuffy",
            "1 update warning lab stuffy",
            "61 end warning lab stuffy",
        ]
        assert site.changes[-1].after.by == "ann"

    def test_snoozed(self, tmp_path: Path, *, with_snapshot: bool) -> None:
        """It is snoozed for as long as was asked, also when it ends and opens again meanwhile."""
        site = AlertSite(tmp_path, HOT)
        site.measure(HIGH)
        site.snooze(1, 60)
        site.measure(LOW)
        site.restart(away=10, with_snapshot=with_snapshot)
        site.measure_for(60, HIGH)
        site.close()

        assert site.events == [
            "0 new warning lab stuffy",
            "1 update warning lab stuffy (snoozed)",
            "1 end warning lab stuffy (snoozed)",
            "12 new warning lab stuffy (snoozed)",
            "61 update warning lab stuffy",
        ]
        assert site.told[-1] == "61 new warning lab stuffy"

    def test_suppressed(self, tmp_path: Path, *, with_snapshot: bool) -> None:
        """What explains it still does."""
        site = AlertSite(tmp_path, POWER)
        site.measure({"building": 0.0})
        site.measure(HIGH)
        site.restart(with_snapshot=with_snapshot)
        site.measure_for(10, {"building": 0.0, **HIGH})
        site.close()

        assert site.told == ["0 new warning building power"]

    def test_flapping(self, tmp_path: Path, *, with_snapshot: bool) -> None:
        """It stays one alert."""
        site = AlertSite(tmp_path, HOT + "    flapping: {changes: 2, within: 1m}\n")
        for _ in range(3):
            site.measure(HIGH)
            site.measure(LOW)
        site.restart(with_snapshot=with_snapshot)
        for _ in range(3):
            site.measure(HIGH)
            site.measure(LOW)
        site.close()

        assert site.events == [
            "0 new warning lab stuffy",
            "1 end warning lab stuffy",
            "2 new warning lab stuffy flapping",
        ]

    def test_of_a_group(self, tmp_path: Path, *, with_snapshot: bool) -> None:
        """Its members are known, and it ends when they are well."""
        site = AlertSite(tmp_path, 'groups: {north: ["n-*"]}\n' + HOT + "    together: {groups: [north], gather: 2s}\n")
        site.measure({"n-1": 1200.0, "n-2": 1200.0}, then=5)
        site.restart(with_snapshot=with_snapshot)
        site.measure({"n-1": 1200.0}, then=5)
        site.measure({"n-1": 500.0, "n-2": 500.0})
        site.close()

        assert site.events == ["2 new warning north stuffy 2", "10 end warning north stuffy"]


POWER = """\
entities:
  building: {kind: room}
  lab: {kind: room, parent: building}
rules:
  - name: power
    kind: room
    entities: [building]
    when: {metric: co2, below: 1, clear_above: 2}
  - name: stuffy
    kind: room
    entities: [lab, hall]
    when: {metric: co2, above: 1000, clear_below: 900}
    suppressed_by: [power]
"""


def test_an_alert_that_another_one_explains_is_not_told(tmp_path: Path) -> None:
    """It is told half a minute after the other one ended, where it is still there; a room elsewhere is told at once."""
    site = AlertSite(tmp_path, POWER)
    site.measure({"building": 0.0})
    site.measure({"lab": 1200.0, "hall": 1200.0}, then=9)
    site.measure({"building": 5.0}, then=60)
    site.close()

    assert site.told == [
        "0 new warning building power",
        "1 new warning hall stuffy",
        "10 end warning building power",
        "40 new warning lab stuffy",
    ]


def test_an_alert_that_ends_while_it_is_explained_is_never_told(tmp_path: Path) -> None:
    """Nobody hears of it, and everything is in the database."""
    site = AlertSite(tmp_path, POWER)
    site.measure({"building": 0.0})
    site.measure({"lab": 1200.0})
    site.measure({"lab": 500.0, "building": 5.0}, then=60)
    site.close()

    assert site.told == ["0 new warning building power", "2 end warning building power"]
    assert site.events == [
        "0 new warning building power",
        "1 new warning lab stuffy (suppressed)",
        "2 end warning building power",
        "2 end warning lab stuffy (suppressed)",
    ]


NIGHT = HOT + '    quiet: {hours: [{from: "22:00", to: "06:00"}]}\n'


def test_nobody_is_woken_over_midnight(tmp_path: Path) -> None:
    """What opens at night and is still there in the morning is told at six; what ended before is not."""
    site = AlertSite(tmp_path, NIGHT, zone="Europe/Brussels", start_ms=zoned_ms("2026-11-25T20:59:50"))
    site.measure({"early": 1200.0}, then=20)
    # 22:00:10 by the clock on the wall
    site.measure({"short": 1200.0, "long": 1200.0}, then=3600)
    site.measure({"short": 500.0, "early": 500.0}, then=8 * 3600)
    site.close()

    until_six = 8 * 3600 + 10
    assert site.told == [
        "0 new warning early stuffy",
        "3620 end warning early stuffy",
        f"{until_six} new warning long stuffy",
    ]


def test_what_is_critical_wakes_people(tmp_path: Path) -> None:
    """Also when it becomes so during the night."""
    escalates = NIGHT + "    escalate: [{severity: critical, above: 2000}]\n"
    site = AlertSite(tmp_path, escalates, zone="Europe/Brussels", start_ms=zoned_ms("2026-11-25T23:30"))
    site.measure({"lab": 1200.0}, then=60)
    site.measure({"lab": 2500.0}, then=60)
    site.close()

    assert site.events == ["0 new warning lab stuffy (quiet)", "60 update critical lab stuffy"]
    assert site.told == ["60 new critical lab stuffy"]


@pytest.mark.parametrize(
    ("begins", "hours"),
    [
        pytest.param("2026-03-28T21:00", 7, id="an hour less in spring"),
        pytest.param("2026-10-24T20:00", 9, id="an hour more in autumn"),
    ],
)
def test_a_quiet_night_follows_the_clock_on_the_wall(tmp_path: Path, begins: str, hours: int) -> None:
    """From ten to six, also in the nights in which the clock is changed."""
    site = AlertSite(tmp_path, NIGHT, zone="Europe/Brussels", start_ms=zoned_ms(begins))
    site.measure({"lab": 1200.0}, then=10 * 3600)
    site.close()

    assert site.told == [f"{hours * 3600} new warning lab stuffy"]


def test_a_rule_with_hours_ends_with_them(tmp_path: Path) -> None:
    """An alert ends when the shop closes, and there is none before it opens, whoever measures what."""
    hours = HOT + '    schedule: [{days: [mon-sat], from: "09:00", to: "18:00"}]\n'
    # a Friday, at half past eight
    site = AlertSite(tmp_path, hours, start_ms=zoned_ms("2026-11-27T08:30"))
    for _ in range(25):
        site.measure(HIGH, then=1800)
    site.close()

    assert site.events == ["1800 new warning lab stuffy", "34200 end warning lab stuffy"]


def test_nobody_hears_of_a_room_that_says_nothing(tmp_path: Path) -> None:
    """Silence of a metric and of an entity begins with its last reading, and ends with the next one."""
    site = AlertSite(
        tmp_path,
        """\
entities: {cellar: {kind: room}}
rules:
  - {name: dead, kind: room, when: {silent: true, longer: 5m}, severity: critical}
  - {name: gone, kind: room, when: {silent: true, metric: co2}}
""",
    )
    site.measure({"lab": 500.0}, then=200)
    site.measure({"cellar": 500.0}, then=150)
    site.measure({"lab": 500.0})
    site.close()

    # 180 s are three periods; of the cellar nothing was ever heard
    assert site.events == [
        "181 new warning cellar gone",
        "181 new warning lab gone",
        "201 end warning cellar gone",
        "301 new critical lab dead",
        "351 end critical lab dead",
        "351 end warning lab gone",
    ]


def test_the_odd_one_is_found_among_its_like(tmp_path: Path) -> None:
    """A room far from the others of its group, and no room where all of them rise."""
    rules = """\
groups: {north: ["n-*"]}
rules:
  - {name: odd, kind: room, when: {peers: co2, above: 6, clear_below: 4}}
"""
    site = AlertSite(tmp_path, rules)
    usual = {f"n-{number}": 500.0 + 5 * number for number in range(8)}
    site.measure({**usual, "s-1": 5000.0})
    site.measure({name: value + 700 for name, value in usual.items()})
    site.measure({"n-3": 5000.0})
    site.measure({"n-3": 1215.0})
    site.close()

    assert site.events == ["3 new warning n-3 odd", "4 end warning n-3 odd"]


def test_a_jump_of_the_clock_opens_and_ends_nothing(tmp_path: Path) -> None:
    """Snoozes apart, nothing looks at the gateway's clock: a pending alert, escalation and silence go on."""
    site = AlertSite(
        tmp_path,
        HOT
        + """\
    for: 20s
    escalate: [{severity: critical, after: 30s}]
  - {name: dead, kind: room, when: {silent: true, longer: 5m}}
""",
    )
    site.measure_for(10, HIGH)
    before = site.now_ms
    # the gateway's own clock says another year now; the readings and the monotonic clock go on
    for seconds in (40, 3600):
        transitions = site.twin.on_tick(before, is_heard=True, since_start_ms=10_000)
        far_ms = before + 365 * 86_400_000 * seconds
        site._keep(site.book.apply(transitions, now_ms=far_ms) + site.book.tick(before, now_ms=far_ms))
    site.measure_for(60, HIGH)
    site.close()

    assert site.events == ["20 new warning lab stuffy", "50 update critical lab stuffy"]


def test_escalation_is_counted_anew_when_the_clock_is_put_right(tmp_path: Path) -> None:
    """An alert that opened in 1970 has not been active for fifty years."""
    site = AlertSite(tmp_path, HOT + "    escalate: [{severity: critical, after: 30s}]\n", start_ms=0)
    site.measure(HIGH)
    right_ms = START_MS
    site.book.mend(right_ms)

    early = site.book.tick(right_ms + 29_000, now_ms=right_ms)
    late = site.book.tick(right_ms + 30_000, now_ms=right_ms)
    site.close()

    assert early == []
    assert [change.after.severity for change in late] == ["critical"]
