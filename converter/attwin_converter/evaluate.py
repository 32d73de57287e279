"""The figures of a bundle on a data set: the exported int8 file, in the runtime, by the agent's own feature code."""

from dataclasses import replace
from pathlib import Path

from attwin.core.errors import DataError
from attwin.core.manifest import Figures
from attwin.wiring.models import load_bundle
from attwin.wiring.offline import score_rows
from attwin_converter.dataset import DatasetSettings
from attwin_converter.measure import figures_of
from attwin_converter.parts import read_parts


def evaluate(bundle_file: Path, settings: DatasetSettings) -> tuple[Figures, str]:
    """Return the figures on the test rows, and which precision and runtime computed them.

    Raises:
        BundleError: The bundle cannot be used.
        DataError: The data set lacks a metric of the model, or is not what its description says.
    """
    bundle, scorer = load_bundle(bundle_file)
    wanted = bundle.manifest.metric_names()
    missing = [name for name in wanted if name not in settings.metrics]
    if missing:
        raise DataError(f"the data set has no metric {', '.join(missing)}; the model needs {', '.join(wanted)}")
    # texts are numbered as they were in training
    known = {metric.name: list(metric.categories or []) for metric in bundle.manifest.metrics}
    metrics = {name: replace(settings.metrics[name], categories=known[name]) for name in wanted}
    _, test = read_parts(replace(settings, metrics=metrics))
    scores = score_rows(test.wide, bundle.manifest, scorer)
    figures = figures_of(test.label, scores.score, bundle.manifest.threshold)
    return figures, f"{bundle.manifest.precision} in {scorer.runtime}"
