"""A data set described in YAML: which files and columns, what the label is, how train and test are kept apart."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from attwin.core.errors import SettingsError
from attwin.core.features import Statistic
from attwin.core.units import UNITS
from attwin.core.windows import BUCKETS, TIERS
from attwin.settings.reader import Reader, did_you_mean
from attwin.settings.types import DurationMs, FilePath
from attwin.wiring.offline import Wide, parse_time_ms
from attwin_converter.expression import ExpressionError, parse_expression, plain_column
from attwin_converter.tables import is_database

_STATISTICS = tuple(statistic.value for statistic in Statistic)
_SPLIT_NEEDS = {
    "file": ("train", "test"),
    "time": ("files", "at"),
    "group": ("files", "test_entities"),
    "stratified": ("files",),
}
NEIGHBOURS = (
    "rows of a series are nearly copies of their neighbours, so a model would be tested on what it has seen, and its "
    "figures would be those of remembering; split by time, file or group (`force: true` does it all the same, and "
    "`rows: independent` says that the rows are no series)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSettings:
    """A metric of the data set.

    Attributes:
        column: Its column, or what long readings call it, where it is not called like the metric.
        unit: SenML symbol.
        categories: What a text column may hold; each is a number from 0 on, in this order. ``auto`` takes what the
            training rows hold, by name.
    """

    column: str = ""
    unit: str = "1"
    categories: Literal["auto"] | list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class LongSettings:
    """Readings one a row: beside entity, time and value, which metric it is of.

    Attributes:
        metric, value: The columns.
    """

    metric: str = "metric"
    value: str = "value"


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
class LabelFileSettings:
    """Labels in a CSV of their own.

    Attributes:
        path: The file.
        entity: The column of the entity; ``entity`` is found, and without one a label is about all of them.
        time: The column of the times from which a label holds; the usual names are tried.
        begin, end: The columns of intervals, instead; the end is not part of it.
    """

    SHORT_FORM: ClassVar[str] = "path"

    path: FilePath
    entity: str = ""
    time: str = ""
    begin: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSettings:
    """What the model learns: a number from 0 to 1 at every row.

    Attributes:
        column: Its column, or a metric of long readings.
        expression: What makes it of numeric columns, instead.
        positive: Of a text column with two values, the one that is 1.
        file: Where it stands, if not beside the metrics. Without column and expression an interval is 1.
        hold: How long a label of a file or of long readings holds at most; the longest window unless told.
        meaning: What 1 means, in words.
    """

    SHORT_FORM: ClassVar[str] = "expression"

    column: str = ""
    expression: str = ""
    positive: str = ""
    file: LabelFileSettings | None = None
    hold: DurationMs | None = None
    meaning: str = ""

    @property
    def words(self) -> str:
        """What 1 means, or at least what the label is made of."""
        return self.meaning or self.column or self.expression or "in an interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """How train and test rows are kept apart. Rows of a series are never drawn at random.

    Attributes:
        by: file, time, group, or stratified (at random, with the label's shares kept).
        train: By file: the files to train on.
        test: By file: the files to test on.
        files: Otherwise: all files.
        at: By time: rows from here on are for the test.
        test_entities: By group: the entities to test on.
        test_share: Stratified: the share of the rows to test on.
        seed: Stratified: of the draw.
        embargo: How much time is left out between train and the rest, by time and in cross-validation; what a score
            looks back unless told.
        force: Stratified: draw rows of a series all the same.
    """

    by: Literal["file", "time", "group", "stratified"]
    train: list[FilePath] = field(default_factory=list)
    test: list[FilePath] = field(default_factory=list)
    files: list[FilePath] = field(default_factory=list)
    at: str = ""
    test_entities: list[str] = field(default_factory=list)
    test_share: float = 0.3
    seed: int = 1
    embargo: DurationMs | None = None
    force: bool = False

    @property
    def all_files(self) -> list[str]:
        """Every file of the data set."""
        return [*self.train, *self.test, *self.files]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """What is computed of every metric.

    Attributes:
        windows: One or two windows.
        statistics: Which statistics of each window.
        baseline: The time in which an entity's running baseline forgets. Keep it well above the longest state that
            matters: what has lasted is usual.
    """

    windows: list[DurationMs] = field(default_factory=lambda: [300_000, 1_800_000])
    statistics: list[Literal["mean", "std", "min", "max", "last", "count", "slope"]] = field(
        default_factory=lambda: ["last", "mean", "slope"]
    )
    baseline: DurationMs = 864_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How models are trained and compared.

    Attributes:
        families: Which families to try; all unless told.
        folds: Of cross-validation, at most.
        seeds: How many networks are averaged in one model, where the budget allows it.
        epochs: Passes over the training rows at most; networks stop earlier when rows kept back gain no more.
        batch: Rows a step.
        drop: How much rows with metrics dropped at random count, beside whole ones.
        class_weight: Whether rows of the rarer label count more; the scores are probabilities all the same.
        seed: Of everything that is drawn.
        precision: How the exported file holds its weights.
        tolerance: Largest acceptable loss of accuracy, and of mean squared error, by the exported file.
    """

    families: list[Literal["logistic", "dense", "wide", "distilled", "convolution", "gru", "transformer"]] = field(
        default_factory=list
    )
    folds: int = 8
    seeds: int = 3
    epochs: int = 40
    batch: int = 128
    drop: float = 0.1
    class_weight: Literal["none", "balanced"] = "none"
    seed: int = 1
    precision: Literal["int8", "float16", "dynamic"] = "int8"
    tolerance: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """What a gateway can afford, measured on the exported file in the runtimes of the workstation.

    Attributes:
        file_kb: The size of the file [KiB].
        latency_us: The time of a row in a batch of 64 [us]. A gateway may take five times as long.
        memory_kb: What loading the model adds to a process [KiB].
    """

    file_kb: int = 1_024
    latency_us: float = 50.0
    memory_kb: int = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSettings:
    """A data set and what to make of it.

    Attributes:
        version: The version of this format, 1.
        name: The model's name.
        model_version: A number that only rises.
        kind: The kind of entity that the model scores.
        metrics: By name.
        rows: ``independent`` rows, such as web sessions, are each an entity of its own.
        long: Given where files hold one reading a row; otherwise a row holds one of each metric.
        time: The time of a row.
        entity: The entity that all rows are about.
        entity_column: The column that says it, instead. Independent rows with the same one are kept together.
        label: What the model learns.
        task: Whether the label is 0 or 1, or anything between; ``auto`` takes what the values say.
        split: How train and test are kept apart.
        features: What is computed of every metric.
        training: How models are trained and compared.
        budget: What a gateway can afford.
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
    rows: Literal["series", "independent"] = "series"
    long: LongSettings | None = None
    task: Literal["auto", "binary", "regression"] = "auto"
    time: TimeSettings = field(default_factory=TimeSettings)
    entity: str = ""
    entity_column: str = ""
    features: FeatureSettings = field(default_factory=FeatureSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    score_every: DurationMs = 1_000
    lateness: DurationMs = 2_000

    def with_metrics(self, names: Sequence[str]) -> "DatasetSettings":
        """Return the same data set with these of its metrics, in this order."""
        return replace(self, metrics={name: self.metrics[name] for name in names})

    @property
    def is_independent(self) -> bool:
        """Whether rows have nothing to do with each other."""
        return self.rows == "independent"

    @property
    def look_back_ms(self) -> int:
        """How long before a score the oldest reading may lie that it was made of."""
        return max(self.features.windows, default=0) + self.lateness

    @property
    def embargo_ms(self) -> int:
        """How much time is left out between train and the rest."""
        if self.split.embargo is not None:
            return self.split.embargo
        return 0 if self.is_independent else self.look_back_ms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """The rows of one split.

    Attributes:
        wide: The readings of the rows, in order of time; a categorical metric is its code, from 0 on.
        label: From 0 to 1. Shape (N,).
        group: Which of independent rows belong together, None where each stands alone. Shape (N,).
    """

    wide: Wide
    label: NDArray[np.float32]
    group: NDArray[np.int32] | None = None


def load_dataset(path: Path) -> DatasetSettings:
    """Return the description in ``path``.

    Raises:
        SettingsError: Anything is wrong; it carries every problem with file and line.
    """
    reader = Reader(path)
    settings = reader.read(DatasetSettings)
    if settings is not None:
        settings = _with_defaults(settings, reader)
        _check(settings, reader)
    if settings is None or reader.problems:
        raise SettingsError(reader.messages())
    return settings


def _with_defaults(settings: DatasetSettings, reader: Reader) -> DatasetSettings:
    """Return the settings with what follows from others."""
    alone = plain_column(settings.label.expression)
    if alone and not settings.label.column:
        settings = replace(settings, label=replace(settings.label, column=alone, expression=""))
    if settings.is_independent:
        # one reading a row: a second window or statistic would be the same number
        features = settings.features
        if not reader.has("features.windows"):
            features = replace(features, windows=[BUCKETS * settings.score_every])
        if not reader.has("features.statistics"):
            features = replace(features, statistics=["last"])
        return replace(settings, features=features)
    if settings.long and not settings.entity and not settings.entity_column:
        return replace(settings, entity_column="entity")
    return settings


def _check(settings: DatasetSettings, reader: Reader) -> None:
    if not settings.metrics:
        reader.report_at("metrics", "at least one metric is needed")
    for name, metric in settings.metrics.items():
        if metric.unit not in UNITS:
            advice = did_you_mean(metric.unit, sorted(UNITS))
            reader.report_at(f"metrics.{name}.unit", f"`{metric.unit}` is no SenML unit; {advice}")
        if metric.categories and metric.unit != "1":
            reader.report_at(f"metrics.{name}.unit", f"categories have no unit, not `{metric.unit}`")
        if len(set(metric.categories)) < len(metric.categories) and metric.categories != "auto":
            reader.report_at(f"metrics.{name}.categories", "one of them stands twice")
    _check_rows(settings, reader)
    _check_label(settings, reader)
    try:
        ZoneInfo(settings.time.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        reader.report_at("time.zone", f"`{settings.time.zone}` is no IANA time zone such as Europe/Berlin")
    _check_features(settings, reader)
    for name, value in out_of_range(settings.training, settings.budget):
        reader.report_at(name, f"out of range: {value}")
    _check_split(settings, reader)


def out_of_range(training: TrainingSettings, budget: BudgetSettings) -> list[tuple[str, float]]:
    """Return the place and the value of every number that means nothing."""
    numbers: list[tuple[str, float, bool]] = [
        ("training.folds", training.folds, training.folds >= 2),  # noqa: PLR2004 -- one to train on, one to validate on
        ("training.seeds", training.seeds, training.seeds >= 1),
        ("training.epochs", training.epochs, training.epochs >= 1),
        ("training.batch", training.batch, training.batch >= 1),
        ("training.drop", training.drop, 0 <= training.drop <= 1),
        ("training.tolerance", training.tolerance, training.tolerance >= 0),
        ("budget.file_kb", budget.file_kb, budget.file_kb >= 1),
        ("budget.latency_us", budget.latency_us, budget.latency_us > 0),
        ("budget.memory_kb", budget.memory_kb, budget.memory_kb >= 1),
    ]
    return [(name, value) for name, value, right in numbers if not right]


def _check_rows(settings: DatasetSettings, reader: Reader) -> None:
    databases = [is_database(Path(file)) for file in settings.split.all_files]
    if any(databases):
        if not all(databases):
            reader.report_at("split", "either databases of agents or other files, not both")
        for name in ("entity", "entity_column", "long", "time.column"):
            if reader.has(name):
                reader.report_at(name, "an agent's database says that itself; leave it out")
        if settings.is_independent:
            reader.report_at("rows", "the readings of a database are series")
    elif settings.is_independent:
        if settings.entity:
            reader.report_at("entity", "independent rows are each an entity of its own; leave it out")
        if settings.long:
            reader.report_at("long", "readings one a row are no independent rows")
    elif bool(settings.entity) == bool(settings.entity_column):
        reader.report_at("entity", "either `entity: NAME` or `entity_column: COLUMN`, or `rows: independent`")


def _check_label(settings: DatasetSettings, reader: Reader) -> None:
    label, file = settings.label, settings.label.file
    named, interval = bool(label.column or label.expression), bool(file and file.begin)
    needs = "`column: NAME`, or an expression of columns such as `label: count / 3`"
    problems = [
        (bool(label.column and label.expression), "label.expression", "either `column` or `expression`"),
        (not named and not interval, "label", needs),
        (bool(label.positive) and not label.column, "label.positive", "goes with `column`"),
    ]
    if file:
        no_time = "independent rows have no time at which a label could hold"
        problems += [
            (bool(file.begin) != bool(file.end), "label.file", "`begin` and `end` go together"),
            (interval and bool(file.time), "label.file.time", "either `time`, or `begin` and `end`"),
            (not Path(file.path).is_file(), "label.file.path", f"no file `{file.path}`"),
            (settings.is_independent, "label.file", no_time),
        ]
    for wrong, where, text in problems:
        if wrong:
            reader.report_at(where, text)
    try:
        if label.expression and not parse_expression(label.expression).names:
            reader.report_at("label.expression", f"`{label.expression}` has no column in it")
    except ExpressionError as error:
        reader.report_at("label.expression", str(error))


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
    if settings.is_independent and (len(windows) > 1 or settings.features.statistics != ["last"]):
        reader.report_at("features", "an independent row has one reading a metric: one window, and `last` only")


def _check_split(settings: DatasetSettings, reader: Reader) -> None:
    split = settings.split
    needed = _SPLIT_NEEDS[split.by]
    for name in ("train", "test", "files", "at", "test_entities"):
        given = bool(getattr(split, name))
        if name in needed and not given:
            reader.report_at(f"split.{name}", f"missing; a split by {split.by} needs {' and '.join(needed)}")
        if name not in needed and given:
            reader.report_at(f"split.{name}", f"a split by {split.by} has {' and '.join(needed)} only")
    alone, drawn = settings.is_independent, split.by == "stratified"
    no_time = "independent rows have no time unless `time.column` says it"
    no_groups = "independent rows have no groups unless `entity_column` says them"
    problems = [
        (drawn and not alone and not split.force, "by", NEIGHBOURS),
        (not 0 < split.test_share < 1, "test_share", f"between 0 and 1, not {split.test_share:g}"),
        (alone and split.by == "time" and not settings.time.column, "by", no_time),
        (alone and split.by == "group" and not settings.entity_column, "by", no_groups),
    ]
    problems += [
        (not drawn and reader.has(f"split.{name}"), name, f"a split by {split.by} draws nothing")
        for name in ("test_share", "seed", "force")
    ]
    for wrong, where, text in problems:
        if wrong:
            reader.report_at(f"split.{where}", text)
    _check_files(split, reader)


def _check_files(split: SplitSettings, reader: Reader) -> None:
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
