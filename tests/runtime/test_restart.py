"""Facts about a restart: the twin comes back from the snapshot and the journal as if nothing had happened."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attwin.adapters.clock import SystemClock
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.alerts import AlertFacts
from attwin.core.catalogue import Catalogue
from attwin.core.rules import Basis, Rule, Subject
from attwin.core.types import AlertState, readings
from attwin.ports import AlertChange, Commit
from attwin.runtime.twin import KindModel, Twin
from attwin.wiring.restore import restore
from support.builders import T0_MS, a_kind, a_manifest
from support.fakes import MeanScorer

LATER_MS = T0_MS + 10**9
HOT = Rule(
    name="hot",
    kind=0,
    subject=Subject(basis=Basis.METRIC, name="temperature", column=0),
    above=True,
    threshold=50,
    clear=40,
    for_ms=5000,
    severity="info",
)


class Gateway:
    """A twin and its store, without a loop."""

    def __init__(self, path: Path, rule: Rule = HOT, now_ms: int | None = None) -> None:
        self.now_ms = SystemClock().now_ms() if now_ms is None else now_ms
        self.catalogue = Catalogue([a_kind()], most_entities=10)
        self.store = SqliteStore(path, self.catalogue, gateway="g", durability="full")
        self.twin = Twin(
            self.catalogue, {0: KindModel(a_manifest(scale=40.0), MeanScorer(), [0, 1])}, [rule], most_ahead_ms=0
        )
        self.book = restore(self.store, self.twin, ["room"], {}, [rule], None, SystemClock())

    def take(self, *events: tuple[str, int, float]) -> None:
        """Take and commit temperatures: (entity, seconds after T0, value)."""
        for name, second, value in events:
            found = self.catalogue.find(name)
            entity = self.catalogue.add(name, 0) if found is None else found
            series = np.array([self.catalogue.first_series[entity]], np.int32)
            taken = self.twin.take(
                readings(series, np.array([T0_MS + 1000 * second]), np.array([value])), now_ms=LATER_MS
            )
            for made in taken.scores:
                self.twin.note_scores(made)
            changes = self.book.apply(taken.transitions, now_ms=self.now_ms)
            self.store.commit(
                Commit(
                    now_ms=self.now_ms,
                    stored=taken.stored,
                    counts={("s", "readings_stored", ""): 1},
                    alerts=changes,
                )
            )

    def die(self) -> None:
        """End as kill -9 does: nothing is flushed, the lock goes with the process."""
        self.store._connection.close()
        os.close(self.store._lock)

    def state(self) -> dict[str, str]:
        """Return value, score and rule state of each entity by name."""
        places = {self.catalogue.entity_ids[place]: place for place in self.catalogue.live()}
        states = self.twin.rules.states[0].state
        return {
            name: f"value {self.twin.value[self.catalogue.first_series[place]]:g} "
            f"score {self.twin.score[place]:.6f} rule {states[place] if place < len(states) else 0}"
            for name, place in sorted(places.items())
        }


EVENTS = [
    ("a", 0, 20.0),
    ("b", 0, 60.0),
    ("a", 2, 22.0),
    ("b", 2, 61.0),
    ("c", 3, 30.0),
    ("a", 4, 24.0),
    ("b", 6, 62.0),
]
AFTER = [("b", 9, 63.0), ("c", 9, 31.0), ("a", 9, 25.0), ("a", 12, 26.0), ("b", 12, 20.0), ("c", 12, 32.0)]


@pytest.mark.parametrize("snapshot_after", [None, 0, 3, len(EVENTS)], ids=["none", "empty", "early", "late"])
def test_a_killed_gateway_goes_on_as_one_that_was_not(tmp_path: Path, snapshot_after: int | None) -> None:
    """With no snapshot, an old one (entities were learned after it) or a fresh one: state, scores, rules and alerts."""
    whole = Gateway(tmp_path / "whole.db")
    whole.take(*EVENTS, *AFTER)
    first = Gateway(tmp_path / "twin.db")
    for number, event in enumerate(EVENTS):
        if number == snapshot_after:
            first.store.save_snapshot(first.twin.dump(), now_ms=1, missing_names=first.twin.missing_names)
        first.take(event)
    if snapshot_after == len(EVENTS):
        first.store.save_snapshot(first.twin.dump(), now_ms=1, missing_names=first.twin.missing_names)
    before = first.state()
    first.die()

    second = Gateway(tmp_path / "twin.db")

    assert second.state() == before
    assert {f.entity for f in second.book.active.values()} == {"b"}
    again = second.twin.take(
        readings(np.zeros(1, np.int32), np.array([T0_MS + 4000]), np.array([24.0])), now_ms=LATER_MS
    )
    assert again.duplicate.tolist() == [True]
    second.take(*AFTER)
    assert second.state() == whole.state()
    assert second.book.active == whole.book.active == {}
    second.store.close()
    whole.store.close()


def test_a_snapshot_is_enough_where_the_journal_is_old(tmp_path: Path) -> None:
    """A gateway that slept for days comes back with its windows, scores and rules."""
    first = Gateway(tmp_path / "twin.db", now_ms=1)
    first.take(*EVENTS)
    first.store.save_snapshot(first.twin.dump(), now_ms=1, missing_names=first.twin.missing_names)
    before = first.state()
    first.die()

    second = Gateway(tmp_path / "twin.db")

    assert second.state() == before
    second.store.close()


def test_an_alert_goes_on_when_its_rule_was_edited(tmp_path: Path) -> None:
    """The store knows that it is active: no second alert opens for it, and it ends by the new level."""
    first = Gateway(tmp_path / "twin.db", now_ms=1)
    first.take(*EVENTS)
    first.store.save_snapshot(first.twin.dump(), now_ms=1, missing_names=first.twin.missing_names)
    first.die()

    second = Gateway(tmp_path / "twin.db", replace(HOT, clear=30))
    second.take(("b", 20, 63.0), ("b", 30, 35.0))
    still = {facts.alert for facts in second.book.active.values()}
    second.take(("b", 40, 29.0))

    assert (still, second.book.active) == ({1}, {})
    assert second.store.next_alert() == 2
    second.store.close()


@pytest.mark.parametrize(("rule", "entity"), [("gone", "a"), ("hot", "nobody")], ids=["rule", "entity"])
def test_an_alert_whose_rule_or_entity_is_gone_ends_at_the_start(tmp_path: Path, rule: str, entity: str) -> None:
    """It is cleared in the store; nobody waits for an end that cannot come."""
    path = tmp_path / "twin.db"
    catalogue = Catalogue([a_kind()], most_entities=10)
    store = SqliteStore(path, catalogue, gateway="g", durability="full")
    orphan = AlertFacts(
        alert=1, rule=rule, entity=entity, severity="info", subject="co2", state="active", value=1.0, threshold=0.0,
        since_ms=1, time_ms=1, opened_ms=1,
    )  # fmt: skip
    catalogue.add("a", 0)
    store.commit(Commit(now_ms=1, alerts=[AlertChange(before=None, after=orphan)]))
    store.close()

    gateway = Gateway(path)

    assert gateway.book.active == {}
    assert gateway.store.active_alerts() == []
    assert (gateway.twin.rules.states[0].state == AlertState.CLEARED).all()
    gateway.store.close()


def test_what_was_heard_after_the_snapshot_is_not_silent(tmp_path: Path) -> None:
    """The snapshot knows of a long silence that has ended by then; one that has not goes on."""
    first = Gateway(tmp_path / "twin.db")
    first.take(*EVENTS)
    first.twin.staleness.hear_entities(np.array([0, 1, 2]), 0)
    first.twin.staleness.hear(np.zeros(0, np.int32), 10**9)
    first.store.save_snapshot(first.twin.dump(), now_ms=1, missing_names=first.twin.missing_names)
    first.take(*AFTER[:1])
    first.die()

    second = Gateway(tmp_path / "twin.db")

    silent = {name: second.twin.staleness.silent_for_ms(second.catalogue.find(name), 5) for name in ("a", "b")}
    assert silent == {"a": 10**9 + 5, "b": 5}
    second.store.close()
