"""A data set described in YAML: which files and columns, what the label is, how train and test are kept apart."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import DataError, SettingsError
from attwin.core.features import Statistic
from attwin.core.units import UNITS
from attwin.core.windows import BUCKETS, TIERS
from attwin.settings.reader import Reader, did_you_mean
from attwin.settings.types import DurationMs, FilePath
from attwin.wiring.offline import Wide, parse_time_ms, read_wide

_STATISTICS = tuple(statistic.value for statistic in Statistic)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSettings:
    """A metric of the data set.

    Attributes:
        column: Its column, where it is not called like the metric.
        unit: SenML symbol.
    """

    column: str = ""
    unit: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSettings:
    """The time of a row.

    Attributes:
        column: Its column; the usual names are tried where it is left out.
        zone: Of times without an offset.
    """

    column: str = ""
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSettings:
    """What the model learns: a column of 0 and 1.

    Attributes:
        column: Its column.
        meaning: What 1 means, in words.
    """

    column: str
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """How train and test rows are kept apart. Rows of a series are never drawn at random.

    Attributes:
        by: file, time or group.
        train: By file: the files to train on.
        test: By file: the files to test on.
        files: By time and by group: all files.
        at: By time: rows from here on are for the test.
        test_entities: By group: the entities to test on.
    """

    by: Literal["file", "time", "group"]
    train: list[FilePath] = field(default_factory=list)
    test: list[FilePath] = field(default_factory=list)
    files: list[FilePath] = field(default_factory=list)
    at: str = ""
    test_entities: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """What is computed of every metric.

    Attributes:
        windows: One or two windows.
        statistics: Which statistics of each window.
    """

    windows: list[DurationMs] = field(default_factory=lambda: [120_000, 600_000])
    statistics: list[Literal["mean", "std", "min", "max", "last", "count", "slope"]] = field(
        default_factory=lambda: ["last", "mean"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How the model is trained.

    Attributes:
        epochs: Passes over the training rows.
        batch: Rows a step.
        drop: Share of metrics that are dropped at random, so that masks mean something.
        seed: Of everything that is drawn.
        tolerance: Largest acceptable loss of accuracy by int8.
    """

    epochs: int = 30
    batch: int = 64
    drop: float = 0.15
    seed: int = 1
    tolerance: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSettings:
    """A data set and what to make of it.

    Attributes:
        version: The version of this format, 1.
        name: The model's name.
        model_version: A number that only rises.
        kind: The kind of entity that the model scores.
        metrics: By name.
        time: The time of a row.
        entity: The entity that all rows are about.
        entity_column: The column that says it, instead.
        label: What the model learns.
        split: How train and test are kept apart.
        features: What is computed of every metric.
        training: How the model is trained.
        score_every: The grid of event time on which scores lie.
        lateness: How long a score waits for late readings.
    """

    version: Literal[1]
    name: str
    kind: str
    metrics: dict[str, ColumnSettings]
    label: LabelSettings
    split: SplitSettings
    model_version: int = 1
    time: TimeSettings = field(default_factory=TimeSettings)
    entity: str = ""
    entity_column: str = ""
    features: FeatureSettings = field(default_factory=FeatureSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    score_every: DurationMs = 1_000
    lateness: DurationMs = 2_000

    def with_metrics(self, names: Sequence[str]) -> "DatasetSettings":
        """Return the same data set with these of its metrics, in this order."""
        return replace(self, metrics={name: self.metrics[name] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """The rows of one split.

    Attributes:
        wide: The readings of the rows, in order of time.
        label: Shape (N,).
    """

    wide: Wide
    label: NDArray[np.float32]


def load_dataset(path: Path) -> DatasetSettings:
    """Return the description in ``path``.

    Raises:
        SettingsError: Anything is wrong; it carries every problem with file and line.
    """
    reader = Reader(path)
    settings = reader.read(DatasetSettings)
    if settings is not None:
        _check(settings, reader)
    if settings is None or reader.problems:
        raise SettingsError(reader.messages())
    return settings


def read_parts(settings: DatasetSettings) -> tuple[Part, Part]:
    """Return the train and the test rows.

    Raises:
        DataError: A file or a column is not what the description says, or a part is empty.
    """
    split = settings.split
    if split.by == "file":
        return _read(settings, split.train, "split.train"), _read(settings, split.test, "split.test")
    whole = _read(settings, split.files, "split.files")
    if split.by == "time":
        test = whole.wide.time_ms >= _cut_ms(settings)
    else:
        wanted = [place for place, name in enumerate(whole.wide.entities) if name in split.test_entities]
        test = np.isin(whole.wide.entity, wanted)
    return _where(whole, ~test, "before the split"), _where(whole, test, "after the split")


def _read(settings: DatasetSettings, files: Sequence[str], where: str) -> Part:
    parts = [_read_file(settings, Path(file)) for file in files]
    if len(parts) == 1:
        return parts[0]
    names = sorted({name for part in parts for name in part.wide.entities})
    place = {name: index for index, name in enumerate(names)}
    entity = np.concatenate(
        [np.array([place[name] for name in p.wide.entities], np.int32)[p.wide.entity] for p in parts]
    )
    time_ms = np.concatenate([part.wide.time_ms for part in parts])
    values = np.concatenate([part.wide.values for part in parts])
    label = np.concatenate([part.label for part in parts])
    order = np.argsort(time_ms, kind="stable")
    keys = np.stack([entity.astype(np.int64), time_ms], axis=1)
    if len(np.unique(keys, axis=0)) < sum(len(np.unique(_keys(part), axis=0)) for part in parts):
        raise DataError(f"{where}: two of the files hold the same entity at the same time")
    wide = Wide(entities=names, entity=entity[order], time_ms=time_ms[order], values=values[order], order=order)
    return Part(wide=wide, label=label[order])


def _keys(part: Part) -> NDArray[np.int64]:
    return np.stack([part.wide.entity.astype(np.int64), part.wide.time_ms], axis=1)


def _read_file(settings: DatasetSettings, path: Path) -> Part:
    wide, table = read_wide(
        path,
        list(settings.metrics),
        columns={name: metric.column for name, metric in settings.metrics.items() if metric.column},
        time_column=settings.time.column,
        entity=settings.entity,
        entity_column=settings.entity_column,
        zone=ZoneInfo(settings.time.zone),
    )
    label = table.numbers(settings.label.column)
    wrong = ~np.isin(label, (0.0, 1.0))
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{path}:{table.lines[place]}: label `{settings.label.column}` is `{label[place]:g}`; a label is 0 or 1"
        )
    return Part(wide=wide, label=label[wide.order].astype(np.float32))


def _where(part: Part, keep: NDArray[np.bool_], where: str) -> Part:
    if not keep.any():
        raise DataError(f"no row is {where}")
    wide = part.wide
    kept = Wide(
        entities=wide.entities,
        entity=wide.entity[keep],
        time_ms=wide.time_ms[keep],
        values=wide.values[keep],
        order=wide.order[keep],
    )
    return Part(wide=kept, label=part.label[keep])


def _cut_ms(settings: DatasetSettings) -> int:
    return parse_time_ms(settings.split.at, ZoneInfo(settings.time.zone))


def _check(settings: DatasetSettings, reader: Reader) -> None:
    if not settings.metrics:
        reader.report_at("metrics", "at least one metric is needed")
    for name, metric in settings.metrics.items():
        if metric.unit not in UNITS:
            advice = did_you_mean(metric.unit, sorted(UNITS))
            reader.report_at(f"metrics.{name}.unit", f"`{metric.unit}` is no SenML unit; {advice}")
    if bool(settings.entity) == bool(settings.entity_column):
        reader.report_at("entity", "either `entity: NAME` or `entity_column: COLUMN`")
    try:
        ZoneInfo(settings.time.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        reader.report_at("time.zone", f"`{settings.time.zone}` is no IANA time zone such as Europe/Berlin")
    _check_features(settings, reader)
    training = settings.training
    for name, right in (
        ("epochs", training.epochs >= 1),
        ("batch", training.batch >= 1),
        ("drop", 0 <= training.drop < 1),
        ("tolerance", training.tolerance >= 0),
    ):
        if not right:
            reader.report_at(f"training.{name}", f"out of range: {getattr(training, name)}")
    _check_split(settings.split, reader)


def _check_features(settings: DatasetSettings, reader: Reader) -> None:
    windows = settings.features.windows
    some_were_wrong = not windows and reader.has_below("features.windows")
    if not some_were_wrong and (not 1 <= len(windows) <= TIERS or len(set(windows)) != len(windows)):
        reader.report_at("features.windows", f"1 to {TIERS} different windows, not {len(windows)}")
    for window in windows:
        if window % BUCKETS or window // BUCKETS < settings.score_every:
            text = f"a window has {BUCKETS} buckets, none shorter than score_every; {window} ms does not"
            reader.report_at("features.windows", text)
    if settings.score_every < 1:
        reader.report_at("score_every", "must be at least 1ms")
    if not settings.features.statistics:
        reader.report_at("features.statistics", "at least one of " + ", ".join(_STATISTICS))


def _check_split(split: SplitSettings, reader: Reader) -> None:
    needed = {"file": ("train", "test"), "time": ("files", "at"), "group": ("files", "test_entities")}[split.by]
    for name in ("train", "test", "files", "at", "test_entities"):
        given = bool(getattr(split, name))
        if name in needed and not given:
            reader.report_at(f"split.{name}", f"missing; a split by {split.by} needs {' and '.join(needed)}")
        if name not in needed and given:
            reader.report_at(f"split.{name}", f"a split by {split.by} has {' and '.join(needed)} only")
    for name in ("train", "test", "files"):
        for file in getattr(split, name):
            if not Path(file).is_file():
                reader.report_at(f"split.{name}", f"no file `{file}`")
    if set(split.train) & set(split.test):
        reader.report_at("split.test", "a file is in train and in test")
    if split.at:
        try:
            parse_time_ms(split.at, ZoneInfo("UTC"))
        except ValueError:
            reader.report_at("split.at", f"`{split.at}` is no time such as 2015-02-08 or 2015-02-08 12:00:00")
