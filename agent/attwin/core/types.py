"""The shared words of the core: columns of readings, qualities, reasons, alerts.

On the hot path a batch of readings is a set of numpy columns of one length, never a list of objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

MS_PER_SECOND = 1000
MS_PER_MINUTE = 60_000


class Quality:
    """How far a reading can be trusted, as numbers of the column's type: members of an enum are slow beside a column.

    Source: OPC UA Part 8, section 6.3 (good, uncertain, bad).
    """

    BAD = np.uint8(0)
    UNCERTAIN = np.uint8(1)
    GOOD = np.uint8(2)


QUALITY_WORDS = ("bad", "uncertain", "good")
"""What people read, by the number."""


class Reason:
    """What a reader of a stored reading must know: why it is not plainly good, and where its time is from.

    Bits of the column's type. ``CLOCK``: the gateway's clock was not trusted. ``RECEIVED``: the time is that of
    receipt. ``UNTIMELY``: a reading with one of these says nothing of its time.
    """

    NONE = np.uint16(0)
    OUT_OF_RANGE = np.uint16(1)
    AHEAD = np.uint16(2)
    RETAINED = np.uint16(4)
    STUCK = np.uint16(8)
    STEP = np.uint16(16)
    CLOCK = np.uint16(32)
    RECEIVED = np.uint16(64)
    UNTIMELY = np.uint16(2 | 4)


DOUBTS = (
    (Reason.OUT_OF_RANGE, "out_of_range"),
    (Reason.STUCK, "stuck"),
    (Reason.AHEAD, "ahead"),
    (Reason.STEP, "step"),
    (Reason.CLOCK, "clock"),
    (Reason.RETAINED, "retained"),
)
"""Why a reading is not plainly good, gravest first, with what people read. The words are the names of counters."""


def doubt_words(reason: int) -> str:
    """Return why a reading is not plainly good, separated by commas; empty where it is."""
    return ",".join(word for bit, word in DOUBTS if reason & int(bit))


def gravest_doubts(reason: NDArray[np.uint16]) -> NDArray[np.intp]:
    """Return the place in ``DOUBTS`` of the gravest doubt of each reading, -1 where there is none. Shape (N,)."""
    places = np.full(len(reason), -1)
    for place, (bit, _) in reversed(list(enumerate(DOUBTS))):
        places[(reason & bit) != 0] = place
    return places


class RejectReason(StrEnum):
    """Why a message or a reading was not stored. The values are the names of counters."""

    NOT_DECODABLE = "not_decodable"
    NOT_FINITE = "not_finite"
    BAD_TIME = "bad_time"
    BAD_TOPIC = "bad_topic"
    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_ENTITY = "unknown_entity"
    UNKNOWN_METRIC = "unknown_metric"
    ENTITY_LIMIT = "entity_limit"
    TOO_LARGE = "too_large"
    LATE = "late"
    WRONG_UNIT = "wrong_unit"
    UNKNOWN_ALIAS = "unknown_alias"
    UNKNOWN_CATEGORY = "unknown_category"


class SuppressReason(StrEnum):
    """Why a reading was left out although nothing is wrong with it. The values are the names of counters."""

    NOT_CONFIGURED = "not_configured"
    DEADBAND = "deadband"


class EmptyReason(StrEnum):
    """Why a message that was read held no reading. The values are the names of counters."""

    NO_READING = "no_reading"
    UNAVAILABLE = "unavailable"
    NOT_DATA = "not_data"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadingBatch:
    """Readings in the order they arrived, as columns of one length N.

    Attributes:
        series: Which metric of which entity, an index into the catalogue. Shape (N,).
        time_ms: When it was measured [ms since the Unix epoch, UTC]. Shape (N,).
        value: What was measured [the metric's unit]. Shape (N,).
        quality: How far it can be trusted, a ``Quality``. Shape (N,).
        reason: Why it is not plainly good, ``Reason`` bits. Shape (N,).
    """

    series: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    reason: NDArray[np.uint16]

    def __len__(self) -> int:
        """Return N."""
        return len(self.series)

    def where(self, keep: NDArray[np.bool_]) -> "ReadingBatch":
        """Return the readings for which ``keep`` is true, in the same order."""
        if keep.all():
            return self
        return ReadingBatch(
            series=self.series[keep],
            time_ms=self.time_ms[keep],
            value=self.value[keep],
            quality=self.quality[keep],
            reason=self.reason[keep],
        )


def readings(series: NDArray[np.int32], time_ms: NDArray[np.int64], value: NDArray[np.float64]) -> ReadingBatch:
    """Return a batch of readings that nothing has judged yet: all good, no reason."""
    count = len(series)
    return ReadingBatch(
        series=series,
        time_ms=time_ms,
        value=value,
        quality=np.full(count, Quality.GOOD, np.uint8),
        reason=np.zeros(count, np.uint16),
    )


def joined(batches: Sequence[ReadingBatch]) -> ReadingBatch:
    """Return several batches as one."""
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return readings(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0))
    return ReadingBatch(
        series=np.concatenate([batch.series for batch in batches]),
        time_ms=np.concatenate([batch.time_ms for batch in batches]),
        value=np.concatenate([batch.value for batch in batches]),
        quality=np.concatenate([batch.quality for batch in batches]),
        reason=np.concatenate([batch.reason for batch in batches]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A message, or a reading of it, that was not stored.

    Attributes:
        time_ms: When it arrived, by the gateway's clock.
        source: The index of the source in the configuration; -1 where none matches.
        topic: As received, undecodable bytes escaped.
        reason: Which counter it is in.
        detail: What was found and what is allowed.
        payload: The payload, cut at the limit of the reject ring.
        is_whole: Whether that is all of it, as it arrived.
        message: Which of the messages of this run that were taken in part it belongs to; None where nothing was taken.
        taken: What was taken of that message, see ``core.taken``.
        retained: Whether the broker had retained it.
        count: How many readings of the message it stands for.
    """

    time_ms: int
    source: int
    topic: str
    reason: RejectReason
    detail: str
    payload: bytes
    is_whole: bool = True
    message: int | None = None
    taken: bytes = b""
    retained: bool = False
    count: int = 1

    @property
    def is_part(self) -> bool:
        """Whether other readings of the same message may have been stored."""
        return self.message is not None


class AlertState(IntEnum):
    """Where an alert is in its life.

    Source: OPC UA Part 9 (alarms and conditions), reduced to what a threshold needs.
    """

    CLEARED = 0
    PENDING = 1
    ACTIVE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """An alert that became active, graver, or cleared.

    Attributes:
        rule: The index of the rule.
        entity: The entity's index in the catalogue.
        state: ``ACTIVE`` or ``CLEARED``, the state after the transition.
        time_ms: Event time of the reading or score that caused it.
        value: That reading or score; NaN where none caused it.
        since_ms: Event time at which the condition began.
        severity: Of the alert after it.
        is_flapping: Whether it came and went so often that it is one alert now.
        text: What else there is to say of it.
    """

    rule: int
    entity: int
    state: AlertState
    time_ms: int
    value: float
    since_ms: int
    severity: str
    is_flapping: bool = False
    text: str = ""
