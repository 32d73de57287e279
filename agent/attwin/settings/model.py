"""The configuration, ``version: 1``, as frozen dataclasses.

The fields are the settings: their names, types and defaults are what the loader reads, what ``config show`` prints
and what ``config schema`` describes.
"""

from dataclasses import dataclass, field
from typing import Literal

from attwin.settings.types import DurationMs, FilePath, LevelOrOff, Secret, SizeBytes
from attwin.settings.updates import UpdatesSettings
from attwin.settings.upstream import AggregatesSettings, ConnectSettings, LanesSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Where the agent runs.

    Attributes:
        id: The gateway's id, part of every topic upstream.
        site: The site it belongs to.
        zone: IANA time zone of the site: of what commands print, and of ISO times without an offset.
        clock_file: A file that exists once the clock is synchronised; the kernel is asked unless told.
    """

    id: str
    site: str = ""
    zone: str = "UTC"
    clock_file: FilePath = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """A connection to an MQTT broker.

    Attributes:
        url: mqtt://host:port, or mqtts:// for TLS.
        client_id: Must be unique at the broker and stay the same; made from the gateway's id unless told.
        username: For brokers that ask.
        password: Better as !secret or password_file.
        password_file: A file that holds the password alone.
        ca_file: Certificates to trust instead of the system's.
        cert_file: The client's certificate.
        key_file: The key of the client's certificate.
        protocol: MQTT version.
        keepalive: How long a silent connection is believed in.
        inflight: How many unacknowledged messages the broker sends (Mosquitto: max_inflight_messages).
    """

    url: str
    client_id: str = ""
    username: str = ""
    password: Secret | None = None
    password_file: FilePath = ""
    ca_file: FilePath = ""
    cert_file: FilePath = ""
    key_file: FilePath = ""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    keepalive: DurationMs = 60_000
    inflight: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings(BrokerSettings):
    """The broker that gets alerts, aggregates and twins.

    Attributes:
        inflight: How many messages may wait for the broker's answer.
        twin_every: Shortest time between two messages about the same twin.
        twin_change: A twin is told when its attention has moved by this much.
        health_every: How often the gateway's health is published.
        lanes: How much waits while upstream is away.
        largest: Larger messages are set aside: a broker may end the connection that sends one.
        limit: How much may leave in a second; 0 for no limit. Alerts are not put off by it.
        connect: When the link is open, where it is metered; always unless told.
        aggregates: What is told of all entities, in batches.
    """

    inflight: int = 100
    twin_every: DurationMs = 900_000
    twin_change: float = 0.05
    health_every: DurationMs = 60_000
    lanes: LanesSettings = field(default_factory=LanesSettings)
    largest: SizeBytes = 64_000
    limit: SizeBytes = 0
    connect: ConnectSettings | None = None
    aggregates: AggregatesSettings = field(default_factory=AggregatesSettings)


_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSettings:
    """How long things are kept, as long as the budget allows; the journal goes first.

    Attributes:
        journal: The readings themselves.
        rollups: Count, mean, smallest and largest of every minute.
        scores: Attention.
        alerts: Alerts that have cleared, and their events.
    """

    journal: DurationMs = 30 * _DAY_MS
    rollups: DurationMs = 365 * _DAY_MS
    scores: DurationMs = 365 * _DAY_MS
    alerts: DurationMs = 365 * _DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where the twin is kept.

    Attributes:
        path: The database, beside alerts.jsonl; twin.db in $STATE_DIRECTORY or beside this file unless told.
        durability: full survives a power cut; normal may lose the last seconds then, acknowledged readings too.
        writes: default commits within 100 ms; frugal within a second, for fewer writes to a card.
        keep: How long things are kept.
        budget: The size that the database may have.
        free: The space that must stay free on its disk.
    """

    path: FilePath = ""
    durability: Literal["full", "normal"] = "full"
    writes: Literal["default", "frugal"] = "default"
    keep: KeepSettings = field(default_factory=KeepSettings)
    budget: SizeBytes = 2_000_000_000
    free: SizeBytes = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSettings:
    """One measured quantity.

    Attributes:
        unit: SenML symbol; 1 for a plain number.
        min: Smallest possible value; readings below are stored as bad.
        max: Largest possible value.
        every: Expected period; a metric silent for three of them is stale.
        deadband: A reading this close to the last one stored is left out; 0 leaves out what has not changed.
        heartbeat: With deadband: after this time a reading is stored all the same.
        stuck_after: A value that has not changed for this long is stored as bad.
        step: A greater change from one reading to the next is stored as uncertain.
        categories: The texts that sensors send in the place of numbers; stored as 0, 1, ... in this order.
    """

    unit: str = "1"
    min: float | None = None
    max: float | None = None
    every: DurationMs | None = None
    deadband: float | None = None
    heartbeat: DurationMs = 600_000
    stuck_after: DurationMs | None = None
    step: float | None = None
    categories: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """When to alert on drift of a model's inputs or scores.

    Attributes:
        limit: How far a day's PSI may be beyond that of the days of training; off for no alert.
    """

    limit: LevelOrOff = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSettings:
    """What is forecast of each entity of a kind.

    Attributes:
        of: Metrics, and attention.
        every: The distance of the grid; the mean of each step is forecast.
        horizons: How far ahead, in whole steps.
    """

    of: list[str]
    every: DurationMs = 300_000
    horizons: list[DurationMs] = field(default_factory=lambda: [900_000, 3_600_000])


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalySettings:
    """What is watched for anomalies of each entity of a kind.

    Attributes:
        of: Metrics, and attention.
        every: The distance of the grid; the mean of each step is scored.
    """

    of: list[str]
    every: DurationMs = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSettings:
    """What entities of one sort share.

    Attributes:
        metrics: By name.
        model: A bundle; its windows and time grid are the kind's. Left out, the kind has metric rules only.
        lateness: How long a score waits for late readings; the model's own unless told.
        drift: When to alert on drift of this kind; as for all kinds unless told.
        forecast: What is forecast; nothing unless told.
        anomaly: What is watched for anomalies; nothing unless told.
    """

    metrics: dict[str, MetricSettings]
    model: FilePath = ""
    lateness: DurationMs | None = None
    drift: DriftSettings | None = None
    forecast: ForecastSettings | None = None
    anomaly: AnomalySettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadSettings:
    """How payloads are read. A field is a name, or a path such as sensors.co2 into objects.

    Attributes:
        format: json, senml, senml-cbor, sparkplug, csv, thin-edge, or state (Home Assistant, Zigbee2MQTT).
        value: json, state: the field of the value; a payload that is a number alone needs none.
        values: Several metrics in one payload: the field of each metric, or the name that the payload gives it.
        items: json: the field that holds a list of objects; a dot where the payload itself is the list.
        time: The field of the time; a payload without it gets the time of receipt.
        time_unit: s or ms since 1970, or iso text; auto is s, thin-edge also takes iso, state takes ms and iso.
        entity: json: the field that says the entity.
        metric: json: the field that says the metric.
        name: senml: names such as urn:dev:mac:{entity}/{metric}; unless told, the metric stands after the last : or /.
        columns: csv: what the columns are: time, entity, metric, value, a metric's name, or _ for nothing.
        separator: csv: the character between columns.
        units: The unit that the sensors send, where it is not the metric's.
    """

    format: Literal["json", "senml", "senml-cbor", "sparkplug", "csv", "thin-edge", "state"] = "json"
    value: str = "value"
    values: dict[str, str] = field(default_factory=dict)
    items: str = ""
    time: str = ""
    time_unit: Literal["auto", "s", "ms", "iso"] = "auto"
    entity: str = ""
    metric: str = ""
    name: str = ""
    columns: list[str] = field(default_factory=list)
    separator: str = ","
    units: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """Topics that carry readings.

    Attributes:
        topic: A template such as sensors/{entity}/{metric}; + is any level; for sparkplug, spBv1.0/GROUP.
        kind: The kind of entities found there.
        entity: The entity, where neither the topic nor the payload says it.
        metric: The metric, where neither the topic nor the payload says it.
        qos: 1 for no loss, 0 for sensors that cannot do better.
        payload: How payloads are read.
        identifiers: Topic fields and payload fields that identify people or devices; entity for the entity itself.
    """

    topic: str
    kind: str
    entity: str = ""
    metric: str = ""
    qos: Literal[0, 1] = 1
    payload: PayloadSettings = field(default_factory=PayloadSettings)
    identifiers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySettings:
    """How identifiers of people and devices are protected.

    Attributes:
        key: The secret of pseudonyms, 32 characters or more; better as !secret or key_file.
        key_file: A file that holds the secret alone.
    """

    key: Secret | None = None
    key_file: FilePath = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitySettings:
    """An entity that is known from the start.

    Attributes:
        kind: Its kind.
        parent: What it is a part of: another entity, or a group.
    """

    kind: str
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Bounds that keep the gateway safe.

    Attributes:
        entities: How many entities may be known.
        learn: Whether entities are learned from topics.
        forget_after: A learned entity silent this long is forgotten.
        payload_bytes: Longer payloads are rejected.
        ahead: A reading further ahead of the clock is stored as uncertain.
    """

    entities: int = 1000
    learn: bool = True
    forget_after: DurationMs = 30 * 86_400_000
    payload_bytes: int = 65_536
    ahead: DurationMs = 60_000


Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhenSettings:
    """A condition: one subject, one direction.

    Attributes:
        metric: A metric of the kind; with silent, the one that must not be.
        feature: A feature of the kind's model, such as co2.mean_5m.
        attention: true for the model's score.
        forecast: A metric or attention, as it is expected to be.
        in_: Written in: with forecast, how far ahead, one of its horizons.
        warning: A metric or attention that is expected to be above or below a level soon.
        within: With warning: how soon.
        anomaly: A metric or attention, whose anomaly score, 0 to 1, has the levels.
        peers: A metric: how far an entity's is from those of its groups, in robust standard deviations.
        silent: true where nothing is heard of an entity, or of its metric.
        longer: With silent: for how long; three of the metric's periods unless told.
        above: The condition is a value above this level.
        below: The condition is a value below this level.
        clear_below: With above: the alert clears below this level; above itself unless told.
        clear_above: With below: the alert clears above this level.
    """

    metric: str = ""
    feature: str = ""
    attention: bool = False
    forecast: str = ""
    in_: DurationMs | None = None
    warning: str = ""
    within: DurationMs | None = None
    anomaly: str = ""
    peers: str = ""
    silent: bool = False
    longer: DurationMs | None = None
    above: float | None = None
    below: float | None = None
    clear_below: float | None = None
    clear_above: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursSettings:
    """Hours of some days, by the clocks of the gateway's zone.

    Attributes:
        days: On which they begin: mon, sat, or mon-fri; every day unless told.
        from_: Written from: a time of day such as 08:00.
        to: A time of day; at or before the first one it is that of the next day.
    """

    days: list[str] = field(default_factory=lambda: ["mon-sun"])
    from_: str = "00:00"
    to: str = "24:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietSettings:
    """When an alert that opens is not told until the hours are over; it is kept and listed all the same.

    Attributes:
        hours: When it is quiet.
        except_: Written except: severities that are told all the same.
    """

    hours: list[HoursSettings]
    except_: list[Severity] = field(default_factory=lambda: ["critical"])


@dataclass(frozen=True, slots=True, kw_only=True)
class FlappingSettings:
    """When an alert that comes and goes becomes one alert, which stays until its condition is away for long.

    Attributes:
        changes: How many times it opens within that time.
        within: That time, and how long the condition must be away then.
    """

    changes: int = 4
    within: DurationMs = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalateSettings:
    """When an active alert becomes graver in place.

    Attributes:
        severity: What it becomes.
        above: With above in when: beyond this level.
        below: With below in when: beyond this level.
        after: When it has been active for so long and nobody has acknowledged it.
    """

    severity: Severity
    above: float | None = None
    below: float | None = None
    after: DurationMs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TogetherSettings:
    """One alert for a group of entities, with those for which the condition holds.

    Attributes:
        groups: Names of groups; all entities of the kind as one group unless told.
        at_least: For how many of them the condition must hold.
        gather: How long the alert waits for others before it is told, and between two changes.
    """

    groups: list[str] = field(default_factory=list)
    at_least: int = 1
    gather: DurationMs = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """When to alert. Durations are in the time of the readings.

    Attributes:
        name: Unique; part of the alert's topic.
        kind: For which entities.
        entities: Ids, or patterns such as north-*; all of the kind unless told.
        when: The condition.
        for_: Written for: how long it must hold.
        count: For how many values in a row it must hold.
        clear_for: How long it must be away before the alert clears.
        cooldown: How long after it cleared an alert cannot open again.
        severity: info, warning or critical.
        escalate: When an active alert becomes graver.
        flapping: When an alert that comes and goes becomes one alert.
        schedule: When the rule holds; always unless told.
        quiet: When alerts that open are not told; as for all rules unless told.
        together: One alert for a group of entities.
        suppressed_by: Rules whose alert, on the entity, its groups or its parents, explains this one.
    """

    name: str
    kind: str
    entities: list[str] = field(default_factory=list)
    when: WhenSettings
    for_: DurationMs = 0
    count: int = 1
    clear_for: DurationMs = 0
    cooldown: DurationMs = 0
    severity: Severity = "warning"
    escalate: list[EscalateSettings] = field(default_factory=list)
    flapping: FlappingSettings | None = None
    schedule: list[HoursSettings] = field(default_factory=list)
    quiet: QuietSettings | None = None
    together: TogetherSettings | None = None
    suppressed_by: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """A web server that is told.

    Attributes:
        url: http:// or https://; it gets the event as JSON by POST.
        token: Sent as a bearer token; better as !secret.
    """

    url: str
    token: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactionSettings:
    """What is done on site when an alert opens, changes or ends, also without upstream: one of topic, command, webhook.

    Attributes:
        name: Unique.
        rules: For alerts of these rules; all unless told.
        severity: For alerts that are so grave at least.
        topic: A topic of the sensors' broker, such as site/alerts/{entity}/{rule}.
        retain: With topic: whether the broker keeps the message while the alert is active.
        command: A program and its arguments, such as [/usr/local/bin/siren, "{severity}"]; there is no shell.
        webhook: A web server.
        timeout: How long it may take.
        retries: How often it is tried again.
        within: An event that is older is not reacted to any more.
    """

    name: str
    rules: list[str] = field(default_factory=list)
    severity: Severity = "info"
    topic: str = ""
    retain: bool = False
    command: list[str] = field(default_factory=list)
    webhook: WebhookSettings | None = None
    timeout: DurationMs = 10_000
    retries: int = 5
    within: DurationMs = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSettings:
    """Where people and programs say what was true of an entity, for training and grading.

    Attributes:
        topic: A template such as labels/{entity}.
        qos: 1 for no loss.
    """

    topic: str
    qos: Literal[0, 1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration.

    Attributes:
        version: The version of this format, 1.
        gateway: Where the agent runs.
        broker: The broker of the sensors.
        upstream: The broker that gets alerts, aggregates and twins; leave it out for a gateway that works alone.
        store: Where the twin is kept.
        kinds: By name.
        sources: Topics that carry readings.
        privacy: How identifiers of people and devices are protected.
        entities: Entities known from the start, by id; others are learned from topics.
        limits: Bounds that keep the gateway safe.
        groups: Ids and patterns of entities, by the name of a group.
        rules: When to alert.
        quiet: When alerts that open are not told; a rule may say otherwise.
        drift: When to alert on drift of a model's inputs or scores.
        reactions: What is done on site when an alert changes.
        labels: Where people and programs say what was true.
        updates: What may be pushed to this gateway.
    """

    version: Literal[1]
    gateway: GatewaySettings
    broker: BrokerSettings
    upstream: UpstreamSettings | None = None
    store: StoreSettings = field(default_factory=StoreSettings)
    kinds: dict[str, KindSettings]
    sources: list[SourceSettings]
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    entities: dict[str, EntitySettings] = field(default_factory=dict)
    limits: LimitSettings = field(default_factory=LimitSettings)
    groups: dict[str, list[str]] = field(default_factory=dict)
    rules: list[RuleSettings] = field(default_factory=list)
    quiet: QuietSettings | None = None
    drift: DriftSettings = field(default_factory=DriftSettings)
    reactions: list[ReactionSettings] = field(default_factory=list)
    labels: LabelSettings | None = None
    updates: UpdatesSettings = field(default_factory=UpdatesSettings)
