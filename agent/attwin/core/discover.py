"""From messages that were seen to sources, kinds and metrics that would read them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from attwin.core.found import ANY_KIND, FoundMetric, FoundSource, source_of
from attwin.core.samples import Sample, sample_of

_SPARKPLUG = "spBv1.0"
_MOST_SPLITS = 100
_MOST_PARTS = 20
_TOGETHER = frozenset((frozenset(("number", "one")), frozenset(("number", "word"))))
"""Forms that one source reads."""


def discover(messages: Sequence[tuple[str, bytes]]) -> tuple[list[FoundSource], dict[str, int]]:
    """Return the sources that would read some messages, and how many of which topics nobody would.

    A topic belongs to the first of them that is like it. Sources that read the same entities share a kind. Sparkplug
    and what is ``skipped_as`` something are neither.

    Args:
        messages: (topic, payload), in order of arrival.
    """
    groups: dict[tuple[str, str, int], list[Sample]] = defaultdict(list)
    strange: dict[str, int] = defaultdict(int)
    for topic, payload in messages:
        levels = topic.split("/")
        if levels[0] == _SPARKPLUG or skipped_as(topic):
            continue
        sample = sample_of(topic, payload)
        if sample:
            groups[sample.form, levels[0], len(levels)].append(sample)
        else:
            strange[topic] += 1
    found: list[FoundSource] = []
    for (form, _, _), seen in sorted(groups.items(), key=lambda group: group[0]):
        source = source_of(form, seen)
        twin = next((other for other in found if _is_one(other, source)), None)
        if not source.metrics:
            _count(strange, seen)
        elif twin:
            twin.payload |= source.payload
            twin.seen, twin.entities = [*twin.seen, *seen], twin.entities | source.entities
            twin.add_metrics(source.metrics)
        else:
            found.append(source)
    found, lost = _apart(found)
    _count(strange, lost)
    _name_kinds(found)
    return found, dict(strange)


def skipped_as(topic: str) -> str:
    """Return what a topic is that never holds readings of sensors, empty for others."""
    levels = topic.split("/")
    if levels[0] == "$SYS":
        return "$SYS/#, the broker about itself"
    if levels[0] == "attwin":
        return "attwin/#, what agents publish"
    if levels[0] == "homeassistant" and levels[-1] == "config":
        return "homeassistant/.../config, what Home Assistant discovers devices by"
    return ""


def kinds_of(sources: Iterable[FoundSource]) -> Mapping[str, Sequence[FoundMetric]]:
    """Return the metrics of every kind."""
    kinds: dict[str, FoundSource] = {}
    for source in sources:
        kinds.setdefault(source.kind, replace(source, metrics={})).add_metrics(source.metrics)
    return {kind: list(source.metrics.values()) for kind, source in kinds.items()}


def _is_one(one: FoundSource, other: FoundSource) -> bool:
    """Return whether two sources can be one: a number alone and an object with a value may come under one template."""
    if one.topic != other.topic or one.entity != other.entity:
        return False
    same = one.form == other.form and one.payload == other.payload
    return same or frozenset((one.form, other.form)) in _TOGETHER


def _count(strange: dict[str, int], seen: Iterable[Sample]) -> None:
    for sample in seen:
        strange["/".join(sample.levels)] += 1


def _apart(found: list[FoundSource]) -> tuple[list[FoundSource], list[Sample]]:
    """Return sources of which none takes the topics of another that comes after it, and the samples that nobody reads.

    Where two would take the same topics, one of them is split by a level at which they differ.
    """
    lost: list[Sample] = []
    for _ in range(_MOST_SPLITS):
        found = sorted(found, key=_open_levels)
        pair = next(((a, b) for a, b in combinations(found, 2) if _takes_from(a, b)), None)
        if pair is None:
            break
        parts = None
        for special, other in (pair, pair[::-1]):
            parts = parts or [(special, part) for part in _split(special, other)]
        gone = parts[0][0] if parts else min(pair, key=lambda source: source.messages)
        lost += [] if parts else gone.seen
        found = [source for source in found if source is not gone] + [part for _, part in parts or ()]
    return found, lost


def _takes_from(first: FoundSource, second: FoundSource) -> bool:
    """Return whether the first of two sources takes a topic of the second."""
    return _filter(first) == _filter(second) or any(_takes(first, sample.levels) for sample in second.seen)


def _split(special: FoundSource, other: FoundSource) -> list[FoundSource]:
    """Return a source as several, each for one text of a level at which another source has other texts."""
    levels = special.topic.split("/")
    open_places = [place for place, level in enumerate(levels) if _is_open(level)]
    for place in sorted(open_places, key=lambda p: (levels[p] == "{entity}", levels[p] == "{metric}")):
        texts = {sample.levels[place] for sample in special.seen}
        if len(texts) <= _MOST_PARTS and texts.isdisjoint(sample.levels[place] for sample in other.seen):
            return [_part(special, place, text) for text in sorted(texts)]
    return []


def _part(source: FoundSource, place: int, text: str) -> FoundSource:
    """Return the part of a source whose topics have a text at a level."""
    levels = source.topic.split("/")
    open_level, levels[place] = levels[place], text
    metric = text if open_level == "{metric}" else source.metric
    return replace(
        source,
        topic="/".join(levels),
        seen=[sample for sample in source.seen if sample.levels[place] == text],
        entity=text if open_level == "{entity}" else source.entity,
        metric=metric,
        metrics={name: found for name, found in source.metrics.items() if open_level != "{metric}" or name == text},
    )


def _name_kinds(found: Sequence[FoundSource]) -> None:
    """Give sources that share an entity one kind, and others kinds of different names.

    One kind of sources with different names has none of theirs.
    """
    families: list[list[FoundSource]] = []
    for source in found:
        mine = [family for family in families if any(source.entities & other.entities for other in family)]
        families = [family for family in families if family not in mine]
        families.append([*(other for family in mine for other in family), source])
    used: set[str] = set()
    for family in families:
        names = {source.kind for source in family}
        name = names.pop() if len(names) == 1 else ANY_KIND
        free = next(n for n in (name, *(f"{name}{number}" for number in range(2, 1000))) if n not in used)
        used.add(free)
        for source in family:
            source.kind = free


def _open_levels(source: FoundSource) -> int:
    return sum(map(_is_open, source.topic.split("/")))


def _is_open(level: str) -> bool:
    return level == "+" or level.startswith("{")


def _filter(source: FoundSource) -> list[str]:
    return ["+" if _is_open(level) else level for level in source.topic.split("/")]


def _takes(source: FoundSource, levels: Sequence[str]) -> bool:
    own = source.topic.split("/")
    return len(own) == len(levels) and all(_is_open(a) or a == b for a, b in zip(own, levels, strict=True))
