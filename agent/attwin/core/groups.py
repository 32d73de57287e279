"""Which entities belong to which group, by ids and patterns; entities come and go while the agent runs."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from attwin.core.catalogue import Catalogue


def selects(patterns: Sequence[str], entity_id: str) -> bool:
    """Return whether an id is one of the given ones, or is like one of the patterns."""
    return any(fnmatchcase(entity_id, pattern) for pattern in patterns)


class Groups:
    """Named groups of entities, and the parents of entities.

    Attributes:
        names: Of all groups, in the order of the configuration.
    """

    def __init__(self, patterns: Mapping[str, Sequence[str]], parents: Mapping[str, str] | None = None) -> None:
        """Define groups.

        Args:
            patterns: Ids and patterns such as ``north-*``, by group.
            parents: The parent of entities that have one: another entity, or a group.
        """
        self.names = tuple(patterns)
        self._patterns = dict(patterns)
        self._parents = dict(parents or {})
        self._of: dict[str, tuple[str, ...]] = {}

    def of(self, entity_id: str) -> tuple[str, ...]:
        """Return the groups of an entity."""
        found = self._of.get(entity_id)
        if found is None:
            found = tuple(name for name, patterns in self._patterns.items() if selects(patterns, entity_id))
            self._of[entity_id] = found
        return found

    def above(self, entity_id: str) -> tuple[str, ...]:
        """Return an entity, its groups, and its parents with theirs, nearest first; no parent stands in a circle."""
        found: dict[str, None] = {}
        here: str | None = entity_id
        while here is not None and here not in found:
            found |= {here: None, **dict.fromkeys(self.of(here))}
            here = self._parents.get(here)
        return tuple(found)


class Membership:
    """Which places of a catalogue are selected by patterns; looked up anew when entities came or went."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._version: object = None
        self._selected = np.zeros(0, np.bool_)

    def mask(self, catalogue: Catalogue) -> NDArray[np.bool_]:
        """Return which entities are selected. Shape (E,)."""
        version = (catalogue.next_entity_key, catalogue.live_count)
        if self._version != version:
            self._version = version
            ids = catalogue.entity_ids
            self._selected = np.array([bool(name) and selects(self._patterns, name) for name in ids], np.bool_)
        return self._selected
