"""Which levels of topics that were seen say the entity and the metric."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from attwin.core.samples import Sample, numbers_of
from attwin.core.topics import unquote_id

_LAST_WORDS = frozenset(
    (
        *("state", "value", "values", "status", "reading", "readings", "data", "sensor", "get", "set", "result"),
        *("telemetry", "availability", "lwt", "json", "info", "all", "env", "environment"),
    )
)
"""Last levels of topics that say what sort of message it is: never an entity."""
_PARTS = frozenset(("relay", "emeter", "input", "output", "roller", "channel", "light", "switch", "meter", "cover"))
"""Levels after which a number says which part of a thing."""
_SORTS = _PARTS | frozenset(
    (
        *("sensor", "sensors", "binary_sensor", "number", "climate", "device_tracker", "input_boolean"),
        *("input_number", "device", "devices", "room", "rooms", "entity", "entities"),
    )
)
"""Levels that say what sort of thing the next one is: never an entity."""
_PEOPLE = frozenset(
    (
        *("badge", "badges", "person", "persons", "user", "users", "phone", "phones", "visitor", "visitors"),
        *("employee", "employees", "staff", "member", "members"),
    )
)
"""Levels after which one names a person."""
_FULL_NAME = re.compile(r"[^\W\d_]+\.[^\W\d_]+|[^@]+@[^@]+")
"""``first.last``, and addresses."""
_NUMBER = re.compile(r"\d+")
_USUAL_UNITS = (
    ("temp", "Cel"), ("humid", "%RH"), ("co2", "ppm"), ("lux", "lx"), ("illuminance", "lx"), ("light", "lx"),
    ("pressure", "hPa"), ("noise", "dB"), ("battery", "%"), ("dwell", "s"), ("duration", "s"), ("power", "W"),
    ("people", "count"), ("count", "count"), ("visitors", "count"),
)  # fmt: skip
_OF_NUMBERS = "value"
ONE_ENTITY = "main"
"""The entity where nothing says one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Which levels of some topics say the entity and the metric; -1 for none.

    Attributes:
        entity, metric: The levels.
        said_metric: The metric where no level says it, empty where one does or the payload.
    """

    entity: int
    metric: int
    said_metric: str = ""

    def template(self, seen: Sequence[Sample]) -> str:
        """Return the topics as a template: what varies and says neither is any text, and so is what names a person."""
        columns = columns_of(seen)
        parts = []
        for place, texts in enumerate(columns):
            if place == self.metric:
                parts.append("{metric}")
            elif place == self.entity:
                parts.append("{entity}")
            else:
                parts.append("+" if len(texts) > 1 or may_be_person(columns, place) else texts[0])
        return "/".join(parts)

    def entity_of(self, sample: Sample) -> str:
        """Return the entity that a topic says."""
        return unquote_id(sample.levels[self.entity]) if self.entity >= 0 else ONE_ENTITY

    def metric_of(self, sample: Sample) -> str:
        """Return the metric that a topic says."""
        return sample.levels[self.metric] if self.metric >= 0 else self.said_metric


def places_of(seen: Sequence[Sample], *, entity: bool, metric: bool) -> Places:
    """Return which levels say what the payload does not.

    The metric is the last level that says anything. Where the level before a last word is the only one that can be an
    entity and names no quantity, it is the entity and the last word the metric.
    """
    columns = columns_of(seen)
    last = _last_telling(columns) if metric else -1
    if not entity:
        return Places(entity=-1, metric=last)
    named = [place for place in range(1, len(columns)) if not all(map(_is_no_entity, columns[place]))]
    if 0 < last < len(columns) - 1 and named == [last] and not all(map(_begins_as_measure, columns[last])):
        word = columns[last + 1][0]
        return Places(entity=last, metric=-1, said_metric=_OF_NUMBERS if _NUMBER.fullmatch(word) else word.lower())
    others = [place for place in range(1, len(columns)) if place != last]
    sorts = [] if metric else [place for place in others if _is_sort(seen, place)]
    return Places(entity=_entity_place(columns, others, named, sorts), metric=last)


def _entity_place(
    columns: Sequence[Sequence[str]], others: Sequence[int], named: Sequence[int], sorts: Sequence[int]
) -> int:
    """Return the level that says the entity, -1 for none.

    It is the last one that varies, but for sorts of messages and numbers of parts such as ``relay/0``; where none does,
    the last one that may be a name.

    Args:
        columns: The texts of every level.
        others: The levels that do not say the metric.
        named: Those that may be a name.
        sorts: Those that say the sort of a message.
    """
    varying = [place for place in others if len(columns[place]) > 1]
    fixed = [place for place in named if place in others and place not in varying]
    numbers = [place for place in varying if all(map(_NUMBER.fullmatch, columns[place]))]
    before_number = [place for place in fixed if all(map(_NUMBER.fullmatch, (*columns, ["-"])[place + 1]))]
    for candidates in (
        [place for place in varying if place in named and place not in sorts],
        [place for place in numbers if not _PARTS.issuperset(columns[place - 1])],
        [place for place in fixed if place not in before_number and not are_measures(columns[place])],
        fixed,
        [place for place in others if not _LAST_WORDS.issuperset(text.lower() for text in columns[place])],
    ):
        if candidates:
            return max(candidates)
    return 0 if len(columns) > 1 else -1


def columns_of(seen: Sequence[Sample]) -> list[list[str]]:
    """Return the texts of every level of some topics."""
    return [sorted({sample.levels[place] for sample in seen}) for place in range(len(seen[0].levels))]


def are_measures(names: Iterable[str]) -> bool:
    """Return whether any of some names is that of a quantity."""
    return any(part in name.lower() for name in names for part, _ in _USUAL_UNITS)


def is_sort_name(text: str) -> bool:
    """Return whether a text says what sort of thing entities are."""
    return text.lower() in _SORTS


def usual_unit(name: str) -> str:
    """Return a guess of the unit of a metric."""
    return next((unit for part, unit in _USUAL_UNITS if part in name), "1")


def _last_telling(columns: Sequence[Sequence[str]]) -> int:
    """Return the last level that is more than one last word."""
    last = len(columns) - 1
    while last > 1 and len(columns[last]) == 1 and _says_nothing(columns[last][0]):
        last -= 1
    return last


def _says_nothing(text: str) -> bool:
    return text.lower() in _LAST_WORDS or _NUMBER.fullmatch(text) is not None


def _is_no_entity(text: str) -> bool:
    return _says_nothing(text) or text.lower() in _SORTS | _PEOPLE


def _begins_as_measure(text: str) -> bool:
    return text.lower().startswith(tuple(part for part, _ in _USUAL_UNITS))


def may_be_person(columns: Sequence[Sequence[str]], place: int) -> bool:
    """Return whether a level may name somebody."""
    before = columns[place - 1] if place else []
    return any(text.lower() in _PEOPLE for text in before) or any(map(_FULL_NAME.fullmatch, columns[place]))


def _is_sort(seen: Sequence[Sample], place: int) -> bool:
    """Return whether a level varies and messages with different texts there have no number in common."""
    paths: dict[str, set[str]] = defaultdict(set)
    for sample in seen:
        paths[sample.levels[place]] |= {path for record in sample.records for path, _ in numbers_of(record)}
    return len(paths) > 1 and all(paths.values()) and all(a.isdisjoint(b) for a, b in combinations(paths.values(), 2))
