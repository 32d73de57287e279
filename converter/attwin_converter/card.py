"""The card of a model: one HTML page that shows what is known of it, and needs nothing else.

Everything in it that comes from a data set (names, columns, findings) is escaped, and the page may load and run
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from attwin.core.manifest import FeatureSpec, Figures
from attwin_converter import charts
from attwin_converter.charts import Curve
from attwin_converter.measure import DECISION, has_both
from attwin_converter.report import Report, Scored

_MS_PER_MINUTE = 60_000
_NOTHING = "\N{EN DASH}"


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
    environment.filters |= {"number": _number, "time": _time, "share": _share, "duration": _duration, "input": _input}
    test = _curve("held out", report.test)
    curves = [test, *([_curve("out of fold", report.out_of_fold)] if report.out_of_fold else [])]
    most = max((abs(one.shuffled) for one in report.without), default=0.0)
    return environment.get_template("card.html.j2").render(
        report=report,
        manifest=report.manifest,
        is_binary=has_both(report.test.label),
        gap=_gap(report.manifest.before, report.manifest.after),
        confusions=_confusions(report),
        most=most or 1.0,
        roc=Markup(charts.roc(curves)),  # noqa: S704 -- made of numbers by charts.py
        reliability=Markup(charts.reliability(curves)),  # noqa: S704 -- the same
        scores=Markup(charts.scores(test)),  # noqa: S704 -- the same
    )


def _curve(name: str, scored: Scored) -> Curve:
    return Curve(name=name, label=scored.label, score=scored.score)


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
    """Return the tables at 0.5 and at the threshold of the best F1; none where labels are not 0 and 1."""
    label, score = report.test.label >= DECISION, report.test.score
    if not has_both(report.test.label):
        return []
    at = [(DECISION, "at 0.5")]
    if report.manifest.threshold is not None:
        at.append((report.manifest.threshold, "at the threshold of the best F1 out of fold"))
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
    return _NOTHING if value is None else f"{value:{'+' if signed else ''}.{digits}f}"


def _share(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.1%}"


def _time(ms: int | None) -> str:
    return _NOTHING if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _duration(ms: int) -> str:
    return f"{ms / _MS_PER_MINUTE:g} min" if ms >= _MS_PER_MINUTE else f"{ms / 1000:g} s"


def _input(feature: FeatureSpec) -> str:
    """Return how a feature is made of its metric's window, in words."""
    parts = [f"{feature.measured} of {_duration(feature.window_ms)}"]
    if feature.transform:
        parts.append(f"its {feature.transform}")
    if feature.baseline:
        parts.append("against what is usual for the entity")
    return ", ".join(parts)
