"""Readings one by one into columns, for payloads that hold several."""

import math
from collections.abc import Sequence

import numpy as np

from attwin.adapters.json_tree import shown
from attwin.core.catalogue import Metric
from attwin.core.categories import code_of, wanted
from attwin.core.routes import NoRoute, Routes, Scope
from attwin.core.types import RejectReason
from attwin.ports import Decoded, Fault

_SHOWN = 40


class Rows:
    """Collects what payloads hold."""

    def __init__(self, routes: Routes) -> None:
        self.faults: list[Fault] = []
        self.refused: list[Fault] = []
        self.ignored = 0
        self.silent: list[int] = []
        self.replies: list[tuple[str, bytes]] = []
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

    def decoded(self) -> Decoded:
        """Return all of it."""
        return Decoded(
            place=np.array(self._place, np.int64),
            series=np.array(self._series, np.int32),
            value=np.array(self._value, np.float64),
            time_ms=np.array(self._time_ms, np.int64),
            faults=self.faults,
            refused=self.refused,
            ignored=self.ignored,
            silent=self.silent,
            replies=self.replies,
        )


def withheld(payload: bytes, *, hides: bool) -> bytes:
    """Return a payload as it may be kept where its identifiers cannot be told from the rest."""
    return b"" if hides else payload


def metric_names(values: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the metric that each field stands for."""
    return {field: metric for metric, field in values}
