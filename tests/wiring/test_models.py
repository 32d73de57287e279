"""Facts about binding a model to a configured kind."""

import pytest

from attwin.adapters.bundle_zip import Bundle
from attwin.core.errors import BundleMismatchError
from attwin.settings.model import KindSettings, MetricSettings
from attwin.wiring.models import bind, metrics_of
from support.builders import a_full_manifest
from support.fakes import MeanScorer


def bound(*categories: str) -> None:
    """Bind a model that knows new, other and returning to a kind with the given categories."""
    metrics = {"temperature": MetricSettings(), "visitor": MetricSettings(categories=list(categories))}
    bundle = Bundle(manifest=a_full_manifest(), model=b"", golden={}, reference=None, card="", sha256="")
    bind(bundle, MeanScorer(), metrics_of(KindSettings(metrics=metrics)), "room")


@pytest.mark.parametrize(
    ("categories", "found"),
    [
        ((), "no categories"),
        (("new", "other"), "the categories new, other in this order"),
        (("other", "new", "returning"), "the categories other, new, returning in this order"),
    ],
    ids=["none", "too few", "another order"],
)
def test_a_model_with_other_categories_does_not_fit(categories: tuple[str, ...], found: str) -> None:
    """Their codes would mean something else."""
    message = f"`visitor` has {found}, the model wants the categories new, other, returning in this order"

    with pytest.raises(BundleMismatchError, match=message):
        bound(*categories)
    bound("new", "other", "returning")


def test_codes_have_the_range_of_the_categories() -> None:
    """A number that is no code, such as one out of a SenML pack, is stored as bad."""
    (metric,) = metrics_of(KindSettings(metrics={"visitor": MetricSettings(categories=["a", "b", "c"])}))

    assert (metric.low, metric.high, metric.categories) == (0.0, 2.0, ("a", "b", "c"))
