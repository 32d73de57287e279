"""Facts about labels that are computed of columns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin_converter.expression import ExpressionError, parse_expression

COLUMNS = {"count": np.array([0.0, 1.0, 3.0, np.nan]), "Page Values": np.array([1.0, 2.0, 3.0, 4.0])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("count / 3", [0, 1 / 3, 1, np.nan], id="division"),
        pytest.param("1 - 2 - 3 * 2 + count", [-7, -6, -4, np.nan], id="from the left"),
        pytest.param("2 * (count + 1)", [2, 4, 8, np.nan], id="brackets"),
        pytest.param("-count + -1e-1", [-0.1, -1.1, -3.1, np.nan], id="negative"),
        pytest.param("clip(count / 2, 0, 1)", [0, 0.5, 1, np.nan], id="clip"),
        pytest.param("min(count, 2) + max(count, 2)", [2, 3, 5, np.nan], id="min and max"),
        pytest.param("count >= 0.6 * 2", [0, 0, 1, np.nan], id="comparison"),
        pytest.param("(count == 1) + (count != 1) * 0.5", [0.5, 1, 0.5, np.nan], id="comparisons in brackets"),
        pytest.param("`Page Values` / count", [np.nan, 2, 1, np.nan], id="a name of two words, divided by zero"),
    ],
)
def test_an_expression_is_computed_by_row(text: str, expected: list[float]) -> None:
    """What is missing, or does not exist, stays missing."""
    np.testing.assert_allclose(parse_expression(text).evaluate(COLUMNS, 4), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("count // 3", "expected a number, a column or `(`, not `/` at character 8", id="unknown operator"),
        pytest.param("count +", "not the end at character 8", id="cut short"),
        pytest.param("(count", "expected `)`, not the end at character 7", id="open bracket"),
        pytest.param("count 3", "expected an operator or the end, not `3` at character 7", id="no operator"),
        pytest.param("0 < count < 3", "a second comparison at character 11", id="two comparisons"),
        pytest.param("eval(count)", "no function `eval` at character 1", id="unknown function"),
        pytest.param("__import__('os')", "`'` means nothing here at character 12", id="python"),
        pytest.param("count.__class__()", "no function `count.__class__`", id="attribute"),
        pytest.param("min(count)", "min takes 2 values, not 1", id="too few values"),
        pytest.param("(" * 60 + "1" + ")" * 60, "nested deeper than 50 levels", id="deep"),
        pytest.param("1+" * 300 + "1", "more than 500 characters", id="long"),
        pytest.param("", "not the end at character 1", id="empty"),
    ],
)
def test_a_wrong_expression_is_told_by_its_place(text: str, message: str) -> None:
    """The message names the character, what was found, and what is allowed."""
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)

    assert message in str(caught.value)
    assert "allowed are numbers, columns" in str(caught.value)


@given(text=st.text("count1.+-*/()<>=`, _clipmax'", max_size=40))
def test_no_text_does_anything_but_compute_or_be_refused(text: str) -> None:
    """Any text is an expression over its columns, or an ExpressionError."""
    try:
        expression = parse_expression(text)
    except ExpressionError:
        return

    value = expression.evaluate(dict.fromkeys(expression.names, np.array([1.0, 2.0])), 2)

    assert value.shape == (2,)
    assert not np.isinf(value).any()
