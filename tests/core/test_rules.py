"""Facts about threshold rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.rules import Rule, RuleStates
from attwin.core.types import AlertState
from support.builders import T0_MS

SECOND_MS = 1000


def a_rule(*, above: bool = True, threshold: float = 10.0, clear: float = 8.0, for_ms: int = 0) -> Rule:
    """Return a rule on the first metric of the first kind."""
    return Rule(
        name="r",
        kind=0,
        subject="m",
        metric=0,
        above=above,
        threshold=threshold,
        clear=clear,
        for_ms=for_ms,
        severity="warning",
    )


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
        pytest.param(
            a_rule(), [11, 7, 11, 7], [("active", 0), ("cleared", 1), ("active", 2), ("cleared", 3)], id="again"
        ),
    ],
)
def test_a_rule_opens_and_clears(rule: Rule, values: list[float], expected: list[tuple[str, int]]) -> None:
    """Transitions come at the values that cause them."""
    assert transitions(RuleStates(0, rule), values) == expected


def reference(rule: Rule, values: list[float]) -> list[tuple[str, int]]:
    """Return the same by a plain state machine."""
    state, since, found = "cleared", 0, []
    for second, value in enumerate(values):
        breach = value > rule.threshold if rule.above else value < rule.threshold
        clear = value < rule.clear if rule.above else value > rule.clear
        if state == "cleared" and breach:
            state, since = "pending", second
        elif state == "pending" and not breach:
            state = "cleared"
        elif state == "active" and clear:
            state = "cleared"
            found.append(("cleared", second))
        if state == "pending" and (second - since) * SECOND_MS >= rule.for_ms:
            state = "active"
            found.append(("active", second))
    return found


@given(
    values=st.lists(st.sampled_from([5.0, 8.5, 9.5, 10.5, 12.0]), max_size=30),
    cut=st.integers(0, 30),
    for_ms=st.sampled_from([0, 1000, 3000]),
)
def test_the_screen_over_arrays_finds_what_a_state_machine_finds(values: list[float], cut: int, for_ms: int) -> None:
    """Screening a batch as arrays changes nothing, wherever the batch is cut."""
    rule = a_rule(for_ms=for_ms)
    states = RuleStates(0, rule)

    found = transitions(states, values[:cut]) + transitions(states, values[cut:], start=min(cut, len(values)))

    assert found == reference(rule, values)


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
