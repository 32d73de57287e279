"""What a configuration describes, put together: kinds with their models, rules, groups, sources."""

from pathlib import Path

import attwin
from attwin.adapters.bundle_zip import Bundle
from attwin.adapters.clock import SystemClock
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.catalogue import Catalogue, Kind, Metric
from attwin.runtime.drift import DriftKind
from attwin.runtime.foresight import Foresight
from attwin.runtime.twin import KindModel, Twin
from attwin.runtime.zones import offset_of
from attwin.settings.model import KindSettings, Settings
from attwin.wiring.models import bind, bundle_path, load_bundle, metrics_of
from attwin.wiring.rules import groups_of, rules_of, watches_of
from attwin.wiring.sources import sources_of

_NO_MODEL_STEP_MS = 1000


class House:
    """What the configuration describes, by number.

    Attributes:
        settings: The configuration.
        names: Of the kinds.
        bundles: The bundle of each kind that has one, and what runs its model.
        models: The model of each kind that has one.
        catalogue: Without entities as yet.
        groups: Of entities.
        rules: All of them.
        watches: What is forecast, and watched for anomalies.
        sources: Of the sensors.
        drift: What the scores of each kind are compared with.
    """

    def __init__(self, settings: Settings) -> None:
        """Load the models.

        Raises:
            BundleError: A configured model cannot be trusted or used.
            ScorerError: No runtime works here.
            SettingsError: A rule is about what its model does not have.
        """
        self.settings = settings
        self.names = list(settings.kinds)
        self.bundles = {
            index: load_bundle(bundle_path(kind.model))
            for index, kind in enumerate(settings.kinds.values())
            if kind.model
        }
        metrics = [metrics_of(kind) for kind in settings.kinds.values()]
        self.models = {
            index: bind(bundle, scorer, metrics[index], self.names[index])
            for index, (bundle, scorer) in self.bundles.items()
        }
        kinds = [
            kind_with(name, kind, metrics[index], self.models.get(index))
            for index, (name, kind) in enumerate(settings.kinds.items())
        ]
        self.catalogue = Catalogue(kinds, most_entities=settings.limits.entities)
        self.groups = groups_of(settings)
        self.rules = rules_of(settings, kinds, self.models)
        self.watches = watches_of(settings, kinds)
        self.sources = sources_of(settings)
        found = {index: self.drift_of(index, bundle) for index, (bundle, _) in self.bundles.items()}
        self.drift = {index: watched for index, watched in found.items() if watched}

    def drift_of(self, index: int, bundle: Bundle) -> DriftKind | None:
        """Return what the scores of a kind are compared with; None for a model without a reference."""
        if bundle.reference is None:
            return None
        kind = self.settings.kinds[self.names[index]]
        limit = (kind.drift or self.settings.drift).limit
        return DriftKind(name=self.names[index], model=bundle.sha256, reference=bundle.reference, limit=limit)

    def path_of(self, index: int) -> Path:
        """Return the file of the model of a kind."""
        return bundle_path(self.settings.kinds[self.names[index]].model)

    def twin(self) -> Twin:
        """Return an empty twin of it."""
        return Twin(
            self.catalogue,
            self.models,
            self.rules,
            most_ahead_ms=self.settings.limits.ahead,
            groups=self.groups,
        )

    def foresight(self, twin: Twin) -> Foresight:
        """Return what looks ahead for a twin."""
        return Foresight(self.watches, self.catalogue, twin.rules, offset_of(self.settings.gateway.zone))

    def note_models(self, store: SqliteStore, clock: SystemClock) -> None:
        """Note the models as active."""
        for index, (bundle, scorer) in self.bundles.items():
            name, manifest = self.names[index], bundle.manifest
            store.note_model(
                name, manifest.name, manifest.version, bundle.sha256, scorer.runtime, now_ms=clock.now_ms()
            )

    def places(self) -> dict[str, Path]:
        """Return where each model lies, by its hash."""
        return {bundle.sha256: self.path_of(index) for index, (bundle, _) in self.bundles.items()}

    def info(self, store_id: str) -> dict[str, object]:
        """Return what the gateway says of itself."""
        models = {
            self.names[index]: {
                "name": bundle.manifest.name,
                "version": bundle.manifest.version,
                "sha256": bundle.sha256,
                "runtime": scorer.runtime,
            }
            for index, (bundle, scorer) in self.bundles.items()
        }
        return {"attwin": attwin.__version__, "site": self.settings.gateway.site, "store": store_id, "models": models}


def kind_with(name: str, settings: KindSettings, metrics: tuple[Metric, ...], model: KindModel | None) -> Kind:
    """Return a configured kind with the windows and the grid of its model."""
    lateness_ms = model.manifest.lateness_ms if model else 0
    return Kind(
        name=name,
        metrics=metrics,
        windows_ms=tuple(model.manifest.windows_ms) if model else (),
        step_ms=model.manifest.step_ms if model else _NO_MODEL_STEP_MS,
        lateness_ms=lateness_ms if settings.lateness is None else settings.lateness,
    )
