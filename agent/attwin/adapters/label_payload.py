"""Labels as people and programs send them: a number, true or false, or an object with value, time and by."""

import math
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from attwin.adapters.json_tree import JSON_ERRORS
from attwin.adapters.payload_time import TimeReader
from attwin.core.routes import Routes
from attwin.core.types import RejectReason
from attwin.ports import NO_TIME_MS, Decoded, Fault, Label

_MOST_BY = 64
_WANTED = 'a number, true or false, or {"value": 1, "time": 1760000000, "by": "ann"}'


class _Said(msgspec.Struct):
    value: float | bool
    time: float | str | None = None
    by: str = ""


class LabelDecoder:
    """Implements ``ports.Decoder`` for the topic of labels. It gives no reading; labels come back as such."""

    keeps_state = False

    def __init__(self, routes: Routes, zone: ZoneInfo) -> None:
        """Make a decoder.

        Args:
            routes: Know the entities.
            zone: Of ISO times without an offset.
        """
        self._routes = routes
        self._times = TimeReader(("s", "iso"), zone)
        self._decode: Any = msgspec.json.Decoder(_Said | float | bool).decode

    def decode(self, payloads: Sequence[bytes], slots: NDArray[np.int64], now_ms: int) -> Decoded:
        """Return the label of every payload; ``slots`` are places of scopes."""
        labels, faults = list[Label](), list[Fault]()
        for place, (payload, slot) in enumerate(zip(payloads, slots.tolist(), strict=True)):
            scope = self._routes.scopes[slot]
            entity = self._routes.entity_of(scope)
            if entity is None:
                detail = f"no entity `{scope.entity[:_MOST_BY]}`; labels are about entities that are known"
                faults.append((place, RejectReason.UNKNOWN_ENTITY, detail))
                continue
            try:
                labels.append(self._label(self._routes.catalogue.entity_ids[entity], payload, now_ms))
            except ValueError as error:
                faults.append((place, RejectReason.NOT_DECODABLE, str(error)))
        nothing = np.empty(0, np.int64)
        return Decoded(
            place=nothing,
            series=np.empty(0, np.int32),
            value=np.empty(0),
            time_ms=nothing,
            faults=faults,
            labels=labels,
        )

    def masked(self, payload: bytes) -> bytes:
        """Return a payload as it may be kept."""
        return payload

    def _label(self, entity: str, payload: bytes, now_ms: int) -> Label:
        try:
            said = self._decode(payload)
        except JSON_ERRORS as error:
            raise ValueError(f"{_WANTED}: {error}") from None
        whole = said if isinstance(said, _Said) else _Said(value=said)
        value = float(whole.value)
        if not math.isfinite(value):
            raise ValueError(f"{_WANTED}: the value is not finite")
        time_ms = self._times.read(whole.time)
        return Label(
            entity=entity, time_ms=now_ms if time_ms == NO_TIME_MS else time_ms, value=value, by=whole.by[:_MOST_BY]
        )
