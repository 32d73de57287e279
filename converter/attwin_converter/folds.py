"""Folds for cross-validation that keep apart what is alike: entities, times that are near, groups."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import DataError
from attwin_converter.dataset import DatasetSettings, Part
from attwin_converter.parts import strata_of

Rows = NDArray[np.int64]
_MOST_CUTS = 400
_LEAST = 2
_FAIR_SHARE = 0.25
"""How much of its fair share of each label a block should hold, where that can be."""


def folds(part: Part, settings: DatasetSettings, count: int) -> list[tuple[Rows, Rows]]:
    """Return (train rows, validation rows) of each fold, as indices into ``part``, in order of time.

    Every row is validated in one fold. Rows of a series are kept together: by entity where there are several, else in
    blocks of time, with ``settings.embargo_ms`` cut out of the training rows on both sides of the block. Independent
    rows are drawn by class, groups of them together.

    Args:
        part: The training rows.
        settings: Their description.
        count: How many folds at most. There are fewer where entities, or changes of a binary label, do not suffice for
            both labels in every validation.

    Raises:
        DataError: Not even two folds have both labels in training and validation.
        ValueError: ``count`` is less than 2.
    """
    if count < _LEAST:
        raise ValueError(f"{count} folds; at least {_LEAST} are needed")
    for candidate in _candidates(part, settings, count):
        fold = [_fold(part, settings, candidate, number) for number in range(int(candidate.max()) + 1)]
        if len(fold) >= _LEAST and all(
            _is_fit(part, train) and _is_fit(part, validation) for train, validation in fold
        ):
            return fold
    raise DataError(_why(part, settings))


def _candidates(part: Part, settings: DatasetSettings, count: int) -> Iterator[Rows]:
    """Yield, best first, in which fold each row is validated."""
    for number in range(count, _LEAST - 1, -1):
        if settings.is_independent:
            yield (
                _drawn(part, number, settings.training.seed)
                if part.group is None
                else _grouped(part, part.group.astype(np.int64), number)
            )
        elif len(np.unique(part.wide.entity)) >= number:
            yield _grouped(part, part.wide.entity.astype(np.int64), number)
    if not settings.is_independent:
        for number in range(count, _LEAST - 1, -1):
            for share in (_FAIR_SHARE, 0.0):
                blocks = _blocks(part, number, share)
                if blocks is not None:
                    yield blocks


def _fold(part: Part, settings: DatasetSettings, fold_of: Rows, number: int) -> tuple[Rows, Rows]:
    validated = fold_of == number
    trained = ~validated
    time_ms = part.wide.time_ms
    entity = part.wide.entity
    if validated.any() and not settings.is_independent and np.isin(entity[validated], entity[trained]).any():
        first, last = int(time_ms[validated].min()), int(time_ms[validated].max())
        embargo_ms = settings.embargo_ms
        trained &= (time_ms < first - embargo_ms) | (time_ms > last + embargo_ms)
    return np.flatnonzero(trained), np.flatnonzero(validated)


def _drawn(part: Part, count: int, seed: int) -> Rows:
    """Deal the rows of each stratum out to the folds."""
    rng = np.random.default_rng(seed)
    fold_of = np.empty(len(part.label), np.int64)
    dealt = 0
    for stratum in np.unique(strata := strata_of(part.label)):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        fold_of[members] = (np.arange(len(members)) + dealt) % count
        dealt += len(members)
    return fold_of


def _grouped(part: Part, group: Rows, count: int) -> Rows:
    """Give each group, the largest first, to the fold that lacks most of what it brings."""
    _, group = np.unique(group, return_inverse=True)
    rows = np.bincount(group).astype(np.float64)
    ones = np.bincount(group, weights=part.label)
    # rows, ones and zeros, as shares of all: a rare label weighs as much as the other
    brings = np.stack([rows / rows.sum(), ones / max(ones.sum(), 1e-9), (rows - ones) / max((rows - ones).sum(), 1e-9)])
    holds = np.zeros((3, count))
    fold_of_group = np.zeros(len(rows), np.int64)
    for member in np.lexsort((-rows, -brings.max(axis=0))):
        after = holds + brings[:, member, None]
        fold_of_group[member] = int(np.argmin((after**2 - holds**2).sum(axis=0)))
        holds[:, fold_of_group[member]] += brings[:, member]
    # a fold that nobody was given is none
    return np.unique(fold_of_group, return_inverse=True)[1][group].astype(np.int64)


def _blocks(part: Part, count: int, share: float) -> Rows | None:
    """Return contiguous blocks of time as even as both labels in each of them allow; None where they do not.

    Args:
        part: The rows.
        count: How many blocks.
        share: How much of its fair share of each label a block must hold, beside at least one row.
    """
    time_ms, total = part.wide.time_ms, len(part.label)
    starts = np.flatnonzero(np.diff(time_ms)) + 1
    # where the label changes matters most; the others are spread evenly
    changes = starts[part.label[starts] != part.label[starts - 1]]
    spread = (
        starts[np.linspace(0, len(starts) - 1, min(_MOST_CUTS, len(starts))).astype(int)] if len(starts) else starts
    )
    near = (
        changes[np.linspace(0, len(changes) - 1, min(_MOST_CUTS, len(changes))).astype(int)]
        if len(changes)
        else changes
    )
    cuts = np.unique(np.concatenate([[0], spread, near, np.minimum(near + 1, total), [total]])).astype(np.int64)
    cuts = cuts[(cuts == 0) | (cuts == total) | np.isin(cuts, starts)]
    ones = np.concatenate([[0.0], np.cumsum(part.label, dtype=np.float64)])
    rows = (cuts[None, :] - cuts[:, None]).astype(np.float64)
    cost = np.where(rows > 0, (rows - total / count) ** 2, np.inf)
    if _is_binary(part):
        inside = ones[cuts][None, :] - ones[cuts][:, None]
        least_ones, least_zeros = (max(share * n / count, 1.0) for n in (ones[-1], total - ones[-1]))
        cost = np.where((inside >= least_ones) & (rows - inside >= least_zeros), cost, np.inf)
    best, came = cost[0], []
    for _ in range(count - 1):
        through = best[:, None] + cost
        came.append(np.argmin(through, axis=0))
        best = through.min(axis=0)
    if not np.isfinite(best[-1]):
        return None
    ends = [len(cuts) - 1]
    for back in reversed(came):
        ends.append(int(back[ends[-1]]))
    inner = cuts[np.array(ends[:0:-1], np.int64)]
    return np.searchsorted(inner, np.arange(total), side="right").astype(np.int64)


def _is_binary(part: Part) -> bool:
    return bool(np.isin(part.label, (0.0, 1.0)).all())


def _is_fit(part: Part, rows: Rows) -> bool:
    """Return whether rows can be learned from or judged by: there are some, with both labels where there are two."""
    if not len(rows):
        return False
    return not _is_binary(part) or len(np.unique(part.label[rows])) == _LEAST


def _why(part: Part, settings: DatasetSettings) -> str:
    total, ones = len(part.label), int((part.label == 1).sum())
    counts = f"{ones} rows with label 1 and {total - ones} with 0" if _is_binary(part) else f"{total} rows"
    changes = int(np.count_nonzero(np.diff(part.label)))
    embargo = "" if settings.is_independent else f", with {settings.embargo_ms} ms of embargo around each"
    return (
        f"no two folds can be made of {counts} (the label changes {changes} times in order of time){embargo}: training "
        "and validation need both labels; more rows are needed, or a shorter `split.embargo`"
    )
