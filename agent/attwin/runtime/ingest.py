"""The ingest stage: MQTT messages in, readings and rejects out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from attwin.core.deliveries import Deliveries, fingerprint
from attwin.core.routes import SOURCE_SHIFT, NoRoute, Routes
from attwin.core.taken import found_again, reading_checksum
from attwin.core.types import EmptyReason, Quality, ReadingBatch, Reason, Reject, RejectReason, SuppressReason, readings
from attwin.ports import NO_TIME_MS, Decoded, Decoder, Label, Messages
from attwin.runtime.receipts import Receipts
from attwin.runtime.rows import NO_ROWS, Rows, joined_rows

_MOST_KEPT = 4096
_MOST_DETAIL = 500
_RETAIN = 0x01
_DUP = 0x08
_OWN_WORDS = frozenset((RejectReason.LATE, RejectReason.TOO_LARGE, RejectReason.ENTITY_LIMIT))
"""Reasons whose details quote nothing of the payload."""
_ENDLESS = "the value is not finite in the metric's unit"
_LATE = "its second was scored already; `lateness` of the kind or the model says how long that waits"
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
        now_ms: When they arrived, by the gateway's clock.
        batch: The readings, in order of arrival.
        rows: The same, as the messages say them.
        repeated: Readings that were taken before.
        refused: Readings of these messages that were not taken.
        rejects: What was no reading.
        empty: (source, topic, how many) of messages that were read and held nothing that their source asks for.
        counts: What was counted, by (source, name, reason).
        is_sure: Whether all that is known to have been taken before was found again.
        deliveries: (packet id, checksum) of the messages with a reading that has no time of its own.
        silent: Series of which the sensor side says that nothing more comes for now.
        replies: (topic, payload) to publish to the sensors.
        labels: What was said about entities.
    """

    now_ms: int
    batch: ReadingBatch
    rows: Rows
    repeated: Rows
    refused: Sequence[_Refused]
    rejects: list[Reject]
    counts: Counts
    empty: Sequence[tuple[str, str, int]] = ()
    is_sure: bool = True
    deliveries: list[tuple[int, int]] = field(default_factory=list)
    silent: Sequence[int] = ()
    replies: Sequence[tuple[str, bytes]] = ()
    labels: Sequence[Label] = ()


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
        self._receipts = Receipts()
        self._taken_in_part = 0

    def decode(
        self, messages: Messages, *, now_ms: int, taken: bytes = b"", receipts: Receipts | None = None
    ) -> Ingested:
        """Return the readings and the rejects of ``messages``.

        Every message is decoded, empty or rejected; every reading of a decoded one is taken on, a repetition, ignored
        or rejected. The counts say so.

        Args:
            messages: In order of arrival.
            now_ms: The gateway's clock.
            taken: What was taken of them before, where they are taken again (``Reject.taken``).
            receipts: Hands out the times of receipt, where that is not now.
        """
        self.routes.make_room()
        rejects: list[Reject] = []
        route = self._routes_of(messages, rejects, now_ms)
        owner = route >> SOURCE_SHIFT
        parts = []
        for index, decoder in enumerate(self._decoders):
            places = np.flatnonzero(owner == index)
            if not len(places):
                continue
            everything = len(places) == len(route)
            payloads = messages.payloads if everything else [messages.payloads[p] for p in places.tolist()]
            part = _Part(index, places, decoder.decode(payloads, route[places] & _SERIES_MASK, now_ms))
            rejects += self._rejects_of(messages, part, now_ms)
            parts.append(part)
        refused = [
            (part.source, int(part.places[place]), reason, detail)
            for part in parts
            for place, reason, detail in part.decoded.refused
        ]
        rows = joined_rows([self._rows_of(part) for part in parts])
        endless = ~np.isfinite(rows.value)
        if endless.any():
            refused += [(s, p, RejectReason.NOT_FINITE, _ENDLESS) for s, p in _messages_of(rows.where(endless))]
            rows = rows.where(~endless)
        counts = self._counts(parts, rejects, refused)
        again = found_again(taken, self._checksums(rows, now_ms)) if taken else []
        self._unlearn(rows if again is not None else NO_ROWS)
        received = (rows.time_ms == NO_TIME_MS) | rows.about_now
        repeated, deliveries = self._repeated(messages, rows, received)
        if again:
            repeated |= np.array(again)
        before = NO_ROWS
        if repeated.any():
            before, rows, received = rows.where(repeated), rows.where(~repeated), received[~repeated]
            for index, count in zip(*np.unique(before.source, return_counts=True), strict=True):
                counts[self._names[index], "readings_duplicate", ""] += int(count)
        times_ms = (receipts or self._receipts).filled_in(rows.series, rows.time_ms, now_ms)
        ingested = Ingested(
            now_ms=now_ms,
            batch=_marked(readings(rows.series, times_ms, rows.value), messages, rows.place, received),
            rows=rows,
            repeated=before,
            refused=refused,
            rejects=rejects,
            counts=counts,
            empty=[found for part in parts for found in self._empty_of(messages, part)],
            is_sure=again is not None,
            deliveries=deliveries,
            silent=[s for part in parts for s in part.decoded.silent if self.routes.catalogue.is_live(s)],
            replies=[reply for part in parts for reply in part.decoded.replies],
            labels=[label for part in parts for label in part.decoded.labels],
        )
        return self._with_partial_rejects(messages, ingested) if refused else ingested

    def forget_receipts(self) -> None:
        """Forget the times of receipt so far: the clock was put right."""
        self._receipts.forget()

    def without(self, messages: Messages, ingested: Ingested, late: NDArray[np.bool_]) -> Ingested:
        """Return ``ingested`` with the readings whose ticks were closed among the rejects.

        Args:
            messages: It is of these.
            ingested: What they held.
            late: Which of its readings those are. Shape (N,).
        """
        ended = [(s, p, RejectReason.LATE, _LATE) for s, p in _messages_of(ingested.rows.where(late))]
        taken = replace(
            ingested,
            batch=ingested.batch.where(~late),
            rows=ingested.rows.where(~late),
            refused=[*ingested.refused, *ended],
            rejects=[reject for reject in ingested.rejects if not reject.is_part],
        )
        return self._with_partial_rejects(messages, taken)

    def reject(
        self, messages: Messages, place: int, source: int, reason: RejectReason, detail: str, now_ms: int
    ) -> Reject:
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
            time_ms=now_ms,
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

    def _with_partial_rejects(self, messages: Messages, ingested: Ingested) -> Ingested:
        """Add one reject for each message and reason, however many readings it stands for.

        Each knows what was taken of its message.
        """
        groups: dict[tuple[int, int, RejectReason], list[str]] = {}
        for source, place, reason, detail in ingested.refused:
            groups.setdefault((source, place, reason), []).append(detail)
        places = sorted({place for _, place, _ in groups})
        number = {place: self._taken_in_part + nth for nth, place in enumerate(places, 1)}
        self._taken_in_part += len(places)
        taken = self._taken_of([place for place in places if len(messages.payloads[place]) <= _MOST_KEPT], ingested)
        found = []
        for (source, place, reason), details in groups.items():
            more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
            reject = self.reject(messages, place, source, reason, details[0] + more, ingested.now_ms)
            known = taken[place] if reject.is_whole else b""
            found.append(replace(reject, message=number[place], taken=known, count=len(details)))
        return replace(ingested, rejects=ingested.rejects + found)

    def _taken_of(self, places: Sequence[int], ingested: Ingested) -> dict[int, bytes]:
        """Return what was taken of some messages, now or before, as ``Reject.taken``."""
        taken: dict[int, list[bytes]] = {place: [] for place in places}
        for rows in (ingested.repeated, ingested.rows):
            mine = rows.where(np.isin(rows.place, places))
            for place, checksum in zip(mine.place.tolist(), self._checksums(mine, ingested.now_ms), strict=True):
                taken[place].append(checksum)
        return {place: b"".join(checksums) for place, checksums in taken.items()}

    def _checksums(self, rows: Rows, now_ms: int) -> list[bytes]:
        """Return what tells each reading from the others of its message, whenever and however often it is decoded."""
        catalogue = self.routes.catalogue
        said_ms = np.where(rows.about_now, rows.time_ms - now_ms, rows.time_ms)
        return [
            reading_checksum(catalogue.entity_ids[entity], catalogue.metrics[metric].name, time_ms, value)
            for entity, metric, time_ms, value in zip(
                catalogue.series_entity[rows.series].tolist(),
                catalogue.series_number[rows.series].tolist(),
                said_ms.tolist(),
                rows.value.tolist(),
                strict=True,
            )
        ]

    def _rejects_of(self, messages: Messages, part: "_Part", now_ms: int) -> list[Reject]:
        return [
            self.reject(messages, int(part.places[place]), part.source, reason, detail, now_ms)
            for place, reason, detail in part.decoded.faults
        ]

    def _empty_of(self, messages: Messages, part: "_Part") -> list[tuple[str, str, int]]:
        """Return how many messages of a source held nothing that it asks for, with the topic of one; none for none."""
        places = [place for place, reason in part.decoded.empty if reason == EmptyReason.NO_READING]
        if not places:
            return []
        topic = messages.topics[int(part.places[places[0]])].decode("utf-8", errors="backslashreplace")
        return [(self._names[part.source], self.routes.masked(topic, part.source), len(places))]

    def _counts(self, parts: Sequence["_Part"], rejects: Sequence[Reject], refused: Sequence[_Refused]) -> Counts:
        """Return how many messages were received and what became of them, and how many readings they held."""
        counts: Counts = Counter()
        for part in parts:
            name, decoded = self._names[part.source], part.decoded
            messages = len(part.places) - len(decoded.faults)
            counts[name, "messages_received", ""] += messages
            counts[name, "messages_decoded", ""] += messages - len(decoded.empty)
            for _, why in decoded.empty:
                counts[name, "messages_empty", why] += 1
            counts[name, "readings_decoded", ""] += len(decoded.place) + len(decoded.refused) + decoded.ignored
            counts[name, "readings_suppressed", SuppressReason.NOT_CONFIGURED] += decoded.ignored
        for reject in rejects:
            name = self._names[reject.source] if reject.source >= 0 else "none"
            counts[name, "messages_received", ""] += 1
            counts[name, "messages_rejected", reject.reason] += 1
        for source, _, reason, _ in refused:
            counts[self._names[source], "readings_rejected", reason] += 1
        return +counts

    def _rows_of(self, part: "_Part") -> Rows:
        decoded, count = part.decoded, len(part.decoded.place)
        return Rows(
            source=np.full(count, part.source),
            place=part.places[decoded.place],
            series=decoded.series,
            value=self._converted(part),
            time_ms=decoded.time_ms,
            about_now=np.zeros(count, np.bool_) if decoded.about_now is None else decoded.about_now,
        )

    def _converted(self, part: "_Part") -> NDArray[np.float64]:
        conversion = self._conversions.get(part.source)
        if conversion is None:
            return part.decoded.value
        metric = self.routes.catalogue.series_metric[part.decoded.series]
        with np.errstate(over="ignore"):
            value: NDArray[np.float64] = part.decoded.value * conversion.scale[metric] + conversion.offset[metric]
        return value

    def _repeated(
        self, messages: Messages, rows: Rows, received: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], list[tuple[int, int]]]:
        """Return which readings timed at receipt were delivered before, and what to remember of the others."""
        repeated = np.zeros(len(rows), np.bool_)
        deliveries: list[tuple[int, int]] = []
        if not received.any():
            return repeated, deliveries
        for number in np.unique(rows.place[received]).tolist():
            packet_id = messages.packet_ids[number]
            if not packet_id:
                continue
            checksum = fingerprint(messages.topics[number], messages.payloads[number])
            if messages.flags[number] & _DUP and self._deliveries.is_repeated(packet_id, checksum):
                repeated |= received & (rows.place == number)
            else:
                deliveries.append((packet_id, checksum))
                self._deliveries.remember(deliveries[-1:])
        return repeated, deliveries

    def _unlearn(self, rows: Rows) -> None:
        """Take back entities that were learned from these messages although none of theirs is a reading."""
        if not self.routes.learned:
            return
        heard = set(self.routes.catalogue.series_entity[rows.series].tolist())
        for entity in self.routes.learned:
            if entity not in heard:
                self.routes.unlearn(entity)
        self.routes.learned.clear()

    def _routes_of(self, messages: Messages, rejects: list[Reject], now_ms: int) -> NDArray[np.int64]:
        """Return the route of every message, -1 where there is none."""
        known = self.routes.known
        too_large = max(messages.lengths) > self._most_payload
        if not too_large:
            try:
                return np.array([known[topic] for topic in messages.topics], np.int64)
            except KeyError:
                pass
        places = range(len(messages))
        return np.array([self._route(messages, place, rejects, now_ms) for place in places], np.int64)

    def _route(self, messages: Messages, place: int, rejects: list[Reject], now_ms: int) -> int:
        topic = messages.topics[place]
        found = self.routes.known.get(topic)
        route = self.routes.find(topic) if found is None else found
        if isinstance(route, NoRoute):
            rejects.append(self.reject(messages, place, route.source, route.reason, route.detail, now_ms))
            return -1
        if messages.lengths[place] > self._most_payload:
            detail = f"{messages.lengths[place]} bytes; limits.payload_bytes is {self._most_payload}"
            source = route >> SOURCE_SHIFT
            rejects.append(self.reject(messages, place, source, RejectReason.TOO_LARGE, detail, now_ms))
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


def _messages_of(rows: Rows) -> list[tuple[int, int]]:
    """Return (source, place) of the message of every reading."""
    return list(zip(rows.source.tolist(), rows.place.tolist(), strict=True))


def _marked(
    batch: ReadingBatch, messages: Messages, place: NDArray[np.int64], received: NDArray[np.bool_]
) -> ReadingBatch:
    """Return ``batch`` with two sorts marked: from retained messages, which trigger nothing, and timed at receipt."""
    retained = (np.frombuffer(messages.flags, np.uint8)[place] & _RETAIN) != 0
    if not (retained.any() or received.any()):
        return batch
    quality = np.where(retained, Quality.UNCERTAIN, batch.quality)
    reason = np.zeros(len(batch), np.uint16)
    reason[retained] |= Reason.RETAINED
    reason[received] |= Reason.RECEIVED
    return replace(batch, quality=quality, reason=reason)
