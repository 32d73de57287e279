"""Facts about what candidates cost."""

import pytest

from attwin_converter.costs import Cost
from attwin_converter.dataset import BudgetSettings

BUDGET = BudgetSettings(file_kb=100, latency_us=10.0, memory_kb=1000)
CHEAP = Cost(file_kb=20.0, latency_us=1.0, memory_kb=100)


@pytest.mark.parametrize(
    ("cost", "excess"),
    [
        pytest.param(CHEAP, "", id="affordable"),
        pytest.param(Cost(latency_us=10.1), "10.1 us a row, the budget is 10", id="slow"),
        pytest.param(Cost(file_kb=101.0), "101 KiB, the budget is 100", id="large"),
        pytest.param(Cost(memory_kb=1001), "1001 KiB of memory, the budget is 1000", id="hungry"),
        pytest.param(Cost(problem="no runtime takes it"), "no runtime takes it", id="impossible"),
    ],
)
def test_a_candidate_is_within_the_budget_or_says_what_is_too_much(cost: Cost, excess: str) -> None:
    """What it is, and what is allowed."""
    assert cost.excess(BUDGET) == excess


@pytest.mark.parametrize(
    ("cost", "most", "seeds"),
    [
        pytest.param(CHEAP, 3, 3, id="all"),
        pytest.param(CHEAP, 9, 5, id="as many as the file may hold"),
        pytest.param(Cost(latency_us=4.0), 9, 2, id="as many as there is time for"),
        pytest.param(Cost(latency_us=40.0), 9, 1, id="one at least"),
    ],
)
def test_as_many_models_are_averaged_as_the_budget_allows(cost: Cost, most: int, seeds: int) -> None:
    """Each costs as much again."""
    assert cost.seeds(BUDGET, most) == seeds
