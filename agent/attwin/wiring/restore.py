"""What the agent does at its start: the twin as the last commit left it."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.alerts import DRIFT, UPDATE_REVERTED, AlertFacts
from attwin.core.catalogue import Catalogue
from attwin.core.groups import Groups
from attwin.core.journal import Segment
from attwin.core.outgoing import alert_drafts
from attwin.core.rules import Rule
from attwin.core.types import ReadingBatch
from attwin.ports import Clock, Commit
from attwin.runtime.alerts import AlertBook
from attwin.runtime.drift import DriftWatch
from attwin.runtime.foresight import Foresight
from attwin.runtime.twin import Twin
from attwin.runtime.update_targets import CONFIG


def restore(  # noqa: PLR0913, PLR0917 -- all that a start needs
    store: SqliteStore,
    twin: Twin,
    kinds: Sequence[str],
    entities: Mapping[str, str],
    rules: Sequence[Rule],
    base: str | None,
    clock: Clock,
    drift: DriftWatch | None = None,
    groups: Groups | None = None,
    foresight: Foresight | None = None,
    *,
    keep_alerts: bool = False,
) -> AlertBook:
    """Bring the twin to where the last commit left it, and return the alerts that are active.

    Args:
        store: What became durable.
        twin: Empty as yet.
        kinds: The names of the configured kinds, in their order.
        entities: The kind of every configured entity.
        rules: The configured rules.
        base: Of topics upstream, None where there is no upstream.
        clock: For what ends now.
        drift: Empty as yet.
        groups: Those of the configuration.
        foresight: Empty as yet.
        keep_alerts: Whether alerts stay whose rules are not there: it is a safe start.
    """
    drift = drift or DriftWatch({})
    judged_ms = store.drift_judged()
    _replay(store, twin, kinds, clock, drift, judged_ms, foresight)
    for entity, kind_name in entities.items():
        kind, known = kinds.index(kind_name), twin.catalogue.find(entity)
        if known is not None and twin.catalogue.entity_kind[known] != kind:
            store.forget_entity(int(twin.catalogue.entity_key[known]), now_ms=clock.now_ms())
            twin.forget(known)
            known = None
        if known is None:
            twin.catalogue.add(entity, kind)
    book = AlertBook(
        rules,
        twin.catalogue,
        store.active_alerts(),
        next_alert=store.next_alert(),
        groups=groups,
        snoozed=store.snoozed(clock.now_ms()),
    )
    orphans = [
        facts
        for facts in book.active.values()
        if not (drift.keeps(facts, judged_ms) if facts.rule == DRIFT else book.belongs(facts))
        and not (facts.rule == UPDATE_REVERTED and facts.entity in (*kinds, CONFIG))
    ]
    if not keep_alerts:
        _end(orphans, store, book, base, clock.now_ms())
    twin.set_active(list(book.active.values()))
    return book


def refill(store: SqliteStore, twin: Twin, active: Sequence[AlertFacts], clock: Clock) -> None:
    """Make the twin anew from the last hour of the journal, after its times were put right.

    Args:
        store: What became durable.
        twin: To be emptied and filled.
        active: The alerts that are active.
        clock: The time that is right now.
    """
    twin.clear(newest_ms=clock.now_ms())
    _play(store, twin, store.recent_position(clock.now_ms()))
    twin.set_active(active)


def _replay(
    store: SqliteStore,
    twin: Twin,
    names: Sequence[str],
    clock: Clock,
    drift: DriftWatch,
    judged_ms: Mapping[tuple[str, str], int],
    foresight: Foresight | None,
) -> None:
    """Bring the twin to where the last commit left it: the snapshot, then the journal's tail, without effects."""
    arrays, position = store.load_snapshot()
    store.load_entities({name: index for index, name in enumerate(names)}, arrays, now_ms=clock.now_ms())
    fits = twin.load(arrays)
    if not fits:
        position = store.recent_position(clock.now_ms())
    # counts of another position would count twice what is replayed
    drift.load(arrays if fits else {}, judged_ms)
    if foresight:
        foresight.load(store.load_foresight())
    _play(store, twin, position, at_start=drift, foresight=foresight)


def _play(
    store: SqliteStore,
    twin: Twin,
    position: int,
    *,
    at_start: DriftWatch | None = None,
    foresight: Foresight | None = None,
) -> None:
    count = twin.catalogue.series_count
    place_of = {int(key): place for place, key in enumerate(twin.catalogue.series_key[:count])}
    for segment in store.segments_after(position):
        batch = _as_batch(segment, place_of)
        scores, _ = twin.replay(batch)
        if foresight:
            foresight.take(batch, scores)
        if at_start:
            # after the snapshot, which says for how long each had been silent by then
            twin.hear(batch, 0)
        for made in scores:
            twin.note_scores(made)
            # when the twin is made anew, its scores are counted already
            if at_start:
                at_start.add(made)


class JournalReader:
    """Reads the journal as it grows, for a model that is tried."""

    def __init__(self, store: SqliteStore, catalogue: Catalogue) -> None:
        self._store, self._catalogue = store, catalogue
        self._known: tuple[int, int, int] | None = None
        self._place_of: dict[int, int] = {}

    def after(self, position: int) -> Iterator[tuple[int, ReadingBatch]]:
        """Yield the readings after a position, those of a commit at a time, each with its position."""
        catalogue = self._catalogue
        known = (len(catalogue), catalogue.live_count, catalogue.next_series_key)
        if known != self._known:
            keys = catalogue.series_key[: catalogue.series_count].tolist()
            self._known, self._place_of = known, {key: place for place, key in enumerate(keys)}
        for number, segment in self._store.journal_after(position):
            yield number, _as_batch(segment, self._place_of)


def _as_batch(segment: Segment, place_of: dict[int, int]) -> ReadingBatch:
    """Return the readings of a segment whose series are still there."""
    places = np.array([place_of.get(key, -1) for key in segment.series_key.tolist()], np.int32)
    batch = ReadingBatch(
        series=places,
        time_ms=segment.time_ms,
        value=segment.value,
        quality=segment.quality,
        reason=segment.reason,
    )
    return batch.where(places >= 0)


def _end(orphans: Sequence[AlertFacts], store: SqliteStore, book: AlertBook, base: str | None, now_ms: int) -> None:
    """End alerts whose rule is gone or is for another kind now, or whose entity is forgotten."""
    changes = [book.end(facts, now_ms=now_ms) for facts in orphans]
    drafts = [d for c in changes for d in alert_drafts(base, c.before, c.after)] if base else []
    if changes:
        store.commit(Commit(alerts=changes, drafts=drafts, now_ms=now_ms))
