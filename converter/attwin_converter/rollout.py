"""A rollout in stages: who is in which, and whether what the gateways have measured lets it go on."""

import hashlib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attwin.core.errors import DataError
from attwin_converter.pushing import Pushed

_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
_TERM = re.compile(r"(\w+)\s*(<=|>=|<|>|=)\s*([0-9]+(?:\.[0-9]+)?)(x?)")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}
_RELATIVE = {"alerts_per_day": ("alerts", "alerts_before"), "latency": ("latency_us", "latency_before_us")}
"""What may be compared with what was before, as ``1.5x``, and how gateways call both."""
_PLAIN = ("errors", "difference", "shift")
_PROBATION, _SHADOW = "probation", "shadow"


def share_of(text: str) -> float:
    """Return a share such as 5%.

    Raises:
        DataError: It is none.
    """
    match = _SHARE.fullmatch(text)
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share <= 1:
        raise DataError(f"a share of the gateways such as 5%, not `{text}`")
    return share


def stages_of(gateways: Sequence[str], shares: Sequence[str], salt: str) -> list[list[str]]:
    """Return the gateways of each stage, each gateway once; the last stage has all that are left.

    Args:
        gateways: All of them.
        shares: How much of them have the target after each stage, rising.
        salt: Other gateways go first for another one; the same ones for the same.

    Raises:
        DataError: A share is none, or they do not rise.
    """
    wanted = [share_of(text) for text in shares]
    if sorted(set(wanted)) != wanted:
        raise DataError(f"shares that rise, not {', '.join(shares)}")
    ordered = sorted(gateways, key=lambda name: hashlib.sha256(f"{salt} {name}".encode()).digest())
    ends = [min(len(ordered), math.ceil(share * len(ordered))) for share in wanted]
    if not ends or ends[-1] < len(ordered):
        ends.append(len(ordered))
    stages = [ordered[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [stage for stage in stages if stage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A condition.

    Attributes:
        name: What is compared.
        sign: How.
        value: With what.
        is_relative: Whether the value is a multiple of what was before.
    """

    name: str
    sign: str
    value: float
    is_relative: bool

    def problem(self, pushed: Sequence[Pushed]) -> str:
        """Return why it does not hold of what gateways have said; empty where it does."""
        found = _measure(self.name, pushed)
        if found is None or _COMPARE[self.sign](found, self.value):
            return ""
        unit = "x" if self.is_relative else ""
        return f"{self.name} is {found:.3g}{unit}, wanted {self.sign} {self.value:g}{unit}"


def parse_gate(text: str) -> list[Term]:
    """Return the conditions of a gate such as ``alerts_per_day < 1.5x and errors = 0``.

    Raises:
        DataError: It cannot be read.
    """
    terms = []
    for part in re.split(r"\s+and\s+", text.strip()):
        match = _TERM.fullmatch(part.strip())
        known = [*_PLAIN, *(f"{name} (with x)" for name in _RELATIVE)]
        if match is None or match[1] not in (*_PLAIN, *_RELATIVE) or bool(match[4]) != (match[1] in _RELATIVE):
            raise DataError(f"--gate: `{part}` is no condition such as errors = 0; there are {', '.join(known)}")
        terms.append(Term(name=match[1], sign=match[2], value=float(match[3]), is_relative=bool(match[4])))
    return terms


def problems_of(gate: Sequence[Term], pushed: Sequence[Pushed]) -> list[str]:
    """Return why a stage must not be followed by the next."""
    return [problem for term in gate if (problem := term.problem(pushed))]


def _measure(name: str, pushed: Sequence[Pushed]) -> float | None:
    """Return what gateways have measured together; None where none has."""
    if name == "errors":
        return float(sum(not one.is_good for one in pushed))
    facts = [fact for one in pushed if (fact := _facts(one.detail))]
    if name in _RELATIVE:
        now, before = (sum(_number(fact.get(key)) for fact in facts) for key in _RELATIVE[name])
        return None if not facts else now / before if before else (math.inf if now else 0.0)
    values = [abs(_number(fact.get(name))) for fact in facts if name in fact]
    return max(values, default=None)


def _facts(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was measured on probation, or before it."""
    found = detail.get(_PROBATION) or detail.get(_SHADOW) or {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
