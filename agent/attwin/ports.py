"""What the agent needs from the world."""

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from attwin.core.alerts import AlertFacts
from attwin.core.clock_trust import Jump
from attwin.core.outgoing import Draft, OutgoingMessage
from attwin.core.reactions import Reaction
from attwin.core.types import EmptyReason, ReadingBatch, Reject, RejectReason, joined
from attwin.core.updates import Update, UpdateChange
from attwin.core.warning import Warned

CONNECTING = "connecting"
"""The problem of a link that has not failed yet."""


class Clock(Protocol):
    """Tells the time."""

    @property
    def is_trusted(self) -> bool:
        """Whether the wall clock can be right."""
        ...

    @property
    def problem(self) -> str:
        """Why it cannot, empty where it can."""
        ...

    @property
    def offset_ms(self) -> int:
        """The believed time less the time since the machine was booted."""
        ...

    def now_ms(self) -> int:
        """Return the believed time [ms since the Unix epoch, UTC]."""
        ...

    def monotonic_ms(self) -> int:
        """Return a clock that never jumps [ms]."""
        ...

    def monotonic_us(self) -> int:
        """Return the same clock, finer [us]."""
        ...

    def check(self) -> Jump | None:
        """Find out whether the wall clock has jumped; None where there is nothing to say."""
        ...


class Scorer(Protocol):
    """Runs a model."""

    @property
    def runtime(self) -> str:
        """Name and version of what runs it."""
        ...

    def score(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one score in [0, 1] for each row of standardised inputs, shape (R, F + M)."""
        ...


@dataclass(slots=True, kw_only=True)
class Messages:
    """MQTT messages in the order they arrived, as columns of one length.

    Attributes:
        topics: As on the wire.
        payloads: At most the limit; longer ones are cut there.
        lengths: The length of each payload on the wire.
        flags: The first byte of each packet: DUP 0x08, QoS 0x06, RETAIN 0x01.
        packet_ids: 0 for QoS 0.
        size: The bytes of all payloads.
        connection: The connection on which the packet ids mean something.
    """

    topics: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    lengths: "array[int]" = field(default_factory=partial(array, "I"))
    flags: bytearray = field(default_factory=bytearray)
    packet_ids: "array[int]" = field(default_factory=partial(array, "H"))
    size: int = 0
    connection: int = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.topics)

    def add(self, topic: bytes, payload: bytes, *, length: int, flags: int, packet_id: int) -> None:
        """Add a message that arrived."""
        self.topics.append(topic)
        self.payloads.append(payload)
        self.lengths.append(length)
        self.flags.append(flags)
        self.packet_ids.append(packet_id)
        self.size += len(payload)


NO_TIME_MS = -1
"""The time of a payload that has none of its own; it gets the time of receipt."""


Fault = tuple[int, RejectReason, str]
"""What could not be taken: which payload, the counter, and what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a person or a program says about an entity at a time, for later training and grading.

    Attributes:
        entity: Its id.
        time_ms: Of when it is true.
        value: What was true, 0 to 1 for attention.
        by: Who says so.
    """

    entity: str
    time_ms: int
    value: float
    by: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """What payloads said.

    Attributes:
        place: The payload of each reading, rising. Shape (N,).
        series: Shape (N,).
        value: As sent, before any conversion of units. Shape (N,).
        time_ms: ``NO_TIME_MS`` where the payload has none. Shape (N,).
        about_now: Where a time that the payload has is relative to that of receipt; None for nowhere. Shape (N,).
        faults: Payloads of which nothing was taken.
        refused: Single readings that were not taken; their payloads may hold others.
        ignored: How many values there were that the configuration does not ask for.
        empty: Payloads that were read and say none of these things, and why.
        silent: Series of which the sensor side says that nothing more comes for now.
        replies: (topic, payload) to publish to the sensors.
        labels: What was said about entities.
    """

    place: NDArray[np.int64]
    series: NDArray[np.int32]
    value: NDArray[np.float64]
    time_ms: NDArray[np.int64]
    about_now: NDArray[np.bool_] | None = None
    faults: Sequence[Fault] = ()
    refused: Sequence[Fault] = ()
    ignored: int = 0
    empty: Sequence[tuple[int, EmptyReason]] = ()
    silent: Sequence[int] = ()
    replies: Sequence[tuple[str, bytes]] = ()
    labels: Sequence[Label] = ()


class Decoder(Protocol):
    """Knows the payloads of a source."""

    def decode(self, payloads: Sequence[bytes], slots: NDArray[np.int64], now_ms: int) -> Decoded:
        """Return the readings of payloads; what is none comes back as a fault, never as an exception.

        Args:
            payloads: In order of arrival.
            slots: What the topic of each payload leads to: a series, or the place of a scope. Shape (P,).
            now_ms: The gateway's clock.
        """
        ...

    @property
    def keeps_state(self) -> bool:
        """Whether what a payload means depends on those before it, so that an old one must not be read again."""
        ...

    def masked(self, payload: bytes) -> bytes:
        """Return a payload as it may be kept: without identifiers of people and devices."""
        ...


class Link(Protocol):
    """A connection to a broker that the loop drives. Nothing in it blocks."""

    def fileno(self) -> int | None:
        """Return the socket to watch, None while there is none."""
        ...

    def wants_read(self) -> bool:
        """Return whether there is room for more to be read."""
        ...

    def wants_write(self) -> bool:
        """Return whether something waits to be sent."""
        ...

    def on_readable(self) -> None:
        """Read what has arrived."""
        ...

    def on_writable(self) -> None:
        """Send what waits."""
        ...

    def tick(self) -> None:
        """Keep the connection alive, or get a new one. Call a few times a second."""
        ...

    def is_up(self) -> bool:
        """Return whether the broker has accepted us."""
        ...

    def problem(self) -> str:
        """Return why the link is down, empty while it is up."""
        ...

    def close(self) -> None:
        """Say goodbye and close."""
        ...


class SensorLink(Link, Protocol):
    """The sensor side."""

    def take(self) -> Messages:
        """Return what arrived since the last call."""
        ...

    def waiting(self) -> int:
        """Return how many messages wait; ``take`` returns those of one connection."""
        ...

    def acknowledge(self, packet_ids: Sequence[int], connection: int) -> None:
        """Send the PUBACKs of one connection; those of an older connection are left out."""
        ...

    def reply(self, topic: str, payload: bytes) -> None:
        """Publish to the sensors at QoS 0, where the link is up."""
        ...

    def tell(self, number: int, topic: str, payload: bytes, retain: bool) -> bool:  # noqa: FBT001 -- as the reactor gives it
        """Publish at QoS 1; False where the link is down."""
        ...

    def take_told(self) -> list[int]:
        """Return the numbers of what the broker has acknowledged since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a message that was sent.

    Attributes:
        message: The message.
        code: The broker's reason code, or ``LOST`` of ``core.answers``.
    """

    message: OutgoingMessage
    code: int


@dataclass(frozen=True, slots=True)
class Loss:
    """How a connection ended with messages in flight.

    Attributes:
        in_flight: How many there were.
        code: The reason code with which the broker ended it, or ``LOST``.
    """

    in_flight: int
    code: int


class UpLink(Link, Protocol):
    """The upstream side."""

    def free_places(self) -> int:
        """Return how many more messages may be in flight; 0 while the link is down."""
        ...

    def window(self) -> int:
        """Return how many messages may be in flight at once."""
        ...

    def largest_bytes(self) -> int | None:
        """Return how large a topic and a payload together may be; None where the broker does not say."""
        ...

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        """Send messages that the outbox holds."""
        ...

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0 what the outbox cannot hold, where the link is up."""
        ...

    def take_requests(self) -> Messages:
        """Return what was asked of the gateway since the last call."""
        ...

    def describe(self, info: Mapping[str, object]) -> None:
        """Say anew what the gateway is, now and whenever the link comes up."""
        ...

    def take_answers(self) -> list[Answer]:
        """Return what became of messages since the last call."""
        ...

    def take_losses(self) -> list[Loss]:
        """Return the ends of connections since the last call; the answers of their messages say ``LOST``."""
        ...

    def hold(self, *, closed: bool) -> None:
        """Keep the link closed until it is let go again; nothing is lost by it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """A score as stored: an entity's last of a minute, or one at a transition."""

    entity: int
    time_ms: int
    score: float
    missing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChange:
    """An alert before and after a transition.

    Attributes:
        before: None for a new alert.
        after: As it is now.
        evidence: Of a new alert, what was known when it opened: the rule, the model, the inputs.
    """

    before: AlertFacts | None
    after: AlertFacts
    evidence: Mapping[str, object] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """What happened: ``new``, ``update`` or ``end``."""
        if not self.after.is_active:
            return "end"
        return "new" if self.before is None else "update"

    def as_told(self) -> dict[str, object]:
        """Return the transition as who is told of it sees it: new is what they have not heard of."""
        is_known = self.before is not None and self.before.announced
        kind = ("update" if is_known else "new") if self.after.is_active else "end"
        return {"type": kind, **self.after.as_dict()}

    def as_event(self) -> dict[str, object]:
        """Return the transition as it is kept and read: the alert after it, and before it."""
        before = None if self.before is None else self.before.as_dict()
        return {"type": self.type, **self.after.as_dict(), "before": before}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """How far one input, or the score, is from training on a day.

    Attributes:
        name: Such as ``co2.mean_5m``, or ``score``.
        psi: The population stability index.
        usual: The highest that a day of training had; 0 where that is not known.
    """

    name: str
    psi: float
    usual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftDay:
    """How far the scores of a kind, and what they were made of, are from training on a day.

    Attributes:
        kind: The kind's name.
        model: The hash of the bundle that made the scores.
        day_ms: When the day began, in event time, UTC.
        is_over: Whether it was judged.
        scores: How many there were.
        inputs, psi, usual: Columns as in ``Drifted``.
    """

    kind: str
    model: str
    day_ms: int
    is_over: bool
    scores: int
    inputs: Sequence[str]
    psi: Sequence[float]
    usual: Sequence[float]

    def worst(self) -> list[Drifted]:
        """Return all inputs, those first that are furthest beyond the days of training."""
        rows = zip(self.inputs, self.psi, self.usual, strict=True)
        found = [Drifted(name=name, psi=psi, usual=usual) for name, psi, usual in rows]
        return sorted(found, key=lambda entry: entry.usual - entry.psi)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactionDraft:
    """What is to be done on site, before the store has numbered it.

    Attributes:
        name: The reaction.
        alert: The number of the alert.
        body: The event as JSON.
    """

    name: str
    alert: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What is to be done on site.

    Attributes:
        number: Its number in the store.
        body: The event as JSON.
        created_ms: When the alert changed, by the gateway's clock.
        tries: How often it was tried.
        problem: Why the last try failed.
    """

    number: int
    body: str
    created_ms: int
    tries: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reacted:
    """What became of it: ``done``, ``failed``, ``expired``, or ``waiting`` for another try."""

    number: int
    name: str
    outcome: str
    tries: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRow:
    """What is said of a subject of an entity at one horizon, and how well that was.

    Attributes:
        entity, subject: Of whom, and of what: a metric or ``attention``.
        horizon_ms: How far ahead.
        made_ms: When, in event time.
        value: The forecast.
        low, high: The interval in which it lies nine times in ten; None where that is not known yet.
        forecaster: Who speaks.
        grades: How many were graded.
        error, persistence_error: Mean absolute errors, discounted, of who speaks and of the newest value.
        coverage: How often what came lay in the interval.
        muted: Forecasters that are worse than persistence.
    """

    entity: str
    subject: str
    horizon_ms: int
    made_ms: int
    value: float
    low: float | None
    high: float | None
    forecaster: str
    grades: int
    error: float | None
    persistence_error: float | None
    coverage: float | None
    muted: Sequence[str]


Counts = Mapping[tuple[str, str, str], int]
"""What was counted, by (source, name, reason)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What serves on a line, where it did not come from the configuration.

    Attributes:
        line: ``model/<kind>`` or ``config``.
        sha256: The hash of the file that serves; empty for that of the configuration.
        name, version: Of it.
        previous: The hash of the file that served before; empty for that of the configuration.
        over: The hash of the file of the configuration when this one took its place: another one there is newer.
        since_ms: Since when, by the gateway's clock.
    """

    line: str
    sha256: str
    name: str
    version: int
    previous: str
    over: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What becomes durable together.

    Attributes:
        now_ms: The gateway's clock.
        stored: The readings to keep, in order of arrival.
        deliveries: (packet id, checksum) of messages whose readings have no time of their own.
        counts: What the round counted.
        rejects: What was not stored.
        replayed: The numbers of rejects that were taken again, and leave the ring.
        alerts: Alerts that changed, in order.
        scores: Score rows.
        drafts: Messages for upstream; the store numbers them.
        delivered: Messages that upstream has.
        parked: Messages that upstream will never take, each with the reason.
        drift: Days that are over.
        reactions: What is to be done on site.
        reacted: What became of such.
        labels: What was said about entities.
        warned: Warnings whose end is known.
        updates: Updates that went on.
        slots: What serves from now on.
        floors: Below which version nothing is taken from now on, by line.
        tells_salvage: Whether one of the alerts says that the store was damaged and what could be read was saved.
    """

    now_ms: int
    stored: ReadingBatch = field(default_factory=lambda: joined([]))
    deliveries: Sequence[tuple[int, int]] = ()
    counts: Counts = field(default_factory=dict)
    rejects: Sequence[Reject] = ()
    replayed: Sequence[int] = ()
    alerts: Sequence[AlertChange] = ()
    scores: Sequence[ScoreRow] = ()
    drafts: Sequence[Draft] = ()
    delivered: Sequence[OutgoingMessage] = ()
    parked: Sequence[tuple[OutgoingMessage, str]] = ()
    drift: Sequence[DriftDay] = ()
    reactions: Sequence[ReactionDraft] = ()
    reacted: Sequence[Reacted] = ()
    labels: Sequence[Label] = ()
    warned: Sequence[Warned] = ()
    updates: Sequence[UpdateChange] = ()
    slots: Sequence[Slot] = ()
    floors: Mapping[str, int] = field(default_factory=dict)
    tells_salvage: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReject:
    """A reject of the ring.

    Attributes:
        number: Its number.
        time_ms: When it was rejected, by the gateway's clock.
        topic, payload: As they arrived.
        message: The lowest number of the rejects of the same message.
        taken: What was taken of that message, see ``core.taken``; None where that was not kept.
        is_whole, retained: As in ``Reject``.
    """

    number: int
    time_ms: int
    topic: str
    payload: bytes
    message: int
    taken: bytes | None
    is_whole: bool
    retained: bool


class Store(Protocol):
    """The durable twin. One writer; it numbers what it keeps."""

    @property
    def store_id(self) -> str:
        """Return the id that this database was given when it was made."""
        ...

    def commit(self, commit: Commit) -> None:
        """Make a round durable in one transaction, new entities of the catalogue included."""
        ...

    def load_rejects(self, numbers: Sequence[int]) -> list[KeptReject]:
        """Return those of the given rejects that the ring still has, and all others of their messages, by time.

        Raises:
            StoreError: They cannot be read.
        """
        ...

    def take_outgoing(self, lane: str, limit: int, most_bytes: int) -> list[OutgoingMessage]:
        """Return messages of a lane that wait and are not on their way, oldest first; from now on they are.

        Args:
            lane: Which.
            limit: At most so many.
            most_bytes: At most so many bytes, or one message.
        """
        ...

    def give_back_outgoing(self, messages: Sequence[OutgoingMessage]) -> None:
        """Let messages wait again that were taken and did not arrive."""
        ...

    def in_flight_outgoing(self) -> Mapping[str, int]:
        """Return how many messages of each lane are on their way."""
        ...

    def has_urgent_outgoing(self) -> bool:
        """Return whether something urgent waits for upstream."""
        ...

    def park_outgoing(self, lane: str, sequence: int, *, now_ms: int) -> str:
        """Set a message aside that waits; return why it cannot be, empty where it was."""
        ...

    def retry_outgoing(self, lane: str, sequence: int) -> bool:
        """Let a message that was set aside wait again; return whether there was a whole one."""
        ...

    def save_snapshot(
        self,
        arrays: Mapping[str, NDArray[np.generic]],
        *,
        now_ms: int,
        missing_names: Callable[[int], str],
        drift: Sequence[DriftDay] = (),
    ) -> None:
        """Replace the snapshot, tagged with the journal's position, and the tables of current state.

        Args:
            arrays: The twin in memory.
            now_ms: The gateway's clock.
            missing_names: What the current score of an entity lacked.
            drift: Days that have changed.
        """
        ...

    def save_foresight(
        self, arrays: Mapping[str, NDArray[np.generic]], rows: Sequence[ForecastRow], *, now_ms: int
    ) -> None:
        """Replace what was learned to forecast, and what is said now."""
        ...

    def unsent_outgoing(self, lane: str) -> int:
        """Return how many messages of a lane wait and are not on their way."""
        ...

    def waiting_outgoing(self) -> int:
        """Return how many messages wait for upstream."""
        ...

    def close(self) -> None:
        """Check-point and close."""
        ...

    def forget_entity(self, key: int, *, now_ms: int) -> None:
        """Mark an entity as forgotten; what is stored of it stays readable."""
        ...

    def next_reaction(self, name: str, after: int) -> Doing | None:
        """Return the oldest of what is to be done for a reaction that has a higher number; None where there is none."""
        ...

    def probe(self) -> None:
        """Find out whether anything can be made durable.

        Raises:
            StoreStalledError: Nothing can.
        """
        ...

    def upkeep(self, *, now_ms: int, times_are_final: bool) -> bool:
        """Do one slice of what keeps the store in order; return whether there was anything to do."""
        ...

    def mend_times(self, offset_ms: int, *, now_ms: int) -> None:
        """Put right the times of receipt since the machine was booted, now that its clock is.

        Args:
            offset_ms: The true time less the time since the machine was booted.
            now_ms: The true time.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkDone:
    """What another process has found.

    Attributes:
        what: ``check``, ``fetch`` or ``test``.
        answer: What it said.
        problem: Why it failed, empty where it did not.
    """

    what: str
    answer: Mapping[str, object]
    problem: str


class UpdateWorks(Protocol):
    """Does for updates what takes long, one thing at a time, and keeps their files, named by their hashes."""

    def check(self, request: bytes, target: str, *, now_ms: int) -> None:
        """Begin to check the metadata of a request at a time."""
        ...

    def fetch(self, address: str, sha256: str, size: int) -> None:
        """Begin to fetch a file from a web server."""
        ...

    def test(self, sha256: str, line: str) -> None:
        """Begin to test a file that is here."""
        ...

    def take_in(self, path: str) -> str:
        """Keep a copy of a local file, and return its hash.

        Raises:
            UpdateRefusedError: It cannot be read, or kept.
        """
        ...

    def size_of(self, sha256: str) -> int:
        """Return the size of a file that is kept [bytes]."""
        ...

    def take_done(self) -> list[WorkDone]:
        """Return what has ended since the last call."""
        ...

    def stop(self) -> None:
        """Stop what is under way for the present update, and forget what is here of a file in part."""
        ...

    def root_version(self) -> int:
        """Return the version of the trusted root, 0 where there is none yet."""
        ...

    def room(self, size: int) -> str:
        """Return why there is no room for a file, empty where there is."""
        ...

    def had(self, sha256: str) -> int:
        """Return how much of a file is here [bytes]."""
        ...

    def append(self, sha256: str, data: bytes) -> str:
        """Write at the end of a file; return why that cannot be, empty where it was done."""
        ...

    def finish(self, sha256: str, size: int) -> str:
        """Keep a file for good, durably; return why it cannot be kept, and is deleted; empty where it is kept."""
        ...

    def holds(self, sha256: str) -> bool:
        """Return whether a file is kept, and whole."""
        ...

    def keep_only(self, hashes: Collection[str]) -> None:
        """Delete all other files."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """How a model does on trial.

    Attributes:
        detail: What was measured.
        reasons: Why it must not serve; empty while nothing speaks against it.
        is_enough: Whether enough was measured to let it serve.
        lacks: What more is needed, where that is not enough.
    """

    detail: Mapping[str, object]
    reasons: Sequence[str] = ()
    is_enough: bool = True
    lacks: str = ""


class Trial(Protocol):
    """Tries a model beside the one that serves, and lets what is new serve."""

    def begin(self, kind: str, sha256: str) -> None:
        """Let a model score beside the active one.

        Raises:
            UpdateRefusedError: It cannot.
        """
        ...

    def begin_before(self, kind: str, sha256: str) -> None:
        """Let the model that served before score beside the new one, where it does not after a start."""
        ...

    def judge_shadow(self, *, is_over: bool) -> Judged:
        """Return how it does; once its time is over also what would be too early to say before."""
        ...

    def judge_probation(self, kind: str) -> Judged:
        """Return how the active model does."""
        ...

    def activate(self, line: str, sha256: str) -> str:
        """Let a file serve that is kept, the one of the configuration where the hash is empty; return why it cannot."""
        ...

    def revert(self, line: str, sha256: str) -> bool:
        """Let the one serve again that did before; False where that needs ``activate``."""
        ...

    def stop(self) -> None:
        """Forget the model that is tried."""
        ...


class UpdateStore(Protocol):
    """What was kept of updates."""

    def open_updates(self) -> list[Update]:
        """Return those that have not ended, oldest first."""
        ...

    def update(self, transaction: str) -> Update | None:
        """Return one, None where there is none."""
        ...

    def rolled_back(self, sha256: str) -> str:
        """Return why a file was rolled back here, empty where it was not."""
        ...

    def committed(self, sha256: str) -> Update | None:
        """Return the one that put a file to service, None where there is none."""
        ...

    def slots(self) -> Mapping[str, Slot]:
        """Return what serves by line, where it did not come from the configuration."""
        ...

    def floors(self) -> Mapping[str, int]:
        """Return below which version nothing is taken, by line."""
        ...

    def steady(self) -> None:
        """Note that the agent runs well: starts are counted from here on."""
        ...


class Reactor(Protocol):
    """Does things on site."""

    def start(self, reaction: Reaction, doing: Doing) -> bool:
        """Begin to do something; False where that is not possible now and was not tried."""
        ...

    def take_done(self) -> list[tuple[int, str]]:
        """Return (number, problem) of what has ended since the last call; the problem is empty where it is done."""
        ...


class AlertLog(Protocol):
    """The file of alerts that people read."""

    def catch_up(self) -> None:
        """Append the events that the store has and the file has not."""
        ...

    def reserve(self, changes: Sequence[AlertChange]) -> None:
        """Keep alerts that the store cannot keep now, in space that was set aside for them."""
        ...

    def release(self) -> None:
        """Forget what was kept so: the store has it."""
        ...


class Watched(Protocol):
    """Something else with sockets that the loop watches."""

    def filenos(self) -> Sequence[int]:
        """Return the descriptors to read from."""
        ...

    def writers(self) -> Sequence[int]:
        """Return the descriptors with something to send."""
        ...

    def on_ready(self, descriptor: int) -> None:
        """Read from or write to one of them. Never blocks."""
        ...
