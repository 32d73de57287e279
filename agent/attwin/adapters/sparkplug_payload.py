"""Sparkplug B as a host application reads it: births, data by alias, deaths, and rebirth requests.

A node numbers its messages 0 to 255. After a gap, or data before a birth, the host cannot know what aliases mean, so it
asks for a rebirth; until then what has a known name is taken, and the rest is refused with a reason.

Source: Eclipse Sparkplug 3.0, sections 6.4.6 (sequence), 6.4.16 to 6.4.25 (messages), 5.9 (rebirth).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.payload_rows import Rows, withheld
from attwin.adapters.payload_time import EARLIEST_MS, LATEST_MS
from attwin.adapters.sparkplug_protobuf import SparkplugMetric, SparkplugPayload, read_payload, rebirth_command
from attwin.core.routes import Routes, Scope
from attwin.core.types import EmptyReason, RejectReason
from attwin.ports import NO_TIME_MS, Decoded

_SEQUENCES = 256
_ASK_EVERY_MS = 10_000
_OWN_NAMES = ("bdSeq", "Node Control/", "Device Control/", "Node Info/", "Properties/")
_MOST_ALIASES = 10_000
"""Of one node; an alias beyond that is as if it was in no birth."""
_COMMANDS = ("NCMD", "DCMD")
_DATA = ("NDATA", "DDATA")
_NO_LEVEL = re.compile(r"[+#/\0]")
"""What nobody can publish in one level of a topic, and a percent-encoded level may hold."""


@dataclass(slots=True, kw_only=True)
class _Node:
    """What is known of an edge node.

    Attributes:
        sequence: Of its last message; None before its birth.
        birth: The ``bdSeq`` of its birth.
        names: By alias: name and data type.
        scopes: The topics of its devices and its own.
        asked_ms: When it was asked for a rebirth.
    """

    sequence: int | None = None
    birth: float | None = None
    names: dict[int, tuple[str, int]] = field(default_factory=dict)
    scopes: dict[tuple[str, ...], Scope] = field(default_factory=dict)
    asked_ms: int = -_ASK_EVERY_MS


class SparkplugDecoder:
    """Implements ``ports.Decoder`` for one source."""

    def __init__(self, group: str, metrics: Mapping[str, str], routes: Routes, *, hides: bool) -> None:
        """Make a decoder.

        Args:
            group: The first two levels of the topics, such as ``spBv1.0/plant``.
            metrics: The metric that a name in the payload stands for.
            routes: Where names lead.
            hides: Whether nodes and devices are identifiers of people or devices.
        """
        self._group = group
        self._metrics = metrics
        self._routes = routes
        self._hides = hides
        self._nodes: dict[str, _Node] = {}

    keeps_state = True

    def masked(self, payload: bytes) -> bytes:
        """Return a payload as it may be kept."""
        return withheld(payload, hides=self._hides)

    def decode(self, payloads: Sequence[bytes], slots: NDArray[np.int64], now_ms: int) -> Decoded:
        """Return the readings of payloads; ``slots`` are places of scopes."""
        rows = Rows(self._routes)
        for place, (payload, slot) in enumerate(zip(payloads, slots.tolist(), strict=True)):
            scope = self._routes.scopes[slot]
            kind, name = scope.levels["type"], scope.levels["node"]
            if kind not in _DATA:
                # a birth may name nothing but the node's own controls
                rows.is_empty(place, EmptyReason.NOT_DATA)
            if kind in _COMMANDS:
                continue
            try:
                message = read_payload(payload)
            except (ValueError, UnicodeDecodeError) as error:
                rows.fault(place, RejectReason.NOT_DECODABLE, f"not a Sparkplug B payload: {error}")
                continue
            self._take(rows, place, scope, kind, name, message, now_ms)
        return rows.decoded(len(payloads))

    def _take(
        self, rows: Rows, place: int, scope: Scope, kind: str, name: str, message: SparkplugPayload, now_ms: int
    ) -> None:
        if len(self._nodes) > self._routes.catalogue.most_entities and name not in self._nodes:
            # more nodes than entities are an attack or a mistake; those that live are asked for a rebirth
            self._nodes.clear()
        node = self._nodes.setdefault(name, _Node())
        device = (scope.levels["device"],) if "device" in scope.levels else ()
        if kind in ("NDEATH", "DDEATH"):
            self._die(rows, kind, name, node, device, message)
            return
        if kind not in ("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
            rows.fault(place, RejectReason.UNKNOWN_TOPIC, f"`{kind}` is no Sparkplug message type")
            return
        if kind == "NBIRTH":
            node.names.clear()
            node.birth = next((m.number(0) for m in message.metrics if m.name == "bdSeq"), None)
        elif not self._follows(node, message):
            self._ask(rows, name, node, now_ms)
        node.sequence = message.sequence
        if len(node.scopes) < self._routes.catalogue.most_entities:
            node.scopes[device] = scope
        entity = self._routes.entity_of(scope) if rows.silent else None
        if entity is not None:
            # a birth after a death: it speaks again
            own = self._routes.series_of(entity)
            rows.silent = [series for series in rows.silent if series not in own]
        for metric in message.metrics:
            self._take_metric(rows, place, scope, node, metric, message, birth=kind.endswith("BIRTH"))
            if not metric.name and metric.alias not in node.names:
                self._ask(rows, name, node, now_ms)

    def _take_metric(
        self,
        rows: Rows,
        place: int,
        scope: Scope,
        node: _Node,
        metric: SparkplugMetric,
        message: SparkplugPayload,
        *,
        birth: bool,
    ) -> None:
        if birth and metric.alias is not None and len(node.names) < _MOST_ALIASES:
            node.names[metric.alias] = (metric.name, metric.datatype)
        name, datatype = (metric.name, metric.datatype)
        if not name:
            if metric.alias not in node.names:
                detail = f"alias {metric.alias} was in no birth certificate; a rebirth was asked for"
                rows.refuse(place, RejectReason.UNKNOWN_ALIAS, detail)
                return
            name, datatype = node.names[metric.alias]
        if name.startswith(_OWN_NAMES):
            return
        own = self._metrics.get(name, name)
        kind = self._routes.catalogue.kinds[self._routes.sources[scope.source].kind]
        if kind.metric_index(own) is None:
            rows.ignore(place, 1)
            return
        if metric.is_null:
            rows.is_empty(place, EmptyReason.UNAVAILABLE)
            return
        time_ms = metric.time_ms if metric.time_ms is not None else message.time_ms
        if time_ms is not None and not EARLIEST_MS <= time_ms < LATEST_MS:
            rows.refuse(place, RejectReason.BAD_TIME, f"the time {time_ms} is outside 1970 to 2248")
            return
        rows.add(place, scope, "", own, metric.number(datatype), NO_TIME_MS if time_ms is None else time_ms)

    @staticmethod
    def _follows(node: _Node, message: SparkplugPayload) -> bool:
        return node.sequence is not None and message.sequence == (node.sequence + 1) % _SEQUENCES

    def _die(
        self, rows: Rows, kind: str, name: str, node: _Node, device: tuple[str, ...], message: SparkplugPayload
    ) -> None:
        if kind == "DDEATH":
            node.sequence = message.sequence
            gone = [node.scopes[device]] if device in node.scopes else []
        else:
            # the will of an earlier connection, which arrives late, says nothing about this one
            birth = next((m.number(0) for m in message.metrics if m.name == "bdSeq"), None)
            if birth is not None and node.birth is not None and birth != node.birth:
                return
            gone = list(node.scopes.values())
            self._nodes.pop(name, None)
        for scope in gone:
            entity = self._routes.entity_of(scope)
            rows.silent += [] if entity is None else self._routes.series_of(entity)

    def _ask(self, rows: Rows, name: str, node: _Node, now_ms: int) -> None:
        """Ask a node for a rebirth, not more often than it can answer; an id that is no topic level has no node."""
        if abs(now_ms - node.asked_ms) >= _ASK_EVERY_MS and not _NO_LEVEL.search(name):
            node.asked_ms = now_ms
            rows.replies.append((f"{self._group}/NCMD/{name}", rebirth_command(now_ms)))
