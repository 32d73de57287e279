"""From a described data set to a bundle: features, candidates, the choice, training, conversion, proof, card."""

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attwin.core.manifest import Figures, Manifest
from attwin_converter.bundling import Held, Made, Origin, conclude
from attwin_converter.candidates import Candidate, candidates
from attwin_converter.costs import costs_of
from attwin_converter.dataset import DatasetSettings, Part
from attwin_converter.exporting import Exported, calibration_of, export
from attwin_converter.findings import demand_sound
from attwin_converter.fitting import Rows, sigmoid
from attwin_converter.folds import folds
from attwin_converter.material import Material, material_of
from attwin_converter.measure import best_threshold, figures_of
from attwin_converter.parts import read_dataset
from attwin_converter.pool import Features, Pool, inputs_of
from attwin_converter.progress import Progress
from attwin_converter.report import Scored, Tried
from attwin_converter.reporting import fold_in_words, table_of
from attwin_converter.runtimes import Runtime
from attwin_converter.search import Folds, Search, SearchError, Trial, calibration
from attwin_converter.tasks import Executor, prepared
from attwin_converter.worker import run_worker

_TRAIN_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training gave.

    Attributes:
        manifest: Of the bundle: it has the figures.
        chosen: The candidate.
        seeds: How many models were averaged.
        validation: Its figures out of fold.
        tried: The table of candidates, best first.
        train_rows: How many rows were trained on.
        model_bytes: The size of the exported file.
        was_tuned: Whether it took fine-tuning with fake quantisation.
    """

    manifest: Manifest
    chosen: str
    seeds: int
    validation: Figures
    tried: Sequence[Tried]
    train_rows: int
    model_bytes: int
    was_tuned: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """What was chosen, and among what.

    Attributes:
        trial: The one.
        tried: The table of candidates, in the order in which to take them.
        folds: The rows of each fold.
    """

    trial: Trial
    tried: Sequence[Tried]
    folds: Folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Means:
    """With what a training works.

    Attributes:
        executor: Runs fits and conversions of candidates.
        work: Where they are kept, so that the same command goes on after an interruption.
        runtimes: Where the exported file is checked.
        progress: Told how it goes.
    """

    executor: Executor
    work: Path
    runtimes: Sequence[Runtime]
    progress: Progress


def train_model(settings: DatasetSettings, out: Path, means: Means) -> Trained:
    """Find the best model of a data set that a gateway can afford, and write its bundle.

    Raises:
        DataError: The data is not what the description says, or cannot be learned from.
        SearchError: No candidate could be fitted, or none is affordable.
        WorkerError: Training or conversion failed.
        ParityError: The exported file is worse than the Keras model by more than the tolerance.
        BundleError: A runtime refuses the exported file.
    """
    progress = means.progress
    dataset = read_dataset(settings)
    settings = dataset.settings
    findings = demand_sound(dataset)
    tried = candidates(is_independent=settings.is_independent, families=settings.training.families)
    pool = Pool(settings, tried, dataset.train.wide)
    progress.stage("computing features", 2 if settings.is_independent else 4)
    material = material_of(settings, dataset.train, pool, progress.step)
    test_features = pool.features(dataset.test.wide)
    progress.step("test")

    choice = _chosen(material, tried, means)
    trial = choice.trial
    slope, offset = calibration(trial, material.part.label)
    known = ~np.isnan(trial.logit)
    label = material.part.label[known]
    out_of_fold = Scored(label=label, score=sigmoid(trial.logit[known] * slope + offset).astype(np.float32))
    threshold = best_threshold(out_of_fold.label, out_of_fold.score)
    validation = figures_of(out_of_fold.label, out_of_fold.score, threshold)

    train = _held(dataset.train, pool, trial.candidate, material.plain)
    test = _held(dataset.test, pool, trial.candidate, test_features)
    manifest, exported = _trained(material, trial, (slope, offset), test, means)
    made = Made(
        manifest=dataclasses.replace(manifest, threshold=threshold),
        exported=exported,
        dataset=dataset,
        findings=findings,
        train=train,
        test=test,
    )
    origin = Origin(
        folds=[fold_in_words(material.part, settings, *fold) for fold in choice.folds],
        tried=choice.tried,
        validation=validation,
        out_of_fold=out_of_fold,
    )
    return Trained(
        manifest=conclude(out, made, origin, means.runtimes[0], progress),
        chosen=trial.candidate.name,
        seeds=trial.seeds,
        validation=validation,
        tried=choice.tried,
        train_rows=len(dataset.train.label),
        model_bytes=len(exported.model),
        was_tuned=exported.was_tuned,
    )


def _held(part: Part, pool: Pool, candidate: Candidate, features: Features) -> Held:
    raw = pool.share(candidate, features, is_raw=True)
    return Held(part=part, share=pool.share(candidate, features), raw=raw)


def _chosen(material: Material, tried: Sequence[Candidate], means: Means) -> Choice:
    """Cross-validate the candidates that a gateway can afford."""
    settings, budget = material.settings, material.settings.budget
    costs = costs_of(
        settings,
        {candidate: material.pool.shape(candidate) for candidate in tried},
        means.runtimes,
        means.executor,
        means.work,
        means.progress,
    )
    affordable = [candidate for candidate in tried if not costs[candidate].excess(budget)]
    if not affordable:
        excess = "; ".join(f"{candidate.name}: {costs[candidate].excess(budget)}" for candidate in tried)
        raise SearchError(f"no candidate is within the budget. {excess}")
    if settings.split.embargo is None and not settings.is_independent:
        # sequences may look back further than the windows that were asked for
        settings = dataclasses.replace(
            settings, split=dataclasses.replace(settings.split, embargo=material.pool.look_back_ms)
        )
    search = Search(
        material=material,
        folds=folds(material.part, settings, settings.training.folds),
        executor=means.executor,
        work=means.work,
        progress=means.progress,
    )

    def seeds(candidate: Candidate) -> int:
        most = 1 if candidate.family == "logistic" else settings.training.seeds
        return costs[candidate].seeds(budget, most)

    trials = search.run(affordable, seeds)
    return Choice(trial=trials[0], tried=table_of(trials, costs, budget), folds=search.folds)


def _trained(
    material: Material, trial: Trial, calibrated: tuple[float, float], test: Held, means: Means
) -> tuple[Manifest, Exported]:
    """Train the chosen candidate on all rows, and export it."""
    training = material.settings.training
    every = np.arange(len(material.part.label))
    seeds = range(training.seed, training.seed + trial.seeds)
    plan, rows, manifest = material.fit(trial.candidate, every, [], seeds=seeds, epochs=trial.epochs)
    plan |= {"slope": calibrated[0], "offset": calibrated[1]}
    task = prepared(means.work, trial.candidate.name, "model", plan, rows)
    means.progress.stage(f"training {trial.candidate.name}", max(1, trial.seeds * trial.epochs))
    if not task.is_done():
        run_worker(
            task.step,
            task.folder,
            seconds=_TRAIN_SECONDS,
            on_report=lambda report: means.progress.step(f"loss {report['loss']:.4f}"),
        )
    tuning: Rows = {name: rows[name] for name in ("inputs", "label", "weight")}
    with tempfile.TemporaryDirectory(prefix="attwin-export-") as name:
        # in a folder of its own: fine-tuning changes the model
        shutil.copy(task.result, name)
        exported = export(
            Path(name),
            inputs_of(manifest, test.share),
            test.part.label,
            calibration_of(rows["inputs"], training.seed),
            tuning,
            training,
            means.runtimes,
            means.progress,
        )
    return manifest, exported
