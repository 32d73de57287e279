"""The reference of a bundle: histograms of the training rows, by which the gateway finds drift."""

from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from attwin.core.drift import LEAST_SCORES, HistogramSpec, Reference, ReferenceSpec
from attwin.core.manifest import Manifest

_BINS = 10
_DAY_MS = 86_400_000


def reference_of(
    manifest: Manifest, features: NDArray[np.float32], scores: NDArray[np.float32], time_ms: NDArray[np.int64]
) -> dict[str, object]:
    """Return the histograms of the training rows by their own deciles, and how far its days are from each other.

    A day of one room is far from a month of it: its temperature fills two of ten bins. So each day of training is
    compared with all others, as the gateway will compare its days with all of training, and the highest PSI is kept.

    Args:
        manifest: The model's inputs.
        features: The inputs before any baseline, which would hide drift; those of the clock last. Shape (N, F + C).
        scores: What the model makes of them. Shape (N,).
        time_ms: When they were. Shape (N,).
    """
    histograms = []
    for feature, column in zip(manifest.features, features[:, : len(manifest.features)].T, strict=True):
        known = column[~np.isnan(column)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)).astype(np.float32))
        counts, _ = np.histogram(known, edges if len(edges) > 1 else [edges[0] - 0.5, edges[0] + 0.5])
        histograms.append(
            HistogramSpec(
                metric=feature.metric,
                window_ms=feature.window_ms,
                statistic=feature.measured,
                edges=edges.tolist(),
                counts=counts.tolist(),
                missing=int(np.isnan(column).sum()),
            )
        )
    counts, edges = np.histogram(scores, _BINS, (0.0, 1.0))
    spec = ReferenceSpec(
        features=histograms, score=HistogramSpec(edges=edges.astype(float).tolist(), counts=counts.tolist())
    )
    usual = _usual(Reference(spec, manifest.input_keys()), features, scores, time_ms)
    if usual is None or spec.score is None:
        return asdict(spec)
    *of_inputs, of_score = usual
    return asdict(
        ReferenceSpec(
            features=[replace(one, usual=most) for one, most in zip(spec.features, of_inputs, strict=True)],
            score=replace(spec.score, usual=of_score),
        )
    )


def _usual(
    reference: Reference, features: NDArray[np.float32], scores: NDArray[np.float32], time_ms: NDArray[np.int64]
) -> list[float] | None:
    """Return the highest PSI that a day had against the other days; None where there are no two days to compare."""
    days, group = np.unique(time_ms // _DAY_MS, return_inverse=True)
    counts = reference.count(features, scores, group, len(days))
    counts = counts[counts[:, -1].sum(axis=-1) >= LEAST_SCORES]
    if len(counts) < 2:  # noqa: PLR2004 -- one to compare, and one to compare it with
        return None
    most: list[float] = reference.psi(counts, counts.sum(axis=0) - counts).max(axis=0).tolist()
    return most
