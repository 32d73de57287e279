"""Golden samples: raw readings with the features and scores that every gateway must compute from them."""

import numpy as np
from numpy.typing import NDArray

from attwin.core.manifest import Manifest
from attwin.ports import Scorer
from attwin.wiring.models import replay_golden
from attwin_converter.dataset import Part

_SAMPLES = 6
_ROWS = 24


def golden_of(manifest: Manifest, scorer: Scorer, part: Part) -> dict[str, NDArray[np.generic]]:
    """Return runs of test rows as readings, with what the exported model makes of them.

    Each run becomes an entity of its own. Half of the runs are around changes of the label; every second one has a
    metric missing, so that the mask convention is proved too.
    """
    wide = part.wide
    columns: dict[str, list[NDArray[np.generic]]] = {"entity": [], "metric": [], "time_ms": [], "value": []}
    for number, start in enumerate(_starts(part)):
        rows = np.flatnonzero(wide.entity == wide.entity[start])
        first = int(np.searchsorted(rows, start))
        # the second half of the runs is thinned out where there are baselines, which move in hours
        step = _step_of(manifest, wide.time_ms[rows]) if number >= _SAMPLES // 2 else 1
        rows = rows[first : first + _ROWS * step : step]
        values = wide.values[rows].copy()
        if number % 2:
            values[:, number // 2 % values.shape[1]] = np.nan
        row, metric = np.nonzero(~np.isnan(values))
        columns["entity"].append(np.full(len(row), number, np.int32))
        columns["metric"].append(metric.astype(np.int32))
        columns["time_ms"].append(wide.time_ms[rows][row])
        columns["value"].append(values[row, metric])
    golden: dict[str, NDArray[np.generic]] = {name: np.concatenate(parts) for name, parts in columns.items()}
    features, scores, _ = replay_golden(manifest, scorer, golden)
    return golden | {"features": features, "scores": scores}


def _step_of(manifest: Manifest, time_ms: NDArray[np.int64]) -> int:
    """Return every how many rows an entity's baseline learns most: a reading stands for the longest window at most."""
    if not any(feature.baseline for feature in manifest.features):
        return 1
    gap_ms = max(float(np.median(np.diff(time_ms))) if len(time_ms) > 1 else 0.0, 1.0)
    return max(1, min(round(max(manifest.windows_ms) / gap_ms), len(time_ms) // _ROWS))


def _starts(part: Part) -> list[int]:
    """Return the rows at which runs begin: some before changes of the label, the others evenly spread."""
    changes = np.flatnonzero(np.diff(part.label)) - _ROWS // 2
    count = len(part.label)
    spread = np.linspace(0, max(count - _ROWS, 0), _SAMPLES).astype(int).tolist()
    chosen = changes[np.linspace(0, len(changes) - 1, _SAMPLES // 2).astype(int)].tolist() if len(changes) else []
    return [min(max(start, 0), max(count - 1, 0)) for start in [*chosen, *spread][:_SAMPLES]]
