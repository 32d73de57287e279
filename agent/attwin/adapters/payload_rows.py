"""Readings one by one into columns, for payloads that hold several."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from attwin.adapters.json_tree import shown
from attwin.core.catalogue import Metric
from attwin.core.categories import code_of, wanted
from attwin.core.routes import NoRoute, Routes, Scope
from attwin.core.types import EmptyReason, RejectReason
from attwin.ports import Decoded, Fault

_SHOWN = 40


class Rows:
    """Collects what payloads hold."""

    def __init__(self, routes: Routes) -> None:
        self.faults: list[Fault] = []
        self.refused: list[Fault] = []
        self.silent: list[int] = []
        self.replies: list[tuple[str, bytes]] = []
        self._ignored: Counter[int] = Counter()
        self._empty: dict[int, EmptyReason] = {}
        self._routes = routes
        self._has_codes = any(metric.categories for metric in routes.catalogue.metrics)
        self._place: list[int] = []
        self._series: list[int] = []
        self._value: list[float] = []
        self._time_ms: list[int] = []

    def add(self, place: int, scope: Scope, entity: str, metric: str, value: object, time_ms: int) -> None:
        """Add a reading, or what is wrong with it."""
        coded = self.coded(scope, metric)
        if coded and value is not None:
            code = code_of(coded.categories, value)
            if code is None:
                detail = wanted(coded.name, coded.categories, shown(value))
                self.refuse(place, RejectReason.UNKNOWN_CATEGORY, detail)
                return
            value = code
        if isinstance(value, bool | int | float):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if not math.isfinite(number):
                self.refuse(place, RejectReason.NOT_FINITE, f"the value of `{metric}` is {str(value)[:_SHOWN]}")
                return
        else:
            found = "nothing" if value is None else shown(value)
            self.refuse(place, RejectReason.NOT_DECODABLE, f"the value of `{metric}` must be a number, not {found}")
            return
        series = self._routes.series(scope, entity, metric)
        if isinstance(series, NoRoute):
            self.refuse(place, series.reason, series.detail)
            return
        self._place.append(place)
        self._series.append(series)
        self._value.append(number)
        self._time_ms.append(time_ms)

    def coded(self, scope: Scope, metric: str) -> Metric | None:
        """Return the metric that a payload names, if it has categories."""
        return self._routes.coded(scope, metric) if self._has_codes else None

    def fault(self, place: int, reason: RejectReason, detail: str) -> None:
        """Note a payload of which nothing can be taken."""
        self.faults.append((place, reason, detail))

    def refuse(self, place: int, reason: RejectReason, detail: str) -> None:
        """Note a reading that is not taken."""
        self.refused.append((place, reason, detail))

    def ignore(self, place: int, count: int) -> None:
        """Note values that the configuration does not ask for."""
        if count:
            self._ignored[place] += count

    def is_empty(self, place: int, reason: EmptyReason) -> None:
        """Note why a payload that holds nothing else may hold nothing."""
        self._empty[place] = reason

    def decoded(self, payloads: int) -> Decoded:
        """Return all of it.

        Args:
            payloads: How many there were.
        """
        told = {*self._place, *self._ignored, *(place for place, _, _ in (*self.faults, *self.refused))}
        untold = [place for place in range(payloads) if place not in told] if len(told) < payloads else []
        return Decoded(
            place=np.array(self._place, np.int64),
            series=np.array(self._series, np.int32),
            value=np.array(self._value, np.float64),
            time_ms=np.array(self._time_ms, np.int64),
            faults=self.faults,
            refused=self.refused,
            ignored=self._ignored.total(),
            empty=[(place, self._empty.get(place, EmptyReason.NO_READING)) for place in untold],
            silent=self.silent,
            replies=self.replies,
        )


def withheld(payload: bytes, *, hides: bool) -> bytes:
    """Return a payload as it may be kept where its identifiers cannot be told from the rest."""
    return b"" if hides else payload


def metric_names(values: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the metric that each field stands for."""
    return {field: metric for metric, field in values}
