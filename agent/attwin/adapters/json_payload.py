"""JSON payloads with one reading each, the fast path: a number, or an object with a value and a time.

The topic says entity and metric. ``json_objects.py`` takes payloads that say more.
"""

from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from attwin.adapters.json_tree import JSON_ERRORS, masked_json, path_of, shown
from attwin.adapters.payload_time import EARLIEST_MS, FACTOR, LATEST_MS, iso_ms
from attwin.core.catalogue import Metric
from attwin.core.categories import code_of, wanted
from attwin.core.types import RejectReason
from attwin.ports import NO_TIME_MS, Decoded, Fault


class JsonDecoder:
    """Implements ``ports.Decoder`` for one source."""

    def __init__(
        self,
        *,
        value_field: str,
        time_field: str,
        time_unit: str,
        zone: ZoneInfo,
        hidden: Sequence[str] = (),
        metric_of: Callable[[int], Metric] | None = None,
    ) -> None:
        """Make a decoder.

        Args:
            value_field: The object's field that holds the value.
            time_field: The one that holds the time.
            time_unit: ``s``, ``ms`` or ``iso``.
            zone: Where an ISO time without an offset was written.
            hidden: Fields that identify people or devices, as paths.
            metric_of: Returns the metric of a series; None where none has categories.
        """
        time_type = str if time_unit == "iso" else float
        payload = msgspec.defstruct(
            "payload",
            [("value", float | bool | str if metric_of else float | bool), ("time", time_type | None, None)],
            rename={"value": value_field, "time": time_field},
            gc=False,
        )
        # the struct is made up here, so its fields are unknown to a type checker
        self._object: Callable[[bytes], Any] = msgspec.json.Decoder(payload).decode
        anything = payload | float | bool | str if metric_of else payload | float | bool
        self._any: Callable[[bytes], Any] = msgspec.json.Decoder(anything).decode
        self._metric_of = metric_of
        self._time_unit = time_unit
        self._time_field = time_field
        self._value_field = value_field
        self._zone = zone
        self._hidden = [path_of(field) for field in hidden]

    def decode(self, payloads: Sequence[bytes], slots: NDArray[np.int64], now_ms: int) -> Decoded:  # noqa: ARG002 -- the port's
        """Return the reading of every payload; ``slots`` are series."""
        if self._metric_of:
            # among numbers there may be texts, which mean something to some of the series
            return self._decode_each(payloads, slots)
        decode = self._object
        try:
            items = [decode(payload) for payload in payloads]
            value = np.array([item.value for item in items], np.float64)
            if self._time_unit == "iso":
                time_ms = np.array([_iso_or_nan(item.time, self._zone) for item in items], np.float64)
            else:
                # a missing time is None, which numpy turns into NaN
                time_ms = np.array([item.time for item in items], np.float64) * FACTOR[self._time_unit]
        except (*JSON_ERRORS, TypeError, AttributeError):
            return self._decode_each(payloads, slots)
        timeless = np.isnan(time_ms)
        possible = timeless | ((time_ms >= EARLIEST_MS) & (time_ms < LATEST_MS))
        if not (np.isfinite(value).all() and possible.all()):
            return self._decode_each(payloads, slots)
        time_ms[timeless] = NO_TIME_MS
        return Decoded(
            place=np.arange(len(payloads)),
            series=slots.astype(np.int32),
            value=value,
            time_ms=np.rint(time_ms).astype(np.int64),
        )

    keeps_state = False

    def masked(self, payload: bytes) -> bytes:
        """Return a payload without what its hidden fields hold."""
        return masked_json(payload, self._hidden)

    def _decode_each(self, payloads: Sequence[bytes], slots: NDArray[np.int64]) -> Decoded:
        """Do the same one by one, to find out which payloads are at fault."""
        value = np.full(len(payloads), np.nan)
        time_ms = np.zeros(len(payloads), np.int64)
        faults: list[Fault] = []
        for place, payload in enumerate(payloads):
            fault = self._take(payload, int(slots[place]), place, value, time_ms)
            if fault is None and not np.isfinite(value[place]):
                fault = (RejectReason.NOT_FINITE, f"the value is {value[place]}")
            if fault:
                faults.append((place, *fault))
        good = np.ones(len(payloads), np.bool_)
        good[[place for place, _, _ in faults]] = False
        return Decoded(
            place=np.flatnonzero(good),
            series=slots[good].astype(np.int32),
            value=value[good],
            time_ms=time_ms[good],
            faults=faults,
        )

    def _take(
        self,
        payload: bytes,
        series: int,
        place: int,
        value: NDArray[np.float64],
        time_ms: NDArray[np.int64],
    ) -> tuple[RejectReason, str] | None:
        coded = self._metric_of(series) if self._metric_of else None
        coded = coded if coded and coded.categories else None
        try:
            item = self._any(payload)
        except JSON_ERRORS as error:
            item = _word(payload)
            if not coded or item is None:
                return RejectReason.NOT_DECODABLE, self._explain(payload, error)
        is_object = not isinstance(item, float | bool | str)
        said = item.value if is_object else item
        if coded:
            code = code_of(coded.categories, said)
            if code is None:
                return RejectReason.UNKNOWN_CATEGORY, wanted(coded.name, coded.categories, shown(said))
            said = code
        elif isinstance(said, str):
            return RejectReason.NOT_DECODABLE, f"a number is wanted, not {shown(said)}"
        value[place], time_ms[place] = said, NO_TIME_MS
        return self._take_time(item, place, time_ms) if is_object else None

    def _take_time(
        self,
        item: Any,  # noqa: ANN401 -- a struct that is made up at run time
        place: int,
        time_ms: NDArray[np.int64],
    ) -> tuple[RejectReason, str] | None:
        if item.time is None:
            return None
        try:
            found = (
                _iso_or_nan(item.time, self._zone) if self._time_unit == "iso" else item.time * FACTOR[self._time_unit]
            )
        except ValueError:
            return RejectReason.BAD_TIME, f"`{self._time_field}` is not ISO 8601: {item.time[:40]!r}"
        if not EARLIEST_MS <= found < LATEST_MS:
            return (
                RejectReason.BAD_TIME,
                f"`{self._time_field}` is {item.time}, outside 1970 to 2248; is time_unit {self._time_unit} right?",
            )
        time_ms[place] = round(found)
        return None

    def _explain(self, payload: bytes, error: Exception) -> str:
        """Return what a person needs to know: what the parser found, then what was wanted."""
        if not payload:
            return "an empty payload"
        found = "nested too deep" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, UnicodeDecodeError):
            found = "not UTF-8"
        if self._time_unit != "iso" and f"$.{self._time_field}" in found:
            return f"{found}; `{self._time_field}` must be a number of {self._time_unit} since 1970"
        return f"{found}; a number is wanted, or a JSON object with a number in `{self._value_field}`"


def _word(payload: bytes) -> str | None:
    """Return a payload that is no JSON as plain text, None where it is none."""
    try:
        return payload.decode().strip() or None
    except UnicodeDecodeError:
        return None


def _iso_or_nan(text: str | None, zone: ZoneInfo) -> float:
    return float("nan") if text is None else iso_ms(text, zone)
