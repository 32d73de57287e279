"""Facts about texts that stand for numbers."""

import pytest

from attwin.core.categories import code_of


@pytest.mark.parametrize(
    ("categories", "value", "expected"),
    [
        pytest.param(["New", "Other"], "Other", 1.0, id="text"),
        pytest.param(["New", "Other"], "other", None, id="text in other letters"),
        pytest.param(["New", "Other"], 1, 1.0, id="code"),
        pytest.param(["New", "Other"], 1.0, 1.0, id="code as float"),
        pytest.param(["New", "Other"], 2, None, id="code too large"),
        pytest.param(["New", "Other"], -1, None, id="code below 0"),
        pytest.param(["New", "Other"], 0.5, None, id="no code"),
        pytest.param(["New", "Other"], 1e300, None, id="number beyond all codes"),
        pytest.param(["1", "2", "4"], 4, 2.0, id="number that is a category"),
        pytest.param(["1", "2", "4"], 4.0, 2.0, id="float that is a category"),
        pytest.param(["1.5", "2.5"], 2.5, 1.0, id="fraction that is a category"),
        pytest.param(["FALSE", "TRUE"], True, 1.0, id="true"),
        pytest.param(["TRUE", "FALSE"], False, 1.0, id="false by its name"),
        pytest.param(["closed", "open"], True, 1.0, id="true as a code"),
        pytest.param(["New", "Other"], float("nan"), None, id="not a number"),
        pytest.param(["New", "Other"], float("inf"), None, id="endless"),
        pytest.param(["New", "Other"], ["New"], None, id="list"),
    ],
)
def test_a_value_is_found_by_its_text_and_then_as_a_code(
    categories: list[str], value: object, expected: float | None
) -> None:
    """What is neither is none of them."""
    assert code_of(categories, value) == expected
