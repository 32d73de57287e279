"""From a topic to a series: compiled once a topic, then one dictionary look-up a message."""

from collections.abc import Sequence
from dataclasses import dataclass

from attwin.core.catalogue import Catalogue
from attwin.core.topics import TopicTemplate, is_id, unquote_id
from attwin.core.types import RejectReason

SOURCE_SHIFT = 32
"""A route is ``source << SOURCE_SHIFT | series``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Topics that carry readings, with names resolved.

    Attributes:
        template: The compiled topic.
        kind: The index of the kind found there.
        entity: The entity where the topic does not say it; empty otherwise.
        metric: The metric where the topic does not say it; empty otherwise.
    """

    template: TopicTemplate
    kind: int
    entity: str
    metric: str


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Why a topic leads nowhere."""

    source: int
    reason: RejectReason
    detail: str


class Routes:
    """Knows where the readings of a topic belong, and learns entities where that is allowed.

    Attributes:
        known: The route of every topic that was found.
        learned: Entities that were added since somebody emptied this.
    """

    def __init__(self, sources: Sequence[Source], catalogue: Catalogue, *, learn: bool, own_base: str) -> None:
        self.known: dict[bytes, int] = {}
        self.learned: list[int] = []
        self._sources = tuple(sources)
        self._catalogue = catalogue
        self._learn = learn
        self._own_base = own_base

    def find(self, topic: bytes) -> int | NoRoute:
        """Return the route of a topic that is not in ``known``, or why there is none."""
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return NoRoute(-1, RejectReason.BAD_TOPIC, "the topic is not UTF-8")
        if text.startswith(self._own_base):
            return NoRoute(-1, RejectReason.UNKNOWN_TOPIC, "the agent's own topics are not read back")
        levels = text.split("/")
        for index, source in enumerate(self._sources):
            if source.template.match(levels):
                found = self._series(index, source, levels)
                if isinstance(found, int):
                    self.known[topic] = found = index << SOURCE_SHIFT | found
                return found
        return NoRoute(-1, RejectReason.UNKNOWN_TOPIC, "no source has a topic like this")

    def forget(self, entity: int) -> None:
        """Forget the topics of an entity."""
        mask = (1 << SOURCE_SHIFT) - 1
        own = self._catalogue.series_of(entity)
        self.known = {topic: route for topic, route in self.known.items() if route & mask not in own}

    def series_of(self, entity: int) -> list[int]:
        """Return the series of an entity."""
        return list(self._catalogue.series_of(entity))

    def unlearn(self, entity: int) -> None:
        """Forget an entity that was just added, before anything is kept of it."""
        self.forget(entity)
        self._catalogue.forget(entity)

    def _series(self, index: int, source: Source, levels: list[str]) -> int | NoRoute:
        template, kind = source.template, self._catalogue.kinds[source.kind]
        metric_name = source.metric if template.metric_level is None else unquote_id(levels[template.metric_level])
        metric = kind.metric_index(metric_name)
        if metric is None:
            known = ", ".join(m.name for m in kind.metrics)
            return NoRoute(index, RejectReason.UNKNOWN_METRIC, f"kind `{kind.name}` has {known}")
        entity_id = source.entity if template.entity_level is None else unquote_id(levels[template.entity_level])
        entity = self._catalogue.find(entity_id)
        if entity is None:
            refusal = self._refusal(entity_id)
            if refusal:
                return NoRoute(index, *refusal)
            entity = self._catalogue.add(entity_id, source.kind)
            self.learned.append(entity)
        elif self._catalogue.entity_kind[entity] != source.kind:
            other = self._catalogue.kind_of(entity).name
            return NoRoute(index, RejectReason.UNKNOWN_ENTITY, f"`{entity_id}` is a `{other}`, not a `{kind.name}`")
        return int(self._catalogue.first_series[entity]) + metric

    def _refusal(self, entity_id: str) -> tuple[RejectReason, str] | None:
        if not is_id(entity_id):
            return RejectReason.BAD_TOPIC, "an entity id has 1 to 64 letters, digits or any of . _ : ~ -"
        if not self._learn:
            return RejectReason.UNKNOWN_ENTITY, "not in `entities`, and limits.learn is false"
        if self._catalogue.is_full:
            return RejectReason.ENTITY_LIMIT, f"limits.entities is {self._catalogue.most_entities}"
        return None
