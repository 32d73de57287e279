"""What is pushed, as configured: the stage of updates with its store, its processes and its trial."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import attwin
from attwin.adapters.bundle_zip import Bundle
from attwin.adapters.clock import SystemClock
from attwin.adapters.mqtt_upstream import MqttUpLink
from attwin.adapters.sqlite_store import SqliteStore
from attwin.adapters.update_works import LocalUpdateWorks
from attwin.core.errors import AttwinError, UpdateRefusedError
from attwin.core.outgoing import base_topic
from attwin.core.rules import Basis
from attwin.ports import Scorer
from attwin.runtime.drift import DriftWatch
from attwin.runtime.trial import Candidate, ModelTrial
from attwin.runtime.twin import Twin
from attwin.runtime.update_targets import CONFIG, CheckedTarget
from attwin.runtime.updates import Serving, UpdatePolicy, Updates
from attwin.settings.model import Settings
from attwin.settings.updates import UpdatesSettings
from attwin.wiring.house import House, kind_with
from attwin.wiring.layers import Configured
from attwin.wiring.models import bind, load_bundle, metrics_of, release
from attwin.wiring.restore import JournalReader
from attwin.wiring.rules import rules_of
from attwin.wiring.slots import Chosen, is_pinned

_FOLDER = "updates"


def works_of(settings: Settings, config: Path, clock: SystemClock) -> LocalUpdateWorks:
    """Return what keeps the files of updates, beside the database, and runs their processes."""
    root = Path(settings.updates.root) if settings.updates.root else None
    folder = Path(settings.store.path).parent / _FOLDER
    return LocalUpdateWorks(folder, root, clock, free_bytes=settings.store.free, config=config)


def trial_of(
    house: House,
    twin: Twin,
    drift: DriftWatch,
    clock: SystemClock,
    store: SqliteStore,
    works: LocalUpdateWorks,
    served: Callable[[str, Candidate], None],
    reload: Callable[[], list[str]],
) -> ModelTrial:
    """Return what tries models.

    Args:
        house: What the configuration describes.
        twin: What serves.
        drift: Counts what it scores.
        clock: Tells the time.
        store: Holds the journal.
        works: Keeps the files.
        served: Told what serves a kind from now on.
        reload: Lets the agent begin anew; returns problems.
    """
    journal = JournalReader(store, twin.catalogue)

    def load(kind: str, sha256: str) -> Candidate:
        own = [index for index, (bundle, _) in house.bundles.items() if bundle.sha256 == sha256]
        path = house.path_of(own[0]) if own else works.file(sha256)
        try:
            return candidate_of(house, kind, *load_bundle(path))
        except AttwinError as error:
            raise UpdateRefusedError(f"it cannot serve kind `{kind}`: {error}") from error

    return ModelTrial(
        twin=twin,
        drift=drift,
        clock=clock,
        gates=house.settings.updates.gates,
        kinds=house.names,
        serving={house.names[i]: candidate_of(house, house.names[i], *pair) for i, pair in house.bundles.items()},
        load=load,
        read=journal.after,
        position=lambda back_ms: store.recent_position(clock.now_ms(), back_ms),
        served=served,
        reload=reload,
    )


def candidate_of(house: House, kind: str, bundle: Bundle, scorer: Scorer) -> Candidate:
    """Return a bundle ready to serve a kind.

    Raises:
        BundleError: It does not fit the kind, or a rule is about a feature that it does not have.
    """
    index, settings = house.names.index(kind), house.settings.kinds[kind]
    metrics = metrics_of(settings)
    model = bind(bundle, scorer, metrics, kind)
    own = kind_with(kind, settings, metrics, model)
    kinds = [own if place == index else other for place, other in enumerate(house.catalogue.kinds)]
    rules = rules_of(house.settings, kinds, {**house.models, index: model})
    return Candidate(
        sha256=bundle.sha256,
        name=bundle.manifest.name,
        version=bundle.manifest.version,
        model=model,
        kind=own,
        rules=[rule for rule in rules if rule.kind == index and rule.subject.basis in (Basis.ATTENTION, Basis.FEATURE)],
        drift=house.drift_of(index, bundle),
        canary_rows=bundle.golden["features"].astype(np.float32),
        canary_scores=bundle.golden["scores"].astype(np.float32),
    )


def updates_of(  # noqa: PLR0913, PLR0917 -- all that an update touches
    configuration: Configured,
    chosen: Chosen,
    house: House,
    clock: SystemClock,
    store: SqliteStore,
    works: LocalUpdateWorks,
    trial: ModelTrial,
    uplink: MqttUpLink | None,
    changed: Callable[[], None],
) -> Updates:
    """Return the stage of updates; ``changed`` is told that what the gateway says of it is another."""
    settings = configuration.settings
    return Updates(
        clock=clock,
        works=works,
        store=store,
        trial=trial,
        policy=_policy(settings.updates),
        base=base_topic(settings.gateway.id),
        serving=_serving(configuration, chosen, house),
        refuses=lambda target: _refusal(target, settings),
        tell=uplink.tell if uplink else lambda _topic, _payload: None,
        changed=changed,
    )


def _policy(settings: UpdatesSettings) -> UpdatePolicy:
    return UpdatePolicy(
        shadow_ms=settings.shadow,
        probation_ms=settings.probation,
        confirm_ms=settings.confirm,
        longest_ms=settings.longest,
        rate=settings.rate,
        largest_bytes=settings.largest,
    )


def _serving(configuration: Configured, chosen: Chosen, house: House) -> dict[str, Serving]:
    """Return what serves on each line."""
    layer = configuration.layer
    serving = {
        CONFIG: Serving(
            sha256=layer.sha256 if layer else "",
            name=layer.name.rpartition("-")[0] if layer else "",
            version=layer.version if layer else 0,
            own="",
        )
    }
    nothing = Serving(sha256="", name="", version=0, own="")
    for index, name in enumerate(house.names):
        found = house.bundles.get(index)
        one = nothing
        if found:
            bundle, _ = found
            one = replace(nothing, sha256=bundle.sha256, name=bundle.manifest.name, version=bundle.manifest.version)
        serving[f"model/{name}"] = replace(one, own=chosen.own[name], pinned=is_pinned(configuration.settings, name))
    return serving


def _refusal(target: CheckedTarget, settings: Settings) -> str:
    """Return why a target is not for this gateway; empty where it is."""
    gateway = settings.gateway
    if not target.is_for(gateway.id, gateway.site):
        whom = ", ".join((*target.gateways, *target.sites))
        return f"it is for {whom}; this is gateway {gateway.id}" + (f" of site {gateway.site}" if gateway.site else "")
    try:
        is_newer = release(target.minimum_agent) > release(attwin.__version__)
    except AttwinError as error:
        return str(error)
    return f"it needs attwin {target.minimum_agent}; this is {attwin.__version__}" if is_newer else ""
