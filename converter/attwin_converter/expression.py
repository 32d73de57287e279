"""Labels made of columns: a small arithmetic language, parsed here and never handed to Python."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
Columns = Mapping[str, Column]
Step = Callable[[Columns], Column]

ALLOWED = "numbers, columns (in `backquotes` where a name is no word), + - * / ( ), one comparison, min, max and clip"
_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)|(?P<word>[^\W\d][\w.]*)|`(?P<quoted>[^`]+)`"
    r"|(?P<sign><=|>=|==|!=|[-+*/(),<>])"
)
_MOST_CHARACTERS, _MOST_DEPTH = 500, 50
_COMPARISONS: dict[str, Callable[[Column, Column], NDArray[np.bool_]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_SUMS: dict[str, Callable[[Column, Column], Column]] = {"+": np.add, "-": np.subtract}
_PRODUCTS: dict[str, Callable[[Column, Column], Column]] = {"*": np.multiply, "/": np.divide}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Column]]] = {
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "clip": (3, np.clip),
}


class ExpressionError(ValueError):
    """A text is no expression; it says at which character, and what is allowed."""

    def __init__(self, text: str, at: int, problem: str) -> None:
        super().__init__(f"`{text[:60]}`: {problem} at character {at + 1}; allowed are {ALLOWED}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expression:
    """A parsed expression.

    Attributes:
        text: As it was written.
        names: The columns that it needs, each once.
        step: Computes it.
    """

    text: str
    names: tuple[str, ...]
    step: Step

    def evaluate(self, columns: Columns, count: int) -> Column:
        """Return the value at each of ``count`` rows; NaN where a column is, and where it divides by zero."""
        with np.errstate(all="ignore"):
            value = self.step(columns)
        value = np.broadcast_to(value, (count,)).astype(np.float64)
        return np.where(np.isfinite(value), value, np.nan)


def parse_expression(text: str) -> Expression:
    """Return what a text means.

    Raises:
        ExpressionError: It is no expression.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ExpressionError(text, _MOST_CHARACTERS, f"more than {_MOST_CHARACTERS} characters")
    parser = _Parser(text)
    step = parser.comparison()
    parser.end()
    return Expression(text=text, names=tuple(dict.fromkeys(parser.names)), step=step)


def plain_column(text: str) -> str:
    """Return the column where a text is the name of one and nothing else, else nothing."""
    match = _TOKEN.fullmatch(text.strip())
    return match["word"] or match["quoted"] or "" if match else ""


class _Parser:
    """Recursive descent: comparison, sum, product, factor."""

    def __init__(self, text: str) -> None:
        self.names: list[str] = []
        self._text = text
        self._tokens = _tokens(text)
        self._place = 0
        self._depth = 0

    def comparison(self) -> Step:
        """Read two sums with a comparison between, or one sum."""
        left = self._chain(_SUMS, lambda: self._chain(_PRODUCTS, self._factor))
        sign = self._take(_COMPARISONS)
        if not sign:
            return left
        right = self._chain(_SUMS, lambda: self._chain(_PRODUCTS, self._factor))
        if self._sign() in _COMPARISONS:
            raise self._wrong("a second comparison")
        return _compared(_COMPARISONS[sign], left, right)

    def end(self) -> None:
        """Refuse what is left."""
        if self._place < len(self._tokens):
            raise self._wrong("expected an operator or the end, not " + self._shown())

    def _chain(self, operators: dict[str, Callable[[Column, Column], Column]], operand: Callable[[], Step]) -> Step:
        step = operand()
        while sign := self._take(operators):
            step = _joined(operators[sign], step, operand())
        return step

    def _factor(self) -> Step:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise self._wrong(f"nested deeper than {_MOST_DEPTH} levels")
        kind, word, _ = self._tokens[self._place] if self._place < len(self._tokens) else ("end", "", 0)
        self._place += 1
        if kind == "number":
            step = _constant(float(word))
        elif kind == "word" and self._sign() == "(":
            step = self._call(word)
        elif kind in ("word", "quoted"):
            self.names.append(word)
            step = _column(word)
        elif word == "-":
            step = _joined(np.subtract, _constant(0.0), self._factor())
        elif word == "(":
            step = self.comparison()
            self._demand(")")
        else:
            self._place -= 1
            raise self._wrong("expected a number, a column or `(`, not " + self._shown())
        self._depth -= 1
        return step

    def _call(self, name: str) -> Step:
        if name not in _FUNCTIONS:
            self._place -= 1
            raise self._wrong(f"no function `{name}`")
        count, function = _FUNCTIONS[name]
        self._demand("(")
        arguments = [self.comparison()]
        while self._take({",": None}):
            arguments.append(self.comparison())
        if len(arguments) != count:
            raise self._wrong(f"{name} takes {count} values, not {len(arguments)};")
        self._demand(")")
        return lambda columns: function(*(argument(columns) for argument in arguments))

    def _sign(self) -> str:
        if self._place >= len(self._tokens):
            return ""
        kind, word, _ = self._tokens[self._place]
        return word if kind == "sign" else ""

    def _take(self, signs: Mapping[str, object]) -> str:
        sign = self._sign()
        if sign not in signs:
            return ""
        self._place += 1
        return sign

    def _demand(self, sign: str) -> None:
        if not self._take({sign: None}):
            raise self._wrong(f"expected `{sign}`, not {self._shown()}")

    def _shown(self) -> str:
        return f"`{self._tokens[self._place][1]}`" if self._place < len(self._tokens) else "the end"

    def _wrong(self, problem: str) -> ExpressionError:
        at = self._tokens[self._place][2] if self._place < len(self._tokens) else len(self._text)
        return ExpressionError(self._text, at, problem)


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Return kind, text and place of each token."""
    found: list[tuple[str, str, int]] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(text, at, f"`{text[at]}` means nothing here")
        kind = match.lastgroup or ""
        found.append((kind, match[kind], at))
        at = match.end()
    return found


def _constant(value: float) -> Step:
    return lambda _columns: np.array(value)


def _column(name: str) -> Step:
    return lambda columns: columns[name]


def _joined(operator: Callable[[Column, Column], Column], left: Step, right: Step) -> Step:
    return lambda columns: operator(left(columns), right(columns))


def _compared(operator: Callable[[Column, Column], NDArray[np.bool_]], left: Step, right: Step) -> Step:
    """Return 1 and 0; a missing value is neither more nor less than another, so what it gives is missing."""

    def step(columns: Columns) -> Column:
        one, other = left(columns), right(columns)
        return np.where(np.isnan(one) | np.isnan(other), np.nan, operator(one, other))

    return step
