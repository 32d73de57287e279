"""From a topic to a series: compiled once a topic, then one dictionary look-up a message.

Where the topic says entity and metric, its route is a series. Where the payload says one of them, the route is a
``Scope``: what the topic says, and the series of the names that its payloads use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from attwin.core.catalogue import Catalogue, Metric
from attwin.core.pseudonyms import pseudonym
from attwin.core.topics import ID_RULE, TopicTemplate, is_id
from attwin.core.types import RejectReason

SOURCE_SHIFT = 32
"""A route is ``source << SOURCE_SHIFT | series``, or the place of a scope instead of the series."""
_SPARE_TOPICS = 1_000
_TOPICS_A_SERIES = 4
_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Topics that carry readings, with names resolved.

    Attributes:
        templates: The compiled topics.
        kind: The index of the kind found there.
        entity: The entity where neither topic nor payload says it; empty otherwise.
        metric: The metric where neither topic nor payload says it; empty otherwise.
        payload_says: Whether the payload says the entity or the metric.
        entity_levels: The topic fields that name the entity; those that the topic has, joined by colons.
        identifiers: Topic fields and payload fields that identify people or devices; ``entity`` is the entity itself.
        key: The secret of their pseudonyms.
        domain: Within which an identifier has one pseudonym.
    """

    templates: tuple[TopicTemplate, ...]
    kind: int
    entity: str = ""
    metric: str = ""
    payload_says: bool = False
    entity_levels: tuple[str, ...] = ("entity",)
    identifiers: frozenset[str] = frozenset()
    key: bytes = field(default=b"", repr=False)
    domain: str = ""

    def pseudonym(self, identifier: str) -> str:
        """Return the pseudonym of an identifier."""
        return pseudonym(self.key, self.domain, identifier)

    @property
    def hides_entity(self) -> bool:
        """Whether the entity's id is a pseudonym."""
        return "entity" in self.identifiers


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Why a topic or a name leads nowhere."""

    source: int
    reason: RejectReason
    detail: str


@dataclass(slots=True, kw_only=True, eq=False)
class Scope:
    """What a topic says of the readings in its payloads.

    Attributes:
        source: The index of the source.
        levels: What the fields of the topic stand for.
        entity: The entity's id, empty where the payload says it.
        metric: The metric's name, empty where the payload says it.
        known: The series of (entity, metric) as payloads name them.
    """

    source: int
    levels: dict[str, str]
    entity: str
    metric: str
    known: dict[tuple[str, str], int] = field(default_factory=dict)


class Routes:
    """Knows where the readings of a topic belong, and learns entities where that is allowed.

    Attributes:
        known: The route of every topic that was found.
        scopes: By place.
        learned: Entities that were added since somebody emptied this.
        hides: Whether any source has identifiers of people or devices.
        generation: Changes when a series that was handed out may mean another entity.
    """

    def __init__(self, sources: Sequence[Source], catalogue: Catalogue, *, learn: bool, own_base: str) -> None:
        self.known: dict[bytes, int] = {}
        self.scopes: list[Scope] = []
        self.learned: list[int] = []
        self.generation = 0
        self.sources = tuple(sources)
        self.catalogue = catalogue
        self._learn = learn
        self.hides = any(source.identifiers for source in sources)
        self._own_base = own_base

    def find(self, topic: bytes) -> int | NoRoute:
        """Return the route of a topic that is not in ``known``, or why there is none."""
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return NoRoute(-1, RejectReason.BAD_TOPIC, "the topic is not UTF-8")
        if text.startswith(self._own_base):
            return NoRoute(-1, RejectReason.UNKNOWN_TOPIC, "the agent's own topics are not read back")
        index, levels = self._match(text)
        if index < 0:
            return NoRoute(-1, RejectReason.UNKNOWN_TOPIC, "no source has a topic like this")
        source = self.sources[index]
        entity = ":".join(levels[name] for name in source.entity_levels if name in levels) or source.entity
        metric = levels.get("metric", source.metric)
        if source.payload_says:
            self.scopes.append(Scope(source=index, levels=levels, entity=entity, metric=metric))
            found: int | NoRoute = len(self.scopes) - 1
        else:
            found = self._series(index, entity, metric)
        if isinstance(found, int):
            self.known[topic] = found = index << SOURCE_SHIFT | found
        return found

    def series(self, scope: Scope, entity: str, metric: str) -> int | NoRoute:
        """Return the series that a payload names, or why there is none.

        Args:
            scope: What the topic says.
            entity: As in the payload; empty where the topic says it.
            metric: As in the payload; empty where the topic says it.
        """
        found = scope.known.get((entity, metric))
        if found is not None:
            return found
        answer = self._series(scope.source, entity or scope.entity, metric or scope.metric)
        if isinstance(answer, int):
            scope.known[entity, metric] = answer
        return answer

    def coded(self, scope: Scope, metric: str) -> Metric | None:
        """Return the metric that a payload names, if it has categories."""
        kind = self.catalogue.kinds[self.sources[scope.source].kind]
        place = kind.metric_index(metric or scope.metric)
        return kind.metrics[place] if place is not None and kind.metrics[place].categories else None

    def entity_of(self, scope: Scope) -> int | None:
        """Return the entity that a topic names, None where it is not known."""
        source = self.sources[scope.source]
        return self.catalogue.find(source.pseudonym(scope.entity) if source.hides_entity else scope.entity)

    def masked(self, topic: str, source: int) -> str:
        """Return a topic as it may be kept: pseudonyms in the place of identifiers."""
        if source < 0:
            source, _ = self._match(topic)
        if source < 0:
            return "(withheld: a source has identifiers)" if self.hides else topic
        own = self.sources[source]
        levels = topic.split("/")
        template = next((t for t in own.templates if t.match(levels)), None)
        hidden = {level for level in (template.fields if template else ()) if self._hides(own, level)}
        if not hidden or template is None:
            return topic
        values = template.values(levels)
        for name in hidden:
            levels[template.fields[name]] = own.pseudonym(values[name])
        return "/".join(levels)

    def make_room(self) -> None:
        """Forget all topics where there are too many: they are found again, and nobody fills the memory with them."""
        if max(len(self.known), len(self.scopes)) > _SPARE_TOPICS + _TOPICS_A_SERIES * self.catalogue.series_count:
            self.known, self.scopes = {}, []
            self.generation += 1

    def forget(self, entity: int) -> None:
        """Forget the topics and names of an entity."""
        self.generation += 1
        own = self.catalogue.series_of(entity)
        mask = (1 << SOURCE_SHIFT) - 1
        says = [source.payload_says for source in self.sources]
        self.known = {
            topic: route
            for topic, route in self.known.items()
            if says[route >> SOURCE_SHIFT] or route & mask not in own
        }
        for scope in self.scopes:
            scope.known = {name: series for name, series in scope.known.items() if series not in own}

    def series_of(self, entity: int) -> list[int]:
        """Return the series of an entity."""
        return list(self.catalogue.series_of(entity))

    def unlearn(self, entity: int) -> None:
        """Forget an entity that was just added, before anything is kept of it."""
        self.forget(entity)
        self.catalogue.forget(entity)

    def _match(self, topic: str) -> tuple[int, dict[str, str]]:
        """Return the source of a topic and what its fields stand for; -1 for no source."""
        levels = topic.split("/")
        for index, source in enumerate(self.sources):
            for template in source.templates:
                if template.match(levels):
                    return index, template.values(levels)
        return -1, {}

    def _hides(self, source: Source, level: str) -> bool:
        return level in source.identifiers or (source.hides_entity and level in source.entity_levels)

    def _series(self, index: int, entity_id: str, metric_name: str) -> int | NoRoute:
        source = self.sources[index]
        kind = self.catalogue.kinds[source.kind]
        metric = kind.metric_index(metric_name)
        if metric is None:
            known = ", ".join(m.name for m in kind.metrics)
            return NoRoute(
                index,
                RejectReason.UNKNOWN_METRIC,
                f"no `{metric_name[:_SHOWN]}` in kind `{kind.name}`, which has {known}",
            )
        if source.hides_entity and entity_id:
            entity_id = source.pseudonym(entity_id)
        entity = self.catalogue.find(entity_id)
        if entity is None:
            refusal = self._refusal(entity_id)
            if refusal:
                return NoRoute(index, *refusal)
            entity = self.catalogue.add(entity_id, source.kind)
            self.learned.append(entity)
        elif self.catalogue.entity_kind[entity] != source.kind:
            other = self.catalogue.kind_of(entity).name
            return NoRoute(index, RejectReason.UNKNOWN_ENTITY, f"`{entity_id}` is a `{other}`, not a `{kind.name}`")
        return int(self.catalogue.first_series[entity]) + metric

    def _refusal(self, entity_id: str) -> tuple[RejectReason, str] | None:
        if not is_id(entity_id):
            return RejectReason.BAD_TOPIC, f"an entity id has {ID_RULE}"
        if not self._learn:
            return RejectReason.UNKNOWN_ENTITY, "not in `entities`, and limits.learn is false"
        if self.catalogue.is_full:
            return RejectReason.ENTITY_LIMIT, f"limits.entities is {self.catalogue.most_entities}"
        return None
