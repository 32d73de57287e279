"""What is known of a model and of how it came about: what its card shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.core.manifest import Figures, Manifest
from attwin_converter.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of the rows.

    Attributes:
        name: ``train`` or ``test``.
        rows, entities: How many.
        begin_ms, end_ms: Its first and last time; None of rows without times.
        mean_label: Of the labels; of labels 0 and 1 the share of ones.
    """

    name: str
    rows: int
    entities: int
    begin_ms: int | None
    end_ms: int | None
    mean_label: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A candidate in the table.

    Attributes:
        name: What was tried.
        seeds: How many models were averaged; 0 where it was not trained.
        folds: In how many folds it was validated.
        plain, shifted: The mean squared error out of fold, of rows as they are and with other sensors; None where it
            was not validated.
        file_kb, latency_us, memory_kb: What one such model costs on the workstation, in the runtime where it costs
            most; None where that is not known.
        note: Why it was not taken, such as ``too slow``; empty otherwise.
        is_chosen: Whether it is the one.
    """

    name: str
    seeds: int
    folds: int
    plain: float | None
    shifted: float | None
    file_kb: float | None
    latency_us: float | None
    memory_kb: int | None
    note: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """What a metric is worth to the model, on the test rows.

    Attributes:
        metric: Its name; ``clock`` for the time of day and week.
        shuffled: How much the mean squared error rises when its values are those of other rows (permutation importance,
            Breiman 2001), the mean of several draws.
        missing: The figures when the metric is missing in every row; None for the clock, which never is.
    """

    metric: str
    shuffled: float
    missing: Figures | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLoss:
    """What int8 does to a tensor.

    Attributes:
        operator, tensor: Which computes it, and what the converter calls it.
        error: Its root mean squared error in quanta; rounding alone makes 0.29.
    """

    operator: str
    tensor: str
    error: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Rows with what the exported file says of them.

    Attributes:
        label, score: Shape (N,) each.
    """

    label: NDArray[np.float32]
    score: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """All of it.

    Attributes:
        manifest: The contract; it has the figures of the test rows before and after conversion, the runtimes, the
            threshold.
        source: Facts of the data set, by name.
        split: In words, such as ``by file``.
        shares: The training and the test rows.
        findings: What looks wrong with the data.
        folds: How cross-validation kept rows apart, one line a fold.
        tried: Every candidate, best first. Empty for an imported model.
        validation: The figures of the chosen candidate out of fold, calibrated; None for an imported model.
        without: What each metric is worth.
        layers: What int8 does to each tensor; empty for other precisions.
        saturated: The share of the inputs of the test rows that int8 cannot hold.
        out_of_fold: Rows of training with calibrated scores of models that had not seen them; None for an imported
            model.
        test: The test rows with the scores of the exported file.
        warnings: What the model must not be used for, and what its figures do not show.
    """

    manifest: Manifest
    source: Mapping[str, object]
    split: str
    shares: Sequence[Share]
    findings: Sequence[Finding]
    folds: Sequence[str]
    tried: Sequence[Tried]
    validation: Figures | None
    without: Sequence[Without]
    layers: Sequence[LayerLoss]
    saturated: float
    out_of_fold: Scored | None
    test: Scored
    warnings: Sequence[str]
