"""The agent, put together from its configuration."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from attwin.adapters.alert_file import AlertFile
from attwin.adapters.clock import SystemClock
from attwin.adapters.control_socket import ControlServer, control_path
from attwin.adapters.mqtt_sensors import MqttSensorLink
from attwin.adapters.mqtt_upstream import MqttUpLink
from attwin.adapters.reactor import SiteReactor
from attwin.adapters.sqlite_store import SqliteStore
from attwin.adapters.sqlite_upkeep import Keep
from attwin.adapters.wakeup import SignalWatch
from attwin.core.alerts import CONFIG_REFUSED, STORE_DAMAGED
from attwin.core.deliveries import LEAST_HORIZON
from attwin.core.errors import SettingsError
from attwin.core.outgoing import alert_drafts, base_topic
from attwin.core.routes import Source
from attwin.ports import Commit
from attwin.runtime.agent import Agent
from attwin.runtime.alerts import AlertBook
from attwin.runtime.commands import Commands
from attwin.runtime.committer import COMMIT_MS, FRUGAL_COMMIT_MS
from attwin.runtime.drift import DriftWatch
from attwin.runtime.publish import TwinPublisher
from attwin.runtime.reactions import Reactions
from attwin.runtime.trial import Candidate
from attwin.settings.model import Settings, StoreSettings
from attwin.wiring.brokers import address_of
from attwin.wiring.house import House
from attwin.wiring.layers import Configured
from attwin.wiring.outbox import aggregates_of, delivery_of, outbox_policy
from attwin.wiring.reacting import reactions_of
from attwin.wiring.reading import BUNDLE, CONTROL, GATEWAY, UPSTREAM_BASE, ZONE
from attwin.wiring.restore import refill, restore
from attwin.wiring.slots import Chosen, choose_models
from attwin.wiring.sources import ingest_of, inspect_sources, names_of
from attwin.wiring.updating import trial_of, updates_of, works_of

log = logging.getLogger("attwin")

_ALERTS_WRITTEN = "alerts_written"
_SUBSCRIBED = "subscribed"
_MOST_SUBJECT = 200
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Daemon:
    """A built agent with all that it owns.

    Attributes:
        configuration: What it was built from.
        next_configuration: What to go on with after ``run``, where the configuration was taken anew.
    """

    def __init__(self, configuration: Configured, reread: Callable[[], Configured], *, is_safe: bool = False) -> None:
        """Open the store, load the models, restore the twin. Connects to nothing yet.

        Args:
            configuration: The configuration.
            reread: Returns the configuration as it is now.
            is_safe: Whether only to store and forward, without models, rules and reactions.

        Raises:
            BundleError: A configured model cannot be trusted or used.
            ScorerError: No runtime works here.
            StoreError: The database cannot be used.
        """
        settings = configuration.settings
        base = base_topic(settings.gateway.id)
        path = Path(settings.store.path)
        demand_packages(settings)
        chosen = Chosen(settings=without_judgement(settings), own={}) if is_safe else choose_models(settings)
        settings = chosen.settings
        house = House(settings)
        horizon = max(LEAST_HORIZON, 2 * settings.broker.inflight)
        store = SqliteStore(
            path,
            house.catalogue,
            gateway=settings.gateway.id,
            durability=settings.store.durability,
            keep=_keep(settings.store, horizon),
            outbox=outbox_policy(settings.upstream),
        )
        try:
            clock = SystemClock(floor_ms=store.newest_ms(), file=settings.gateway.clock_file)
            store.begin_boot(_BOOT_ID.read_text(encoding="ascii").strip(), clock.offset_ms, now_ms=clock.now_ms())
            house.note_models(store, clock)
            twin = house.twin()
            foresight = house.foresight(twin)
            entities = {name: entity.kind for name, entity in settings.entities.items()}
            upstream_base = base if settings.upstream else None
            drift = DriftWatch(house.drift)
            book = restore(
                store,
                twin,
                house.names,
                entities,
                house.rules,
                upstream_base,
                clock,
                drift,
                house.groups,
                foresight,
                keep_alerts=is_safe,
            )
            if store.salvaged is not None:
                _tell_salvaged(store, book, upstream_base, settings.gateway.id, clock)
            alert_file = AlertFile(
                path.with_name("alerts.jsonl"),
                store.alert_events_after,
                written=int(store.meta(_ALERTS_WRITTEN) or 0),
                note=lambda event: store.set_meta(_ALERTS_WRITTEN, str(event)),
            )
            alert_file.catch_up()
            info = house.info(store.store_id)
            upstream = settings.upstream
            sensors = _sensors(settings, house.sources, clock, store)
            uplink = (
                MqttUpLink(address_of(upstream, f"attwin-{settings.gateway.id}-up"), clock, base=base, info=info)
                if upstream
                else None
            )
            delivery = (
                delivery_of(upstream, settings.gateway.zone, store, uplink, clock) if upstream and uplink else None
            )
            self._works = works_of(settings, configuration.path, clock)
            self._info, self._uplink, self._store = info, uplink, store
            trial = updates = None
            if not is_safe:
                trial = trial_of(house, twin, drift, clock, store, self._works, self._serve, self.reload)
                updates = updates_of(
                    configuration, chosen, house, clock, store, self._works, trial, uplink, self._describe
                )
                info["updates"] = updates.info()
            self.agent = Agent(
                clock=clock,
                sensors=sensors,
                uplink=uplink,
                delivery=delivery,
                store=store,
                ingest=ingest_of(
                    settings,
                    house.sources,
                    house.catalogue,
                    own_base=base,
                    deliveries=store.load_deliveries(horizon),
                ),
                twin=twin,
                book=book,
                publisher=TwinPublisher(
                    twin,
                    base=base,
                    every_ms=upstream.twin_every if upstream else 0,
                    change=upstream.twin_change if upstream else 0.0,
                ),
                aggregates=aggregates_of(upstream, twin, base, clock) if upstream else None,
                alert_log=alert_file,
                sources=names_of(settings),
                inflight=settings.broker.inflight,
                commit_ms=FRUGAL_COMMIT_MS if settings.store.writes == "frugal" else COMMIT_MS,
                health_every_ms=upstream.health_every if upstream else 0,
                forget_after_ms=settings.limits.forget_after,
                lasting=frozenset(settings.entities),
                refill=lambda active: refill(store, twin, active, clock),
                drift=drift,
                foresight=foresight,
                reactions=Reactions(
                    reactions_of(settings), store, SiteReactor(sensors.tell, sensors.take_told, clock), clock
                ),
                updates=updates,
                trial=trial,
                is_safe=is_safe,
            )
            self._control = ControlServer(control_path(path), Commands(self.agent, info, self.reload).answer)
            for name, value in (
                (CONTROL, str(self._control.path)),
                (GATEWAY, settings.gateway.id),
                (ZONE, settings.gateway.zone),
                (UPSTREAM_BASE, upstream_base or ""),
                *((f"{BUNDLE}{sha256}", str(lies)) for sha256, lies in house.places().items()),
            ):
                store.set_meta(name, value)
        except BaseException:
            store.close()
            raise
        self._signals = SignalWatch(self._stop, self.reload)
        self.agent.watch([self._signals, self._control, self._works])
        self.configuration = configuration
        self._reread = reread
        self.next_configuration: Configured | None = None

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then drain and stop."""
        try:
            self.agent.run()
        finally:
            self._control.close()
            self._signals.close()
            self._works.close()

    def reload(self) -> list[str]:
        """Take the configuration anew: ``run`` ends, and goes on with it. Return its problems; then nothing changes."""
        try:
            found = self._reread()
        except SettingsError as error:
            problems = error.problems
        else:
            now, then = self.configuration.settings, found.settings
            problems = [
                f"{name} has changed: that needs a restart"
                for name, old, new in (
                    ("store.path", now.store.path, then.store.path),
                    ("gateway.id", now.gateway.id, then.gateway.id),
                )
                if old != new
            ]
        if problems:
            log.error("reload=refused problems=%r", problems)
            self.note_refused(problems)
            return problems
        self.next_configuration = found
        self.agent.stopping = True
        return []

    def note_refused(self, problems: Sequence[str]) -> None:
        """Raise an alert: a configuration that was to be taken cannot be used, and the one before it goes on."""
        gateway, book = self.configuration.settings.gateway.id, self.agent.book
        if (CONFIG_REFUSED, gateway) not in book.active:
            subject, now_ms = problems[0][:_MOST_SUBJECT], self.agent.clock.now_ms()
            count = float(len(problems))
            self.agent.announce([book.raise_own(CONFIG_REFUSED, gateway, subject, value=count, now_ms=now_ms)])

    def _serve(self, kind: str, model: Candidate) -> None:
        """Say what serves a kind from now on."""
        models = cast("dict[str, dict[str, object]]", self._info["models"])
        runtime = model.model.scorer.runtime
        models[kind] = {"name": model.name, "version": model.version, "sha256": model.sha256, "runtime": runtime}
        now_ms = self.agent.clock.now_ms()
        self._store.note_model(kind, model.name, model.version, model.sha256, runtime, now_ms=now_ms)
        place = self._works.file(model.sha256)
        if place.is_file():
            self._store.set_meta(f"{BUNDLE}{model.sha256}", str(place))
        self._describe()

    def _describe(self) -> None:
        """Say anew what the gateway is."""
        if self.agent.updates:
            self._info["updates"] = self.agent.updates.info()
        if self._uplink:
            self._uplink.describe(self._info)

    def _stop(self) -> None:
        self.agent.stopping = True


def demand_packages(settings: Settings) -> None:
    """Refuse a configuration that needs a package which is not installed.

    Raises:
        SettingsError: One is missing.
    """
    problems: list[str] = []
    inspect_sources(settings, lambda where, problem: problems.append(f"{where}: {problem}"))
    if problems:
        raise SettingsError(problems)


def without_judgement(settings: Settings) -> Settings:
    """Return a configuration that only stores and forwards."""
    kinds = {
        name: replace(kind, model="", forecast=None, anomaly=None, drift=None) for name, kind in settings.kinds.items()
    }
    return replace(settings, kinds=kinds, rules=[], reactions=[])


def _tell_salvaged(store: SqliteStore, book: AlertBook, base: str | None, gateway: str, clock: SystemClock) -> None:
    """Raise an alert: the database was damaged, and what could be read was saved."""
    saved = sum((store.salvaged or {}).values())
    change = book.raise_own(STORE_DAMAGED, gateway, "rows saved", value=float(saved), now_ms=clock.now_ms())
    drafts = alert_drafts(base, None, change.after) if base else []
    store.commit(Commit(alerts=[change], drafts=drafts, now_ms=clock.now_ms(), tells_salvage=True))


def _sensors(settings: Settings, sources: Sequence[Source], clock: SystemClock, store: SqliteStore) -> MqttSensorLink:
    qos = [source.qos for source in settings.sources] + ([settings.labels.qos] if settings.labels else [])
    filters = {
        template.topic_filter: own_qos for own, own_qos in zip(sources, qos, strict=True) for template in own.templates
    }
    # the broker's session may still have what an earlier configuration subscribed to
    before = set(json.loads(store.meta(_SUBSCRIBED) or "[]"))
    store.set_meta(_SUBSCRIBED, json.dumps(sorted(before | set(filters))))
    return MqttSensorLink(
        address_of(settings.broker, f"attwin-{settings.gateway.id}"),
        clock,
        filters=list(filters.items()),
        leftovers=sorted(before - set(filters)),
        most_payload=settings.limits.payload_bytes,
    )


def _keep(settings: StoreSettings, horizon: int) -> Keep:
    return Keep(
        journal_ms=settings.keep.journal,
        rollups_ms=settings.keep.rollups,
        scores_ms=settings.keep.scores,
        alerts_ms=settings.keep.alerts,
        budget_bytes=settings.budget,
        free_bytes=settings.free,
        deliveries=horizon,
    )
