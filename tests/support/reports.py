"""A report as training makes it, without training."""

from dataclasses import replace

import numpy as np

from attwin.core.manifest import Figures, OperatorSpec, RuntimeSpec
from attwin_converter.findings import Finding, Severity
from attwin_converter.measure import best_threshold, figures_of
from attwin_converter.report import LayerLoss, Report, Scored, Share, Tried, Without
from support.builders import a_manifest


def scored(rows: int, seed: int) -> Scored:
    """Return rows whose scores know something of their labels."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, rows)
    label = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    score = 1 / (1 + np.exp(-(logit + rng.normal(0, 0.5, rows))))
    return Scored(label=label, score=score.astype(np.float32))


def a_report() -> Report:
    """Return the report of a model of rooms."""
    test, out_of_fold = scored(800, 1), scored(2_000, 2)
    threshold = best_threshold(out_of_fold.label, out_of_fold.score)
    after = figures_of(test.label, test.score, threshold)
    missing = Figures(rows=800, accuracy=0.71, brier=0.19, auc=0.8)
    manifest = replace(
        a_manifest(statistics=["last"]),
        label="somebody is in the room",
        before=replace(after, accuracy=after.accuracy + 0.00125),
        after=after,
        threshold=threshold,
        operators=[OperatorSpec(name="FULLY_CONNECTED", version=4)],
        runtimes=[RuntimeSpec(name="tflite-runtime", version="2.14.0", worst=0.0123, latency_us=0.41, memory_kb=128)],
    )
    return Report(
        manifest=manifest,
        source={"task": "binary"},
        split="by file",
        shares=[
            Share(name="train", rows=2000, entities=1, begin_ms=0, end_ms=86_400_000, mean_label=0.5),
            Share(name="test", rows=800, entities=1, begin_ms=None, end_ms=None, mean_label=0.5),
        ],
        findings=[Finding(severity=Severity.WARNING, what="7 rows come twice", where="rows", advice="Drop them.")],
        folds=["office, 2015-02-04 to 2015-02-05: 1,000 rows validated, 900 trained on"],
        tried=[
            Tried(
                name="logistic 0.001, newest", seeds=1, folds=8, plain=0.02, shifted=0.03, file_kb=1.5, latency_us=0.4,
                memory_kb=128, note="", is_chosen=True,
            ),
            Tried(
                name="gru, buckets", seeds=0, folds=0, plain=None, shifted=None, file_kb=67.0, latency_us=60.6,
                memory_kb=None, note="60.6 us a row, the budget is 50", is_chosen=False,
            ),
        ],
        validation=figures_of(out_of_fold.label, out_of_fold.score, threshold),
        without=[
            Without(metric="co2", shuffled=0.01, missing=missing),
            Without(metric="temperature", shuffled=0.2, missing=missing),
            Without(metric="clock", shuffled=-0.001, missing=None),
        ],
        layers=[LayerLoss(operator="FULLY_CONNECTED", tensor="functional_1/logit/MatMul" + "/x" * 60, error=0.31)],
        saturated=0.002,
        out_of_fold=out_of_fold,
        test=test,
        warnings=["It estimates one thing."],
    )  # fmt: skip
