"""Bundles and runtimes, put together."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import attwin
from attwin.adapters.arrays import pack_arrays
from attwin.adapters.bundle_zip import Bundle, read_bundle, write_bundle
from attwin.adapters.clock import SystemClock
from attwin.adapters.tflite import RUNTIMES, TfliteScorer, chosen_runtime, load_engine, probe
from attwin.core.catalogue import Metric
from attwin.core.errors import BundleError, BundleMismatchError, ScorerError
from attwin.core.manifest import Manifest
from attwin.ports import Scorer
from attwin.runtime.selftest import SelfTest, replay_golden, self_test
from attwin.runtime.twin import KindModel
from attwin.settings.model import KindSettings, MetricSettings, Settings

__all__ = ["chosen_runtime", "pack_arrays", "probe", "read_bundle", "replay_golden", "write_bundle"]

_TEST_SECONDS = 30
_TEST_MEMORY = 4 * 1024**3
BUILT_IN = "builtin:"
"""``builtin:occupancy`` names a bundle that the package carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFinding:
    """What a probe found.

    Attributes:
        name: One of ``RUNTIMES``.
        works: Whether it computed the known answer.
        detail: Its version, or why not.
    """

    name: str
    works: bool
    detail: str


def bundle_path(text: str) -> Path:
    """Return the file that a ``model:`` setting names.

    Raises:
        BundleError: It names a built-in model that does not exist.
    """
    name = text.rpartition(BUILT_IN)[2]
    if BUILT_IN not in text:
        return Path(text)
    known = {path.stem: path for path in (Path(__file__).parent.parent / "data").glob("*.zip")}
    if name not in known:
        raise BundleError(f"no built-in model is called `{name}`; there is {', '.join(sorted(known))}")
    return known[name]


def load_model(model: bytes, *, inputs: int, runtime: str = "") -> TfliteScorer:
    """Return a model file in a runtime that works here.

    Raises:
        BundleError: It is not a model that the agent can run.
        ScorerError: No runtime works here.
    """
    engine, name = load_engine(model, runtime)
    return TfliteScorer(engine, name, inputs=inputs)


def load_bundle(path: Path, *, runtime: str = "") -> tuple[Bundle, Scorer]:
    """Return a bundle whose hashes are right, and its model in a runtime that works here.

    Raises:
        BundleError: It is no bundle, or its model is not what the manifest says.
        ScorerError: No runtime works here.
    """
    bundle = read_bundle(path)
    manifest = bundle.manifest
    _demand_limits(bundle)
    scorer = load_model(bundle.model, inputs=manifest.input_count, runtime=runtime)
    for what, promised, found in zip(
        ("input", "output"), (manifest.input, manifest.output), scorer.quantisation, strict=True
    ):
        if promised != found:
            raise BundleMismatchError(f"{path}: the {what} is stored as {found}, the manifest says {promised}")
    return bundle, scorer


def _demand_limits(bundle: Bundle) -> None:
    """Refuse a bundle that is too large for its own limits, or made for a newer agent."""
    manifest = bundle.manifest
    if len(bundle.model) > manifest.limits.file_bytes:
        raise BundleError(f"a model of {len(bundle.model)} bytes; its limit is {manifest.limits.file_bytes}")
    if release(manifest.minimum_agent) > release(attwin.__version__):
        raise BundleError(f"made for attwin {manifest.minimum_agent} or newer; this is {attwin.__version__}")


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version.

    Raises:
        BundleError: It is none.
    """
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        raise BundleError(f"`{version}` is no version such as 0.1.0") from None


def verify_here(path: Path) -> SelfTest:
    """Self-test a bundle in this process.

    Raises:
        BundleError: It does not compute what it promises.
    """
    bundle, scorer = load_bundle(path)
    return tested(bundle, scorer)


def tested(bundle: Bundle, scorer: Scorer) -> SelfTest:
    """Self-test a bundle that is loaded.

    Raises:
        BundleError: It does not compute what it promises.
    """
    return self_test(bundle.manifest, scorer, bundle.golden, SystemClock())


def verify_in_child(path: Path) -> None:
    """Self-test a bundle in a process of its own, with limits: a damaged model can abort an interpreter.

    Raises:
        BundleError: It does not compute what it promises, or the process died.
    """
    try:
        done = subprocess.run(  # noqa: S603 -- this interpreter and this package
            [sys.executable, "-I", "-m", "attwin", "model", "verify", str(path), "--json"],
            capture_output=True,
            timeout=_TEST_SECONDS,
            check=False,
            preexec_fn=_limit,
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{path}: the self-test took more than {_TEST_SECONDS} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"its process ended with {done.returncode}"
        raise BundleError(f"{path}: the self-test failed: {said}")
    json.loads(done.stdout)


def bind(bundle: Bundle, scorer: Scorer, metrics: Sequence[Metric], kind: str) -> KindModel:
    """Return a model bound to the metrics of a configured kind.

    Raises:
        BundleMismatchError: The kind lacks a metric of the model, or has it in another unit.
    """
    _demand_fit(bundle.manifest, metrics, kind)
    place = {metric.name: index for index, metric in enumerate(metrics)}
    return KindModel(bundle.manifest, scorer, [place[m.name] for m in bundle.manifest.metrics], sha256=bundle.sha256)


def _demand_fit(manifest: Manifest, metrics: Sequence[Metric], kind: str) -> None:
    units = {metric.name: metric.unit for metric in metrics}
    problems = [f"`{m.name}` is missing" for m in manifest.metrics if m.name not in units]
    problems += [
        f"`{m.name}` is in `{units[m.name]}`, the model wants `{m.unit}`"
        for m in manifest.metrics
        if units.get(m.name, m.unit) != m.unit
    ]
    categories = {metric.name: metric.categories for metric in metrics}
    problems += [
        f"`{m.name}` has {_listed(categories[m.name])}, the model wants {_listed(m.categories or ())}"
        for m in manifest.metrics
        if categories.get(m.name, tuple(m.categories or ())) != tuple(m.categories or ())
    ]
    if manifest.kind != kind:
        problems.append(f"the model is for kind `{manifest.kind}`")
    if problems:
        raise BundleMismatchError(
            f"model {manifest.name} version {manifest.version} does not fit kind `{kind}`: {'; '.join(problems)}"
        )


def _listed(categories: Sequence[str]) -> str:
    return f"the categories {', '.join(categories)} in this order" if categories else "no categories"


def metrics_of(kind: KindSettings) -> tuple[Metric, ...]:
    """Return the metrics of a configured kind."""
    return tuple(
        Metric(
            name=name,
            unit=metric.unit,
            low=_low(metric),
            high=_high(metric),
            every_ms=metric.every or 0,
            deadband=np.nan if metric.deadband is None else metric.deadband,
            heartbeat_ms=metric.heartbeat,
            stuck_after_ms=metric.stuck_after or 0,
            step=np.inf if metric.step is None else metric.step,
            categories=tuple(metric.categories),
        )
        for name, metric in kind.metrics.items()
    )


def _low(metric: MetricSettings) -> float:
    if metric.categories:
        return 0.0
    return -np.inf if metric.min is None else metric.min


def _high(metric: MetricSettings) -> float:
    if metric.categories:
        return float(len(metric.categories) - 1)
    return np.inf if metric.max is None else metric.max


def inspect_models(settings: Settings, report: Callable[[str, str], None]) -> None:
    """Report every model of a configuration that is no bundle, does not fit its kind or fails its self-test."""
    for name, kind in settings.kinds.items():
        if kind.model:
            try:
                path = bundle_path(kind.model)
                _demand_fit(read_bundle(path).manifest, metrics_of(kind), name)
                verify_in_child(path)
            except BundleError as error:
                report(f"kinds.{name}.model", str(error))


def probe_runtimes() -> list[RuntimeFinding]:
    """Try every runtime with a small model."""
    findings = []
    for name in RUNTIMES:
        try:
            findings.append(RuntimeFinding(name=name, works=True, detail=probe(name)))
        except ScorerError as error:
            findings.append(RuntimeFinding(name=name, works=False, detail=str(error)))
    return findings


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_TEST_MEMORY, _TEST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_TEST_SECONDS, _TEST_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
