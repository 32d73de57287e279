"""A site with rules and a real database, without brokers: time is what a test says."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.types import readings
from attwin.core.warning import Warned
from attwin.ports import AlertChange, Commit
from attwin.settings.load import load_settings
from attwin.wiring.house import House
from attwin.wiring.restore import restore
from support.fakes import FakeClock

SECOND_MS = 1000
START_MS = 1_780_000_000_000 - 1_780_000_000_000 % 86_400_000
"""A midnight of UTC."""

_HEAD = """\
version: 1
gateway: {id: g1, zone: ZONE}
broker: {url: "mqtt://127.0.0.1"}
kinds:
  room:
    metrics:
      co2: {unit: ppm, every: 1m}
    MORE
sources:
  - {topic: "s/{entity}/{metric}", kind: room}
"""


class AlertSite:
    """Rooms that measure CO2.

    Attributes:
        events: What happened: second, type, severity, entity, rule, and after it why nobody was told.
        changes: The same as facts.
        warned: Warnings whose end is known.
        now_s: The time, in seconds after the start.
    """

    def __init__(self, folder: Path, rest: str, *, zone: str = "UTC", start_ms: int = START_MS, kind: str = "") -> None:
        """Lay the site.

        Args:
            folder: For the database.
            rest: The rest of the configuration: rules, groups, entities.
            zone: Of the gateway.
            start_ms: When it begins.
            kind: More settings of the kind of the rooms.
        """
        path = folder / "attwin.yaml"
        path.write_text(_HEAD.replace("ZONE", zone).replace("    MORE\n", kind) + rest, encoding="utf-8")
        self.settings = load_settings(path, {})
        self.events: list[str] = []
        self.changes: list[AlertChange] = []
        self.warned: list[Warned] = []
        self.now_s = 0
        self._start_ms = start_ms
        self._began_s = 0
        self._database = folder / "twin.db"
        self._open()

    def _open(self) -> None:
        self.clock = FakeClock(self.now_ms)
        house = House(self.settings)
        self._store = SqliteStore(self._database, house.catalogue, gateway="g1", durability="normal")
        self.twin = house.twin()
        self.foresight = house.foresight(self.twin)
        entities = {name: entity.kind for name, entity in self.settings.entities.items()}
        self.book = restore(
            self._store,
            self.twin,
            house.names,
            entities,
            house.rules,
            None,
            self.clock,
            groups=house.groups,
            foresight=self.foresight,
        )
        self._began_s = self.now_s
        self.twin.staleness.expect_entities(np.array(self.twin.catalogue.live(), np.int64), 0)

    @property
    def now_ms(self) -> int:
        """The time now [ms since the Unix epoch, UTC]."""
        return self._start_ms + SECOND_MS * self.now_s

    def wait(self, seconds: int) -> None:
        """Let time go by, second by second."""
        for _ in range(seconds):
            self.now_s += 1
            self._tick()

    def measure(self, values: Mapping[str, float], *, then: int = 1) -> None:
        """Take a value of each room, now; then let time go by."""
        catalogue = self.twin.catalogue
        for name in values:
            if catalogue.find(name) is None:
                catalogue.add(name, 0)
        series = [int(catalogue.first_series[catalogue.find(name) or 0]) for name in values]
        count = len(values)
        batch = readings(np.array(series, np.int32), np.full(count, self.now_ms), np.array(list(values.values())))
        taken = self.twin.take(batch, now_ms=self.now_ms)
        self.twin.hear(batch, self._since_start_ms)
        transitions = [*taken.transitions, *self.foresight.take(taken.stored, taken.scores)]
        self.warned += self.foresight.graded
        self.foresight.graded.clear()
        self._keep(
            self.book.apply(transitions, now_ms=self.now_ms),
            commit=Commit(now_ms=self.now_ms, stored=taken.stored, counts={("s", "readings_stored", ""): count}),
        )
        self.wait(then)

    def measure_for(self, seconds: int, values: Mapping[str, float]) -> None:
        """Take the same values every second."""
        for _ in range(seconds):
            self.measure(values)

    def acknowledge(self, alert: int) -> None:
        """Take up an alert."""
        self._keep([self.book.acknowledge(alert, by="ann", note="", now_ms=self.now_ms)])

    def snooze(self, alert: int, seconds: int) -> None:
        """Hear nothing of an alert for so long."""
        until_ms = self.now_ms + SECOND_MS * seconds
        self._keep([self.book.snooze(alert, until_ms=until_ms, by="ann", note="", now_ms=self.now_ms)])

    def restart(self, *, away: int = 0, with_snapshot: bool = False) -> None:
        """Die as kill -9 does, and start again after some seconds.

        Args:
            away: How many.
            with_snapshot: Whether a snapshot was saved just before.
        """
        if with_snapshot:
            self._store.save_snapshot(self.twin.dump(), now_ms=self.now_ms, missing_names=self.twin.missing_names)
            self._store.save_foresight(self.foresight.dump(), self.foresight.rows(), now_ms=self.now_ms)
        self._store._connection.close()
        os.close(self._store._lock)
        self.now_s += away
        self._open()

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    @property
    def told(self) -> list[str]:
        """What was told to others: type as they see it, severity, entity and rule, with the second."""
        found = []
        for line, change in zip(self.events, self.changes, strict=True):
            second = line.split()[0]
            if not change.after.announced:
                continue
            is_known = change.before is not None and change.before.announced
            word = "end" if not change.after.is_active else "update" if is_known else "new"
            found.append(f"{second} {word} {change.after.severity} {change.after.entity} {change.after.rule}")
        return found

    @property
    def _since_start_ms(self) -> int:
        return SECOND_MS * (self.now_s - self._began_s)

    def _tick(self) -> None:
        now_ms = self.now_ms
        transitions = self.twin.on_tick(now_ms, is_heard=True, since_start_ms=self._since_start_ms)
        self._keep(self.book.apply(transitions, now_ms=now_ms))
        self._keep(self.book.tick(now_ms, now_ms=now_ms))

    def _keep(self, changes: list[AlertChange], *, commit: Commit | None = None) -> None:
        if changes or commit:
            self._store.commit(replace(commit or Commit(now_ms=self.now_ms), alerts=changes))
        for change in changes:
            facts = change.after
            self.changes.append(change)
            muted = f" ({', '.join(facts.muted)})" if facts.muted else ""
            members = f" {len(facts.members)}" if facts.members else ""
            flapping = " flapping" if facts.flapping else ""
            self.events.append(
                f"{self.now_s} {change.type} {facts.severity} {facts.entity} {facts.rule}{members}{flapping}{muted}"
            )
