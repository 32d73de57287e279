"""JSON objects with several readings, or with the entity or the metric in them; the presets thin-edge and state."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.json_tree import JSON_ERRORS, Path, at, masked_json, parse_json, shown
from attwin.adapters.payload_rows import Rows
from attwin.adapters.payload_time import TimeReader
from attwin.core.routes import Routes, Scope
from attwin.core.types import EmptyReason, RejectReason
from attwin.ports import Decoded

_WORDS = {
    **dict.fromkeys(("on", "true", "open", "home", "yes", "occupied", "detected", "wet", "unlocked"), 1.0),
    **dict.fromkeys(("off", "false", "closed", "not_home", "no", "clear", "dry", "locked"), 0.0),
}
_NO_STATE = frozenset(("", "unavailable", "unknown", "none", "null"))
_STATES = _NO_STATE.union(_WORDS) - {""}


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectShape:
    """Where things are in an object.

    Attributes:
        items: Where the list of objects is; empty where the payload is one object, or a list of them.
        values: The path of each metric.
        value: Where the one value is, for a payload that names its metric or whose topic does.
        time, entity, metric: Where these are; empty for nowhere.
        metrics: The metric that a name in the payload stands for, where it is another.
        hidden: Fields that identify people or devices.
        words: Whether ON, OFF and the like are numbers, and texts such as "21.5" too.
        others: Whether fields that are no metric of ours are counted as ignored, two levels deep.
    """

    items: Path = ()
    values: Mapping[str, Path]
    value: Path
    time: Path
    entity: Path = ()
    metric: Path = ()
    metrics: Mapping[str, str]
    hidden: Sequence[Path] = ()
    words: bool = False
    others: bool = False


class ObjectDecoder:
    """Implements ``ports.Decoder`` for one source."""

    def __init__(self, shape: ObjectShape, routes: Routes, times: TimeReader) -> None:
        self._shape = shape
        self._routes = routes
        self._times = times
        self._wanted = "neither JSON nor a state such as ON" if shape.words else "not JSON"
        self._used = {shape.time, *shape.values.values()}

    def decode(self, payloads: Sequence[bytes], slots: NDArray[np.int64], now_ms: int) -> Decoded:  # noqa: ARG002 -- the port's
        """Return the readings of payloads; ``slots`` are places of scopes."""
        rows = Rows(self._routes)
        for place, (payload, slot) in enumerate(zip(payloads, slots.tolist(), strict=True)):
            scope = self._routes.scopes[slot]
            try:
                tree = parse_json(payload)
            except JSON_ERRORS as error:
                text = payload.decode(errors="replace").strip()
                if not (self._shape.words and (text.lower() in _STATES or rows.coded(scope, ""))):
                    found = "nested too deep" if isinstance(error, RecursionError) else str(error)
                    rows.fault(place, RejectReason.NOT_DECODABLE, f"{self._wanted}: {found}")
                    continue
                # a state topic may hold a bare word
                tree = text
            self._take_tree(rows, place, scope, tree)
        return rows.decoded(len(payloads))

    keeps_state = False

    def masked(self, payload: bytes) -> bytes:
        """Return a payload without what its hidden fields hold."""
        return masked_json(payload, self._shape.hidden)

    def _take_tree(self, rows: Rows, place: int, scope: Scope, tree: object) -> None:
        shape = self._shape
        found = at(tree, shape.items)
        items = found if isinstance(found, list) else [found]
        if found is None and shape.items:
            rows.fault(place, RejectReason.NOT_DECODABLE, f"no list in `{'.'.join(shape.items)}`")
            return
        if not (isinstance(found, dict | list) or shape.metric or scope.metric or self._is_no_state(found)):
            rows.fault(place, RejectReason.NOT_DECODABLE, self._explain(found))
            return
        # what an item does not say, the object around the list may say for all
        around = tree if shape.items else None
        for item in items:
            self._take_item(rows, place, scope, item, around)

    def _take_item(self, rows: Rows, place: int, scope: Scope, item: object, around: object) -> None:
        shape = self._shape
        if self._is_no_state(item):
            rows.is_empty(place, EmptyReason.UNAVAILABLE)
            return
        try:
            time_ms = self._times.read(_own_or_common(item, around, shape.time))
        except ValueError as error:
            rows.refuse(place, RejectReason.BAD_TIME, str(error))
            return
        entity = ""
        if shape.entity:
            given = _own_or_common(item, around, shape.entity)
            if not isinstance(given, str | int) or isinstance(given, bool) or given == "":
                rows.refuse(place, RejectReason.UNKNOWN_ENTITY, f"no entity in `{'.'.join(shape.entity)}`")
                return
            entity = str(given)
        if shape.values and isinstance(item, dict):
            self._take_values(rows, place, scope, entity, item, time_ms)
        elif shape.metric or scope.metric:
            self._take_value(rows, place, scope, entity, item, around, time_ms)
        else:
            rows.refuse(place, RejectReason.NOT_DECODABLE, self._explain(item))

    def _is_no_state(self, item: object) -> bool:
        return self._shape.words and isinstance(item, str) and item.strip().lower() in _NO_STATE

    def _explain(self, item: object) -> str:
        wanted = "an object" if self._shape.values else "a metric in the topic or the payload"
        return f"{wanted} is needed, not {shown(item)}"

    def _take_values(
        self, rows: Rows, place: int, scope: Scope, entity: str, item: dict[str, object], time_ms: int
    ) -> None:
        for metric, path in self._shape.values.items():
            self._add(rows, place, scope, entity, metric, at(item, path), time_ms)
        if self._shape.others:
            rows.ignore(place, sum(path not in self._used for path in _value_paths(item, words=self._shape.words)))

    def _take_value(
        self, rows: Rows, place: int, scope: Scope, entity: str, item: object, around: object, time_ms: int
    ) -> None:
        shape = self._shape
        metric = ""
        if shape.metric:
            given = _own_or_common(item, around, shape.metric)
            if not isinstance(given, str) or not given:
                rows.refuse(place, RejectReason.UNKNOWN_METRIC, f"no metric in `{'.'.join(shape.metric)}`")
                return
            metric = shape.metrics.get(given, given)
        value = at(item, shape.value) if isinstance(item, dict) else item
        if value is None:
            rows.refuse(place, RejectReason.NOT_DECODABLE, f"no value in `{'.'.join(shape.value)}`")
            return
        self._add(rows, place, scope, entity, metric, value, time_ms)

    def _add(self, rows: Rows, place: int, scope: Scope, entity: str, metric: str, value: object, time_ms: int) -> None:
        if self._shape.words and isinstance(value, str):
            word = value.strip().lower()
            if word in _NO_STATE:
                rows.is_empty(place, EmptyReason.UNAVAILABLE)
                return
            if not rows.coded(scope, metric):
                value = _WORDS.get(word, _number(value))
        if value is not None:
            rows.add(place, scope, entity, metric, value, time_ms)


def _own_or_common(item: object, around: object, path: Path) -> object:
    own = at(item, path)
    return at(around, path) if own is None else own


def _number(text: str) -> float | str:
    """Return the number that a text is, else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _value_paths(item: Mapping[str, object], *, words: bool) -> Iterator[Path]:
    """Yield where an object holds numbers, and words that stand for one if wanted, two levels deep."""
    for name, value in item.items():
        if isinstance(value, dict):
            yield from ((name, inner) for inner, given in value.items() if _is_value(given, words=words))
        elif _is_value(value, words=words):
            yield (name,)


def _is_value(given: object, *, words: bool) -> bool:
    return isinstance(given, int | float) or (words and isinstance(given, str) and given.strip().lower() in _WORDS)
