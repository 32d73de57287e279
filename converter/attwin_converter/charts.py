"""The charts of a card, as SVG that a page takes in: no ids of two charts clash, and colours are the page's."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from attwin_converter.measure import DECISION, has_both

_INK, _LINE, _SERIES = "#010203", "#040506", ("#070809", "#0a0b0c")
_COLOURS = {_INK: "var(--ink)", _LINE: "var(--line)", _SERIES[0]: "var(--first)", _SERIES[1]: "var(--second)"}
_INCHES = (4.6, 3.6)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "attwin",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _LINE,
    "legend.frameon": False,
}
_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Rows of a chart.

    Attributes:
        name: What the legend calls them.
        label, score: Shape (N,) each.
    """

    name: str
    label: NDArray[np.float32]
    score: NDArray[np.float32]


def roc(curves: Sequence[Curve]) -> str:
    """Return the receiver operating characteristic of each, as SVG; empty where no labels are 0 and 1."""
    drawn = [curve for curve in curves if has_both(curve.label)]
    if not drawn:
        return ""
    with rc_context(_STYLE):
        figure, axes = _axes("false positive rate", "true positive rate")
        axes.plot([0, 1], [0, 1], color=_LINE, linewidth=1)
        for curve, colour in zip(drawn, _SERIES, strict=False):
            axes.plot(*roc_points(curve), color=colour, linewidth=1.8, label=curve.name)
        axes.legend(loc="lower right")
        return _svg(figure, "roc")


def roc_points(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false and true positive rate at every threshold, from none called to all called."""
    order = np.argsort(-curve.score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(curve.score[order])), len(order) - 1)
    is_one = curve.label[order] >= DECISION
    true, false = np.cumsum(is_one)[last], np.cumsum(~is_one)[last]
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def reliability(curves: Sequence[Curve]) -> str:
    """Return how labels lie where scores lie, in tenths of the scores, as SVG; a dot is larger for more rows."""
    with rc_context(_STYLE):
        figure, axes = _axes("mean score", "mean label")
        axes.plot([0, 1], [0, 1], color=_LINE, linewidth=1)
        for curve, colour in zip(curves, _SERIES, strict=False):
            score, label, count = reliability_points(curve)
            axes.plot(score, label, color=colour, linewidth=1.2, label=curve.name)
            axes.scatter(score, label, s=6 + 60 * np.sqrt(count / count.sum()), color=colour, zorder=3)
        axes.legend(loc="upper left")
        return _svg(figure, "reliability")


def reliability_points(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean score, mean label and number of rows of every tenth of the scores that has any."""
    place = np.minimum((curve.score * _BINS).astype(int), _BINS - 1)
    count = np.bincount(place, minlength=_BINS)
    some = count > 0
    score = np.bincount(place, curve.score, _BINS)[some] / count[some]
    label = np.bincount(place, curve.label, _BINS)[some] / count[some]
    return score, label, count[some]


def scores(curve: Curve) -> str:
    """Return how often each score was given, by label, as SVG."""
    ones = curve.label >= DECISION
    edges = np.linspace(0, 1, 2 * _BINS + 1)
    with rc_context(_STYLE):
        figure, axes = _axes("score", "rows")
        axes.set_ylim(auto=True)
        for rows, colour, name in ((~ones, _SERIES[0], "label below 0.5"), (ones, _SERIES[1], "label from 0.5 on")):
            axes.hist(curve.score[rows], edges, color=colour, histtype="step", linewidth=1.8, label=name)
        axes.set_yscale("symlog", linthresh=1)
        axes.legend(loc="upper center")
        return _svg(figure, "scores")


def _axes(x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(linewidth=0.5)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:)?href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r" ?font-family: [^;\"]*;", "", text)
    text = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", text, count=1)
    for sentinel, colour in _COLOURS.items():
        text = text.replace(sentinel, colour)
    return text.replace("<svg", f'<svg role="img" aria-labelledby="{name}-title"', 1)
