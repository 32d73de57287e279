"""What a report says in words and tables of how a model came about."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from attwin.core.manifest import Figures, Manifest
from attwin_converter.candidates import Candidate
from attwin_converter.costs import Cost
from attwin_converter.dataset import BudgetSettings, DatasetSettings, Part
from attwin_converter.material import Indices
from attwin_converter.report import Share, Tried
from attwin_converter.search import Trial

_MUCH_WORSE = 1.5
_FEW_DAYS = 14
_MS_PER_DAY = 86_400_000
_FEW_ENTITIES = 2


def share_of(name: str, part: Part, settings: DatasetSettings) -> Share:
    """Return what a share of the rows is."""
    timeless = settings.is_independent and not settings.time.column
    return Share(
        name=name,
        rows=len(part.label),
        entities=len(np.unique(part.wide.entity)),
        begin_ms=None if timeless else int(part.wide.time_ms.min()),
        end_ms=None if timeless else int(part.wide.time_ms.max()),
        mean_label=float(part.label.mean()),
    )


def fold_in_words(part: Part, settings: DatasetSettings, train: Indices, validation: Indices) -> str:
    """Return which rows a fold validates on, and on how many it trains."""
    rows = f"{len(validation):,} rows validated, {len(train):,} trained on"
    if settings.is_independent:
        return rows
    names = sorted({part.wide.entities[number] for number in np.unique(part.wide.entity[validation])})
    begin, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in part.wide.time_ms[validation][[0, -1]])
    of = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 -- a short line
    return f"{of}, {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC: {rows}"


def table_of(trials: Sequence[Trial], costs: Mapping[Candidate, Cost], budget: BudgetSettings) -> list[Tried]:
    """Return the table of candidates.

    Args:
        trials: Those that were cross-validated, the chosen one first.
        costs: Of all candidates.
        budget: What a gateway can afford.
    """
    tried = {trial.candidate for trial in trials}
    validated = [_validated(trial, costs[trial.candidate], trials[0]) for trial in trials]
    return validated + [
        _tried(candidate, cost, note=cost.excess(budget) or "its inputs did less well in a logistic regression")
        for candidate, cost in costs.items()
        if candidate not in tried
    ]


def _validated(trial: Trial, cost: Cost, chosen: Trial) -> Tried:
    if trial.problem:
        return _tried(trial.candidate, cost, note=trial.problem)
    note = ""
    if not trial.is_whole:
        note = "behind after the first folds"
    elif trial.score < chosen.score:
        note = "not better by more than chance, and less simple"
    return _tried(trial.candidate, cost, note=note, trial=trial, is_chosen=trial is chosen)


def _tried(
    candidate: Candidate, cost: Cost, *, note: str, trial: Trial | None = None, is_chosen: bool = False
) -> Tried:
    known = not cost.problem
    seeds = trial.seeds if trial else 1
    return Tried(
        name=candidate.name,
        seeds=trial.seeds if trial else 0,
        folds=int((~np.isnan(trial.plain)).sum()) if trial else 0,
        plain=float(np.nanmean(trial.plain)) if trial else None,
        shifted=float(np.nanmean(trial.shifted)) if trial else None,
        file_kb=cost.file_kb * seeds if known else None,
        latency_us=cost.latency_us * seeds if known else None,
        memory_kb=cost.memory_kb * seeds if known else None,
        note=note,
        is_chosen=is_chosen,
    )


def warnings_of(manifest: Manifest, validation: Figures | None, settings: DatasetSettings, part: Part) -> list[str]:
    """Return what a model must not be used for, and what its figures do not show.

    Args:
        manifest: The contract.
        validation: The figures out of fold; None for an imported model, which these rows have not made.
        settings: The data set.
        part: The training rows.
    """
    purpose = (
        f"It estimates one thing, `{manifest.label}`, for entities of kind `{manifest.kind}`. It is not made to "
        "identify, rate or monitor single persons, and must not decide alone on anything that matters to one."
    )
    return [
        purpose,
        *(_of_training(manifest, validation, settings, part) if validation else ()),
        *_of_levels(manifest, settings),
    ]


def _of_training(manifest: Manifest, validation: Figures, settings: DatasetSettings, part: Part) -> Iterator[str]:
    if not settings.is_independent:
        entities = len(np.unique(part.wide.entity))
        if entities < _FEW_ENTITIES:
            yield (
                f"It was trained on one {manifest.kind} alone. In others, with other sensors, expect errors nearer to "
                "the column `with other sensors` than to the held-out figures."
            )
        days = (int(part.wide.time_ms.max()) - int(part.wide.time_ms.min())) / _MS_PER_DAY
        if days < _FEW_DAYS:
            yield f"It has seen {days:.1f} days. Other seasons, holidays and habits are unknown to it."
    if manifest.after and manifest.after.brier > _MUCH_WORSE * validation.brier:
        yield (
            "Held-out rows are harder than those of cross-validation: a mean squared error of "
            f"{manifest.after.brier:.4f} against {validation.brier:.4f}."
        )


def _of_levels(manifest: Manifest, settings: DatasetSettings) -> Iterator[str]:
    if not any(feature.baseline for feature in manifest.features) and not settings.is_independent:
        yield "It reads values as they are: a sensor that is off by a constant moves its score for good."
