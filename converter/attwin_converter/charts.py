"""The charts of a card, as SVG that a page takes in: no ids of two charts clash, and colours are the page's."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from attwin_converter.measure import DECISION, has_both

_INK, _SOFT, _LINE, _SERIES = "#010203", "#020304", "#040506", ("#070809", "#0a0b0c")
_COLOURS = {
    _INK: "var(--ink)",
    _SOFT: "var(--soft)",
    _LINE: "var(--line)",
    _SERIES[0]: "var(--first)",
    _SERIES[1]: "var(--second)",
}
_DASHES = ("-", (0, (5, 2)))
_INCHES = (4.6, 3.7)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "attwin",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "xtick.color": _SOFT,
    "xtick.labelcolor": _INK,
    "ytick.color": _SOFT,
    "ytick.labelcolor": _INK,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
_ROOM = (-0.02, 1.02)
_BINS = 10
_COUNT = "{x:,.0f}"


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
    with _styled() as figure:
        axes = figure.subplots()
        axes.set(xlabel="share of zeros called 1", ylabel="share of ones called 1", xlim=_ROOM, ylim=_ROOM)
        axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=0.8)
        for curve, colour, dashes in zip(drawn, _SERIES, _DASHES, strict=False):
            axes.plot(*roc_points(curve), color=colour, linestyle=dashes, linewidth=1.8, label=curve.name)
        return _svg(figure, "roc")


def roc_points(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false and true positive rate at every threshold, from none called to all called."""
    order = np.argsort(-curve.score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(curve.score[order])), len(order) - 1)
    is_one = curve.label[order] >= DECISION
    true, false = np.cumsum(is_one)[last], np.cumsum(~is_one)[last]
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def reliability(curves: Sequence[Curve]) -> str:
    """Return how labels lie where scores lie, in tenths of the scores, over how many rows each has, as SVG."""
    with _styled() as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.set(ylabel="mean label", xlim=_ROOM, ylim=_ROOM)
        upper.plot([0, 1], [0, 1], color=_SOFT, linewidth=0.8)
        lower.set(xlabel="score", ylabel="rows", yscale="log")
        width = 0.7 / _BINS / len(curves)
        for place, (curve, colour, dashes) in enumerate(zip(curves, _SERIES, _DASHES, strict=False)):
            tenth, score, label, count = reliability_points(curve)
            upper.plot(score, label, color=colour, linestyle=dashes, linewidth=1.2, label=curve.name)
            upper.scatter(score, label, s=4 + 50 * np.sqrt(count / count.max()), color=colour, zorder=3)
            middle = (tenth + 0.5) / _BINS + (place - (len(curves) - 1) / 2) * width
            lower.bar(middle, count, width, color=colour)
        lower.set_ylim(bottom=0.7)
        lower.yaxis.set_major_formatter(_COUNT)
        lower.grid(visible=False, axis="x")
        return _svg(figure, "reliability")


def reliability_points(
    curve: Curve,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return number, mean score, mean label and rows of every tenth of the scores that has any; 1 is in the last."""
    place = np.clip((curve.score * _BINS).astype(np.int64), 0, _BINS - 1)
    count = np.bincount(place, minlength=_BINS)
    some = np.flatnonzero(count)
    score = np.bincount(place, curve.score, _BINS)[some] / count[some]
    label = np.bincount(place, curve.label, _BINS)[some] / count[some]
    return some, score, label, count[some]


def scores(curve: Curve) -> str:
    """Return how often each score was given, as SVG: by label where labels are 0 and 1, else beside the labels."""
    if has_both(curve.label):
        is_one = curve.label >= DECISION
        drawn = (("label 0", curve.score[~is_one]), ("label 1", curve.score[is_one]))
    else:
        drawn = (("scores", curve.score), ("labels", curve.label))
    edges = np.linspace(0, 1, 2 * _BINS + 1).tolist()
    with _styled() as figure:
        axes = figure.subplots()
        axes.set(xlabel="score" if has_both(curve.label) else "score or label", ylabel="rows", xlim=_ROOM)
        for (name, values), colour, dashes in zip(drawn, _SERIES, _DASHES, strict=True):
            inside = np.clip(values, 0, 1)
            axes.hist(inside, edges, color=colour, histtype="step", linestyle=dashes, linewidth=1.8, label=name)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_COUNT)
        return _svg(figure, "scores")


@contextmanager
def _styled() -> Iterator[Figure]:
    """Yield an empty figure that looks the same whatever the settings of this machine are."""
    with style.context(["default", _STYLE]):
        yield Figure(figsize=_INCHES, layout="constrained")


def _svg(figure: Figure, name: str) -> str:
    """Return a figure as SVG for a page, labelled by the element of the page whose id is NAME-title."""
    figure.legend(loc="outside upper center", ncols=len(_SERIES))
    file = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # a style sheet in it would be one of the whole page
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"| version="[^"]*"', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:)?href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text)
    text = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", text, count=1)
    for sentinel, colour in _COLOURS.items():
        text = text.replace(sentinel, colour)
    return text.replace("<svg", f'<svg role="img" aria-labelledby="{name}-title"', 1)
