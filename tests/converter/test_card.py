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
from attwin_converter.findings import Finding, Severity
from attwin_converter.report import LayerLoss, Report, Scored, Without
from support.reports import a_report

BUILT_IN = Path(attwin.__file__).parent / "data" / "occupancy.zip"
REPORT = a_report()
VOID = {"meta", "br", "img", "link", "hr"}
BAD = '<script>alert("1")</script>'


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
        self.links += [value or "" for name, value in attrs if name in {"href", "aria-labelledby"}]
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


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    """-0.0000 would look like a loss."""
    before = REPORT.manifest.before
    assert before is not None
    manifest = replace(REPORT.manifest, before=replace(before, brier=before.brier + 1e-7))

    page = Page(render(replace(REPORT, manifest=manifest)))

    assert page.row("difference")[2] == "+0.0000"


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
    assert re.findall(r"width: ([\d.]+)%; background: var\(--first\)", text) == ["100.0", "5.0", "0.0"]


def test_what_a_data_set_says_is_text() -> None:
    """Whatever is called like a tag: in cells, in titles, in code."""
    manifest, tried = REPORT.manifest, REPORT.tried[1]
    report = replace(
        REPORT,
        manifest=replace(
            manifest,
            name=BAD, kind=BAD, label=BAD, masks=[BAD],
            metrics=[replace(metric, name=BAD, unit=BAD) for metric in manifest.metrics],
            features=[replace(feature, metric=BAD) for feature in manifest.features],
        ),
        source={BAD: BAD},
        findings=[Finding(severity=Severity.ERROR, what=f"`{BAD}`", where=BAD, advice=BAD)],
        folds=[BAD],
        tried=[replace(tried, name=BAD, note=BAD)],
        without=[Without(metric=BAD, shuffled=0.1, missing=None)],
        layers=[LayerLoss(operator=BAD, tensor=BAD, error=0.3)],
        warnings=[BAD, f"`{BAD}`"],
    )  # fmt: skip

    text = render(report)
    page = Page(text)

    assert page.open == []
    assert "<script" not in text
    assert not re.search(r'title="[^"]*alert\("', text)
    escaped = "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;"
    assert text.count(f"<code>{escaped}</code>") == 2
    assert text.count(escaped) == 24
    assert page.row(BAD)


def test_a_pair_of_backticks_is_code_and_a_single_one_is_itself() -> None:
    """Messages name columns so; a column may have one in its name."""
    report = replace(REPORT, warnings=["see `co2` & `light`", "a`<b>"])

    text = render(report)

    assert "<li>see <code>co2</code> &amp; <code>light</code></li>" in text
    assert "<li>a`&lt;b&gt;</li>" in text


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
    assert "Confusion" not in text
    assert "not 0 and 1, or all the same" in text
    assert "on the right side of 0.5" in text


def test_a_model_from_elsewhere_says_what_is_not_known() -> None:
    """No candidates, no validation, no Keras model, no layers."""
    report = replace(
        REPORT,
        manifest=replace(REPORT.manifest, before=None),
        tried=[], validation=None, out_of_fold=None, layers=[], folds=[], findings=[],
    )  # fmt: skip

    text = render(report)

    assert Page(text).open == []
    for said in (
        "the model was trained elsewhere",
        "Nothing was found.",
        "Differences are from the first runtime",
        "There is no Keras model to compare with",
        "What each layer loses is not known",
        "the threshold of the contract",
    ):
        assert said in text
    for unsaid in ("Cross-validation</h3>", "nor looked at when the model was chosen", "Keras model 0"):
        assert unsaid not in text


def test_a_threshold_of_one_half_is_no_second_table() -> None:
    """An imported model may say it."""
    report = replace(REPORT, manifest=replace(REPORT.manifest, threshold=0.5))

    assert (render(report).count("<b>Confusion at"), render(REPORT).count("<b>Confusion at")) == (1, 2)


def test_findings_stand_together_by_how_much_they_matter() -> None:
    """Warnings before notes, each with how many they are."""
    note, warning = (Finding(severity=s, what=f"{s} found", where="rows") for s in (Severity.NOTE, Severity.WARNING))
    text = render(replace(REPORT, findings=[note, warning, warning]))

    places = [text.index(said) for said in ("2 warnings</span>", "warning found.", "1 note</span>", "note found.")]

    assert places == sorted(places)
    assert "0 errors" not in text


def test_facts_that_the_shares_have_stand_there_alone() -> None:
    """The rest is listed."""
    report = replace(REPORT, source={"task": "binary", "train_rows": 2_000, "test_period": "none"})

    listed = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", render(report))

    assert listed == [("task", "binary"), ("split", "by file")]


def test_rows_without_times_have_neither_windows_nor_a_period() -> None:
    """A dash, and why; a row is all that its score is made of."""
    shares = [replace(share, begin_ms=None, end_ms=None) for share in REPORT.shares]

    timeless, timed = render(replace(REPORT, shares=shares)), render(REPORT)

    assert "Rows without times have no first and last." in timeless
    assert Page(timeless).row("train") == ["2,000", "1", "\N{EN DASH}", "\N{EN DASH}", "0.5000"]
    assert "each score from one row alone" in timeless
    assert "of 1 min" not in timeless
    assert "last of 1 min" in timed


def test_what_was_not_measured_is_a_dash_beside_its_reason() -> None:
    """A candidate that was too slow has costs, and no errors."""
    dash = "\N{EN DASH}"

    row = Page(render(REPORT)).row("gru, buckets")

    assert row == [dash, dash, dash, dash, "60.60", "67.0", dash, "60.6 us a row, the budget is 50"]


def test_a_long_tensor_name_shows_its_end_and_has_all_of_it_in_its_title() -> None:
    """The names of tensors differ in their last parts, which stay whole."""
    name = "functional_1/transformer_block_11/multi_head_attention/query/MatMul"

    text = render(replace(REPORT, layers=[LayerLoss(operator="FULLY_CONNECTED", tensor=name, error=0.31)]))

    assert f'<code title="{name}">\N{HORIZONTAL ELLIPSIS}/multi_head_attention/query/MatMul</code>' in text


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
