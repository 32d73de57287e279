"""The rows of a data set: files read, labels made, train and test kept apart, categories numbered."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import DataError
from attwin.wiring.offline import Wide, is_missing, numbers_of, parse_time_ms
from attwin_converter.dataset import NEIGHBOURS, DatasetSettings, Part
from attwin_converter.expression import parse_expression
from attwin_converter.labels import (
    Labels,
    Moments,
    Source,
    check_labels,
    held,
    labels_of,
    labels_of_file,
    source_of_table,
    task_of,
)
from attwin_converter.tables import (
    Readings,
    demand_columns,
    is_database,
    read_any_table,
    read_database,
    read_long,
    time_column_of,
)

_MOST_CATEGORIES = 64
_STRATA = 10
TWICE, UNLABELLED, EMBARGOED = "readings given twice", "rows without a label", "rows in the embargo"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A data set as it was read.

    Attributes:
        settings: The description, with ``task`` and all categories as they were found.
        train, test: The rows.
        unknown: Of each categorical metric, what is none of its categories, and how often.
        left_out: What was not taken, and how many of it.
    """

    settings: DatasetSettings
    train: Part
    test: Part
    unknown: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """Rows of one or more files, before categories are numbered.

    Attributes:
        entities: The ids.
        entity, time_ms, values, label: As in ``Part``; a categorical metric is NaN in ``values``.
        texts: Of each categorical metric the text of each row, empty for none. Shape (N,) each.
        groups: What independent rows belong to; empty where they stand alone. Shape (N,).
        other: The text that became label 0.
        left_out: What was not taken.
    """

    entities: list[str]
    entity: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    texts: dict[str, NDArray[np.str_]]
    label: NDArray[np.float64]
    groups: NDArray[np.str_]
    other: str
    left_out: Counter[str]

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "_Rows":
        """Return some of the rows."""
        return replace(
            self,
            entity=self.entity[chosen],
            time_ms=self.time_ms[chosen],
            values=self.values[chosen],
            texts={name: text[chosen] for name, text in self.texts.items()},
            label=self.label[chosen],
            groups=self.groups[chosen] if len(self.groups) else self.groups,
        )


def read_parts(settings: DatasetSettings) -> tuple[Part, Part]:
    """Return the train and the test rows.

    Raises:
        DataError: A file or a column is not what the description says, or a part is empty.
    """
    found = read_dataset(settings)
    return found.train, found.test


def read_dataset(settings: DatasetSettings) -> Dataset:
    """Return the rows of a data set, and what was found while reading.

    Raises:
        DataError: A file or a column is not what the description says, or a part is empty.
        StoreError: An agent's database cannot be read.
    """
    split = settings.split
    left_out: Counter[str] = Counter()
    if split.by == "file":
        train, test = _read(settings, split.train, "split.train"), _read(settings, split.test, "split.test")
        left_out = train.left_out + test.left_out
    else:
        whole = _read(settings, split.files, "split.files")
        in_train, in_test = _split(settings, whole)
        left_out = whole.left_out + Counter({EMBARGOED: int((~in_train & ~in_test).sum())})
        for chosen, what in ((in_train, "train"), (in_test, "test")):
            if not chosen.any():
                raise DataError(f"split by {split.by}: of {_in_words(whole)} none is left to {what} on")
        train, test = whole.where(in_train), whole.where(in_test)
    categories = {
        name: _categories(name, metric.categories, train.texts[name])
        for name, metric in settings.metrics.items()
        if name in train.texts
    }
    resolved = replace(
        settings,
        task=task_of(settings.task, [train.label.astype(np.float32), test.label.astype(np.float32)]),
        metrics={
            name: replace(metric, categories=categories.get(name, metric.categories))
            for name, metric in settings.metrics.items()
        },
    )
    unknown: dict[str, Counter[str]] = {name: Counter() for name in categories}
    parts = [_part(resolved, rows, unknown) for rows in (train, test)]
    return Dataset(
        settings=resolved,
        train=parts[0],
        test=parts[1],
        unknown={name: dict(counts) for name, counts in unknown.items() if counts},
        left_out={name: count for name, count in left_out.items() if count},
    )


def _read(settings: DatasetSettings, files: Sequence[str], where: str) -> _Rows:
    """Return the rows of all files in order of time."""
    parts = [_read_file(settings, Path(file)) for file in files]
    others = sorted({part.other for part in parts if part.other})
    if len(others) > 1:
        raise DataError(f"{where}: label `{settings.label.column}` is {', '.join(others)} beside what `positive` says")
    if settings.is_independent:
        count = sum(len(part.label) for part in parts)
        names = [str(number) for number in range(1, count + 1)]
        entity = np.arange(count, dtype=np.int32)
    else:
        names = sorted({name for part in parts for name in part.entities})
        place = {name: index for index, name in enumerate(names)}
        numbers = [np.array([place[name] for name in part.entities], np.int32) for part in parts]
        entity = np.concatenate([number[part.entity] for number, part in zip(numbers, parts, strict=True)])
    time_ms = np.concatenate([part.time_ms for part in parts])
    keys = np.stack([entity.astype(np.int64), time_ms], axis=1)
    alone = sum(len(np.unique(np.stack([part.entity, part.time_ms], axis=1), axis=0)) for part in parts)
    if len(parts) > 1 and not settings.is_independent and len(np.unique(keys, axis=0)) < alone:
        raise DataError(f"{where}: two of the files hold the same entity at the same time")
    rows = _Rows(
        entities=names,
        entity=entity,
        time_ms=time_ms,
        values=np.concatenate([part.values for part in parts]),
        texts={name: np.concatenate([part.texts[name] for part in parts]) for name in parts[0].texts},
        label=np.concatenate([part.label for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        other="".join(others),
        left_out=sum((part.left_out for part in parts), Counter()),
    )
    return rows.where(np.argsort(time_ms, kind="stable"))


def _read_file(settings: DatasetSettings, path: Path) -> _Rows:
    zone = ZoneInfo(settings.time.zone)
    source: Readings | Source
    if is_database(path):
        units = {metric.column or name: metric.unit for name, metric in settings.metrics.items()}
        rows, source = _pivoted(settings, read_database(path, settings.kind, units))
    elif settings.long:
        readings = read_long(
            path,
            metric=settings.long.metric,
            value=settings.long.value,
            time=settings.time.column,
            entity=settings.entity,
            entity_column=settings.entity_column,
            zone=zone,
        )
        rows, source = _pivoted(settings, readings)
    else:
        rows, source = _wide(settings, path, zone)
    label = settings.label
    if label.file:
        labels = labels_of_file(
            label,
            label.file,
            settings.task,
            read_any_table(Path(label.file.path)),
            Moments(entity=rows.entity, time_ms=rows.time_ms),
            entities=rows.entities,
            zone=zone,
            hold_ms=_hold_ms(settings),
        )
    elif isinstance(source, Readings):
        labels = _labels_of_readings(settings, rows, source)
    else:
        labels = labels_of(label, settings.task, source)
    known = ~np.isnan(labels.value)
    if not known.any():
        raise DataError(f"{path}: no row has a label within {_hold_ms(settings)} ms before it")
    left_out = rows.left_out + Counter({UNLABELLED: int((~known).sum())})
    return replace(rows, label=labels.value, other=labels.other, left_out=left_out).where(known)


def _wide(settings: DatasetSettings, path: Path, zone: ZoneInfo) -> tuple[_Rows, Source]:
    """Return the rows of a file with one reading of each metric a row, and where their labels come from."""
    table = read_any_table(path)
    count = len(table.rows)
    columns = {name: metric.column or name for name, metric in settings.metrics.items()}
    own = [settings.label.column] if settings.label.column and not settings.label.file else []
    demand_columns(table, [*columns.values(), *([settings.entity_column] if settings.entity_column else []), *own])
    if settings.is_independent and not settings.time.column:
        time_ms = np.zeros(count, np.int64)
    else:
        time_ms = table.times_ms(time_column_of(table, settings.time.column), zone)
    ids = table.texts(settings.entity_column) if settings.entity_column else [settings.entity] * count
    if settings.is_independent:
        entities, entity = [], np.arange(count, dtype=np.int32)
    else:
        names, numbers = np.unique(np.array(ids, np.str_), return_inverse=True)
        entities, entity = names.tolist(), numbers.astype(np.int32)
    values = np.full((count, len(columns)), np.nan)
    texts: dict[str, NDArray[np.str_]] = {}
    for place, (name, metric) in enumerate(settings.metrics.items()):
        if metric.categories:
            found = ["" if is_missing(text) else text for text in table.texts(columns[name])]
            texts[name] = np.array(found, np.str_)
        else:
            values[:, place] = _metric(name, table.numbers, columns[name])
    rows = _Rows(
        entities=entities,
        entity=entity,
        time_ms=time_ms,
        values=values,
        texts=texts,
        label=np.full(count, np.nan),
        groups=np.array(ids if settings.is_independent and settings.entity_column else [], np.str_),
        other="",
        left_out=Counter(),
    )
    # a name in an expression is a metric first, then a column
    return rows, source_of_table(table, lambda name: columns.get(name, name))


def _pivoted(settings: DatasetSettings, readings: Readings) -> tuple[_Rows, Readings]:
    """Return a row for every time at which an entity has a reading of a metric of the model, NaN where it has none."""
    chosen = {name: readings.rows_of(metric.column or name) for name, metric in settings.metrics.items()}
    used = np.concatenate(list(chosen.values()))
    span = np.stack([readings.entity[used].astype(np.int64), readings.time_ms[used]], axis=1)
    keys, place = np.unique(span, axis=0, return_inverse=True)
    place = place.reshape(-1)
    values = np.full((len(keys), len(chosen)), np.nan)
    texts: dict[str, NDArray[np.str_]] = {}
    at, twice = 0, 0
    for column, (name, rows) in enumerate(chosen.items()):
        metric = settings.metrics[name]
        # of two readings of one time the first counts, as on the gateway
        first, where = np.unique(place[at : at + len(rows)], return_index=True)
        at, twice = at + len(rows), twice + len(rows) - len(first)
        if metric.categories and len(readings.text):
            found = np.array(["" if is_missing(t) else t for t in readings.texts(metric.column or name)], np.str_)
            texts[name] = np.full(len(keys), "", found.dtype)
            texts[name][first] = found[where]
        elif metric.categories == "auto":
            raise DataError(
                f"{readings.path}: metrics.{name}.categories: a database holds their numbers; name them all"
            )
        else:
            values[first, column] = _metric(name, readings.numbers, metric.column or name)[where]
    rows_found = _Rows(
        entities=readings.entities,
        entity=keys[:, 0].astype(np.int32),
        time_ms=keys[:, 1],
        values=values,
        texts=texts,
        label=np.full(len(keys), np.nan),
        groups=np.empty(0, np.str_),
        other="",
        left_out=Counter({**readings.left_out, TWICE: twice}),
    )
    return rows_found, readings


def _metric(name: str, numbers: Callable[[str], NDArray[np.float64]], column: str) -> NDArray[np.float64]:
    """Return the column of a metric of numbers."""
    try:
        return numbers(column)
    except DataError as error:
        raise DataError(
            f"{error}; a metric is a number, or nothing; one of text needs `categories` (metrics.{name}.categories)"
        ) from error


def _labels_of_readings(settings: DatasetSettings, rows: _Rows, readings: Readings) -> Labels:
    """Return the label of every row, each column of it held from its last reading on."""
    label, hold_ms = settings.label, _hold_ms(settings)
    asked = Moments(entity=rows.entity, time_ms=rows.time_ms)
    columns = {name: metric.column or name for name, metric in settings.metrics.items()}

    def moments(name: str) -> Moments:
        chosen = readings.rows_of(name)
        return Moments(entity=readings.entity[chosen], time_ms=readings.time_ms[chosen])

    if label.column:
        name = columns.get(label.column, label.column)
        chosen = readings.rows_of(name)
        source = Source(
            numbers=lambda _name: readings.numbers(name),
            texts=lambda _name: readings.texts(name),
            place=lambda row: readings.place(int(chosen[row])),
            count=len(chosen),
        )
        found = labels_of(label, settings.task, source)
        return Labels(value=held(asked, moments(name), found.value, hold_ms), other=found.other)
    expression = parse_expression(label.expression)
    value = expression.evaluate(
        {
            name: held(asked, moments(columns.get(name, name)), readings.numbers(columns.get(name, name)), hold_ms)
            for name in expression.names
        },
        len(rows.time_ms),
    )
    known = ~np.isnan(value)
    check_labels(label, settings.task, value[known], lambda _row: str(readings.path))
    return Labels(value=value)


def _split(settings: DatasetSettings, rows: _Rows) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows are for training and which for the test; some may be for neither."""
    split = settings.split
    if split.by == "time":
        cut_ms = parse_time_ms(split.at, ZoneInfo(settings.time.zone))
        return rows.time_ms < cut_ms - settings.embargo_ms, rows.time_ms >= cut_ms
    if split.by == "group":
        names = rows.groups if settings.is_independent else np.array(rows.entities, np.str_)[rows.entity]
        unknown = sorted(set(split.test_entities) - set(names.tolist()))
        if unknown:
            raise DataError(f"split.test_entities: no row is about `{unknown[0]}`")
        test = np.isin(names, split.test_entities)
        return ~test, test
    if not settings.is_independent and not split.force:
        raise DataError(f"split: {NEIGHBOURS}")
    test = np.zeros(len(rows.label), bool)
    rng = np.random.default_rng(split.seed)
    for stratum in np.unique(strata := strata_of(rows.label)):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        test[members[: round(len(members) * split.test_share)]] = True
    return ~test, test


def strata_of(label: NDArray[np.float64] | NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the stratum of each row: its class, or of a regression its tenth of the rows by label."""
    if np.isin(label, (0.0, 1.0)).all():
        return label.astype(np.int64)
    rank = np.empty(len(label), np.int64)
    rank[np.argsort(label, kind="stable")] = np.arange(len(label))
    return rank * _STRATA // max(len(label), 1)


def _in_words(rows: _Rows) -> str:
    count = f"{len(rows.label)} rows"
    if not rows.time_ms.any():
        return count
    first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (rows.time_ms.min(), rows.time_ms.max()))
    return f"{count} from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def _categories(name: str, given: Sequence[str], texts: NDArray[np.str_]) -> list[str]:
    if given != "auto":
        return list(given)
    found = [str(text) for text in np.unique(texts) if text]
    numbers = numbers_of(found)
    if numbers is not None:
        found = [found[place] for place in np.argsort(numbers, kind="stable")]
    if not 1 <= len(found) <= _MOST_CATEGORIES:
        raise DataError(
            f"metrics.{name}.categories: the training rows hold {len(found)} different texts; 1 to {_MOST_CATEGORIES} "
            "can be categories: is it an identifier, or a number?"
        )
    return found


def _part(settings: DatasetSettings, rows: _Rows, unknown: dict[str, Counter[str]]) -> Part:
    """Return the rows with categories as numbers; what is none of them is missing, and counted in ``unknown``."""
    values = rows.values.copy()
    for place, (name, metric) in enumerate(settings.metrics.items()):
        if name in rows.texts:
            found, number = np.unique(rows.texts[name], return_inverse=True)
            code = {category: float(index) for index, category in enumerate(metric.categories)}
            values[:, place] = np.array([code.get(str(text), np.nan) for text in found])[number.reshape(-1)]
            strange = np.isnan(values[:, place]) & (rows.texts[name] != "")
            unknown[name] += Counter(str(text) for text in rows.texts[name][strange])
        elif metric.categories:
            strange = ~np.isin(values[:, place], np.arange(len(metric.categories))) & ~np.isnan(values[:, place])
            unknown.setdefault(name, Counter()).update(f"{number:g}" for number in values[strange, place])
            values[strange, place] = np.nan
    wide = Wide(
        entities=rows.entities,
        entity=rows.entity,
        time_ms=rows.time_ms,
        values=values,
        order=np.arange(len(rows.time_ms)),
    )
    group = np.unique(rows.groups, return_inverse=True)[1].astype(np.int32) if len(rows.groups) else None
    return Part(wide=wide, label=rows.label.astype(np.float32), group=group)


def _hold_ms(settings: DatasetSettings) -> int:
    return settings.label.hold if settings.label.hold is not None else max(settings.features.windows)
