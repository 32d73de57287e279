"""Facts about the charts: they end where they must, count every row, and belong to the page that takes them in."""

import re

import matplotlib as mpl
import numpy as np
import pytest

from attwin_converter.charts import Curve, reliability, reliability_points, roc, roc_points, scores
from attwin_converter.measure import auc
from support.reports import scored


def a_curve(rows: int = 400, seed: int = 3, name: str = "held out") -> Curve:
    """Return rows whose scores know something of their labels."""
    drawn = scored(rows, seed)
    return Curve(name=name, label=drawn.label, score=drawn.score)


def a_regression() -> Curve:
    """Return rows whose labels are shares."""
    return Curve(
        name="held out",
        label=np.linspace(0, 1, 50, dtype=np.float32),
        score=np.linspace(0.1, 0.9, 50, dtype=np.float32),
    )


def lines(svg: str, colour: str) -> list[list[tuple[float, float]]]:
    """Return the points of every line of a colour that lies inside of the axes."""
    drawn = re.findall(rf'<path d="([^"]*)" clip-path="[^"]*" style="[^"]*stroke: var\(--{colour}\)', svg)
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path)] for path in drawn]


def test_the_curve_goes_from_nothing_called_to_all_and_its_area_is_the_auc() -> None:
    """Equal scores are one threshold."""
    curve = a_curve(500)
    coarse = np.round(curve.score, 1).astype(np.float32)

    false, true = roc_points(Curve(name="x", label=curve.label, score=coarse))

    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2)) == pytest.approx(auc(curve.label, coarse))


def test_the_drawn_curve_has_the_ends_of_the_diagonal() -> None:
    """From (0, 0) to (1, 1), in both colours."""
    svg = roc([a_curve(), a_curve(seed=4, name="out of fold")])

    [diagonal] = lines(svg, "soft")

    for colour in ("first", "second"):
        [line] = lines(svg, colour)
        assert (line[0], line[-1]) == (diagonal[0], diagonal[-1])


def test_only_what_has_zeros_and_ones_has_a_curve() -> None:
    """Of two, one may; of none there is no chart."""
    assert roc([a_regression()]) == ""
    assert "held out" not in roc([a_regression(), a_curve(name="out of fold")])


def test_reliability_is_the_mean_label_of_every_tenth_of_the_scores() -> None:
    """A score of 1 belongs to the last; empty tenths have no dot."""
    curve = Curve(
        name="x", label=np.array([0, 1, 1, 1], np.float32), score=np.array([0.02, 0.04, 0.95, 1.0], np.float32)
    )

    tenth, score, label, count = reliability_points(curve)

    assert tenth.tolist() == [0, 9]
    assert score == pytest.approx([0.03, 0.975])
    assert label == pytest.approx([0.5, 1.0])
    assert count.tolist() == [2, 2]


def test_a_score_just_outside_is_in_the_nearest_tenth() -> None:
    """A model from elsewhere may give -1e-7 or a bit over 1."""
    curve = Curve(name="x", label=np.array([0, 1], np.float32), score=np.array([-0.2, 1.2], np.float32))

    assert reliability_points(curve)[0].tolist() == [0, 9]


@pytest.mark.parametrize(
    ("curve", "legend"),
    [
        pytest.param(a_curve(), ["label 0", "label 1"], id="classes"),
        pytest.param(a_regression(), ["scores", "labels"], id="regression"),
    ],
)
def test_scores_are_told_apart_by_label_where_labels_are_classes(curve: Curve, legend: list[str]) -> None:
    """Elsewhere they stand beside the labels."""
    svg = scores(curve)

    assert re.findall(r">(label \d|scores|labels)</text>", svg) == legend


def test_no_two_charts_share_an_id_and_every_reference_is_its_own() -> None:
    """A page takes several in; a clip of one must not cut another."""
    charts = {"roc": roc([a_curve()]), "reliability": reliability([a_curve()]), "scores": scores(a_curve())}

    for name, svg in charts.items():
        ids = re.findall(r'\bid="([^"]*)"', svg)
        used = re.findall(r'(?:href="|url\()#([^")]*)', svg)
        assert len(ids) == len(set(ids))
        assert {i.partition("-")[0] for i in ids} == {name}
        assert used
        assert set(used) <= set(ids)


def test_colours_fonts_and_sizes_are_those_of_the_page() -> None:
    """So that a chart is right in the dark and on a phone; a style sheet of it would be one of the page."""
    svg = roc([a_curve()]) + reliability([a_curve(), a_curve(seed=4)]) + scores(a_curve())

    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []
    assert re.findall(r"<style|<metadata|font-family|https?:|<\?xml|<!DOCTYPE", svg) == []
    assert re.findall(r"<svg[^>]*\b(?:width|height)=", svg) == []
    assert set(re.findall(r"var\(--(\w+)\)", svg)) == {"ink", "soft", "line", "first", "second"}
    assert svg.count('role="img" aria-labelledby="') == 3


def test_a_chart_is_the_same_whatever_this_machine_is_set_to() -> None:
    """The same report gives the same card."""
    curves = [a_curve(), a_curve(seed=4, name="out of fold")]
    plain = reliability(curves)

    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linestyle": ":", "svg.hashsalt": "other"}):
        again = reliability(curves)

    assert again == plain
