"""The contract of a model that was trained elsewhere: what its inputs are, in its order, and which rows prove it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from attwin.core.errors import SettingsError
from attwin.core.features import Statistic
from attwin.core.manifest import FeatureSpec, Manifest, input_problems, mask_columns, with_population
from attwin.settings.reader import Reader, did_you_mean
from attwin.settings.types import DurationMs, FilePath, LevelOrOff
from attwin.wiring.offline import Wide
from attwin_converter.dataset import BudgetSettings, DatasetSettings, load_dataset, out_of_range
from attwin_converter.pool import draft_of


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """One input of the model.

    Attributes:
        metric: A metric of the data set.
        window: The window; the longest of the data set's ``features`` unless told.
        statistic: What is computed over it.
        mean: What is taken off before the model sees it, and what a missing value becomes.
        scale: What it is divided by.
        bucket: Of ``mean``: which of the window's twelve buckets alone, 0 for the oldest.
        transform: ``log`` for sign(x) log(1 + |x|), before mean and scale.
        baseline: ``running`` where it is measured against what is usual for the entity.
        categories: Of ``last``: 1 where the newest value is one of these, else 0.
    """

    metric: str
    window: DurationMs | None = None
    statistic: Literal["mean", "std", "min", "max", "last", "count", "slope"] = "last"
    mean: float = 0.0
    scale: float = 1.0
    bucket: int | None = None
    transform: Literal["log"] | None = None
    baseline: Literal["running"] | None = None
    categories: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSettings:
    """What a contract says.

    Attributes:
        version: The version of this format, 1.
        dataset: The description of a data set, as ``train`` takes it. Its test rows prove the model, and drift is
            measured from its training rows.
        features: The inputs in the model's order.
        clock: Names out of ``clock_features.CLOCK``, which follow them.
        masks: Metrics with a flag each, which come last: 1 where the metric is missing.
        saturation: How many scales from the mean inputs are cut off; ``off`` for a model that was trained without that.
        precision: How the exported file holds its weights, of a Keras model; as the data set says unless told.
        tolerance: How much accuracy or mean squared error may be lost; as the data set says unless told.
        threshold: From which score on a row is called 1, for F1.
        budget: What a gateway can afford; as the data set says unless told.
    """

    version: Literal[1]
    dataset: FilePath
    features: list[InputSettings]
    clock: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    saturation: LevelOrOff = float("inf")
    precision: Literal["int8", "float16", "dynamic"] | None = None
    tolerance: float | None = None
    threshold: float | None = None
    budget: BudgetSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A contract with its data set.

    Attributes:
        settings: What it says.
        dataset: The metrics that the model needs; precision, tolerance and budget are the contract's.
    """

    settings: ContractSettings
    dataset: DatasetSettings

    def manifest(self, train: Wide) -> Manifest:
        """Return the manifest, as far as it is known before the model was checked.

        Args:
            train: The training rows: what entities without a history are measured against, where there are baselines.
        """
        return with_population(self.draft(), train.values)

    def draft(self) -> Manifest:
        """Return the manifest without anything of the rows."""
        given, longest = self.settings, max(self.dataset.features.windows)
        features = [
            FeatureSpec(
                metric=one.metric,
                window_ms=longest if one.window is None else one.window,
                statistic=Statistic(one.statistic),
                mean=one.mean,
                scale=one.scale,
                transform=one.transform,
                categories=one.categories,
                baseline=one.baseline,
                bucket=one.bucket,
            )
            for one in given.features
        ]
        return replace(
            draft_of(self.dataset),
            windows_ms=sorted({spec.window_ms for spec in features}),
            features=features,
            clock=list(given.clock),
            masks=list(given.masks),
            saturation=given.saturation if isfinite(given.saturation) else None,
            threshold=given.threshold,
        )


def load_contract(path: Path) -> Contract:
    """Return the contract in ``path`` and the description of its data set.

    Raises:
        SettingsError: Anything is wrong with either; it carries every problem with file and line.
    """
    reader = Reader(path)
    settings = reader.read(ContractSettings)
    dataset, contract, others = None, None, []
    if settings is not None and settings.dataset:
        try:
            dataset = load_dataset(Path(settings.dataset))
        except SettingsError as error:
            others = error.problems
    if settings is not None and dataset is not None:
        contract = _bound(settings, dataset, reader)
    if contract is None or reader.problems or others:
        raise SettingsError([*reader.messages(), *others])
    return contract


def _bound(settings: ContractSettings, dataset: DatasetSettings, reader: Reader) -> Contract | None:
    """Return a contract with the part of a data set that it needs; None where it needs what there is not."""
    asked = {f"features[{place}].metric": one.metric for place, one in enumerate(settings.features)}
    asked |= {f"masks[{place}]": name for place, name in enumerate(settings.masks)}
    for where, name in asked.items():
        if name not in dataset.metrics:
            known = did_you_mean(name, dataset.metrics)
            reader.report_at(where, f"`{name}` is no metric of the data set; {known}")
    threshold = settings.threshold
    if threshold is not None and not 0 <= threshold <= 1:
        reader.report_at("threshold", f"a score from 0 to 1, not {threshold:g}")
    training = dataset.training
    training = replace(
        training,
        precision=settings.precision or training.precision,
        tolerance=training.tolerance if settings.tolerance is None else settings.tolerance,
    )
    budget = settings.budget or dataset.budget
    for name, value in out_of_range(training, budget):
        reader.report_at(name.removeprefix("training."), f"out of range: {value}")
    if reader.problems:
        return None
    used = [name for name in dataset.metrics if name in asked.values()]
    contract = Contract(
        settings=settings, dataset=replace(dataset.with_metrics(used), training=training, budget=budget)
    )
    _check_inputs(contract, used, reader)
    return contract


def _check_inputs(contract: Contract, used: Sequence[str], reader: Reader) -> None:
    draft, masks = contract.draft(), contract.settings.masks
    for name in used:
        if contract.dataset.metrics[name].categories == "auto":
            text = f"metric `{name}` has the categories of some rows; name those that the model was trained with"
            reader.report_at("dataset", text)
    for place, (name, columns) in enumerate(zip(masks, mask_columns(draft.features, masks), strict=True)):
        if not columns:
            reader.report_at(f"masks[{place}]", f"no feature of `{name}` can be missing, so its flag is never 1")
    if not reader.problems:
        # which population a baseline begins with makes no difference here
        draft = with_population(draft, np.zeros((1, len(used))))
        for where, text in input_problems(draft):
            reader.report_at(where, text)
