"""JSON payloads to columns, by msgspec: a number (or true and false), or an object with a value and a time."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from attwin.core.types import RejectReason
from attwin.ports import NO_TIME_MS, Decoded

_FACTOR = {"s": 1000.0, "ms": 1.0}
_EARLIEST_MS, _LATEST_MS = 0, 1 << 43
"""1970 to 2248: outside, a time is a mistake of its unit."""
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError)


class JsonDecoder:
    """Implements ``ports.Decoder`` for one source."""

    def __init__(self, *, value_field: str, time_field: str, time_unit: str, zone: ZoneInfo) -> None:
        """Make a decoder.

        Args:
            value_field: The object's field that holds the value.
            time_field: The one that holds the time.
            time_unit: ``s``, ``ms`` or ``iso``.
            zone: Where an ISO time without an offset was written.
        """
        time_type = str if time_unit == "iso" else float
        payload = msgspec.defstruct(
            "payload",
            [("value", float | bool), ("time", time_type | None, None)],
            rename={"value": value_field, "time": time_field},
            gc=False,
        )
        # the struct is made up here, so its fields are unknown to a type checker
        self._object: Callable[[bytes], Any] = msgspec.json.Decoder(payload).decode
        self._any: Callable[[bytes], Any] = msgspec.json.Decoder(payload | float | bool).decode
        self._time_unit = time_unit
        self._time_field = time_field
        self._value_field = value_field
        self._zone = zone

    def decode(self, payloads: Sequence[bytes]) -> Decoded:
        """Return value and time of every payload; what is no reading comes back as a fault, never as an exception."""
        decode = self._object
        try:
            items = [decode(payload) for payload in payloads]
            value = np.array([item.value for item in items], np.float64)
            if self._time_unit == "iso":
                time_ms = np.array([self._iso_ms(item.time) for item in items], np.float64)
            else:
                # a missing time is None, which numpy turns into NaN
                time_ms = np.array([item.time for item in items], np.float64) * _FACTOR[self._time_unit]
        except (*_ERRORS, TypeError, AttributeError):
            return self._decode_each(payloads)
        timeless = np.isnan(time_ms)
        possible = timeless | ((time_ms >= _EARLIEST_MS) & (time_ms < _LATEST_MS))
        if not (np.isfinite(value).all() and possible.all()):
            return self._decode_each(payloads)
        time_ms[timeless] = NO_TIME_MS
        return Decoded(value=value, time_ms=np.rint(time_ms).astype(np.int64), faults=[])

    def _decode_each(self, payloads: Sequence[bytes]) -> Decoded:
        """Do the same one by one, to find out which payloads are at fault."""
        value = np.full(len(payloads), np.nan)
        time_ms = np.zeros(len(payloads), np.int64)
        faults = []
        for place, payload in enumerate(payloads):
            fault = None
            try:
                item = self._any(payload)
            except _ERRORS as error:
                fault = (RejectReason.NOT_DECODABLE, self._explain(payload, error))
            else:
                if isinstance(item, float | bool):
                    value[place], time_ms[place] = item, NO_TIME_MS
                else:
                    fault = self._take_object(item, place, value, time_ms)
            if fault is None and not np.isfinite(value[place]):
                fault = (RejectReason.NOT_FINITE, f"the value is {value[place]}")
            if fault:
                faults.append((place, *fault))
        return Decoded(value=value, time_ms=time_ms, faults=faults)

    def _take_object(
        self,
        item: Any,  # noqa: ANN401 -- a struct that is made up at run time
        place: int,
        value: NDArray[np.float64],
        time_ms: NDArray[np.int64],
    ) -> tuple[RejectReason, str] | None:
        value[place] = item.value
        if item.time is None:
            time_ms[place] = NO_TIME_MS
            return None
        try:
            found = self._iso_ms(item.time) if self._time_unit == "iso" else item.time * _FACTOR[self._time_unit]
        except ValueError:
            return RejectReason.BAD_TIME, f"`{self._time_field}` is not ISO 8601: {item.time[:40]!r}"
        if not _EARLIEST_MS <= found < _LATEST_MS:
            return (
                RejectReason.BAD_TIME,
                f"`{self._time_field}` is {item.time}, outside 1970 to 2248; is time_unit {self._time_unit} right?",
            )
        time_ms[place] = round(found)
        return None

    def _iso_ms(self, text: str | None) -> float:
        if text is None:
            return float("nan")
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=self._zone)
        return (found - _EPOCH).total_seconds() * 1000.0

    def _explain(self, payload: bytes, error: Exception) -> str:
        """Return what a person needs to know: what was wanted, then what the parser found."""
        if not payload:
            return "an empty payload"
        found = "nested too deep" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, UnicodeDecodeError):
            found = "not UTF-8"
        if self._time_unit != "iso" and f"$.{self._time_field}" in found:
            return f"`{self._time_field}` must be a number of {self._time_unit} since 1970: {found}"
        return f"neither a number nor a JSON object with a number in `{self._value_field}`: {found}"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
