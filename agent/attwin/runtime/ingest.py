"""The ingest stage: MQTT messages in, readings and rejects out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import NEVER_MS, grown
from attwin.core.deliveries import Deliveries, fingerprint
from attwin.core.routes import SOURCE_SHIFT, NoRoute, Routes
from attwin.core.types import Quality, ReadingBatch, Reason, Reject, RejectReason, SuppressReason, readings
from attwin.ports import NO_TIME_MS, Decoded, Decoder, Fault, Messages

_MOST_KEPT = 4096
_MOST_DETAIL = 500
_RETAIN = 0x01
_DUP = 0x08
_OWN_WORDS = frozenset((RejectReason.LATE, RejectReason.TOO_LARGE, RejectReason.ENTITY_LIMIT))
"""Reasons whose details quote nothing of the payload."""
_ENDLESS = "the value is not finite in the metric's unit"
_SERIES_MASK = (1 << SOURCE_SHIFT) - 1

Counts = Counter[tuple[str, str, str]]
_Refused = tuple[int, int, RejectReason, str]
"""A reading that was not taken: its source, its message, the counter, and what was found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conversion:
    """From the units that a source sends to those of its kind's metrics.

    Attributes:
        scale, offset: By the metric's place in the kind; value = sent * scale + offset. Shape (M,).
    """

    scale: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ingested:
    """What messages held.

    Attributes:
        batch: The readings, in order of arrival.
        source: The source of every reading. Shape (N,).
        place: The message of every reading. Shape (N,).
        rejects: What was no reading.
        counts: What was counted, by (source, name, reason).
        deliveries: (packet id, checksum) of the messages with a reading that has no time of its own.
        silent: Series of which the sensor side says that nothing more comes for now.
        replies: (topic, payload) to publish to the sensors.
    """

    batch: ReadingBatch
    source: NDArray[np.int64]
    place: NDArray[np.int64]
    rejects: list[Reject]
    counts: Counts
    deliveries: list[tuple[int, int]] = field(default_factory=list)
    silent: Sequence[int] = ()
    replies: Sequence[tuple[str, bytes]] = ()


class Ingest:
    """Decodes messages by the source that their topic belongs to."""

    def __init__(
        self,
        routes: Routes,
        decoders: Sequence[Decoder],
        names: Sequence[str],
        *,
        most_payload: int,
        conversions: Mapping[int, Conversion] | None = None,
        deliveries: Deliveries | None = None,
    ) -> None:
        """Make the stage.

        Args:
            routes: Where topics lead.
            decoders: One a source.
            names: What the sources are called where they are counted.
            most_payload: Longer payloads are rejected.
            conversions: By source, where it sends other units.
            deliveries: What was taken before.
        """
        self.routes = routes
        self._decoders = tuple(decoders)
        self._names = tuple(names)
        self._most_payload = most_payload
        self._conversions = dict(conversions or {})
        self._deliveries = deliveries or Deliveries()
        self._receipt_ms = np.full(64, NEVER_MS, np.int64)
        self._now_ms = 0

    def decode(self, messages: Messages, *, now_ms: int, taken_in_part: bool = False) -> Ingested:
        """Return the readings and the rejects of ``messages``.

        Every message is decoded or rejected; every reading of a decoded one is taken on, a repetition, ignored or
        rejected. The counts say so.

        Args:
            messages: In order of arrival.
            now_ms: The gateway's clock.
            taken_in_part: Whether readings of these messages were stored at that time before; those without a time of
                their own get that very time again, and so are found to be repetitions.
        """
        self.routes.make_room()
        self._now_ms = now_ms
        rejects: list[Reject] = []
        route = self._routes_of(messages, rejects)
        owner = route >> SOURCE_SHIFT
        parts = []
        for index, decoder in enumerate(self._decoders):
            places = np.flatnonzero(owner == index)
            if not len(places):
                continue
            everything = len(places) == len(route)
            payloads = messages.payloads if everything else [messages.payloads[p] for p in places.tolist()]
            part = _Part(index, places, decoder.decode(payloads, route[places] & _SERIES_MASK, now_ms))
            rejects += self._rejects_of(messages, part, part.decoded.faults)
            parts.append(part)
        refused = [
            (part.source, int(part.places[place]), reason, detail)
            for part in parts
            for place, reason, detail in part.decoded.refused
        ]
        source, place, series, value, time_ms, about_now = self._columns(parts)
        endless = ~np.isfinite(value)
        if endless.any():
            refused += [
                (s, p, RejectReason.NOT_FINITE, _ENDLESS)
                for s, p in zip(source[endless].tolist(), place[endless].tolist(), strict=True)
            ]
            source, place, series, value, time_ms, about_now = (
                column[~endless] for column in (source, place, series, value, time_ms, about_now)
            )
        partial = self._partial_rejects(messages, refused)
        counts = self._counts(parts, rejects, partial)
        self._unlearn(series)
        timeless = time_ms == NO_TIME_MS
        received = timeless | about_now
        repeated, deliveries = self._repeated(messages, place, received)
        if repeated.any():
            for index, count in zip(*np.unique(source[repeated], return_counts=True), strict=True):
                counts[self._names[index], "readings_duplicate", ""] += int(count)
            source, place, series, value, time_ms, timeless, received = (
                column[~repeated] for column in (source, place, series, value, time_ms, timeless, received)
            )
        if taken_in_part:
            time_ms = np.where(timeless, now_ms, time_ms)
        batch = readings(series, self._with_receipt(series, time_ms, now_ms), value)
        return Ingested(
            batch=_marked(batch, messages, place, received),
            source=source,
            place=place,
            rejects=rejects + partial,
            counts=counts,
            deliveries=deliveries,
            silent=[s for part in parts for s in part.decoded.silent if self.routes.catalogue.is_live(s)],
            replies=[reply for part in parts for reply in part.decoded.replies],
        )

    def forget_receipts(self) -> None:
        """Forget the times of receipt so far: the clock was put right."""
        self._receipt_ms = np.full(64, NEVER_MS, np.int64)

    def late(self, messages: Messages, place: int, source: int) -> Reject:
        """Return the reject of a reading whose tick was closed."""
        detail = "its second was scored already; `lateness` of the kind or the model says how long that waits"
        return replace(self.reject(messages, place, source, RejectReason.LATE, detail), is_part=True)

    def reject(self, messages: Messages, place: int, source: int, reason: RejectReason, detail: str) -> Reject:
        """Return a message, or a reading of it, as it is kept in the reject ring: identifiers masked."""
        topic = self.routes.masked(messages.topics[place].decode("utf-8", errors="backslashreplace"), source)
        payload = messages.payloads[place]
        if source >= 0:
            payload = self._decoders[source].masked(payload)
        elif self.routes.hides:
            payload = b""
        kept = payload[:_MOST_KEPT]
        if source >= 0 and self.routes.sources[source].identifiers and reason not in _OWN_WORDS:
            detail = "withheld: the source has identifiers"
        as_it_arrived = topic.encode() == messages.topics[place] and kept == messages.payloads[place]
        return Reject(
            time_ms=self._now_ms,
            source=source,
            topic=topic,
            reason=reason,
            detail=detail[:_MOST_DETAIL],
            payload=kept,
            is_whole=as_it_arrived
            and messages.lengths[place] == len(kept)
            and not (source >= 0 and self._decoders[source].keeps_state),
            retained=bool(messages.flags[place] & _RETAIN),
        )

    def _partial_rejects(self, messages: Messages, refused: Sequence[_Refused]) -> list[Reject]:
        """Return one reject for each message and reason, however many readings it stands for."""
        groups: dict[tuple[int, int, RejectReason], list[str]] = {}
        for source, place, reason, detail in refused:
            groups.setdefault((source, place, reason), []).append(detail)
        found = []
        for (source, place, reason), details in groups.items():
            more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
            reject = self.reject(messages, place, source, reason, details[0] + more)
            found.append(replace(reject, is_part=True, count=len(details)))
        return found

    def _rejects_of(self, messages: Messages, part: "_Part", faults: Sequence[Fault]) -> list[Reject]:
        return [
            self.reject(messages, int(part.places[place]), part.source, reason, detail)
            for place, reason, detail in faults
        ]

    def _counts(self, parts: Sequence["_Part"], rejects: Sequence[Reject], refused: Sequence[Reject]) -> Counts:
        """Return how many messages were received and what became of them, and how many readings they held."""
        counts: Counts = Counter()
        for part in parts:
            name, decoded = self._names[part.source], part.decoded
            messages = len(part.places) - len(decoded.faults)
            counts[name, "messages_received", ""] += messages
            counts[name, "messages_decoded", ""] += messages
            counts[name, "readings_decoded", ""] += len(decoded.place) + len(decoded.refused) + decoded.ignored
            counts[name, "readings_suppressed", SuppressReason.NOT_CONFIGURED] += decoded.ignored
        for reject in rejects:
            name = self._names[reject.source] if reject.source >= 0 else "none"
            counts[name, "messages_received", ""] += 1
            counts[name, "messages_rejected", reject.reason] += 1
        for reject in refused:
            counts[self._names[reject.source], "readings_rejected", reject.reason] += reject.count
        return +counts

    def _columns(self, parts: Sequence["_Part"]) -> tuple[NDArray[Any], ...]:
        """Return the columns of all readings, in order of arrival.

        They are source, place, series, value in the metric's unit, time, and whether that is relative to now.
        """
        columns = [
            (
                np.full(len(part.decoded.place), part.source),
                part.places[part.decoded.place],
                part.decoded.series,
                self._converted(part),
                part.decoded.time_ms,
                np.zeros(len(part.decoded.place), np.bool_)
                if part.decoded.about_now is None
                else part.decoded.about_now,
            )
            for part in parts
        ]
        if len(columns) == 1:
            return columns[0]
        if not columns:
            return tuple(np.empty(0, kind) for kind in (np.int64, np.int64, np.int32, np.float64, np.int64, np.bool_))
        joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
        order = np.argsort(joined[1], kind="stable")
        return tuple(column[order] for column in joined)

    def _converted(self, part: "_Part") -> NDArray[np.float64]:
        conversion = self._conversions.get(part.source)
        if conversion is None:
            return part.decoded.value
        metric = self.routes.catalogue.series_metric[part.decoded.series]
        with np.errstate(over="ignore"):
            value: NDArray[np.float64] = part.decoded.value * conversion.scale[metric] + conversion.offset[metric]
        return value

    def _repeated(
        self, messages: Messages, place: NDArray[np.int64], timeless: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], list[tuple[int, int]]]:
        """Return which readings timed at receipt were delivered before, and what to remember of the others."""
        repeated = np.zeros(len(place), np.bool_)
        deliveries: list[tuple[int, int]] = []
        if not timeless.any():
            return repeated, deliveries
        for number in np.unique(place[timeless]).tolist():
            packet_id = messages.packet_ids[number]
            if not packet_id:
                continue
            checksum = fingerprint(messages.topics[number], messages.payloads[number])
            if messages.flags[number] & _DUP and self._deliveries.is_repeated(packet_id, checksum):
                repeated |= timeless & (place == number)
            else:
                deliveries.append((packet_id, checksum))
                self._deliveries.remember(deliveries[-1:])
        return repeated, deliveries

    def _unlearn(self, series: NDArray[np.int32]) -> None:
        """Take back entities that were learned from these messages although none of theirs is a reading."""
        if not self.routes.learned:
            return
        heard = set(self.routes.catalogue.series_entity[series].tolist())
        for entity in self.routes.learned:
            if entity not in heard:
                self.routes.unlearn(entity)
        self.routes.learned.clear()

    def _with_receipt(self, series: NDArray[np.int32], time_ms: NDArray[np.int64], now_ms: int) -> NDArray[np.int64]:
        """Return the times, those of receipt filled in: now, and a millisecond apart where a series has several.

        So readings without a time of their own are never taken for repetitions of each other.
        """
        rows = np.flatnonzero(time_ms == NO_TIME_MS)
        if not len(rows):
            return time_ms
        self._receipt_ms = grown(self._receipt_ms, int(series.max()) + 1, NEVER_MS)
        rows = rows[np.argsort(series[rows], kind="stable")]
        own = series[rows]
        first = np.concatenate([[True], own[1:] != own[:-1]])
        count = np.arange(len(rows))
        nth = count - np.maximum.accumulate(np.where(first, count, 0))
        time_ms[rows] = np.maximum(now_ms, self._receipt_ms[own] + 1) + nth
        np.maximum.at(self._receipt_ms, own, time_ms[rows])
        return time_ms

    def _routes_of(self, messages: Messages, rejects: list[Reject]) -> NDArray[np.int64]:
        """Return the route of every message, -1 where there is none."""
        known = self.routes.known
        too_large = max(messages.lengths) > self._most_payload
        if not too_large:
            try:
                return np.array([known[topic] for topic in messages.topics], np.int64)
            except KeyError:
                pass
        return np.array([self._route(messages, place, rejects) for place in range(len(messages))], np.int64)

    def _route(self, messages: Messages, place: int, rejects: list[Reject]) -> int:
        topic = messages.topics[place]
        found = self.routes.known.get(topic)
        route = self.routes.find(topic) if found is None else found
        if isinstance(route, NoRoute):
            rejects.append(self.reject(messages, place, route.source, route.reason, route.detail))
            return -1
        if messages.lengths[place] > self._most_payload:
            detail = f"{messages.lengths[place]} bytes; limits.payload_bytes is {self._most_payload}"
            rejects.append(self.reject(messages, place, route >> SOURCE_SHIFT, RejectReason.TOO_LARGE, detail))
            return -1
        return route


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What the messages of one source held.

    Attributes:
        source: Its index.
        places: The place of each of its messages among all. Shape (P,).
        decoded: What they said; its places are among these.
    """

    source: int
    places: NDArray[np.int64]
    decoded: Decoded


def _marked(
    batch: ReadingBatch, messages: Messages, place: NDArray[np.int64], timeless: NDArray[np.bool_]
) -> ReadingBatch:
    """Return ``batch`` with two sorts marked: from retained messages, which trigger nothing, and timed at receipt."""
    retained = (np.frombuffer(messages.flags, np.uint8)[place] & _RETAIN) != 0
    if not (retained.any() or timeless.any()):
        return batch
    quality = np.where(retained, Quality.UNCERTAIN, batch.quality)
    reason = np.zeros(len(batch), np.uint16)
    reason[retained] |= Reason.RETAINED
    reason[timeless] |= Reason.RECEIVED
    return replace(batch, quality=quality, reason=reason)
