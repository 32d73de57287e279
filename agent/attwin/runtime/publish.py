"""Which twins are published upstream, and when: by exception, and not too often."""

import numpy as np

from attwin.core.columns import NEVER_MS, grown
from attwin.core.outgoing import Draft, twin_draft
from attwin.runtime.twin import Scores, Twin

_LEAST_CHANGE = 0.01


class TwinPublisher:
    """Publishes an entity's state when its attention has moved, at most once in ``every_ms``."""

    def __init__(self, twin: Twin, *, base: str, every_ms: int) -> None:
        self.base = base
        self._twin = twin
        self._every_ms = every_ms
        self._published_ms = np.full(64, NEVER_MS, np.int64)
        self._published_score = np.full(64, np.inf)

    def due(self, made: Scores, now_ms: int) -> list[Draft]:
        """Return the messages that are due after scores were noted, by the monotonic clock."""
        entities = np.unique(made.entity)
        self._published_ms = grown(self._published_ms, int(entities[-1]) + 1, NEVER_MS)
        self._published_score = grown(self._published_score, len(self._published_ms), np.inf)
        moved = np.abs(self._twin.score[entities] - self._published_score[entities]) >= _LEAST_CHANGE
        chosen = entities[moved & (now_ms - self._published_ms[entities] >= self._every_ms)]
        self._published_ms[chosen], self._published_score[chosen] = now_ms, self._twin.score[chosen]
        return [
            twin_draft(self.base, self._twin.catalogue.entity_ids[e], twin_body(self._twin, e)) for e in chosen.tolist()
        ]


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
    for metric, series in zip(catalogue.kind_of(entity).metrics, catalogue.series_of(entity), strict=True):
        if series < len(twin.time_ms) and twin.time_ms[series] != NEVER_MS:
            body |= {metric.name: float(twin.value[series]), f"{metric.name}_ms": int(twin.time_ms[series])}
    return body
