"""Labels: numbers from 0 to 1 out of columns, expressions, text with two values, and files of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import DataError
from attwin.wiring.offline import Table, is_missing
from attwin_converter.dataset import LabelFileSettings, LabelSettings
from attwin_converter.expression import parse_expression
from attwin_converter.tables import demand_columns, time_column_of

Task = Literal["auto", "binary", "regression"]
_MOST_SHOWN = 5
_TWO = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """When and of whom: rows or events.

    Attributes:
        entity: Shape (N,).
        time_ms: Shape (N,).
    """

    entity: NDArray[np.int32]
    time_ms: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """Where the columns of a label come from.

    Attributes:
        numbers, texts: Return a column.
        place: Returns where a row stands, for a message.
        count: How many rows there are.
    """

    numbers: Callable[[str], NDArray[np.float64]]
    texts: Callable[[str], Sequence[str]]
    place: Callable[[int], str]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """Labels as they were read.

    Attributes:
        value: From 0 to 1. Shape (N,).
        other: The text that became 0, where ``positive`` says which becomes 1; empty for none.
    """

    value: NDArray[np.float64]
    other: str = ""


def labels_of(settings: LabelSettings, task: Task, source: Source) -> Labels:
    """Return the label of every row of a source.

    Raises:
        DataError: A label is missing, no number, or not from 0 to 1; it says where, and what is allowed.
    """
    if settings.positive:
        return _two_texts(settings, source)
    if settings.expression:
        expression = parse_expression(settings.expression)
        value = expression.evaluate({name: source.numbers(name) for name in expression.names}, source.count)
    else:
        value = _numeric(settings.column, source)
    check_labels(settings, task, value, source.place)
    return Labels(value=value)


def check_labels(settings: LabelSettings, task: Task, value: NDArray[np.float64], place: Callable[[int], str]) -> None:
    """Refuse a label that is missing or not what the task allows.

    Raises:
        DataError: It says where, and what is allowed.
    """
    name = settings.column or settings.expression
    allowed = "a label is 0 or 1"
    if task != "binary":
        allowed += ", or a share between them"
    absent = np.isnan(value)
    if absent.any():
        raise DataError(f"{place(int(np.argmax(absent)))}: label `{name}` has no value; {allowed}")
    wrong = ~np.isin(value, (0.0, 1.0)) if task == "binary" else (value < 0) | (value > 1)
    if not wrong.any():
        return
    found = np.unique(value)
    shown = ", ".join(f"{number:g}" for number in found[:_MOST_SHOWN]) + (" ..." if len(found) > _MOST_SHOWN else "")
    written = settings.expression or (name if name.isidentifier() else f"`{name}`")
    if len(found) == _TWO and not settings.expression:
        advice = f"of two values say which is 1: `label: {written} == {found[1]:g}`"
    elif task == "binary":
        advice = f"make two of them, such as `label: {written} >= {found[len(found) // 2]:g}`"
    else:
        advice = f"make one of it, such as `label: clip({written} / {found[-1]:g}, 0, 1)`"
    raise DataError(
        f"{place(int(np.argmax(wrong)))}: label `{name}` is `{value[np.argmax(wrong)]:g}`; {allowed}; "
        f"found {shown}: {advice}"
    )


def task_of(task: Task, labels: Sequence[NDArray[np.float32]]) -> Literal["binary", "regression"]:
    """Return what the labels are: 0 and 1, or numbers between."""
    if task != "auto":
        return task
    return "binary" if all(np.isin(label, (0.0, 1.0)).all() for label in labels) else "regression"


def source_of_table(table: Table, column_of: Callable[[str], str]) -> Source:
    """Return a table as the source of labels.

    Args:
        table: The table.
        column_of: Returns the column of a name.
    """
    return Source(
        numbers=lambda name: table.numbers(column_of(name)),
        texts=lambda name: table.texts(column_of(name)),
        place=lambda row: f"{table.path}:{table.lines[row]}",
        count=len(table.rows),
    )


def labels_of_file(
    settings: LabelSettings,
    file: LabelFileSettings,
    task: Task,
    table: Table,
    rows: Moments,
    *,
    entities: Sequence[str],
    zone: ZoneInfo,
    hold_ms: int,
) -> Labels:
    """Return the label of every row out of a file of labels; NaN where it says none.

    Args:
        settings: What the label is.
        file: The columns of the file.
        task: What is allowed.
        table: The file.
        rows: The rows.
        entities: The name of each entity of the rows.
        zone: Of times without an offset.
        hold_ms: How long a label at a time holds at most.

    Raises:
        DataError: The file is not what the description says.
    """
    named = settings.column or settings.expression
    labels = (
        labels_of(settings, task, source_of_table(table, lambda name: name))
        if named
        else Labels(value=np.ones(len(table.rows)))
    )
    column = file.entity or ("entity" if "entity" in table.names else "")
    demand_columns(table, [name for name in (column, file.begin, file.end) if name])
    number = {name: place for place, name in enumerate(entities)}
    if column:
        about = np.array([number.get(name, -1) for name in table.texts(column)], np.int32)
        entity = rows.entity
    else:
        about, entity = np.zeros(len(table.rows), np.int32), np.zeros_like(rows.entity)
    if (about < 0).all():
        raise DataError(f"{table.path}: no label is about {', '.join(list(entities)[:_MOST_SHOWN])}")
    asked = Moments(entity=entity, time_ms=rows.time_ms)
    if not file.begin:
        begin_ms = table.times_ms(time_column_of(table, file.time), zone)
        given = Moments(entity=about, time_ms=begin_ms)
        return Labels(value=held(asked, given, labels.value, hold_ms), other=labels.other)
    begin_ms, end_ms = table.times_ms(file.begin, zone), table.times_ms(file.end, zone)
    _demand_order(table, about, begin_ms, end_ms)
    place = _before(asked, Moments(entity=about, time_ms=begin_ms))
    inside = (place >= 0) & (asked.time_ms < end_ms[place])
    return Labels(value=np.where(inside, labels.value[place], np.nan if named else 0.0), other=labels.other)


def held(rows: Moments, events: Moments, value: NDArray[np.float64], hold_ms: int) -> NDArray[np.float64]:
    """Return the value of the last event at or before each row; NaN where there is none or it is older than told."""
    if not len(value):
        return np.full(len(rows.time_ms), np.nan)
    place = _before(rows, events)
    fresh = (place >= 0) & (rows.time_ms - events.time_ms[place] <= hold_ms)
    return np.where(fresh, value[place], np.nan)


def _before(rows: Moments, events: Moments) -> NDArray[np.int64]:
    """Return the newest event of the same entity at or before each row, -1 for none."""
    order = np.lexsort((events.time_ms, events.entity))
    base = int(min(events.time_ms.min(), rows.time_ms.min()))
    span = int(max(events.time_ms.max(), rows.time_ms.max())) - base + 1
    keys = events.entity[order].astype(np.int64) * span + (events.time_ms[order] - base)
    found = np.searchsorted(keys, rows.entity.astype(np.int64) * span + (rows.time_ms - base), side="right") - 1
    # of two of one time the first counts, as on the gateway
    place = order[np.searchsorted(keys, keys[np.maximum(found, 0)], side="left")]
    return np.where((found >= 0) & (events.entity[place] == rows.entity), place, -1)


def _demand_order(
    table: Table, about: NDArray[np.int32], begin_ms: NDArray[np.int64], end_ms: NDArray[np.int64]
) -> None:
    backwards = end_ms <= begin_ms
    if backwards.any():
        raise DataError(f"{table.path}:{table.lines[int(np.argmax(backwards))]}: the interval ends before it begins")
    order = np.lexsort((begin_ms, about))
    overlaps = (about[order][1:] == about[order][:-1]) & (begin_ms[order][1:] < end_ms[order][:-1])
    if overlaps.any():
        first = int(np.argmax(overlaps))
        one, other = table.lines[order[first]], table.lines[order[first + 1]]
        raise DataError(f"{table.path}:{other}: the interval overlaps that of line {one}")


def _numeric(name: str, source: Source) -> NDArray[np.float64]:
    try:
        return source.numbers(name)
    except DataError as error:
        try:
            texts = sorted({text for text in source.texts(name) if not is_missing(text)})
        except DataError:
            raise error from None
        shown = ", ".join(text[:20] for text in texts[:_MOST_SHOWN]) + (" ..." if len(texts) > _MOST_SHOWN else "")
        advice = f"; of two texts say which is 1: `positive: {texts[-1][:20]}`" if len(texts) == _TWO else ""
        raise DataError(
            f"{error}; a label is 0 or 1, true or false, or a share between; found {shown}{advice}"
        ) from None


def _two_texts(settings: LabelSettings, source: Source) -> Labels:
    """Return 1 for ``positive`` and 0 for the one other text."""
    other = ""
    texts = source.texts(settings.column)
    for row, text in enumerate(texts):
        if is_missing(text):
            raise DataError(
                f"{source.place(row)}: label `{settings.column}` has no value; "
                f"it is `{settings.positive}` or one other text"
            )
        if text != settings.positive:
            other = other or text
            if text != other:
                raise DataError(
                    f"{source.place(row)}: label `{settings.column}` is `{text[:40]}`, a third value beside "
                    f"`{settings.positive}` and `{other[:40]}`; a label with `positive` has two"
                )
    return Labels(value=np.array([text == settings.positive for text in texts], np.float64), other=other)
