"""Facts about rollouts in stages."""

from collections.abc import Mapping

import pytest

from attwin.core.errors import DataError
from attwin_converter.pushing import Pushed
from attwin_converter.rollout import parse_gate, problems_of, stages_of

FLEET = [f"gateway-{number}" for number in range(200)]


def pushed(state: str = "committed", **probation: float) -> Pushed:
    """Return what a gateway has said."""
    detail: Mapping[str, object] = {"probation": probation}
    return Pushed(gateway="g", state=state, detail=dict(detail), is_final=True)


def test_stages_hold_each_gateway_once_and_are_the_same_again() -> None:
    """Five in a hundred first, then up to half, then the rest; another target begins with others."""
    stages = stages_of(FLEET, ("5%", "50%", "100%"), "m-2")

    assert [len(stage) for stage in stages] == [10, 90, 100]
    assert sorted(name for stage in stages for name in stage) == sorted(FLEET)
    assert stages == stages_of(FLEET[::-1], ("5%", "50%", "100%"), "m-2")
    assert stages[0] != stages_of(FLEET, ("5%",), "m-3")[0]
    assert [len(stage) for stage in stages_of(FLEET[:3], ("5%",), "m")] == [1, 2]


@pytest.mark.parametrize("shares", [("0%",), ("5",), ("50%", "5%"), ("120%",), ("5%", "5%")])
def test_shares_that_make_no_sense_are_told(shares: tuple[str, ...]) -> None:
    """They rise, and are above nothing and at most all."""
    with pytest.raises(DataError):
        stages_of(FLEET, shares, "m")


def test_a_gate_holds_or_says_what_does_not() -> None:
    """Errors are counted, alerts are summed over gateways and compared with those of the model before."""
    gate = parse_gate("alerts_per_day < 1.5x and errors = 0 and shift <= 0.1")
    good = [pushed(alerts=3, alerts_before=3, shift=-0.05), pushed(alerts=1, alerts_before=1, shift=0.1)]

    assert problems_of(gate, good) == []
    assert problems_of(gate, [*good, pushed(alerts=8, alerts_before=1, shift=0.0)]) == [
        "alerts_per_day is 2.4x, wanted < 1.5x"
    ]
    assert problems_of(gate, [*good, pushed("refused")]) == ["errors is 1, wanted = 0"]
    assert problems_of(gate, [pushed(alerts=2, alerts_before=0, shift=-0.2)]) == [
        "alerts_per_day is infx, wanted < 1.5x",
        "shift is 0.2, wanted <= 0.1",
    ]
    assert problems_of(parse_gate("difference < 0.1"), [pushed()]) == []


@pytest.mark.parametrize("text", ["", "errors", "errors = none", "alerts_per_day < 1.5", "errors < 2x", "colour = 1"])
def test_a_gate_that_cannot_be_read_is_told(text: str) -> None:
    """With what there is."""
    with pytest.raises(DataError, match="there are errors, difference"):
        parse_gate(text)
