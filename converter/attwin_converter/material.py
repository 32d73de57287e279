"""What fits are made of: the training rows of a data set, their features, and the same with sensors that are off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import DataError
from attwin.core.manifest import Manifest
from attwin.wiring.offline import Wide
from attwin_converter.candidates import Candidate
from attwin_converter.dataset import DatasetSettings, Part
from attwin_converter.fitting import Plan, Rows
from attwin_converter.folds import folds
from attwin_converter.pool import Features, Pool, dropped, groups_of, inputs_of

Indices = NDArray[np.int64]
_SHIFT = 0.5
"""By how many deviations of the training rows another site's sensors are off."""
LOST_SHARE = 0.15
"""Of the metrics of a row, how many are dropped, so that a model knows what to do when a sensor dies."""
_WATCHED_FOLDS = 5
_RATE, _PATIENCE = 1e-3, 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """The training rows as every candidate may be given them.

    Attributes:
        settings: The data set, its categories and task as they were found.
        part: The training rows.
        pool: Computes features.
        plain: All features of the rows.
        shifted: The same as they would be with other sensors: each metric off by half a deviation, up or down, and the
            other way round. None of independent rows, which have no sensors.
    """

    settings: DatasetSettings
    part: Part
    pool: Pool
    plain: Features
    shifted: Sequence[Features]

    def fit(
        self,
        candidate: Candidate,
        train: Indices,
        scored: Sequence[Features],
        *,
        seeds: Sequence[int],
        epochs: int | None = None,
    ) -> tuple[Plan, Rows, Manifest]:
        """Return the plan and the rows of a fit, and the contract of what it gives.

        Args:
            candidate: What is fitted.
            train: The rows that it may see.
            scored: Features of the rows that it shall score.
            seeds: One model each.
            epochs: For how long networks train; None for as long as rows that are kept back of ``train`` gain by it.
        """
        training = self.settings.training
        watched: Indices | None = None
        if epochs is None and candidate.is_watched:
            train, watched = self._kept_back(train)
        share = self.pool.share(candidate, self.plain[train])
        manifest = self.pool.manifest(candidate, share)
        rng = np.random.default_rng(training.seed)
        lost = rng.random((len(train), len(manifest.metrics))) < LOST_SHARE
        label, weight = self.part.label[train], self._weight(self.part.label[train])
        whole = inputs_of(manifest, share)
        rows: Rows = {
            "inputs": whole,
            "label": label,
            "weight": weight,
        }
        if scored:
            rows["scored"] = np.concatenate([inputs_of(manifest, self.pool.share(candidate, rows)) for rows in scored])
        if training.drop:
            rows["inputs"] = np.concatenate([whole, inputs_of(manifest, dropped(manifest, share, lost))])
            rows["label"] = np.concatenate([label, label])
            rows["weight"] = np.concatenate([weight, weight * training.drop]).astype(np.float32)
        if watched is not None:
            rows["watched"] = inputs_of(manifest, self.pool.share(candidate, self.plain[watched]))
            rows["watched_label"] = self.part.label[watched]
        plan: Plan = {
            "family": candidate.family,
            "seeds": list(seeds),
            "epochs": training.epochs if epochs is None else epochs,
            "batch": training.batch,
            "rate": _RATE,
            "patience": _PATIENCE,
            "penalty": candidate.penalty,
            **self.pool.shape(candidate),
            "groups": groups_of(manifest),
        }
        return plan, rows, manifest

    def _kept_back(self, train: Indices) -> tuple[Indices, Indices | None]:
        """Return rows to train on, and rows to stop by; none where they do not suffice for both."""
        part = self.part
        wide = replace(
            part.wide,
            entity=part.wide.entity[train],
            time_ms=part.wide.time_ms[train],
            values=part.wide.values[train],
            order=np.arange(len(train)),
        )
        group = None if part.group is None else part.group[train]
        try:
            inner, watched = folds(
                Part(wide=wide, label=part.label[train], group=group), self.settings, _WATCHED_FOLDS
            )[-1]
        except DataError:
            return train, None
        return train[inner], train[watched]

    def _weight(self, label: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how much each row counts."""
        weight = np.ones(len(label), np.float32)
        if self.settings.training.class_weight == "balanced":
            ones = label.mean()
            weight = np.where(label > 0.5, 0.5 / ones, 0.5 / (1 - ones)).astype(np.float32)  # noqa: PLR2004 -- the two classes
        return weight


def material_of(settings: DatasetSettings, part: Part, pool: Pool, on_done: Callable[[str], None]) -> Material:
    """Compute the features of the training rows, and of the same with other sensors."""
    plain = pool.features(part.wide)
    on_done("")
    shifted = []
    if not settings.is_independent:
        for sign in (1, -1):
            shifted.append(pool.features(shifted_rows(settings, part.wide, sign)))
            on_done("")
    return Material(settings=settings, part=part, pool=pool, plain=plain, shifted=shifted)


def shifted_rows(settings: DatasetSettings, wide: Wide, sign: int) -> Wide:
    """Return readings as sensors would give them that are off by half a deviation each; codes stay."""
    rng = np.random.default_rng(settings.training.seed)
    by = _SHIFT * sign * np.nanstd(wide.values, axis=0) * rng.choice((-1, 1), wide.values.shape[1])
    coded = np.array([bool(metric.categories) for metric in settings.metrics.values()])
    return replace(wide, values=wide.values + np.where(coded | np.isnan(by), 0.0, by))
