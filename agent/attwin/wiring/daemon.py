"""The agent, put together from its configuration."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from attwin.adapters.alert_file import AlertFile
from attwin.adapters.clock import SystemClock
from attwin.adapters.control_socket import ControlServer, control_path
from attwin.adapters.mqtt_sensors import MqttSensorLink
from attwin.adapters.mqtt_upstream import MqttUpLink
from attwin.adapters.reactor import SiteReactor
from attwin.adapters.sqlite_store import SqliteStore
from attwin.adapters.sqlite_upkeep import Keep
from attwin.adapters.wakeup import SignalWatch
from attwin.core.alerts import STORE_DAMAGED
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
from attwin.settings.model import Settings, StoreSettings
from attwin.wiring.brokers import address_of
from attwin.wiring.house import House
from attwin.wiring.models import (
    bundle_path,
    chosen_runtime,
    read_bundle,
    verify_in_child,
)
from attwin.wiring.outbox import aggregates_of, delivery_of, outbox_policy
from attwin.wiring.reacting import reactions_of
from attwin.wiring.reading import BUNDLE, CONTROL, GATEWAY, UPSTREAM_BASE, ZONE, tested_models
from attwin.wiring.restore import refill, restore
from attwin.wiring.sources import ingest_of, inspect_sources, names_of

log = logging.getLogger("attwin")

_ALERTS_WRITTEN = "alerts_written"
_SUBSCRIBED = "subscribed"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Daemon:
    """A built agent with all that it owns.

    Attributes:
        settings: The configuration.
        next_settings: What to go on with after ``run``, where the configuration was taken anew.
    """

    def __init__(self, settings: Settings, reread: Callable[[], Settings]) -> None:
        """Open the store, load the models, restore the twin. Connects to nothing yet.

        Args:
            settings: The configuration.
            reread: Returns the configuration as it is now.

        Raises:
            BundleError: A configured model cannot be trusted or used.
            ScorerError: No runtime works here.
            StoreError: The database cannot be used.
        """
        base = base_topic(settings.gateway.id)
        path = Path(settings.store.path)
        demand_packages(settings)
        demand_tested(settings, path)
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
                store, twin, house.names, entities, house.rules, upstream_base, clock, drift, house.groups, foresight
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
        self.agent.watch([self._signals, self._control])
        self.settings = settings
        self._reread = reread
        self.next_settings: Settings | None = None

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then drain and stop."""
        try:
            self.agent.run()
        finally:
            self._control.close()
            self._signals.close()

    def reload(self) -> list[str]:
        """Take the configuration anew: ``run`` ends, and goes on with it. Return its problems; then nothing changes."""
        try:
            found = self._reread()
        except SettingsError as error:
            problems = error.problems
        else:
            problems = [
                f"{name} has changed: that needs a restart"
                for name, old, new in (
                    ("store.path", self.settings.store.path, found.store.path),
                    ("gateway.id", self.settings.gateway.id, found.gateway.id),
                )
                if old != new
            ]
        if problems:
            log.error("reload=refused problems=%r", problems)
            return problems
        self.next_settings = found
        self.agent.stopping = True
        return []

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


def demand_tested(settings: Settings, database: Path) -> None:
    """Self-test, in a process of its own, every model that has not served on this runtime before.

    A damaged model can abort the process that loads it, so this comes before the agent loads any.

    Raises:
        BundleError: A model does not compute what it promises.
    """
    paths = [bundle_path(kind.model) for kind in settings.kinds.values() if kind.model]
    if paths:
        runtime, tested = chosen_runtime(), tested_models(database)
        for path in paths:
            if (read_bundle(path).sha256, runtime) not in tested:
                verify_in_child(path)


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
