"""Which twins are published upstream, and when: by exception, and not too often."""

import numpy as np
from numpy.typing import NDArray

from attwin.core.columns import NEVER_MS, grown
from attwin.core.outgoing import Draft, twin_draft
from attwin.core.types import QUALITY_WORDS, Quality, ReadingBatch, doubt_words
from attwin.runtime.twin import Scores, Twin


class TwinPublisher:
    """Publishes an entity's state when its attention has moved by ``change``, at most once in ``every_ms``."""

    def __init__(self, twin: Twin, *, base: str, every_ms: int, change: float = 0.01) -> None:
        self.base = base
        self._change = change
        self._twin = twin
        self._every_ms = every_ms
        self._published_ms = np.full(64, NEVER_MS, np.int64)
        self._published_score = np.full(64, np.inf)
        self._held_back: set[int] = set()

    def due_scores(self, made: Scores, now_ms: int) -> list[Draft]:
        """Return the messages of entities whose attention has moved, after scores were noted."""
        entities = np.unique(made.entity)
        self._make_room()
        moved = np.abs(self._twin.score[entities] - self._published_score[entities]) >= self._change
        return self._publish(entities[moved], now_ms)

    def due_readings(self, stored: ReadingBatch, now_ms: int) -> list[Draft]:
        """Return the messages of entities without a model that have new readings."""
        catalogue = self._twin.catalogue
        if len(self._twin.models) == len(catalogue.kinds) or not len(stored):
            return []
        self._make_room()
        entities = np.unique(catalogue.series_entity[stored.series])
        unscored = [kind for kind in range(len(catalogue.kinds)) if kind not in self._twin.models]
        return self._publish(entities[np.isin(catalogue.entity_kind[entities], unscored)], now_ms)

    def due_entities(self, entities: NDArray[np.int32], now_ms: int) -> list[Draft]:
        """Return the messages of entities of which something else has changed."""
        self._make_room()
        return self._publish(np.unique(entities), now_ms)

    def due_now(self, now_ms: int) -> list[Draft]:
        """Return the messages that were held back and whose time has come: the last change is told too."""
        return self._publish(np.array(sorted(self._held_back), np.int32), now_ms) if self._held_back else []

    def forget(self, entity: int) -> None:
        """Forget what was published of an entity."""
        self._make_room()
        self._published_ms[entity], self._published_score[entity] = NEVER_MS, np.inf
        self._held_back.discard(entity)

    def _publish(self, entities: NDArray[np.int32], now_ms: int) -> list[Draft]:
        """Return the messages of those that were not published lately, by the monotonic clock; hold back the others."""
        due = now_ms - self._published_ms[entities] >= self._every_ms
        chosen = entities[due]
        self._held_back.update(entities[~due].tolist())
        self._held_back.difference_update(chosen.tolist())
        self._published_ms[chosen] = now_ms
        if len(self._twin.score) > int(chosen.max(initial=-1)):
            self._published_score[chosen] = self._twin.score[chosen]
        names = self._twin.catalogue.entity_ids
        return [twin_draft(self.base, names[e], twin_body(self._twin, e)) for e in chosen.tolist()]

    def _make_room(self) -> None:
        count = len(self._twin.catalogue)
        self._published_ms = grown(self._published_ms, count, NEVER_MS)
        self._published_score = grown(self._published_score, count, np.inf)


def twin_body(twin: Twin, entity: int) -> dict[str, object]:
    """Return an entity's current state as flat JSON; what is not known yet is left out."""
    catalogue = twin.catalogue
    body: dict[str, object] = {"entity": catalogue.entity_ids[entity], "kind": catalogue.kind_of(entity).name}
    if entity < len(twin.score) and not np.isnan(twin.score[entity]):
        body |= {
            "attention": round(float(twin.score[entity]), 6),
            "attention_ms": int(twin.score_ms[entity]),
            "missing": twin.missing_names(entity),
        }
    body["stale"] = twin.stale_names(entity)
    for metric, series in zip(catalogue.kind_of(entity).metrics, catalogue.series_of(entity), strict=True):
        if series < len(twin.time_ms) and twin.time_ms[series] != NEVER_MS:
            body |= {metric.name: float(twin.value[series]), f"{metric.name}_ms": int(twin.time_ms[series])}
            if twin.quality[series] != Quality.GOOD:
                body[f"{metric.name}_quality"] = QUALITY_WORDS[twin.quality[series]]
                body[f"{metric.name}_reason"] = doubt_words(int(twin.reason[series]))
    return body
