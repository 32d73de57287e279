"""Facts about the card: it shows what the report says, is whole by itself, and runs nothing that a data set says."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import attwin
from attwin.adapters.arrays import pack_arrays
from attwin.adapters.bundle_zip import read_bundle, write_bundle
from attwin.core.manifest import Figures
from attwin_converter import cli
from attwin_converter.card import render
from attwin_converter.charts import Curve, reliability_points, roc_points
from attwin_converter.findings import Finding, Severity
from attwin_converter.measure import auc
from attwin_converter.report import Report, Scored, Without
from support.reports import a_report, scored

BUILT_IN = Path(attwin.__file__).parent / "data" / "occupancy.zip"
REPORT = a_report()
VOID = {"meta", "br", "img", "link", "hr"}


def a_bundle(path: Path, card: bytes = b"") -> None:
    """Write the built-in bundle with another card."""
    known = read_bundle(BUILT_IN)
    golden = pack_arrays(known.golden)
    write_bundle(path, known.manifest, model=known.model, golden=golden, reference=b"{}", card=card)


class Page(HTMLParser):
    """Reads a page: its text, its tables, and whether what it opens it closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is opened."""
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag == "tr":
            self.rows.append([])
        elif tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is opened and closed at once."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Demand that what is closed is what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note the text of cells."""
        if {"th", "td"} & set(self.open[-3:]) and self.rows:
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        """Return the cells behind one that begins a row."""
        return next([" ".join(cell.split()) for cell in row[1:]] for row in self.rows if row and row[0] == first)


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    """Every element is closed, every id is there once, every link stays in the page; nothing is loaded or run."""
    text = render(REPORT)
    page = Page(text)

    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert re.findall(r"https?:|<script|<link|@import|\bon\w+=", text) == []
    assert "default-src 'none'" in text
    assert render(REPORT) == text


def test_the_figures_are_those_of_the_manifest() -> None:
    """Before and after conversion, and how far they are apart."""
    page, manifest = Page(render(REPORT)), REPORT.manifest
    assert manifest.after is not None

    assert page.row("held out, exported file")[:4] == [
        "800", f"{manifest.after.accuracy:.4f}", f"{manifest.after.brier:.4f}", f"{manifest.after.auc:.4f}",
    ]  # fmt: skip
    assert page.row("difference")[1:3] == ["-0.0012", "+0.0000"]


def test_confusion_counts_every_row_once() -> None:
    """At 0.5, and at the threshold of the manifest."""
    test, threshold = REPORT.test, REPORT.manifest.threshold
    assert threshold is not None
    page = Page(render(REPORT))

    for table, at in enumerate((0.5, threshold)):
        zeros, ones = (
            [[int(cell.split()[0]) for cell in row[1:]] for row in page.rows if row and row[0] == f"is {label}"][table]
            for label in (0, 1)
        )
        called = test.score >= at
        assert zeros == [int(np.sum((test.label == 0) & ~called)), int(np.sum((test.label == 0) & called))]
        assert ones == [int(np.sum((test.label == 1) & ~called)), int(np.sum((test.label == 1) & called))]


def test_metrics_stand_in_the_order_of_what_they_are_worth() -> None:
    """The longest bar is full; what costs nothing has none."""
    text = render(REPORT)
    page = Page(text)

    order = [row[0] for row in page.rows if row and row[0] in {"co2", "temperature", "clock"}][:3]
    assert order == ["temperature", "co2", "clock"]
    assert re.findall(r'class="bar" style="width: ([\d.]+)%', text) == ["100.0", "5.0", "0.0"]


def test_what_a_data_set_says_is_text() -> None:
    """A metric, a label, a finding may be called like a tag."""
    bad = "<script>alert(1)</script>"
    report = replace(
        REPORT,
        manifest=replace(REPORT.manifest, label=bad),
        findings=[Finding(severity=Severity.ERROR, what=bad, where=bad, advice=bad)],
        without=[Without(metric=bad, shuffled=0.1, missing=None)],
    )

    text = render(report)

    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 5


def test_a_regression_has_no_curve_and_no_confusion() -> None:
    """Its error is no Brier score."""
    test = Scored(label=np.linspace(0, 1, 50, dtype=np.float32), score=np.linspace(0.1, 0.9, 50, dtype=np.float32))
    figures = Figures(rows=50, accuracy=1.0, brier=0.003, auc=None)
    report = replace(
        REPORT,
        test=test,
        out_of_fold=None,
        manifest=replace(REPORT.manifest, after=figures, before=None, threshold=None),
    )

    text = render(report)

    assert Page(text).open == []
    assert "mean squared error" in text
    assert "Brier" not in text
    assert "roc-title" not in text
    assert "Labels are not 0 and 1" in text


def test_a_model_from_elsewhere_says_what_is_not_known() -> None:
    """No candidates, no validation, no Keras model, no layers."""
    report = replace(
        REPORT,
        manifest=replace(REPORT.manifest, before=None),
        tried=[], validation=None, out_of_fold=None, layers=[], folds=[], findings=[],
    )  # fmt: skip

    text = render(report)

    assert Page(text).open == []
    for said in ("the model was trained elsewhere", "Nothing was found.", "Differences are from the first runtime"):
        assert said in text
    assert "Cross-validation</h3>" not in text


def test_the_curve_goes_from_nothing_called_to_all_and_its_area_is_the_auc() -> None:
    """Equal scores are one threshold."""
    rows = scored(500, 3)
    coarse = np.round(rows.score, 1).astype(np.float32)

    false, true = roc_points(Curve(name="x", label=rows.label, score=coarse))

    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2)) == pytest.approx(auc(rows.label, coarse))


def test_reliability_is_the_mean_label_of_every_tenth_of_the_scores() -> None:
    """A score of 1 belongs to the last; empty tenths have no dot."""
    curve = Curve(
        name="x", label=np.array([0, 1, 1, 1], np.float32), score=np.array([0.02, 0.04, 0.95, 1.0], np.float32)
    )

    score, label, count = reliability_points(curve)

    assert score == pytest.approx([0.03, 0.975])
    assert label == pytest.approx([0.5, 1.0])
    assert count.tolist() == [2, 2]


def test_report_writes_the_card_of_a_bundle_and_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the file that was asked for; without a browser it says so."""
    bundle, out = tmp_path / "m.zip", tmp_path / "card.html"
    opened: list[str] = []
    monkeypatch.setattr(cli.webbrowser, "open", lambda address: bool(opened.append(address)))
    a_bundle(bundle, card=render(REPORT).encode())

    done = CliRunner().invoke(cli.cli, ["report", str(bundle), "--out", str(out)])

    assert done.exit_code == 0, done.output
    assert out.read_text(encoding="utf-8") == render(REPORT)
    assert opened == [out.as_uri()]
    assert "no browser here" in done.output
    CliRunner().invoke(cli.cli, ["report", str(bundle), "--no-open"])
    assert len(opened) == 1


def test_a_bundle_without_a_card_says_how_it_gets_one(tmp_path: Path) -> None:
    """Bundles of earlier versions have none."""
    bundle = tmp_path / "m.zip"
    a_bundle(bundle)

    done = CliRunner().invoke(cli.cli, ["report", str(bundle)])

    assert done.exit_code != 0
    assert "has no card" in str(done.exception)


def test_the_report_is_of_a_whole_training() -> None:
    """What the builder of tests leaves out would be untested."""
    empty = [name for name in Report.__dataclass_fields__ if not getattr(REPORT, name)]

    assert empty == []
