"""The card of a model: one HTML page that shows what is known of it, and needs nothing else.

Everything in it that comes from a data set (names, columns, findings) is escaped, and the page may load and run
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from attwin.core.manifest import FeatureSpec, Figures
from attwin_converter import charts
from attwin_converter.charts import Curve
from attwin_converter.findings import Finding, Severity
from attwin_converter.measure import DECISION, has_both
from attwin_converter.report import Report, Scored

_UNITS = MappingProxyType({"d": 86_400_000, "h": 3_600_000, "min": 60_000, "s": 1_000})
_NOTHING = "\N{EN DASH}"
_MOST_NAME = 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often a model is right where it calls a row 1 from some score on.

    Attributes:
        threshold: That score.
        name: Where it comes from.
        right_ones, wrong_ones: Rows called 1 that are, and that are not.
        right_zeros, wrong_zeros: Rows called 0 that are, and that are not.
    """

    threshold: float
    name: str
    right_ones: int
    wrong_ones: int
    right_zeros: int
    wrong_zeros: int

    @property
    def precision(self) -> float | None:
        """The share of the rows called 1 that are; None where none was called."""
        called = self.right_ones + self.wrong_ones
        return self.right_ones / called if called else None

    @property
    def recall(self) -> float:
        """The share of the ones that are called."""
        return self.right_ones / (self.right_ones + self.wrong_zeros)

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.right_ones / (2 * self.right_ones + self.wrong_ones + self.wrong_zeros)


def render(report: Report) -> str:
    """Return the card as HTML."""
    environment = Environment(
        loader=PackageLoader("attwin_converter", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "time": _time,
        "duration": _duration,
        "input": _input,
        "tail": _tail,
        "coded": _coded,
    }
    test = _curve("held out", report.test)
    curves = [test, *([_curve("out of fold", report.out_of_fold)] if report.out_of_fold else [])]
    return environment.get_template("card.html.j2").render(
        report=report,
        manifest=report.manifest,
        is_binary=has_both(report.test.label),
        is_timeless=all(share.begin_ms is None for share in report.shares),
        constant_error=float(report.test.label.var(dtype=np.float64)),
        gap=_gap(report.manifest.before, report.manifest.after),
        facts=_facts(report),
        findings=[(severity, _of_severity(report, severity)) for severity in Severity],
        confusions=_confusions(report),
        roc=Markup(charts.roc(curves)),  # noqa: S704 -- made of numbers by charts.py
        reliability=Markup(charts.reliability(curves)),  # noqa: S704 -- the same
        scores=Markup(charts.scores(test)),  # noqa: S704 -- the same
    )


def _curve(name: str, scored: Scored) -> Curve:
    return Curve(name=name, label=scored.label, score=scored.score)


def _facts(report: Report) -> Mapping[str, object]:
    """Return the facts of the data set that the table of its shares does not have."""
    shares = tuple(f"{share.name}_" for share in report.shares)
    return {name.replace("_", " "): fact for name, fact in report.source.items() if not name.startswith(shares)}


def _of_severity(report: Report, severity: Severity) -> Sequence[Finding]:
    return [finding for finding in report.findings if finding.severity == severity]


def _gap(before: Figures | None, after: Figures | None) -> Figures | None:
    """Return by how much the exported file differs from the Keras model, figure by figure."""
    if before is None or after is None:
        return None

    def less(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else a - b

    return Figures(
        rows=after.rows,
        accuracy=after.accuracy - before.accuracy,
        brier=after.brier - before.brier,
        auc=less(after.auc, before.auc),
        average_precision=less(after.average_precision, before.average_precision),
        f1=less(after.f1, before.f1),
    )


def _confusions(report: Report) -> Sequence[Confusion]:
    """Return the tables at 0.5 and at the model's threshold; none where labels are not 0 and 1."""
    label, score = report.test.label >= DECISION, report.test.score
    if not has_both(report.test.label):
        return []
    at = [(DECISION, "where accuracy is counted")]
    if report.manifest.threshold not in (None, DECISION):
        which = "the threshold of the best F1 out of fold" if report.validation else "the threshold of the contract"
        at.append((report.manifest.threshold, which))
    return [
        Confusion(
            threshold=threshold,
            name=name,
            right_ones=int(np.sum(label & (score >= threshold))),
            wrong_ones=int(np.sum(~label & (score >= threshold))),
            right_zeros=int(np.sum(~label & (score < threshold))),
            wrong_zeros=int(np.sum(label & (score < threshold))),
        )
        for threshold, name in at
    ]


def _number(value: float | None, digits: int = 4, *, signed: bool = False) -> str:
    """Return a number with some digits behind the point, and a dash where there is none."""
    if value is None:
        return _NOTHING
    rounded = round(value, digits) + 0.0  # not -0.0
    return f"{rounded:{'+' if signed else ''},.{digits}f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return _NOTHING if value is None else f"{value:.{digits}%}"


def _time(ms: int | None) -> str:
    return _NOTHING if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _duration(ms: int) -> str:
    for unit, length in _UNITS.items():
        if ms >= length:
            return f"{ms / length:g} {unit}"
    return f"{ms} ms"


def _input(feature: FeatureSpec, is_timeless: bool) -> str:  # noqa: FBT001 -- a filter's argument
    """Return how a feature is made of its metric's window, in words; a row without a time is all of its window."""
    parts = [feature.measured if is_timeless else f"{feature.measured} of {_duration(feature.window_ms)}"]
    if feature.transform:
        parts.append(f"its {feature.transform}")
    if feature.baseline:
        parts.append("against what is usual for the entity")
    return ", ".join(parts)


def _tail(name: str) -> str:
    """Return the last parts of a long path, where the names of tensors differ."""
    if len(name) <= _MOST_NAME:
        return name
    end = name[-_MOST_NAME:]
    return "\N{HORIZONTAL ELLIPSIS}" + end[max(end.find("/"), 0) :]


def _coded(text: str) -> Markup:
    """Return a text as HTML in which what stands in backticks is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup().join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))
