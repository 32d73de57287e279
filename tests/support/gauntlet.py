"""The agent under fire: one configuration with every payload format, a real store, and what must hold after each round.

Messages go the whole way: ingest, cleaning, windows, rules, commit. Whatever they hold, nothing is raised, every record
is accounted for, what is stored is sound, and no identifier is kept.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attwin.adapters.sparkplug_payload import SparkplugDecoder
from attwin.adapters.sqlite_store import SqliteStore
from attwin.adapters.sqlite_upkeep import Keep
from attwin.core.audit import sums_of
from attwin.core.catalogue import Catalogue, Kind
from attwin.core.deliveries import Deliveries
from attwin.core.journal import decode
from attwin.core.rules import Basis, Rule, Subject
from attwin.core.types import Reason, Reject
from attwin.ports import Commit
from attwin.runtime.agent import Agent
from attwin.runtime.alerts import AlertBook
from attwin.runtime.deliver import Delivery
from attwin.runtime.drift import DriftWatch
from attwin.runtime.publish import TwinPublisher
from attwin.runtime.twin import KindModel, Twin
from attwin.settings.load import load_settings
from attwin.wiring.auditing import audit_of
from attwin.wiring.models import metrics_of
from attwin.wiring.sources import ingest_of, sources_of
from support.builders import a_manifest
from support.fakes import FakeAlertLog, FakeClock, FakeSensors, FakeUplink, MeanScorer, no_foresight, no_reactions
from support.sources import KEY, NOW_MS

SECRET = "wilhelmina"  # noqa: S105 -- a name
"""An identifier of a person; it stands only where the configuration says that identifiers stand."""
_MOST_ENTITIES = 6
_MOST_TIME_MS = 1 << 44
_MOST_KEPT = 4_096
_MOST_DETAIL = 500
_MOST_RING = 10_100_000
_ALL_REASONS = sum(bits for name, bits in vars(Reason).items() if name.isupper() and name != "UNTIMELY")
_DAY_MS = 86_400_000
_STATISTICS = ("mean", "std", "min", "max", "last", "count", "slope")
CONFIGURATION = f"""\
version: 1
gateway: {{id: g, zone: Europe/Berlin}}
broker: {{url: "mqtt://127.0.0.1:1883"}}
privacy: {{key: {KEY}}}
limits: {{entities: {_MOST_ENTITIES}}}
kinds:
  room:
    metrics:
      temperature: {{unit: Cel, min: -40, max: 85, deadband: 0.1, step: 10, every: 10s}}
      co2: {{unit: ppm, stuck_after: 60s}}
      occupied: {{}}
      level: {{deadband: 0, step: 1}}
  person:
    metrics:
      temperature: {{unit: Cel}}
      co2: {{unit: ppm, step: 5}}
sources:
  - {{topic: "plain/{{entity}}/{{metric}}", kind: room, payload: {{time_unit: ms}}}}
  - topic: unit/{{entity}}/{{metric}}
    kind: room
    payload: {{time_unit: iso, units: {{temperature: degF, co2: /}}}}
  - topic: air/{{entity}}
    kind: room
    payload: {{values: {{temperature: env.temp, co2: env.co2}}, units: {{temperature: degF}}, time: ts, time_unit: ms}}
  - topic: gateway/readings
    kind: room
    payload: {{items: readings, entity: device, metric: type, values: {{temperature: temp}}, units: {{co2: /}}}}
  - {{topic: "list/{{metric}}", kind: room, payload: {{items: ., entity: id, time_unit: iso}}}}
  - {{topic: senml, kind: room, payload: {{format: senml}}}}
  - topic: senml/{{entity}}
    kind: room
    payload: {{format: senml, name: "urn:dev:ow:{{metric}}", values: {{temperature: temp}}}}
  - {{topic: cbor, kind: room, payload: {{format: senml-cbor}}}}
  - topic: spBv1.0/plant
    kind: room
    payload: {{format: sparkplug, values: {{temperature: Inputs/T}}, units: {{co2: /}}}}
  - {{topic: csv, kind: room, payload: {{format: csv, columns: [time, entity, metric, value]}}}}
  - topic: csv/{{entity}}
    kind: room
    payload:
      format: csv
      columns: [time, T, _, co2]
      separator: ";"
      time_unit: iso
      values: {{temperature: T}}
      units: {{co2: /}}
  - {{topic: "te/device/{{entity}}///m/+", kind: room, payload: {{format: thin-edge, values: {{co2: air.co2}}}}}}
  - {{topic: "z/{{entity}}", kind: room, payload: {{format: state, values: {{occupied: occupancy}}}}}}
  - {{topic: "ha/{{entity}}/state", kind: room, metric: occupied, payload: {{format: state}}}}
  - {{topic: "badge/{{person}}/{{entity}}/{{metric}}", kind: person, identifiers: [entity, person, mac]}}
  - topic: who
    kind: person
    identifiers: [entity, who.mac]
    payload: {{entity: who.id, metric: q, units: {{co2: /}}}}
  - {{topic: crowd, kind: person, identifiers: [entity], payload: {{items: data.rows, entity: id, values: {{co2: c}}}}}}
  - {{topic: senml-of, kind: person, identifiers: [entity], payload: {{format: senml}}}}
  - {{topic: cbor-of, kind: person, identifiers: [entity], payload: {{format: senml-cbor}}}}
  - {{topic: spBv1.0/staff, kind: person, identifiers: [entity], payload: {{format: sparkplug}}}}
  - topic: csv-of
    kind: person
    identifiers: [entity]
    payload: {{format: csv, columns: [entity, metric, value, time], separator: "|"}}
  - {{topic: "state/{{entity}}", kind: person, identifiers: [entity, mac], payload: {{format: state}}}}
"""
RULES = (
    Rule(
        name="hot",
        kind=0,
        subject=Subject(basis=Basis.METRIC, name="temperature", column=0),
        above=True,
        threshold=50,
        clear=40,
        for_ms=0,
        severity="info",
    ),
    Rule(
        name="low",
        kind=1,
        subject=Subject(basis=Basis.METRIC, name="co2", column=1),
        above=False,
        threshold=-1,
        clear=0,
        for_ms=1000,
        severity="info",
    ),
    Rule(
        name="busy",
        kind=0,
        subject=Subject(basis=Basis.ATTENTION, name="attention"),
        above=True,
        threshold=0.6,
        clear=0.5,
        for_ms=0,
        severity="info",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A message as it arrives.

    Attributes:
        topic, payload: As on the wire.
        flags: The first byte of its packet.
        packet_id: 0 for QoS 0.
        is_cut: Whether it was longer than the limit, and this is its front.
    """

    topic: bytes
    payload: bytes
    flags: int = 0x32
    packet_id: int = 1
    is_cut: bool = False


class Ground:
    """An agent with a real store; it is fed in rounds, and what must hold is asserted in each."""

    def __init__(self, folder: Path, *, strict: bool = True) -> None:
        """Make it.

        Args:
            folder: Its own, for the database.
            strict: Whether the secret stands nowhere but where identifiers are configured, so that nothing may hold it.
        """
        path = folder / "attwin.yaml"
        path.write_text(CONFIGURATION, encoding="utf-8")
        settings = load_settings(path)
        self._folder = folder
        self._strict = strict
        self._settings = settings
        self._sources = sources_of(settings)
        self._number = 0
        self.fed = 0
        self.renew()

    def renew(self) -> None:
        """Begin anew: nothing is known and nothing is stored."""
        if self._number:
            self.finish()
            shutil.rmtree(self._folder / str(self._number))
        self._number += 1
        own = self._folder / str(self._number)
        own.mkdir()
        settings = self._settings
        kinds = [
            Kind(
                name=name,
                metrics=metrics_of(kind),
                windows_ms=(60_000,) if name == "room" else (),
                step_ms=1000,
                lateness_ms=2000,
            )
            for name, kind in settings.kinds.items()
        ]
        self.catalogue = Catalogue(kinds, most_entities=settings.limits.entities)
        manifest = a_manifest(statistics=_STATISTICS, lateness_ms=2000)
        twin = Twin(
            self.catalogue,
            {0: KindModel(manifest, MeanScorer(), [0, 1])},
            RULES,
            most_ahead_ms=settings.limits.ahead,
        )
        self.clock = FakeClock(NOW_MS)
        self.sensors = _Sensors()
        self.uplink = FakeUplink()
        self.store = _CheckedStore(own / "twin.db", self)
        self.ingest = ingest_of(
            settings, self._sources, self.catalogue, own_base="attwin/g", deliveries=Deliveries(100)
        )
        self.agent = Agent(
            clock=self.clock,
            sensors=self.sensors,
            uplink=self.uplink,
            delivery=Delivery(self.store, self.uplink, self.clock),
            store=self.store,
            ingest=self.ingest,
            twin=twin,
            book=AlertBook(RULES, self.catalogue, [], next_alert=1),
            publisher=TwinPublisher(twin, base="attwin/g", every_ms=60_000),
            alert_log=FakeAlertLog(),
            sources=[source.topic for source in settings.sources],
            inflight=2,
            health_every_ms=600_000,
            forget_after_ms=3_600_000,
            lasting=frozenset(),
            refill=lambda _active: None,
            drift=DriftWatch({}),
            reactions=no_reactions(),
            foresight=no_foresight(),
        )

    def feed(self, shots: Sequence[Shot], *, pass_ms: int = 100) -> None:
        """Let messages arrive, take them through a round, and assert what must hold after it."""
        self.sensors.acknowledged.clear()
        before = self.store.total("messages_received")
        self.clock.pass_ms(pass_ms)
        for shot in shots:
            self.sensors.shoot(shot, self._settings.limits.payload_bytes)
        self.agent._step()
        self.fed += len(shots)

        assert self.store.total("messages_received") - before == len(shots)
        assert self.sensors.acknowledged == [shot.packet_id for shot in shots if shot.packet_id]
        self._assert_replies()
        self._assert_bounds()

    def replay(self) -> None:
        """Take what the reject ring holds again."""
        rows = self.store._connection.execute("select id from rejects order by id desc limit 20").fetchall()
        answer = self.agent.replay_rejects([number for (number,) in rows])

        assert "error" not in answer
        self._assert_bounds()

    def finish(self) -> None:
        """Stop the agent; the sums of its database hold, of every source and of the store."""
        self.agent._stop()

        assert [s for s in audit_of(self.store.path) if s.difference] == []

    def _assert_replies(self) -> None:
        for topic, _ in self.sensors.replies:
            assert _is_topic(topic), topic
        self.sensors.replies.clear()
        for message in self.uplink.sent:
            assert _is_topic(message.topic), message.topic
            assert all(message.topic.split("/")), "a message about nobody"
        self.uplink.sent.clear()
        self.uplink.answer()

    def _assert_bounds(self) -> None:
        """Whoever floods the agent does not fill its memory."""
        catalogue, routes = self.catalogue, self.ingest.routes
        assert catalogue.live_count <= _MOST_ENTITIES
        assert len(catalogue) <= _MOST_ENTITIES * len(catalogue.kinds)
        assert max(len(routes.known), len(routes.scopes)) <= 2_000 + 4 * catalogue.series_count
        assert sum(len(scope.known) for scope in routes.scopes) <= len(routes.scopes) * catalogue.series_count * 2
        for decoder in self.ingest._decoders:
            if isinstance(decoder, SparkplugDecoder):
                assert len(decoder._nodes) <= _MOST_ENTITIES + 2
        assert self.store._rejects._held <= _MOST_RING
        assert not (self._strict and any(SECRET in entity for entity in catalogue.entity_ids))

    def assert_reject(self, reject: Reject) -> None:
        """A reject is small, belongs to a source or to none, and holds no identifier."""
        assert 0 < len(reject.detail) <= _MOST_DETAIL
        assert len(reject.payload) <= _MOST_KEPT
        assert -1 <= reject.source < len(self._sources)
        hides = reject.source < 0 or bool(self._sources[reject.source].identifiers)
        if not hides:
            return
        assert SECRET not in reject.detail
        if self._strict:
            assert SECRET not in reject.topic
            assert SECRET.encode() not in reject.payload, reject.payload
        settings = self._settings.sources[reject.source]
        if reject.source < 0 or settings.payload.format in {"senml", "senml-cbor", "sparkplug", "csv"}:
            assert reject.payload == b""
        elif len(reject.payload) < _MOST_KEPT and reject.payload:
            tree = json.loads(reject.payload)
            shown = {"badge": ["mac"], "state": ["mac"], "crowd": ["id"]}.get(settings.topic.split("/")[0], [])
            assert {"***"} >= {str(value) for name in shown for value in _values_of(tree, name)}


class _Sensors(FakeSensors):
    """Sensors whose topics are bytes."""

    def shoot(self, shot: Shot, most_payload: int) -> None:
        """Let a message arrive."""
        self.arrive("", shot.payload[:most_payload], packet_id=shot.packet_id, flags=shot.flags)
        self._messages[-1].topics[-1] = shot.topic
        self._messages[-1].lengths[-1] = len(shot.payload) + (most_payload if shot.is_cut else 0)


class _CheckedStore(SqliteStore):
    """A store that looks at what it is given, and at what it then holds."""

    def __init__(self, path: Path, ground: Ground) -> None:
        keep = Keep(
            journal_ms=_DAY_MS,
            rollups_ms=_DAY_MS,
            scores_ms=_DAY_MS,
            alerts_ms=_DAY_MS,
            budget_bytes=10**9,
            free_bytes=0,
        )
        super().__init__(path, ground.catalogue, gateway="g", durability="normal", keep=keep)
        self.begin_boot("boot", 0, now_ms=NOW_MS)
        self._ground = ground
        self._totals: Counter[tuple[str, str, str]] = Counter()
        self._held = 0

    def total(self, name: str) -> int:
        """Return the sum of the counters of a name."""
        return sum(count for (_, found, _), count in self._totals.items() if found == name)

    def commit(self, commit: Commit) -> None:
        """Make a round durable, and assert that it is sound."""
        self._assert_sound(commit)
        for reject in commit.rejects:
            self._ground.assert_reject(reject)
        super().commit(commit)
        if len(commit.stored):
            self._assert_kept(commit)
        self._totals.update(commit.counts)
        self._held += len(commit.stored)
        counters = [(*key, count) for key, count in self._totals.items()]
        sums = sums_of(counters, held=self._held, waiting=0, parked=0)
        assert [s for s in sums if s.difference and s.source != "upstream"] == []

    def _assert_sound(self, commit: Commit) -> None:
        stored, catalogue = commit.stored, self._ground.catalogue
        kinds = [
            (stored.series, np.int32), (stored.time_ms, np.int64), (stored.value, np.float64),
            (stored.quality, np.uint8), (stored.reason, np.uint16),
        ]  # fmt: skip
        assert [column.dtype for column, _ in kinds] == [np.dtype(kind) for _, kind in kinds]
        assert {len(column) for column, _ in kinds} == {len(stored)}
        assert np.isfinite(stored.value).all()
        assert ((stored.time_ms >= 0) & (stored.time_ms < _MOST_TIME_MS)).all()
        assert (stored.quality <= 2).all()
        assert (stored.reason <= _ALL_REASONS).all()
        entities = catalogue.series_entity[stored.series]
        assert all(catalogue.entity_ids[entity] for entity in entities.tolist())
        assert all(np.isfinite(row.score) and 0 <= row.score <= 1 for row in commit.scores)

    def _assert_kept(self, commit: Commit) -> None:
        """What the database holds is what it was given, bit by bit."""
        (body,) = self._connection.execute("select body from journal order by id desc limit 1").fetchone()
        found, stored = decode(body), commit.stored
        assert found.series_key.tolist() == self._ground.catalogue.series_key[stored.series].tolist()
        assert found.time_ms.tolist() == stored.time_ms.tolist()
        assert found.value.tobytes() == stored.value.tobytes()
        assert found.quality.tolist() == stored.quality.tolist()
        assert found.reason.tolist() == stored.reason.tolist()


def _is_topic(topic: str) -> bool:
    """Return whether a message can be published there."""
    return 0 < len(topic.encode()) < 65_536 and not re.search("[+#\0]", topic)


def _values_of(tree: object, name: str) -> Iterator[object]:
    """Yield what fields of a name hold, wherever they stand."""
    waiting = [tree]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if name in found:
                yield found[name]
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
