"""Facts about threshold rules."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.local_time import MS_PER_DAY
from attwin.core.rules import Basis, Flapping, Level, Rule, RuleStates, Subject
from attwin.core.schedules import Hours, Schedule
from attwin.core.types import AlertState
from support.builders import T0_MS

SECOND_MS = 1000


METRIC = Subject(basis=Basis.METRIC, name="m", column=0)
DAY_BREAKS_MS = T0_MS - T0_MS % MS_PER_DAY


def a_rule(*, above: bool = True, threshold: float = 10.0, clear: float = 8.0, for_ms: int = 0, **more: object) -> Rule:
    """Return a rule on the first metric of the first kind."""
    plain = Rule(
        name="r",
        kind=0,
        subject=METRIC,
        above=above,
        threshold=threshold,
        clear=clear,
        for_ms=for_ms,
        severity="warning",
    )
    return replace(plain, **more)  # type: ignore[arg-type] # fields by name


def transitions(states: RuleStates, values: list[float], start: int = 0) -> list[tuple[str, int]]:
    """Return (state, second) of the transitions that values a second apart cause for one entity."""
    times = T0_MS + SECOND_MS * (np.arange(len(values)) + start)
    found = states.evaluate(np.zeros(len(values), np.int32), times, np.array(values))
    return [(t.state.name.lower(), (t.time_ms - T0_MS) // SECOND_MS) for t in found]


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        pytest.param(a_rule(), [9, 11, 12], [("active", 1)], id="opens once"),
        pytest.param(a_rule(), [11, 9, 8, 7.9], [("active", 0), ("cleared", 3)], id="clears below its own level"),
        pytest.param(a_rule(), [10, 10], [], id="the level itself is no breach"),
        pytest.param(a_rule(for_ms=2000), [11, 11, 9, 11, 11, 11], [("active", 5)], id="must hold without a break"),
        pytest.param(a_rule(for_ms=2000), [11, 11, 11], [("active", 2)], id="after exactly the time"),
        pytest.param(
            a_rule(above=False, threshold=2, clear=3), [2, 1, 3, 4], [("active", 1), ("cleared", 3)], id="below"
        ),
        pytest.param(a_rule(), [float("nan"), 11, float("nan"), 7], [("active", 1), ("cleared", 3)], id="gaps"),
        pytest.param(a_rule(for_ms=2000), [11, float("nan"), 11], [("active", 2)], id="a gap ends nothing"),
        pytest.param(a_rule(count=3), [11, 11, 9, 11, 11, 11], [("active", 5)], id="so often in a row"),
        pytest.param(
            a_rule(clear_for_ms=2000), [11, 7, 9, 7, 7, 7], [("active", 0), ("cleared", 5)], id="calm for long"
        ),
        pytest.param(
            a_rule(cooldown_ms=4000),
            [11, 7, 11, 11, 11, 11],
            [("active", 0), ("cleared", 1), ("active", 5)],
            id="cools down",
        ),
        pytest.param(
            a_rule(), [11, 7, 11, 7], [("active", 0), ("cleared", 1), ("active", 2), ("cleared", 3)], id="again"
        ),
    ],
)
def test_a_rule_opens_and_clears(rule: Rule, values: list[float], expected: list[tuple[str, int]]) -> None:
    """Transitions come at the values that cause them."""
    assert transitions(RuleStates(0, rule), values) == expected


@dataclass
class Reference:
    """One entity by a plain state machine, a value after the other."""

    rule: Rule
    state: str = "cleared"
    since: int = 0
    count: int = 0
    level: int = 0
    calm: int | None = None
    cleared: int | None = None
    before: int | None = None
    flapping: bool = False

    def __post_init__(self) -> None:
        """Begin without a past."""
        self.opened: list[int] = []

    def step(self, now: int, value: float) -> tuple[str, int, str, bool] | None:
        """Take a value and return what it causes."""
        rule, before = self.rule, self.before
        breach = value > rule.threshold if rule.above else value < rule.threshold
        calm = value < rule.clear if rule.above else value > rule.clear
        level = sum(value > further.threshold for further in rule.levels)
        self.before = now
        says = None
        if self.state == "active":
            hold = max(rule.clear_for_ms, rule.flapping.within_ms if rule.flapping and self.flapping else 0)
            if not calm:
                self.calm = None
                if level > self.level:
                    self.level, says = level, "active"
            else:
                self.calm = now if self.calm is None else self.calm
                if now - self.calm >= hold:
                    self.opened = [] if self.flapping else self.opened
                    self.state, self.cleared, self.calm, self.flapping, says = "cleared", now, None, False, "cleared"
        elif not breach:
            self.state = "cleared"
        else:
            late = rule.gap_ms and before is not None and now - before > rule.gap_ms
            if self.state == "cleared" or late:
                self.state, self.since, self.count = "pending", now, 0
            self.count += 1
            cold = self.cleared is None or now - self.cleared >= rule.cooldown_ms
            if now - self.since >= rule.for_ms and self.count >= rule.count and cold:
                self.state, self.level, says = "active", level, "active"
                if rule.flapping:
                    self.opened = [*self.opened, now][-rule.flapping.changes :]
                    often = len(self.opened) == rule.flapping.changes
                    self.flapping = often and now - self.opened[0] <= rule.flapping.within_ms
        return (says, now, rule.severity_at(self.level), self.flapping) if says else None


RULES = st.builds(
    a_rule,
    for_ms=st.sampled_from([0, 1000, 3000]),
    count=st.integers(1, 3),
    gap_ms=st.sampled_from([0, 2000]),
    clear_for_ms=st.sampled_from([0, 2000]),
    cooldown_ms=st.sampled_from([0, 5000]),
    flapping=st.sampled_from([None, Flapping(changes=2, within_ms=6000), Flapping(changes=3, within_ms=9000)]),
    levels=st.sampled_from([(), (Level(threshold=11.0, severity="critical"),)]),
)


@given(
    rule=RULES,
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([5.0, 8.5, 9.5, 10.5, 12.0]), st.sampled_from([1, 1, 3])),
        max_size=40,
    ),
    cuts=st.lists(st.integers(0, 40), max_size=3),
)
def test_arrays_find_what_a_state_machine_finds(
    rule: Rule, rows: list[tuple[int, float, int]], cuts: list[int]
) -> None:
    """Evaluating a batch as arrays gives what each entity alone would give, wherever the batch is cut."""
    states, machines = RuleStates(0, rule), [Reference(rule) for _ in range(3)]
    times = T0_MS + SECOND_MS * np.cumsum([step for *_, step in rows], dtype=np.int64)
    entity, value = np.array([e for e, *_ in rows], np.int32), np.array([v for _, v, _ in rows])
    expected = [
        (e, *said)
        for e, t, v in zip(entity.tolist(), times.tolist(), value.tolist(), strict=True)
        if (said := machines[e].step(t, v))
    ]

    bounds = [0, *sorted(cuts), len(rows)]
    found = [
        transition
        for start, stop in itertools.pairwise(bounds)
        for transition in states.evaluate(entity[start:stop], times[start:stop], value[start:stop])
    ]

    assert [(t.entity, t.state.name.lower(), t.time_ms, t.severity, t.is_flapping) for t in found] == expected


def test_entities_do_not_touch_each_other() -> None:
    """Each entity has its own state."""
    states = RuleStates(0, a_rule())
    entity, value = np.array([0, 1, 0, 1], np.int32), np.array([11.0, 5.0, 5.0, 12.0])

    found = states.evaluate(entity, T0_MS + np.arange(4), value)

    assert [(t.entity, t.state) for t in found] == [
        (0, AlertState.ACTIVE),
        (0, AlertState.CLEARED),
        (1, AlertState.ACTIVE),
    ]


def test_a_condition_is_not_known_to_hold_over_a_gap() -> None:
    """After a silence longer than the limit, what must hold for a while begins anew."""
    states = RuleStates(0, a_rule(for_ms=60_000, gap_ms=30_000))
    seconds = np.array([0, 20, 40, 3600, 3620, 3640, 3660])

    found = states.evaluate(np.zeros(7, np.int32), T0_MS + SECOND_MS * seconds, np.full(7, 11.0))

    assert [(t.time_ms - T0_MS) // SECOND_MS for t in found] == [3660]
    assert found[0].since_ms == T0_MS + 3600 * SECOND_MS


def test_what_comes_and_goes_is_one_alert() -> None:
    """At the third time within the span the alert stays, and clears once its condition was away for that long."""
    states = RuleStates(0, a_rule(flapping=Flapping(changes=3, within_ms=20_000)))

    found = transitions(states, [11, 7] * 10 + [7] * 20)

    ends = [("active", 0), ("cleared", 1), ("active", 2), ("cleared", 3), ("active", 4), ("cleared", 39)]
    assert found == ends


def test_a_further_level_makes_an_alert_graver_in_place() -> None:
    """The alert stays the same one, and does not become milder until it clears."""
    states = RuleStates(0, a_rule(levels=(Level(threshold=20.0, severity="critical"),)))

    found = states.evaluate(
        np.zeros(5, np.int32), T0_MS + SECOND_MS * np.arange(5), np.array([11.0, 25.0, 11.0, 7.0, 25.0])
    )

    assert [(t.state.name, t.severity) for t in found] == [
        ("ACTIVE", "warning"),
        ("ACTIVE", "critical"),
        ("CLEARED", "critical"),
        ("ACTIVE", "critical"),
    ]


def test_a_rule_holds_within_its_schedule_alone() -> None:
    """At its end an alert ends, and what was pending is forgotten."""
    nine_to_five = Schedule(spans=(Hours(from_minute=9 * 60, to_minute=17 * 60),), offset_s=lambda _time_s: 0)
    states = RuleStates(0, a_rule(schedule=nine_to_five, for_ms=3_600_000))
    hours = np.array([7, 8, 9, 10, 16, 17, 18])

    found = states.evaluate(np.zeros(7, np.int32), DAY_BREAKS_MS + 3_600_000 * hours, np.full(7, 11.0))

    assert [(t.state.name, (t.time_ms - DAY_BREAKS_MS) // 3_600_000) for t in found] == [
        ("ACTIVE", 10),
        ("CLEARED", 17),
    ]


def test_closing_ends_what_is_active_and_forgets_what_is_pending() -> None:
    """An end without a value has the time it is given."""
    states = RuleStates(0, a_rule(for_ms=1000))
    states.evaluate(np.array([0, 1, 0], np.int32), T0_MS + SECOND_MS * np.arange(3), np.full(3, 11.0))

    found = states.close(T0_MS + 9000)
    later = states.evaluate(np.array([1], np.int32), np.array([T0_MS + 9500]), np.array([11.0]))

    assert [(t.entity, t.state, t.time_ms) for t in found] == [(0, AlertState.CLEARED, T0_MS + 9000)]
    assert later == []


def test_the_state_goes_on_from_what_was_saved() -> None:
    """Counts, levels and times of a pending and of a flapping alert are all there."""
    rule = a_rule(for_ms=2000, flapping=Flapping(changes=2, within_ms=50_000))
    values = [11, 11, 11, 7, 11, 11, 11, 7, 7, 11, 7] + [7] * 60
    whole, first, second = (RuleStates(0, rule) for _ in range(3))
    expected = transitions(whole, values)

    for cut in (1, 4, 6, 8, 20):
        first, second = RuleStates(0, rule), RuleStates(0, rule)
        found = transitions(first, values[:cut])
        second.load({name: array.copy() for name, array in first.dump().items()})
        assert found + transitions(second, values[cut:], start=cut) == expected
