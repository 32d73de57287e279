"""The ingest stage: MQTT messages in, readings and rejects out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import NEVER_MS, grown
from attwin.core.routes import SOURCE_SHIFT, NoRoute, Routes
from attwin.core.types import Quality, ReadingBatch, Reason, Reject, RejectReason, readings
from attwin.ports import NO_TIME_MS, Decoder, Messages

_MOST_KEPT = 4096
_RETAIN = 0x01
_SERIES_MASK = (1 << SOURCE_SHIFT) - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ingested:
    """What messages held.

    Attributes:
        batch: The readings, in order of arrival.
        source: The source of every reading. Shape (N,).
        place: The message of every reading. Shape (N,).
        rejects: What was no reading.
    """

    batch: ReadingBatch
    source: NDArray[np.int64]
    place: NDArray[np.int64]
    rejects: list[Reject]


class Ingest:
    """Decodes messages by the source that their topic belongs to."""

    def __init__(self, routes: Routes, decoders: Sequence[Decoder], *, most_payload: int) -> None:
        self.routes = routes
        self._decoders = tuple(decoders)
        self._most_payload = most_payload
        self._receipt_ms = np.full(64, NEVER_MS, np.int64)

    def decode(self, messages: Messages, *, now_ms: int) -> Ingested:
        """Return the readings and the rejects of ``messages``: each message is one or the other."""
        rejects: list[Reject] = []
        route = self._routes_of(messages, rejects)
        source = route >> SOURCE_SHIFT
        value = np.empty(len(route))
        time_ms = np.empty(len(route), np.int64)
        good = route >= 0
        for index, decoder in enumerate(self._decoders):
            places = np.flatnonzero(source == index)
            if not len(places):
                continue
            everything = len(places) == len(route)
            payloads = messages.payloads if everything else [messages.payloads[p] for p in places.tolist()]
            decoded = decoder.decode(payloads)
            value[places], time_ms[places] = decoded.value, decoded.time_ms
            for fault, reason, detail in decoded.faults:
                place = int(places[fault])
                good[place] = False
                rejects.append(_reject(messages, place, index, reason, detail))
        series = (route[good] & _SERIES_MASK).astype(np.int32)
        self._unlearn(series)
        batch = readings(series, self._with_receipt(series, time_ms[good], now_ms), value[good])
        kept = np.flatnonzero(good)
        return Ingested(batch=_mark_retained(batch, messages, kept), source=source[good], place=kept, rejects=rejects)

    def _unlearn(self, series: NDArray[np.int32]) -> None:
        """Take back entities that were learned from these messages although none of theirs is a reading."""
        for entity in self.routes.learned:
            if not np.isin(series, self.routes.series_of(entity)).any():
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
            rejects.append(_reject(messages, place, route.source, route.reason, route.detail))
            return -1
        if messages.lengths[place] > self._most_payload:
            detail = f"{messages.lengths[place]} bytes; limits.payload_bytes is {self._most_payload}"
            rejects.append(_reject(messages, place, route >> SOURCE_SHIFT, RejectReason.TOO_LARGE, detail))
            return -1
        return route


def late_reject(messages: Messages, place: int, source: int) -> Reject:
    """Return the reject of a reading whose tick was closed."""
    detail = "its second was scored already; `lateness` of the kind or the model says how long that waits"
    return _reject(messages, place, source, RejectReason.LATE, detail)


def count_messages(ingested: Ingested, sources: Sequence[str]) -> Counter[tuple[str, str, str]]:
    """Return how many messages were received and what became of them, by source."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for index, count in zip(*np.unique(ingested.source, return_counts=True), strict=True):
        counts[sources[index], "messages_received", ""] += int(count)
        counts[sources[index], "messages_decoded", ""] += int(count)
        counts[sources[index], "readings_decoded", ""] += int(count)
    for reject in ingested.rejects:
        name = sources[reject.source] if reject.source >= 0 else "none"
        counts[name, "messages_received", ""] += 1
        counts[name, "messages_rejected", reject.reason] += 1
    return counts


def _reject(messages: Messages, place: int, source: int, reason: RejectReason, detail: str) -> Reject:
    return Reject(
        source=source,
        topic=messages.topics[place].decode("utf-8", errors="backslashreplace"),
        reason=reason,
        detail=detail,
        payload=messages.payloads[place][:_MOST_KEPT],
    )


def _mark_retained(batch: ReadingBatch, messages: Messages, place: NDArray[np.int64]) -> ReadingBatch:
    """Return ``batch`` with readings from retained messages marked: they set the state and trigger nothing."""
    flags = np.array(messages.flags, np.uint8)[place]
    retained = (flags & _RETAIN) != 0
    if not retained.any():
        return batch
    quality = np.where(retained, Quality.UNCERTAIN, batch.quality).astype(np.uint8)
    return replace(batch, quality=quality, reason=np.where(retained, Reason.RETAINED, 0).astype(np.uint16))
