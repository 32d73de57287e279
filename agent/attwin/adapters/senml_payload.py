"""SenML packs, JSON and CBOR, resolved as a whole batch of them at once.

What the names and units of a pack mean is remembered, because a device sends the same ones again and again; times and
values are resolved as columns.

Source: RFC 8428, sections 4.5 (base fields), 4.6 (resolved records), 5 (JSON) and 6 (CBOR).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from attwin.adapters.json_tree import JSON_ERRORS
from attwin.adapters.payload_rows import withheld
from attwin.adapters.payload_time import EARLIEST_MS, LATEST_MS
from attwin.core.routes import NoRoute, Routes, Scope
from attwin.core.types import EmptyReason, RejectReason
from attwin.core.units import conversion
from attwin.ports import NO_TIME_MS, Decoded, Fault

_VERSION = 10
_RELATIVE_S = 2.0**28
"""Smaller times are about now; RFC 8428, section 4.5.3."""
_MOST_SHAPES = 10_000
_MOST_PATTERNS = 256
_CBOR_LABELS = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip


class Record(msgspec.Struct, gc=False):
    """One record of a pack as sent."""

    bn: str | None = None
    bt: float | None = None
    bu: str | None = None
    bv: float | None = None
    bver: int | None = None
    n: str | None = None
    u: str | None = None
    v: float | None = None
    vb: bool | None = None
    vs: str | None = None
    vd: Any = None
    s: float | None = None
    bs: float | None = None
    t: float | None = None
    ut: float | None = None


Reads = Callable[[bytes], list[Record]]


def json_records() -> Reads:
    """Return the reader of SenML JSON.

    It raises one of ``JSON_ERRORS``.
    """
    decode = msgspec.json.Decoder(list[Record]).decode
    decode_any = msgspec.json.Decoder(list[dict[str, Any]]).decode

    def read(payload: bytes) -> list[Record]:
        if b'_"' in payload:
            _refuse_unknown(chain.from_iterable(decode_any(payload)))
        return decode(payload)

    return read


def cbor_records() -> Reads:
    """Return the reader of SenML CBOR; it needs cbor2.

    It raises one of ``JSON_ERRORS``.

    Raises:
        ImportError: cbor2 is not installed.
    """
    import cbor2  # noqa: PLC0415 -- an extra, only where a source asks for it

    def read(payload: bytes) -> list[Record]:
        try:
            pack = cbor2.loads(payload)
        except (cbor2.CBORDecodeError, EOFError, TypeError, AttributeError, MemoryError) as error:
            raise ValueError(f"not CBOR: {error}") from error
        if not isinstance(pack, list) or not all(isinstance(record, dict) for record in pack):
            raise ValueError("a pack is a list of maps")
        _refuse_unknown(name for record in pack for name in record if isinstance(name, str))
        labelled = [
            {
                _CBOR_LABELS.get(name, str(name)) if isinstance(name, int) else name: value
                for name, value in record.items()
            }
            for record in pack
        ]
        return msgspec.convert(labelled, list[Record])

    return read


def _refuse_unknown(names: Any) -> None:  # noqa: ANN401 -- an iterable of texts
    """Refuse fields that must be understood; RFC 8428, section 4.4."""
    for name in names:
        if name.endswith("_"):
            raise ValueError(f"field `{name}` must be understood, and is not known")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shape:
    """What the names and units of one pack mean, a record each.

    Attributes:
        series: -1 where a record leads nowhere. Shape (N,).
        scale, offset: To the metric's unit. Shape (N,).
        problems: Why a record leads nowhere, by its place in the pack.
    """

    series: NDArray[np.int32]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    problems: dict[int, tuple[RejectReason, str]]


class SenmlDecoder:
    """Implements ``ports.Decoder`` for one source."""

    def __init__(
        self, read: Reads, name: re.Pattern[str], metrics: Mapping[str, str], routes: Routes, *, hides: bool
    ) -> None:
        """Make a decoder.

        Args:
            read: JSON or CBOR.
            name: Finds ``entity`` and ``metric`` in a name.
            metrics: The metric that a name's metric stands for, where it is another.
            routes: Where names lead.
            hides: Whether names hold identifiers of people or devices.
        """
        self._read = read
        self._name = name
        self._metrics = metrics
        self._routes = routes
        self._hides = hides
        self._shapes: dict[tuple[int, str | None, int], _Shape] = {}
        self._patterns: dict[object, int] = {}
        self._generation = routes.generation

    keeps_state = False

    def masked(self, payload: bytes) -> bytes:
        """Return a payload as it may be kept."""
        return withheld(payload, hides=self._hides)

    def decode(self, payloads: Sequence[bytes], slots: NDArray[np.int64], now_ms: int) -> Decoded:
        """Return the readings of packs; ``slots`` are places of scopes."""
        if self._generation != self._routes.generation:
            self._shapes.clear()
            self._generation = self._routes.generation
        faults: list[Fault] = []
        packs, places, shapes = [], [], []
        for place, (payload, slot) in enumerate(zip(payloads, slots.tolist(), strict=True)):
            try:
                pack = self._read(payload)
                shape = self._shape_of(self._routes.scopes[slot], pack)
            except JSON_ERRORS as error:
                found = "nested too deep" if isinstance(error, RecursionError) else str(error)
                faults.append((place, RejectReason.NOT_DECODABLE, f"not a SenML pack: {found}"))
                continue
            packs.append(pack)
            places.append(place)
            shapes.append(shape)
        if not packs:
            return Decoded(
                place=np.empty(0, np.int64),
                series=np.empty(0, np.int32),
                value=np.empty(0),
                time_ms=np.empty(0, np.int64),
                faults=faults,
            )
        # what overflows becomes infinite, and is refused
        with np.errstate(over="ignore", invalid="ignore"):
            return self._columns(packs, np.array(places), shapes, faults, now_ms)

    def _columns(
        self,
        packs: Sequence[list[Record]],
        places: NDArray[np.int64],
        shapes: Sequence[_Shape],
        faults: list[Fault],
        now_ms: int,
    ) -> Decoded:
        lengths = np.array([len(pack) for pack in packs])
        starts = np.cumsum(lengths) - lengths
        records = list(chain.from_iterable(packs))
        place = np.repeat(places, lengths)
        value, has_value = self._values(records, starts)
        time_ms, possible, relative = self._times(records, starts, now_ms)
        series = np.concatenate([shape.series for shape in shapes])
        value = value * np.concatenate([s.scale for s in shapes]) + np.concatenate([s.offset for s in shapes])
        refused: list[Fault] = []
        for shape, start in zip(shapes, starts.tolist(), strict=True):
            refused += [
                (int(place[start + k]), *why) for k, why in shape.problems.items() if _means(records[start + k])
            ]
        for row in np.flatnonzero((series >= 0) & ~(has_value & np.isfinite(value) & possible)).tolist():
            problem = _problem(records[row], has_value=bool(has_value[row]), possible=bool(possible[row]))
            if problem:
                refused.append((int(place[row]), *problem))
        keep = (series >= 0) & has_value & np.isfinite(value) & possible
        told = set() if keep.all() else {*place[keep].tolist(), *(where for where, _, _ in refused)}
        return Decoded(
            place=place[keep],
            series=series[keep],
            value=value[keep],
            time_ms=time_ms[keep],
            about_now=relative[keep],
            faults=faults,
            refused=refused,
            empty=[] if keep.all() else [(p, EmptyReason.NO_READING) for p in places.tolist() if p not in told],
        )

    @staticmethod
    def _values(records: Sequence[Record], starts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the value of each record with its base value, and where there is one."""
        # None becomes NaN
        value = np.array([record.v for record in records], np.float64)
        base = _carried(np.array([record.bv for record in records], np.float64), starts)
        has_value = ~np.isnan(value)
        if has_value.all():
            return value + base, has_value
        flag = np.array([record.vb for record in records], np.float64)
        return np.where(has_value, value + base, flag), has_value | ~np.isnan(flag)

    @staticmethod
    def _times(
        records: Sequence[Record], starts: NDArray[np.int64], now_ms: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the time of each record, where it is possible, and where it is about now."""
        own = np.array([record.t for record in records], np.float64)
        seconds = np.nan_to_num(own) + _carried(np.array([record.bt for record in records], np.float64), starts)
        relative = np.abs(seconds) < _RELATIVE_S
        found = np.rint(seconds * 1000.0 + np.where(relative, now_ms, 0))
        possible = (found >= EARLIEST_MS) & (found < LATEST_MS)
        time_ms = np.where(possible, found, 0).astype(np.int64)
        time_ms[seconds == 0] = NO_TIME_MS
        return time_ms, possible, relative

    def _shape_of(self, scope: Scope, pack: Sequence[Record]) -> _Shape:
        """Return what the names and units of a pack mean.

        Raises:
            ValueError: The pack is empty, of another version, or a name is missing.
        """
        if not pack:
            raise ValueError("an empty pack")
        first, rest = pack[0], pack[1:]
        # devices differ by their base name, and send packs of one pattern; a record without a value is not resolved
        pattern = (
            _names(first)[1:],
            *[(r.bn, r.n, r.bu, r.u, r.bver, r.v is None and not _means(r)) for r in rest],
        )
        known = self._patterns.setdefault(pattern, len(self._patterns))
        key = (id(scope), first.bn, known)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._compile(scope, pack)
            if len(self._shapes) >= _MOST_SHAPES or len(self._patterns) > _MOST_PATTERNS:
                self._shapes.clear()
                self._patterns.clear()
            # there may be room for another entity tomorrow
            elif all(reason != RejectReason.ENTITY_LIMIT for reason, _ in shape.problems.values()):
                self._shapes[key] = shape
        return shape

    def _compile(self, scope: Scope, pack: Sequence[Record]) -> _Shape:
        versions = {record.bver for record in pack if record.bver is not None}
        if len(versions) > 1 or max(versions, default=_VERSION) > _VERSION:
            raise ValueError(f"version {', '.join(map(str, sorted(versions)))}; {_VERSION} and older are known")
        series = np.full(len(pack), -1, np.int32)
        scale, offset = np.ones(len(pack)), np.zeros(len(pack))
        problems: dict[int, tuple[RejectReason, str]] = {}
        base_name = base_unit = ""
        for place, record in enumerate(pack):
            base_name = base_name if record.bn is None else record.bn
            base_unit = base_unit if record.bu is None else record.bu
            if not _means(record):
                continue
            name = base_name + (record.n or "")
            if not name:
                raise ValueError(f"record {place} has neither a name nor a base name")
            found = self._find(scope, name, base_unit if record.u is None else record.u)
            if isinstance(found, tuple) and isinstance(found[0], RejectReason):
                problems[place] = (found[0], str(found[1]))
            else:
                series[place], scale[place], offset[place] = found
        return _Shape(series=series, scale=scale, offset=offset, problems=problems)

    def _find(self, scope: Scope, name: str, unit: str) -> tuple[RejectReason, str] | tuple[int, float, float]:
        """Return (series, scale, offset) of a name with a unit, or why it leads nowhere."""
        match = self._name.fullmatch(name)
        if match is None:
            return RejectReason.UNKNOWN_METRIC, f"a name is not like {self._name.pattern}"
        parts = match.groupdict()
        metric = parts.get("metric") or ""
        series = self._routes.series(scope, parts.get("entity") or "", self._metrics.get(metric, metric))
        if isinstance(series, NoRoute):
            return series.reason, series.detail
        wanted = self._routes.catalogue.metric_of(series)
        way = conversion(unit, wanted.unit) if unit else (1.0, 0.0)
        if way is None:
            return RejectReason.WRONG_UNIT, f"`{unit}` cannot become `{wanted.unit}` of `{wanted.name}`"
        return series, *way


def _names(record: Record) -> tuple[object, ...]:
    """Return what decides how a record is resolved, its base name first."""
    valueless = record.v is None and not _means(record)
    return record.bn, record.n, record.bu, record.u, record.bver, valueless


def _means(record: Record) -> bool:
    """Return whether a record has a value of any sort, and not base fields alone."""
    return any(given is not None for given in (record.v, record.vb, record.vs, record.vd, record.s))


def _problem(record: Record, *, has_value: bool, possible: bool) -> tuple[RejectReason, str] | None:
    if not _means(record):
        return None
    if not has_value:
        return RejectReason.NOT_DECODABLE, "only `v` and `vb` are readings; this record has text, data or a sum"
    if not possible:
        return RejectReason.BAD_TIME, f"the time {record.t} is outside 1970 to 2248"
    return RejectReason.NOT_FINITE, "the value is not finite"


def _carried(base: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return base fields carried to the records after them, 0 before the first of each pack. Shape (N,)."""
    base[starts] = np.nan_to_num(base[starts])
    given = np.flatnonzero(~np.isnan(base))
    return np.repeat(base[given], np.diff(given, append=len(base)))
