"""What is wrong, or looks wrong, with a data set: found before anything is trained on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import DataError, StoreError
from attwin.core.units import conversion
from attwin_converter.dataset import DatasetSettings, Part
from attwin_converter.expression import parse_expression
from attwin_converter.measure import auc
from attwin_converter.parts import Dataset, read_dataset

LEAST_ROWS = 50
"""Fewer rows are not trained on."""
_FEW_ROWS = 500
_RARE_SHARE, _RARE_ROWS = 0.01, 20
_LEAK_AUC, _SURE_AUC = 0.999, 0.85
_MOST_MISSING, _ALWAYS = 0.5, 0.999
_MOST_PSI, _SOME_PSI = 0.25, 0.1
_PSI_BINS, _LEAST_SHARE = 10, 1e-4
_CHANCE = 30.0
"""PSI / (1/n + 1/m) of rows that are alike is distributed as chi squared with ten degrees of freedom, which exceeds
this once in a thousand times. Source: Yurdakul 2018, "Statistical properties of population stability index"."""
_LABEL_SHIFT = 3.0
_GAP = 10
_MS_PER_MINUTE = 60_000
_NEVER_NEGATIVE = ("K", "kg", "lx", "lm", "cd", "cd/m2", "Hz", "Pa", "mol", "Bq", "Gy", "Sv", "m2", "m3", "B", "bit/s")
_POSSIBLE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        **dict.fromkeys((*_NEVER_NEGATIVE, "count", "NTU", "kg/m3", "ppm", "ppb", "ppt", "kg/kg"), (0.0, np.inf)),
        **dict.fromkeys(("%RH", "%EL"), (0.0, 100.0)),
        "pH": (-2.0, 16.0),
        "lat": (-90.0, 90.0),
        "lon": (-180.0, 360.0),
    }
)
"""What a quantity can be at all, by its SenML unit."""


class Severity(StrEnum):
    """How much a finding matters: training is refused, figures may be wrong, or it is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something found in a data set.

    Attributes:
        severity: How much it matters.
        what: What was found, with its numbers.
        where: The metric, ``label``, ``rows``, ``split``, or ``files``.
        advice: What a person can do about it.
    """

    severity: Severity
    what: str
    where: str
    advice: str = ""


def inspect_files(settings: DatasetSettings) -> tuple[Dataset | None, list[Finding]]:
    """Return the data set and what was found in it; no data set, and why, where it cannot be read."""
    try:
        dataset = read_dataset(settings)
    except (DataError, StoreError) as error:
        advice = "Correct the file or its description; the other checks come after that."
        return None, [Finding(severity=Severity.ERROR, what=str(error), where="files", advice=advice)]
    return dataset, inspect(dataset)


def demand_sound(dataset: Dataset) -> list[Finding]:
    """Return what was found in a data set that can be learned from and tested on.

    Raises:
        DataError: There is an error among it.
    """
    findings = inspect(dataset)
    for finding in findings:
        if finding.severity == Severity.ERROR:
            raise DataError(f"{finding.where}: {finding.what}. {finding.advice}".rstrip())
    return findings


def inspect(dataset: Dataset) -> list[Finding]:
    """Return what was found, errors first, in the order of the checks."""
    found = [
        *_few_rows(dataset),
        *_labels(dataset),
        *(finding for place, name in enumerate(dataset.settings.metrics) for finding in _metric(dataset, place, name)),
        *_leaks(dataset),
        *_left_out(dataset),
        *_repeated(dataset),
        *_gaps(dataset),
        *_periods(dataset),
    ]
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def summary_of(dataset: Dataset) -> dict[str, str | int]:
    """Return what a data set is, in a few numbers."""
    facts: dict[str, str | int] = {"task": dataset.settings.task}
    for name, part in (("train", dataset.train), ("test", dataset.test)):
        wide = part.wide
        facts[f"{name}_rows"] = len(part.label)
        if not dataset.settings.is_independent:
            facts[f"{name}_entities"] = len(np.unique(wide.entity))
            first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (wide.time_ms.min(), wide.time_ms.max()))
            facts[f"{name}_period"] = f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        facts[f"{name}_label"] = f"{float(part.label.mean()):.4f} on average"
    return facts


def shift_of(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return the population stability index of one column between two sets of rows; missing values are a bin too.

    Source: PSI = sum((q - p) ln(q / p)) over the deciles of ``before``; 0.1 is a moderate, 0.25 a large shift.
    """
    known = before[~np.isnan(before)]
    if not len(known) or not len(after):
        return 0.0
    inner = np.unique(np.quantile(known, np.linspace(0, 1, _PSI_BINS + 1)[1:-1]))
    share = []
    for column in (before, after):
        present = column[~np.isnan(column)]
        counts = np.bincount(np.searchsorted(inner, present, side="left"), minlength=len(inner) + 1)
        share.append(np.maximum(np.append(counts, len(column) - len(present)) / len(column), _LEAST_SHARE))
    return float(((share[1] - share[0]) * np.log(share[1] / share[0])).sum())


def _few_rows(dataset: Dataset) -> Iterator[Finding]:
    rows = len(dataset.train.label)
    if rows < LEAST_ROWS:
        yield Finding(
            severity=Severity.ERROR,
            what=f"{rows} rows to train on; at least {LEAST_ROWS} are needed, and {_FEW_ROWS} for a model worth having",
            where="rows",
            advice="Collect more rows, or train on more of them by another split.",
        )
    elif rows < _FEW_ROWS:
        yield Finding(
            severity=Severity.WARNING,
            what=f"{rows} rows to train on",
            where="rows",
            advice="Figures of so few rows vary much from one draw to the next.",
        )


def _labels(dataset: Dataset) -> Iterator[Finding]:
    train, test = dataset.train.label, dataset.test.label
    if dataset.settings.task == "regression":
        yield from _shares(train)
        return
    for part, label in (("training", train), ("test", test)):
        ones = int(label.sum())
        rare = min(ones, len(label) - ones)
        if not rare:
            yield Finding(
                severity=Severity.ERROR if part == "training" else Severity.WARNING,
                what=f"all {len(label)} {part} rows have the label {int(label[0])}",
                where="label",
                advice="A model learns from both labels and is judged by both: split elsewhere, or look at the label.",
            )
        elif rare < _RARE_ROWS or rare < _RARE_SHARE * len(label):
            yield Finding(
                severity=Severity.WARNING,
                what=f"only {rare} of {len(label)} {part} rows have the label {int(ones <= len(label) - ones)}",
                where="label",
                advice="Accuracy says little here; look at AUC and Brier, and collect more of these rows.",
            )
    before, after = float(train.mean()), float(test.mean())
    odds = [share / (1 - share) for share in (before, after) if 0 < share < 1]
    if len(odds) > 1 and not 1 / _LABEL_SHIFT <= odds[1] / odds[0] <= _LABEL_SHIFT:
        yield Finding(
            severity=Severity.WARNING,
            what=f"label 1 is {before:.1%} of the training and {after:.1%} of the test rows",
            where="label",
            advice="Recoded between the files? If not, the periods differ and figures will not carry over.",
        )


def _shares(label: NDArray[np.float32]) -> Iterator[Finding]:
    between = (label > 0) & (label < 1)
    if len(np.unique(label)) == 1:
        yield Finding(
            severity=Severity.ERROR,
            what=f"every training label is {label[0]:g}",
            where="label",
            advice="There is nothing to learn.",
        )
    elif 0 < between.mean() < _RARE_SHARE:
        odd = float(label[between][0])
        yield Finding(
            severity=Severity.WARNING,
            what=f"only {int(between.sum())} of {len(label)} labels lie between 0 and 1, such as {odd:g}",
            where="label",
            advice="A recoded label? With `task: binary` they are refused, and the line of the first is named.",
        )


def _metric(dataset: Dataset, place: int, name: str) -> Iterator[Finding]:
    train, test = dataset.train.wide.values[:, place], dataset.test.wide.values[:, place]
    for part, column, other in (("training", train, test), ("test", test, train)):
        missing = float(np.isnan(column).mean())
        if missing == 1:
            yield _finding(
                Severity.ERROR if part == "training" else Severity.WARNING,
                name,
                f"no value in any {part} row: dead",
                "Leave it out of `metrics`, or look at its column.",
            )
        elif missing > _MOST_MISSING and not dataset.settings.long:
            yield _finding(
                Severity.WARNING,
                name,
                f"missing in {missing:.0%} of the {part} rows",
                "The score will rest on the other metrics most of the time.",
            )
        if missing < 1:
            yield from _constant(name, part, column[~np.isnan(column)], other)
    yield from _impossible(dataset.settings.metrics[name].unit, name, np.concatenate([train, test]))
    for text, count in sorted(dataset.unknown.get(name, {}).items(), key=lambda item: -item[1])[:3]:
        yield _finding(
            Severity.WARNING,
            name,
            f"`{text[:40]}` is no category, in {count} rows; they count as missing",
            "Add it to `categories`, or correct the file.",
        )
    shift = shift_of(train, test)
    by_chance = _CHANCE * (1 / len(train) + 1 / len(test))
    if shift > max(_SOME_PSI, by_chance) and not np.isnan(test).all():
        large = shift > _MOST_PSI
        yield _finding(
            Severity.WARNING if large else Severity.NOTE,
            name,
            f"{'much' if large else 'somewhat'} shifted between train and test (PSI {shift:.2f})",
            "Other days, another place, or another unit? The model meets values that it has seldom seen.",
        )


def _constant(name: str, part: str, known: NDArray[np.float64], other: NDArray[np.float64]) -> Iterator[Finding]:
    values, counts = np.unique(known, return_counts=True)
    if len(values) == 1 and (part == "training" or len(np.unique(other[~np.isnan(other)])) > 1):
        yield _finding(
            Severity.WARNING,
            name,
            f"always {values[0]:g} in the {part} rows: constant",
            "It says nothing there; a sensor that is stuck, or a metric to leave out.",
        )
    elif part == "training" and counts.max() >= _ALWAYS * len(known):
        yield _finding(
            Severity.NOTE, name, f"{values[counts.argmax()]:g} in {counts.max()} of {len(known)} training rows"
        )


def _impossible(unit: str, name: str, column: NDArray[np.float64]) -> Iterator[Finding]:
    low, high = possible_range(unit)
    wrong = (column < low) | (column > high)
    if wrong.any():
        worst = column[wrong][np.argmax(np.abs(column[wrong]))]
        yield _finding(
            Severity.WARNING,
            name,
            f"{int(wrong.sum())} values cannot be in {unit}, such as {worst:g}",
            "Another unit, or what a sensor says when it is broken? Empty such cells.",
        )


def possible_range(unit: str) -> tuple[float, float]:
    """Return the least and the greatest value that a quantity in a unit can have, as far as that is known."""
    if unit in _POSSIBLE:
        return _POSSIBLE[unit]
    ways = (conversion(base, unit) for base in _NEVER_NEGATIVE)
    # zero of the base, such as 0 K, less what rounding may do
    least = next((way[1] - 1e-6 * max(abs(way[1]), 1.0) for way in ways if way), -np.inf)
    return least, np.inf


def _leaks(dataset: Dataset) -> Iterator[Finding]:
    settings = dataset.settings
    columns = {metric.column or name: name for name, metric in settings.metrics.items()}
    label = settings.label
    used = parse_expression(label.expression).names if label.expression and not label.file else (label.column,)
    for column in used:
        name = column if column in settings.metrics else columns.get(column, "")
        if name and not label.file:
            yield _finding(
                Severity.ERROR,
                name,
                f"the label is made of it (`{label.expression or label.column}`)",
                "The model would read its own answer: leave it out of `metrics`.",
            )
    for place, name in enumerate(settings.metrics):
        train, test = (_alone(part, place) for part in (dataset.train, dataset.test))
        if train is not None and max(train, 1 - train) >= _LEAK_AUC:
            yield _finding(
                Severity.WARNING,
                name,
                f"it alone tells the label (AUC {max(train, 1 - train):.4f} in the training rows)",
                "A leak? Ask whether it is known before the label is, and made of something else.",
            )
        if train is None or test is None:
            continue
        if min(train, test) < 1 - _SURE_AUC and max(train, test) > _SURE_AUC:
            yield _finding(
                Severity.WARNING,
                "label",
                f"`{name}` goes up with it in one part and down in the other (AUC {train:.2f} and {test:.2f})",
                "Recoded between the files: is 1 what it was?",
            )


def _alone(part: Part, place: int) -> float | None:
    """Return how well one metric alone orders the rows by label; of a regression, by whether it is above the median."""
    column = part.wide.values[:, place]
    known = ~np.isnan(column)
    label = part.label[known]
    if not len(label):
        return None
    positive = label if np.isin(label, (0.0, 1.0)).all() else (label > np.median(label)).astype(np.float32)
    return auc(positive, column[known].astype(np.float32))


def _left_out(dataset: Dataset) -> Iterator[Finding]:
    for what, count in dataset.left_out.items():
        yield Finding(severity=Severity.NOTE, what=f"{count} {what} left out", where="rows")


def _repeated(dataset: Dataset) -> Iterator[Finding]:
    seen = []
    for name, part in (("training", dataset.train), ("test", dataset.test)):
        wide = part.wide
        names = np.array(wide.entities, np.str_)[wide.entity]
        whole = np.column_stack([wide.values, part.label])
        if dataset.settings.is_independent:
            seen.append({row.tobytes() for row in whole})
            twice, kind = len(whole) - len(seen[-1]), "rows repeat another one in everything"
        else:
            seen.append(set(zip(names.tolist(), wide.time_ms.tolist(), strict=True)))
            twice, kind = len(whole) - len(seen[-1]), "rows have the entity and time of another one"
        if twice:
            yield Finding(
                severity=Severity.NOTE if dataset.settings.is_independent else Severity.WARNING,
                what=f"{twice} of {len(whole)} {name} {kind}",
                where="rows",
                advice="Rows that were written twice count twice.",
            )
    both = len(seen[0] & seen[1])
    if both:
        yield Finding(
            severity=Severity.NOTE if dataset.settings.is_independent else Severity.ERROR,
            what=f"{both} rows are in the training and in the test rows",
            where="split",
            advice="What is tested must not have been trained on.",
        )


def _gaps(dataset: Dataset) -> Iterator[Finding]:
    if dataset.settings.is_independent:
        return
    for name, part in (("training", dataset.train), ("test", dataset.test)):
        wide = part.wide
        order = np.lexsort((wide.time_ms, wide.entity))
        passed = np.diff(wide.time_ms[order])[np.diff(wide.entity[order]) == 0]
        passed = passed[passed > 0]
        if not len(passed):
            continue
        usual = float(np.median(passed))
        gaps = passed > _GAP * usual
        if gaps.any():
            yield Finding(
                severity=Severity.NOTE,
                what=f"{int(gaps.sum())} gaps in the {name} rows of more than {_GAP} times the usual "
                f"{usual / 1000:g} s, the longest of {passed.max() / _MS_PER_MINUTE:.0f} minutes",
                where="rows",
                advice="Windows after a gap are short of readings, as they are on a gateway.",
            )


def _periods(dataset: Dataset) -> Iterator[Finding]:
    settings = dataset.settings
    if settings.is_independent and not settings.time.column:
        return
    train, test = dataset.train.wide.time_ms, dataset.test.wide.time_ms
    inside = int(((test >= train.min()) & (test <= train.max())).sum())
    if inside:
        by_time = settings.split.by in ("file", "time")
        yield Finding(
            severity=Severity.WARNING if by_time else Severity.NOTE,
            what=f"{inside} of {len(test)} test rows lie within the training period",
            where="split",
            advice="What is learned of those days is known in the test; a later period is the harder and truer one.",
        )
    elif test.max() < train.min():
        yield Finding(severity=Severity.NOTE, what="the test lies before the training period", where="split")


def _finding(severity: Severity, name: str, what: str, advice: str = "") -> Finding:
    return Finding(severity=severity, what=what, where=name, advice=advice)
