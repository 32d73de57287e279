"""The twin in memory: what readings do to it, from cleaning to scores and alerts.

The same code serves the live agent, the replay of the journal at its start, and the scoring of a file.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.core.alerts import AlertFacts
from attwin.core.baseline import Baselines
from attwin.core.catalogue import Catalogue, Kind
from attwin.core.clean import ClockView, History, Ranges, Recent, judge
from attwin.core.clock_features import ClockFeatures
from attwin.core.columns import NEVER_MS, grown, newest_before
from attwin.core.errors import ScorerError
from attwin.core.features import compute, parts_of, relative
from attwin.core.grid import Grid, Wave
from attwin.core.groups import Groups
from attwin.core.manifest import InputBuilder, Manifest, features_of, population_of
from attwin.core.rules import Rule
from attwin.core.stale import Staleness
from attwin.core.types import MS_PER_MINUTE, Quality, ReadingBatch, Reason, Transition
from attwin.core.windows import Windows
from attwin.ports import Scorer, ScoreRow
from attwin.runtime.rules import RuleBoard
from attwin.runtime.zones import offset_of

Arrays = dict[str, NDArray[np.generic]]


class KindModel:
    """The model of a kind, ready to run."""

    def __init__(self, manifest: Manifest, scorer: Scorer, metrics: Sequence[int], *, sha256: str = "") -> None:
        """Bind a model to a kind.

        Args:
            manifest: The model's contract.
            scorer: Runs the model.
            metrics: The place in the kind of each metric of the manifest, in the manifest's order.
            sha256: The hash of its bundle, empty where it is in none.

        Raises:
            BundleError: This machine does not know the time zone of the model's clock.
        """
        self.manifest = manifest
        self.scorer = scorer
        self.sha256 = sha256
        self._features = features_of(manifest)
        self.parts = parts_of(self._features)
        self._builder = InputBuilder(manifest)
        self._metrics = np.array(metrics, np.int32)
        self._clock = ClockFeatures(manifest.clock, offset_of(manifest.zone)) if manifest.clock else None
        self._population = population_of(manifest)
        # the manifest's place of each metric of the kind, -1 for those that the model does not know
        self._place = np.full(1 << 15, -1, np.int16) if self._population else np.empty(0, np.int16)
        if self._population:
            self._place[self._metrics] = np.arange(len(self._metrics))

    @property
    def has_baseline(self) -> bool:
        """Whether a feature is measured against what is usual for the entity."""
        return self._population is not None

    def features(
        self, windows: Windows, baselines: Baselines, first: NDArray[np.int32], at_ms: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the features of entities, each at its own time, before and after baselines. Shape (R, F + C) each.

        Features of the clock are the last; without baselines both are one array.

        Args:
            windows: What was measured up to these times.
            baselines: What was usual before.
            first: The place of the first series of each entity among those of the kind. Shape (R,).
            at_ms: When the tick of each entity began; its score is made at its end. Shape (R,).
        """
        series = first[:, None] + self._metrics
        exact = compute(windows, self._features, self.manifest.windows_ms, series, at_ms)
        clock = [self._clock.at(at_ms + self.manifest.step_ms)] if self._clock else []
        raw = _joined(exact, clock)
        if not self._population:
            return raw, raw
        # a difference is taken before it is rounded
        return raw, _joined(relative(exact, self._features, baselines.usual(series, self._population)), clock)

    def observe(
        self,
        baselines: Baselines,
        series: NDArray[np.int32],
        metric: NDArray[np.int16],
        at_ms: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> None:
        """Let good readings of a tick of each entity count as usual from now on.

        Args:
            baselines: What was usual before.
            series: The place of each among those of the kind. Shape (N,).
            metric: The place of each in the kind's metrics. Shape (N,).
            at_ms: When its tick began. Shape (N,).
            value: Shape (N,).
        """
        if self._population:
            place = self._place[metric]
            own = place >= 0
            baselines.observe(series[own], at_ms[own], value[own], place[own], self._population)

    def score(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the scores, shape (R,), and which metrics of ``manifest.masks`` were missing, shape (R, M).

        A score is NaN where the model, or what runs it, fails.
        """
        inputs, missing = self._builder.build(features)
        try:
            return self.scorer.score(inputs), missing
        except ScorerError:
            return np.full(len(features), np.nan, np.float32), missing


_Features = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]
"""Entities, when they are scored, and their features before and after baselines."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Scores of entities of one kind, each entity's in order of time.

    Attributes:
        kind: The index of the kind.
        entity, time_ms, score: Shape (R,).
        missing: Which of the model's masked metrics were missing. Shape (R, M).
        features: What the model was given before standardising, features of the clock last. Shape (R, F + C).
        raw: The same before what is usual for an entity was taken off, by which drift is counted; the same array where
            the model has no baselines. Shape (R, F + C).
    """

    kind: int
    entity: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    score: NDArray[np.float32]
    missing: NDArray[np.bool_]
    features: NDArray[np.float32]
    raw: NDArray[np.float32]

    def where(self, rows: NDArray[np.bool_]) -> "Scores":
        """Return some of the rows."""
        return Scores(
            kind=self.kind,
            entity=self.entity[rows],
            time_ms=self.time_ms[rows],
            score=self.score[rows],
            missing=self.missing[rows],
            features=self.features[rows],
            raw=self.raw[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """What became of a batch.

    Attributes:
        stored: The readings to keep.
        duplicate: Which rows of the batch were repetitions. Shape (N,).
        late: Which rows were too late. Shape (N,).
        suppressed: Which rows were within the deadband. Shape (N,).
        scores: What was scored.
        transitions: Alerts that changed.
    """

    stored: ReadingBatch
    duplicate: NDArray[np.bool_]
    late: NDArray[np.bool_]
    suppressed: NDArray[np.bool_]
    scores: list[Scores]
    transitions: list[Transition]


class Scoring:
    """The model of a kind with all that is measured for it.

    Attributes:
        model: The model.
        kind: The kind as the model has it: another model may have other windows and another grid than the catalogue.
        windows, baselines: Of the series of the kind, by their places among those.
        grid: What is held back until its tick closes.
        unusable: How many scores were no number in [0, 1], and left out.
    """

    def __init__(self, model: KindModel, kind: Kind) -> None:
        self.model = model
        self.kind = kind
        self.baselines = Baselines()
        self.unusable = 0
        self.clear()

    def clear(self) -> None:
        """Forget all readings, but nothing of what is usual."""
        self.windows = Windows(len(self.model.manifest.windows_ms), self.model.parts)
        self.grid = Grid(self.kind)
        self.baselines.let_go()

    def forget(self, entity: int, series: range) -> None:
        """Forget an entity, and its series by their places among those of the kind."""
        self.windows.forget(series)
        self.baselines.forget(series)
        self.grid.forget(entity)


class Twin:
    """All entities with their newest readings, windows, scores and rules.

    Attributes:
        scoring: The models that serve, by kind.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        models: Mapping[int, KindModel],
        rules: Sequence[Rule],
        *,
        most_ahead_ms: int,
        groups: Groups | None = None,
        kinds: Mapping[int, Kind] | None = None,
    ) -> None:
        self.catalogue = catalogue
        own = kinds or {}
        self.scoring = {k: Scoring(model, own.get(k, catalogue.kinds[k])) for k, model in models.items()}
        self.rules = RuleBoard(rules, catalogue, groups)
        self.newest_ms = NEVER_MS
        self.value = np.full(64, np.nan)
        self.time_ms = np.full(64, NEVER_MS, np.int64)
        self.quality = np.zeros(64, np.uint8)
        self.reason = np.zeros(64, np.uint16)
        self.score = np.full(64, np.nan)
        self.score_ms = np.full(64, NEVER_MS, np.int64)
        self.missing = np.zeros(64, np.uint64)
        self._most_ahead_ms = most_ahead_ms
        self.staleness = Staleness(catalogue.metrics)
        self._believable_ms = np.iinfo(np.int64).max
        self._ranges = Ranges(catalogue.metrics)
        self._history = History(catalogue.metrics)
        self._recent = Recent()

    @property
    def models(self) -> dict[int, KindModel]:
        """Return the models that serve, by kind."""
        return {kind: scoring.model for kind, scoring in self.scoring.items()}

    def take(
        self,
        batch: ReadingBatch,
        *,
        now_ms: int,
        clock_trusted: bool = True,
    ) -> Taken:
        """Clean a batch, apply what is new, score what is due, evaluate the rules.

        Args:
            batch: The readings, in order of arrival.
            now_ms: The gateway's clock.
            clock_trusted: Whether it can be right.
        """
        clock = ClockView(now_ms=now_ms, is_trusted=clock_trusted, most_ahead_ms=self._most_ahead_ms)
        judged = judge(batch, self.catalogue, self._ranges, clock)
        late = self._late(judged)
        duplicate = self._recent.duplicates(judged, late)
        late &= ~duplicate
        new = ~(duplicate | late)
        assessed, near = self._assess(judged.where(new))
        suppressed = np.zeros(len(batch), np.bool_)
        suppressed[new] = near
        stored = assessed.where(~near)
        scores, transitions = self._apply(stored)
        return Taken(
            stored=stored,
            duplicate=duplicate,
            late=late,
            suppressed=suppressed,
            scores=scores,
            transitions=transitions,
        )

    def hear(self, batch: ReadingBatch, now_ms: int) -> None:
        """Note which series and entities were heard.

        Args:
            batch: What was heard, whatever became of it.
            now_ms: The monotonic clock, since the start.
        """
        fresh = (batch.reason & Reason.RETAINED) == 0
        self.staleness.hear(batch.series[fresh], now_ms)
        self.staleness.hear_entities(self.catalogue.series_entity[batch.series], now_ms)

    def replay(self, stored: ReadingBatch) -> tuple[list[Scores], list[Transition]]:
        """Apply readings that were stored before, as ``take`` did."""
        # what was taken while the clock was not trusted may lie ahead of it
        unbelievable = ((stored.reason & Reason.CLOCK) != 0) & (stored.time_ms > self._believable_ms)
        stored = stored.where(~unbelievable)
        self._assess(stored)
        return self._apply(stored)

    def _assess(self, new: ReadingBatch) -> tuple[ReadingBatch, NDArray[np.bool_]]:
        return self._history.assess(new, self.catalogue.series_number[new.series])

    def _apply(self, stored: ReadingBatch) -> tuple[list[Scores], list[Transition]]:
        """Apply readings that are kept."""
        if not len(stored):
            return [], []
        self._recent.remember(stored)
        is_newest = self._is_newest(stored)
        self._note_newest(stored)
        entity = self.catalogue.series_entity[stored.series]
        usable = stored.quality != Quality.BAD
        on_time = (stored.reason & Reason.UNTIMELY) == 0
        self.newest_ms = max(self.newest_ms, int(stored.time_ms[on_time].max(initial=NEVER_MS)))
        # what comes after a newer one says nothing of now
        transitions = self.rules.on_readings(stored, entity, usable & on_time & is_newest)
        scores = []
        for kind, scoring in self.scoring.items():
            grid = scoring.grid
            mine = on_time & (self.catalogue.entity_kind[entity] == kind)
            value = np.where(usable, stored.value, np.nan)
            doubtful = stored.quality[mine] != Quality.GOOD if scoring.model.has_baseline else None
            grid.add(entity[mine], stored.series[mine], stored.time_ms[mine], value[mine], doubtful)
            scores += self._score(kind, list(self._features(scoring, grid.close())))
        for made in scores:
            transitions += self.rules.on_scores(made.kind, made.entity, made.time_ms, made.score, made.raw)
        return scores, transitions

    def finish(self) -> list[Scores]:
        """Score what is held back although its tick is open, for a file that has ended."""
        return [
            s
            for kind, scoring in self.scoring.items()
            for s in self._score(kind, list(self._features(scoring, scoring.grid.close_all())))
        ]

    def note_scores(self, made: Scores) -> list[ScoreRow]:
        """Take scores as the current ones; return the rows that are due: the last score of each minute that ended."""
        rows: list[ScoreRow] = []
        self._make_room_for_entities()
        packed = pack_missing(made.missing)
        start = 0
        # each wave holds an entity once, so its columns can be set at once
        for stop in wave_ends(made.entity):
            part = slice(start, stop)
            entity, time_ms = made.entity[part], made.time_ms[part]
            before = self.score_ms[entity]
            ended = entity[(before != NEVER_MS) & (before // MS_PER_MINUTE < time_ms // MS_PER_MINUTE)]
            rows += self.current_rows(ended)
            self.score[entity], self.score_ms[entity] = made.score[part], time_ms
            self.missing[entity] = packed[part]
            start = stop
        return rows

    def current_rows(self, entities: NDArray[np.int32]) -> list[ScoreRow]:
        """Return the current scores of entities as rows."""
        return [
            ScoreRow(entity=e, time_ms=t, score=s, missing=self.missing_names(e))
            for e, t, s in zip(
                entities.tolist(),
                self.score_ms[entities].tolist(),
                self.score[entities].tolist(),
                strict=True,
            )
        ]

    def row_of(self, made: Scores, entity: int, time_ms: int) -> ScoreRow:
        """Return one of the scores just made as a row."""
        place = int(np.flatnonzero((made.entity == entity) & (made.time_ms == time_ms))[0])
        masks = self.scoring[made.kind].model.manifest.masks
        missing = ",".join(name for name, is_missing in zip(masks, made.missing[place], strict=True) if is_missing)
        return ScoreRow(entity=entity, time_ms=time_ms, score=float(made.score[place]), missing=missing)

    def stale_names(self, entity: int) -> list[str]:
        """Return the names of an entity's metrics that are stale."""
        kind, series = self.catalogue.kind_of(entity), self.catalogue.series_of(entity)
        return [
            metric.name
            for metric, place in zip(kind.metrics, series, strict=True)
            if place < len(self.staleness.stale) and self.staleness.stale[place]
        ]

    def scored(self) -> NDArray[np.int32]:
        """Return the entities that have a score."""
        return np.flatnonzero(self.score_ms[: len(self.catalogue)] != NEVER_MS).astype(np.int32)

    def missing_names(self, entity: int) -> str:
        """Return the names of the metrics that the entity's current score lacked, separated by commas."""
        bits = int(self.missing[entity])
        if not bits:
            return ""
        masks = self.scoring[int(self.catalogue.entity_kind[entity])].model.manifest.masks
        return ",".join(name for place, name in enumerate(masks) if bits >> place & 1)

    def forget(self, entity: int) -> None:
        """Forget an entity."""
        self.forget_readings(entity)
        self.catalogue.forget(entity)

    def forget_readings(self, entity: int) -> None:
        """Forget all of an entity but that it is there."""
        series = self.catalogue.series_of(entity)
        own = slice(series.start, series.stop)
        self._make_room_for_entities()
        self._recent.forget(series)
        self._history.forget(series)
        self.staleness.forget(series, entity)
        kind = int(self.catalogue.entity_kind[entity])
        if kind in self.scoring:
            first = int(self.catalogue.series_place[series.start])
            self.scoring[kind].forget(entity, range(first, first + len(series)))
        self.rules.forget(entity)
        self.value[own], self.time_ms[own], self.quality[own], self.reason[own] = np.nan, NEVER_MS, 0, 0
        self.score[entity], self.score_ms[entity], self.missing[entity] = np.nan, NEVER_MS, 0

    def inherit(self, kind: int, other: "Twin") -> None:
        """Take over what another twin knows to be usual for the entities of a kind."""
        theirs = other.scoring.get(kind)
        if theirs and theirs.model.has_baseline:
            self.scoring[kind].baselines.load({name: part.copy() for name, part in theirs.baselines.dump().items()})

    def exchange(self, kind: int, other: "Twin") -> None:
        """Let this twin and another exchange their models of a kind, with all that was measured for them.

        Which inputs a current score lacked is forgotten: they were named by the model before.
        """
        self.scoring[kind], other.scoring[kind] = other.scoring[kind], self.scoring[kind]
        self._make_room_for_entities()
        count = len(self.catalogue)
        self.missing[:count][self.catalogue.entity_kind[:count] == kind] = 0

    def clear(self, *, newest_ms: int) -> None:
        """Forget all readings and scores, but no entity and nothing of what is usual for it.

        Args:
            newest_ms: Readings that are newer will not count when replayed.
        """
        self.value[:], self.time_ms[:], self.quality[:], self.reason[:] = np.nan, NEVER_MS, 0, 0
        self.score[:], self.score_ms[:], self.missing[:] = np.nan, NEVER_MS, 0
        self._history = History(self.catalogue.metrics)
        self._recent = Recent()
        for scoring in self.scoring.values():
            scoring.clear()
        self.rules.reset()
        self.newest_ms = NEVER_MS
        self._believable_ms = newest_ms + self._most_ahead_ms

    def dump(self) -> Arrays:
        """Return everything derived as arrays, for a snapshot."""
        self._make_room_for_entities()
        parts: dict[str, Mapping[str, NDArray[np.generic]]] = {
            "twin": {name: getattr(self, name) for name in _OWN},
            "recent": self._recent.dump(),
            "history": self._history.dump(),
            "staleness": self.staleness.dump(),
        }
        for kind, scoring in self.scoring.items():
            parts |= {f"windows{kind}": scoring.windows.dump(), f"grid{kind}": scoring.grid.dump()}
            if scoring.model.has_baseline:
                layout = {"layout": np.frombuffer(self._measured(kind), np.uint8)}
                parts[f"baselines{kind}"] = scoring.baselines.dump() | layout
        parts |= self.rules.dump()
        arrays: Arrays = {f"{part}.{name}": array for part, state in parts.items() for name, array in state.items()}
        return arrays | {
            "layout": np.frombuffer(self._layout(), np.uint8),
            "catalogue.entity_key": self.catalogue.entity_key[: len(self.catalogue)],
        }

    def load(self, arrays: Arrays) -> bool:
        """Take over what ``dump`` returned; False where it does not fit any more, and nothing else is changed.

        It fits as long as the kinds compute the same and every entity in it that is still known has its place;
        entities that were learned later begin empty. What is usual for a series outlives another version of the model:
        it is taken over also where the rest does not fit, as long as kinds and metrics are the same.
        """
        if "layout" not in arrays or not self._places_fit(arrays):
            return False
        parts: dict[str, Arrays] = {}
        for path, array in arrays.items():
            part, _, name = path.partition(".")
            parts.setdefault(part, {})[name] = array
        for kind, scoring in self.scoring.items():
            usual = parts.get(f"baselines{kind}")
            if usual and usual["layout"].tobytes() == self._measured(kind):
                scoring.baselines.load(usual)
        if arrays["layout"].tobytes() != self._layout():
            return False
        self._load_parts(parts)
        return True

    def _load_parts(self, parts: Mapping[str, Arrays]) -> None:
        # a snapshot of an earlier version has no reasons
        for name in _OWN:
            setattr(self, name, parts["twin"].get(name, np.zeros(len(parts["twin"]["quality"]), np.uint16)).copy())
        self._recent.load(parts["recent"])
        self._history.load(parts["history"])
        # a snapshot of an earlier version has none
        if "staleness" in parts:
            self.staleness.load(parts["staleness"])
            for place in range(len(self.catalogue)):
                if not self.catalogue.entity_ids[place]:
                    self.staleness.forget(self.catalogue.series_of(place), place)
        for kind, scoring in self.scoring.items():
            scoring.grid.load(parts[f"grid{kind}"])
            scoring.windows.load(parts[f"windows{kind}"])
        self.rules.load(parts)

    def on_tick(self, event_ms: int, *, is_heard: bool, since_start_ms: int) -> list[Transition]:
        """Return the alerts that change as time goes by; see ``RuleBoard.on_tick``."""
        return self.rules.on_tick(
            event_ms,
            staleness=self.staleness,
            value=self.value,
            quality=self.quality,
            is_heard=is_heard,
            since_start_ms=since_start_ms,
        )

    def set_active(self, active: Sequence[AlertFacts]) -> None:
        """Make the alerts of the store the active ones, and no others."""
        self.rules.set_active(active)

    def _layout(self) -> bytes:
        """Return what the columns of a snapshot mean: metrics, windows, grid and features of each kind."""
        models = [(kind, scoring.model.manifest) for kind, scoring in sorted(self.scoring.items())]
        kinds = [(k, self.scoring[i].kind if i in self.scoring else k) for i, k in enumerate(self.catalogue.kinds)]
        facts: tuple[object, ...] = (
            "windows by kind",
            [(k.name, [m.name for m in k.metrics], own.windows_ms, own.step_ms) for k, own in kinds],
            {kind: manifest.features for kind, manifest in models},
        )
        # where there are none, a snapshot of an earlier version fits
        facts += tuple(
            (k, m.baseline_ms, m.baseline_prior_ms, *([m.baseline_hold_ms] if m.baseline_hold_ms else []))
            for k, m in models
            if self.scoring[k].model.has_baseline
        )
        return hashlib.sha256(repr(facts).encode()).digest()

    def _measured(self, kind: int) -> bytes:
        """Return what the series of a kind are."""
        own = self.catalogue.kinds[kind]
        facts = own.name, [(m.name, m.unit, m.categories) for m in own.metrics]
        return hashlib.sha256(repr(facts).encode()).digest()

    def _places_fit(self, arrays: Arrays) -> bool:
        keys = arrays["catalogue.entity_key"].tolist()
        return len(keys) <= len(self.catalogue) and all(
            self.catalogue.entity_key[place] == key
            for place, key in enumerate(keys)
            if self.catalogue.entity_ids[place]
        )

    def _late(self, batch: ReadingBatch) -> NDArray[np.bool_]:
        """Return which readings belong to a tick that is closed."""
        late = np.zeros(len(batch), np.bool_)
        entity = self.catalogue.series_entity[batch.series]
        checked = (batch.reason & Reason.UNTIMELY) == 0
        for kind, scoring in self.scoring.items():
            rows = np.flatnonzero(checked & (self.catalogue.entity_kind[entity] == kind))
            late[rows] = scoring.grid.late(entity[rows], batch.time_ms[rows])
        return late

    def _is_newest(self, batch: ReadingBatch) -> NDArray[np.bool_]:
        """Return which readings are as new as all of their series that came before."""
        self._make_room_for_entities()
        newest: NDArray[np.bool_] = batch.time_ms >= newest_before(batch.series, batch.time_ms, self.time_ms)
        return newest

    def _note_newest(self, batch: ReadingBatch) -> None:
        """Keep the newest reading of every series, the last to arrive where times are equal; none from the future."""
        count = self.catalogue.series_count
        self.value, self.time_ms = grown(self.value, count, np.nan), grown(self.time_ms, count, NEVER_MS)
        self.quality, self.reason = grown(self.quality, count), grown(self.reason, count)
        batch = batch.where((batch.reason & Reason.AHEAD) == 0)
        np.maximum.at(self.time_ms, batch.series, batch.time_ms)
        newest = batch.time_ms == self.time_ms[batch.series]
        self.value[batch.series[newest]] = batch.value[newest]
        self.quality[batch.series[newest]] = batch.quality[newest]
        self.reason[batch.series[newest]] = batch.reason[newest]

    def _features(self, scoring: Scoring, waves: Iterator[Wave]) -> Iterator[_Features]:
        """Apply closed ticks to the windows, wave by wave, and yield the features of each."""
        model, step_ms, place = scoring.model, scoring.kind.step_ms, self.catalogue.series_place
        windows, baselines = scoring.windows, scoring.baselines
        for wave in waves:
            counts = ~np.isnan(wave.value)
            windows.apply(
                place[wave.series[counts]],
                wave.series_tick[counts] * step_ms,
                wave.value[counts],
                model.manifest.windows_ms,
            )
            at_ms = wave.tick * step_ms
            first = place[self.catalogue.first_series[wave.entity]]
            raw, features = model.features(windows, baselines, first, at_ms)
            if model.has_baseline:
                # after the features: the present tick is not yet usual
                good = counts if wave.doubtful is None else counts & ~wave.doubtful
                series = wave.series[good]
                metric = self.catalogue.series_metric[series]
                model.observe(baselines, place[series], metric, wave.series_tick[good] * step_ms, wave.value[good])
            yield wave.entity, at_ms + step_ms, raw, features

    def _score(self, kind: int, waves: list[_Features]) -> list[Scores]:
        """Score all waves in one call."""
        if not waves:
            return []
        model = self.scoring[kind].model
        entity, time_ms, raw = (np.concatenate(column) for column in list(zip(*waves, strict=True))[:3])
        features = np.concatenate([given for *_, given in waves]) if model.has_baseline else raw
        score, missing = model.score(features)
        made = Scores(
            kind=kind, entity=entity, time_ms=time_ms, score=score, missing=missing, features=features, raw=raw
        )
        usable = (score >= 0) & (score <= 1)
        if usable.all():
            return [made]
        self.scoring[kind].unusable += len(usable) - int(usable.sum())
        return [made.where(usable)] if usable.any() else []

    def _make_room_for_entities(self) -> None:
        count = max(len(self.catalogue), 1)
        self.score, self.score_ms = grown(self.score, count, np.nan), grown(self.score_ms, count, NEVER_MS)
        self.missing = grown(self.missing, count)
        series = max(self.catalogue.series_count, 1)
        self.value, self.time_ms = grown(self.value, series, np.nan), grown(self.time_ms, series, NEVER_MS)
        self.quality, self.reason = grown(self.quality, series), grown(self.reason, series)


def _joined(features: NDArray[np.float64], clock: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return features and those of the clock; what is too large for a float32 is endless, and saturates as an input."""
    with np.errstate(over="ignore"):
        rounded = features.astype(np.float32)
    return np.concatenate([rounded, *clock], axis=1) if clock else rounded


_OWN = ("value", "time_ms", "quality", "reason", "score", "score_ms", "missing")


def pack_missing(missing: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return one number a row, bit i for column i. The first 64 columns count."""
    weights = np.uint64(1) << np.arange(min(missing.shape[1], 64), dtype=np.uint64)
    packed: NDArray[np.uint64] = (missing[:, :64] * weights).sum(axis=1, dtype=np.uint64)
    return packed


def wave_ends(entity: NDArray[np.int32]) -> list[int]:
    """Return where each run of rising entities ends; within a run every entity stands once."""
    ends = np.flatnonzero(entity[1:] <= entity[:-1]) + 1
    return [*ends.tolist(), len(entity)] if len(entity) else []
