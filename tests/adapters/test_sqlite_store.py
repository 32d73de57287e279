"""Facts about the durable twin."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attwin.adapters.sqlite_backup import back_up
from attwin.adapters.sqlite_database import reader
from attwin.adapters.sqlite_outbox import Outbox
from attwin.adapters.sqlite_salvage import note_damage
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.alerts import AlertFacts
from attwin.core.audit import UPSTREAM
from attwin.core.catalogue import Catalogue
from attwin.core.columns import NEVER_MS
from attwin.core.errors import StoreDamagedError, StoreError, StoreStalledError
from attwin.core.lanes import LanePolicy, OutboxPolicy, Overflow
from attwin.core.outgoing import LANES, Draft
from attwin.core.types import Quality, Reason, Reject, RejectReason
from attwin.ports import AlertChange, Commit, ScoreRow
from attwin.wiring.auditing import audit_of
from attwin.wiring.reading import sums_of, twins_of
from support.builders import T0_MS, a_batch, a_catalogue, a_kind, taken, unsent


@pytest.fixture
def catalogue() -> Catalogue:
    """One room, e0."""
    return a_catalogue()


@pytest.fixture
def store(tmp_path: Path, catalogue: Catalogue) -> Iterator[SqliteStore]:
    """An empty database."""
    opened = SqliteStore(tmp_path / "twin.db", catalogue, gateway="g1", durability="full")
    yield opened
    opened.close()


def a_draft(number: int, *, lane: str = "aggregates", retain: bool = False, topic: str = "t") -> Draft:
    """Return a message."""
    return Draft(lane=lane, topic=topic, retain=retain, body={"n": number})


def an_alert(**changes: object) -> AlertFacts:
    """Return an active alert."""
    facts = {
        "alert": 1,
        "rule": "stuffy",
        "entity": "e0",
        "severity": "warning",
        "subject": "co2",
        "state": "active",
        "value": 1200.0,
        "threshold": 1000.0,
        "since_ms": T0_MS,
        "time_ms": T0_MS + 1,
        "opened_ms": T0_MS + 1,
    }
    return AlertFacts(**(facts | changes))


def query(store: SqliteStore, text: str) -> list[tuple[object, ...]]:
    """Return the rows that a reader sees."""
    with reader(store.path) as connection:
        return connection.execute(text).fetchall()


def test_a_round_is_all_there_or_not_at_all(store: SqliteStore) -> None:
    """A commit that fails in its last step leaves nothing of its first."""
    good = Commit(
        now_ms=1,
        stored=a_batch(),
        counts={("s", "readings_stored", ""): 1},
        scores=[ScoreRow(entity=0, time_ms=1, score=0.5, missing="")],
    )
    bad = Commit(
        now_ms=2,
        stored=a_batch(),
        counts={("s", "readings_stored", ""): 1},
        alerts=[AlertChange(before=None, after=an_alert(rule=None))],
    )

    store.commit(good)
    with pytest.raises(StoreError):
        store.commit(bad)

    assert query(store, "select count(*), sum(readings) from journal") == [(1, 1)]
    assert query(store, "select name, count from audit_totals") == [("readings_stored", 1)]
    assert query(store, "select name, kind from entities") == [("e0", "room")]
    assert query(store, "select entity, score from readable_scores") == [("e0", 0.5)]


def test_readings_come_back_from_the_journal(store: SqliteStore, catalogue: Catalogue) -> None:
    """What was committed is what a replay gets, by lasting keys."""
    batch = a_batch(values=[1.25, 1e300], series=[0, 1])
    store.commit(Commit(now_ms=1, stored=batch, counts={("s", "readings_stored", ""): 2}))

    (segment,) = store.segments_after(0)

    assert segment.value.tolist() == [1.25, 1e300]
    assert segment.series_key.tolist() == catalogue.series_key[[0, 1]].tolist()


def test_lanes_keep_their_order_and_never_reuse_a_number(tmp_path: Path, catalogue: Catalogue) -> None:
    """Urgent messages leave first; a delivered number is not given again, not even after a restart."""
    path = tmp_path / "twin.db"
    store = SqliteStore(path, catalogue, gateway="g1", durability="full")
    store.commit(Commit(now_ms=1, drafts=[a_draft(0), a_draft(1, lane="alerts"), a_draft(2)]))

    first = taken(store, 10)
    store.commit(Commit(now_ms=2, delivered=first))
    store.close()
    again = SqliteStore(path, a_catalogue(entities=0), gateway="g1", durability="full")
    again.commit(Commit(now_ms=3, drafts=[a_draft(3)]))
    second = taken(again, 10)

    assert [(m.lane, m.sequence) for m in first] == [("alerts", 1), ("aggregates", 1), ("aggregates", 2)]
    assert [(m.lane, m.sequence) for m in second] == [("aggregates", 3)]
    assert second[0].payload == f'{{"id":"g1:{again.store_id}:aggregates:3","n":3}}'.encode()
    again.close()


def test_what_was_not_acknowledged_is_sent_again_after_a_restart(tmp_path: Path, catalogue: Catalogue) -> None:
    """A message in flight at a crash keeps its place and its id."""
    path = tmp_path / "twin.db"
    store = SqliteStore(path, catalogue, gateway="g1", durability="full")
    store.commit(Commit(now_ms=1, drafts=[a_draft(0), a_draft(1)]))
    sent = taken(store, 1)
    store.close()

    again = SqliteStore(path, a_catalogue(entities=0), gateway="g1", durability="full")

    assert taken(again, 10)[0].payload == sent[0].payload
    assert again.waiting_outgoing() == 2
    again.close()


def test_a_retained_message_supersedes_older_ones_that_wait(store: SqliteStore) -> None:
    """Only the newest of a retained topic waits, and the others are counted; one in flight stays."""
    store.commit(Commit(now_ms=1, drafts=[a_draft(0, retain=True), a_draft(9, topic="other", retain=True)]))
    taken(store, 1)
    store.commit(Commit(now_ms=2, drafts=[a_draft(1, retain=True)]))
    store.commit(Commit(now_ms=3, drafts=[a_draft(2, retain=True)]))

    waiting = [m.payload.partition(b",")[2] for m in taken(store, 10)]

    assert waiting == [b'"n":9}', b'"n":2}']
    assert store.waiting_outgoing() == 3
    assert dict(query(store, "select name, count from audit_totals")) == {"queued": 4, "superseded": 1}


@pytest.mark.parametrize("source", ["upstream", "store", "state"])
def test_a_source_may_be_called_as_the_agents_own_counters_are(store: SqliteStore, source: str) -> None:
    """What waits, what status says and the sums are as with any other name."""
    names = ("messages_received", "messages_decoded", "readings_decoded", "readings_stored")
    counts = {(source, name, ""): 2 for name in names}
    store.commit(Commit(now_ms=1, stored=a_batch(values=[1.0, 2.0]), counts=counts, drafts=[a_draft(0), a_draft(1)]))
    columns = {"time_ms": NEVER_MS, "value": np.nan, "quality": 0, "reason": 0, "score_ms": NEVER_MS, "score": np.nan}
    arrays = {f"twin.{name}": np.full(2, value) for name, value in columns.items()}
    store.save_snapshot(arrays, now_ms=2, missing_names=str)

    assert (store.waiting_outgoing(), unsent(store)) == (2, 2)
    assert sums_of(store.path) == {**dict.fromkeys(names, 2), "upstream_queued": 2}
    assert [(found.total, found.difference) for found in audit_of(store.path)] == [(2, 0)] * 4


def test_what_supersedes_is_known_after_a_failure_a_delivery_and_a_restart(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    """A commit that failed supersedes nothing, a delivered message is not superseded, one of an earlier run is."""
    path = tmp_path / "twin.db"
    store = SqliteStore(path, catalogue, gateway="g1", durability="full")
    store.commit(Commit(now_ms=1, drafts=[a_draft(0, retain=True)]))
    store.commit(Commit(now_ms=2, delivered=taken(store, 1)))
    with pytest.raises(StoreError):
        store.commit(
            Commit(
                now_ms=3,
                drafts=[a_draft(1, retain=True)],
                alerts=[AlertChange(before=None, after=an_alert(rule=None))],
            )
        )
    store.commit(Commit(now_ms=4, drafts=[a_draft(2, retain=True)]))
    counted = dict(query(store, "select name, count from audit_totals"))
    store.close()

    again = SqliteStore(path, a_catalogue(entities=0), gateway="g1", durability="full")
    again.commit(Commit(now_ms=5, drafts=[a_draft(3, retain=True), a_draft(4, retain=True)]))

    assert counted == {"queued": 2, "delivered": 1}
    newest, notice = taken(again, 10)
    assert newest.payload.endswith(b'"n":4}')
    # the one before the restart may have been sent, or not
    assert notice.payload.endswith(b'"dropped":[[2,2,"superseded"]]}')
    assert dict(query(again, "select name, count from audit_totals")) == {"queued": 5, "delivered": 1, "superseded": 2}
    again.close()


def test_the_ring_of_rejects_is_bounded(store: SqliteStore) -> None:
    """The oldest rejects make room; the newest stay."""
    reject = Reject(time_ms=1, source=0, topic="t", reason=RejectReason.TOO_LARGE, detail="d", payload=b"x" * 4096)
    for _ in range(30):
        store.commit(Commit(now_ms=1, rejects=[reject] * 100))

    ((count, size, newest),) = query(store, "select count(*), sum(bytes), max(id) from rejects")

    assert size <= 10_000_000
    assert count > 2_000
    assert newest == 3_000


def test_a_snapshot_folds_the_counters_and_shows_the_state(store: SqliteStore) -> None:
    """The sums are the same before and after, and the state table has the newest readings."""
    store.commit(Commit(now_ms=1, stored=a_batch(), counts={("s", "readings_stored", ""): 1}))
    store.commit(Commit(now_ms=2, stored=a_batch(), counts={("s", "readings_stored", ""): 4}))
    arrays = {
        "twin.time_ms": np.array([T0_MS, -(2**62)]),
        "twin.value": np.array([21.5, np.nan]),
        "twin.quality": np.array([2, 0], np.uint8),
        "twin.reason": np.array([0, 0], np.uint16),
        "twin.score_ms": np.array([T0_MS]),
        "twin.score": np.array([0.25]),
    }

    store.save_snapshot(arrays, now_ms=3, missing_names=str)

    assert query(store, "select * from audit_totals") == [("s", "readings_stored", "", 5)]
    assert query(store, "select time_ms, value, quality from state") == [(T0_MS, 21.5, "good")]
    assert query(store, "select entity_id, time_ms, score, missing from attention") == [(1, T0_MS, 0.25, "0")]
    loaded, position = store.load_snapshot()
    assert position == 2
    assert loaded["twin.value"][0] == 21.5


def test_a_damaged_snapshot_is_not_trusted(store: SqliteStore) -> None:
    """A flipped bit costs a replay, not a wrong twin."""
    store.save_snapshot(
        {
            "twin.time_ms": np.array([T0_MS]),
            "twin.value": np.array([1.0]),
            "twin.quality": np.array([2], np.uint8),
            "twin.reason": np.array([0], np.uint16),
            "twin.score_ms": np.array([NEVER_MS]),
            "twin.score": np.array([np.nan]),
        },
        now_ms=3,
        missing_names=str,
    )
    store._connection.execute("update snapshot set body = cast(x'00' || substr(body, 2) as blob)")

    assert store.load_snapshot() == ({}, 0)


def saved_state(
    path: Path, *, time_ms: int = T0_MS, value: float = 21.5, quality: int = Quality.GOOD, reason: int = 0
) -> None:
    """Leave a database with a temperature, a co2 and a score of e0, and an attention that is well."""
    store = SqliteStore(path, a_catalogue(), gateway="g1", durability="full")
    store.commit(Commit(now_ms=1, counts={("s", "readings_stored", ""): 1}))
    arrays = {
        "twin.time_ms": np.array([time_ms, time_ms]),
        "twin.value": np.array([value, 700.0]),
        "twin.quality": np.array([quality, 2], np.uint8),
        "twin.reason": np.array([reason, 0], np.uint16),
        "twin.score_ms": np.array([time_ms]),
        "twin.score": np.array([0.25]),
    }
    store.save_snapshot(arrays, now_ms=3, missing_names=str)
    store.close()


DAMAGE = {
    "value": ("update state set value = 21.75 where series_id = 1", ["temperature"], "state_rows_damaged"),
    "time": ("update state set time_ms = time_ms + 64 where series_id = 1", ["temperature"], "state_rows_damaged"),
    "quality": (
        "update state set quality = cast(x'e76f6f64' as text) where series_id = 1",
        ["temperature"],
        "state_rows_damaged",
    ),
    "series": ("update state set series_id = 9 where series_id = 1", [], "state_rows_damaged"),
    "checksum": ("update state set checksum = x'00' where series_id = 1", ["temperature"], "state_rows_damaged"),
    "score": ("update attention set score = 0.75", ["attention"], "attention_rows_damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_row_of_the_state_is_never_shown_and_is_counted(tmp_path: Path, damage: str) -> None:
    """A reader without an agent leaves it out and says so; the next start drops it."""
    path = tmp_path / "twin.db"
    saved_state(path)
    statement, names, counter = DAMAGE[damage]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()

    (shown,) = twins_of(path)
    store = SqliteStore(path, a_catalogue(entities=0), gateway="g1", durability="full")

    assert shown.get("damaged", []) == names
    assert (shown["attention"], shown["missing"]) == ((None, None) if "attention" in names else (0.25, "0"))
    assert ("temperature" in shown) == ("attention" in names)
    assert shown["co2"] == 700.0
    assert query(store, "select (select count(*) from state) + (select count(*) from attention)") == [(2,)]
    assert sums_of(path)[counter] == 1
    assert {found.source for found in audit_of(path)} == {"s", "store", "upstream"}
    assert store.salvaged is None
    store.close()


def test_what_is_doubted_of_the_newest_reading_is_shown_and_checked(tmp_path: Path) -> None:
    """A reader without an agent sees quality and reason where it is not plainly good."""
    path = tmp_path / "twin.db"
    saved_state(path, quality=Quality.BAD, reason=int(Reason.OUT_OF_RANGE | Reason.CLOCK | Reason.RECEIVED))

    (shown,) = twins_of(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update state set reason = 'clock' where series_id = 1")
    (damaged,) = twins_of(path)

    assert {name: value for name, value in shown.items() if name.endswith(("_quality", "_reason"))} == {
        "temperature_quality": "bad",
        "temperature_reason": "out_of_range,clock",
    }
    assert damaged["damaged"] == ["temperature"]


@pytest.mark.parametrize("value", [-0.0, 1e300, np.inf, 3.0, 0.1])
def test_a_row_of_the_state_is_whole_whatever_its_value(tmp_path: Path, value: float) -> None:
    """SQLite keeps a number that is whole as an integer, and no sign of a zero: neither is damage."""
    path = tmp_path / "twin.db"
    saved_state(path, value=value)

    (shown,) = twins_of(path)

    assert shown["temperature"] == value
    assert "damaged" not in shown


def test_a_salvage_leaves_out_damaged_rows_of_the_state(tmp_path: Path) -> None:
    """What was read of a damaged file is checked, too."""
    path = tmp_path / "twin.db"
    saved_state(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(DAMAGE["value"][0])
        connection.commit()
    note_damage(path)

    store = SqliteStore(path, a_catalogue(entities=0), gateway="g1", durability="full")

    assert store.salvaged is not None
    assert query(store, "select series_id, value from state") == [(2, 700.0)]
    assert sums_of(path)["state_rows_damaged"] == 1
    store.close()


def test_entities_come_back_with_their_keys_and_places(tmp_path: Path) -> None:
    """After a restart the same series has the same key; a forgotten entity's place stays free."""
    path = tmp_path / "twin.db"
    first = a_catalogue(entities=3)
    store = SqliteStore(path, first, gateway="g1", durability="full")
    store.commit(Commit(now_ms=1, counts={("s", "x", ""): 1}))
    store.forget_entity(int(first.entity_key[1]), now_ms=2)
    first.forget(1)
    places = {"catalogue.entity_key": first.entity_key[:3].copy()}
    store.close()

    second = a_catalogue(entities=0)
    again = SqliteStore(path, second, gateway="g1", durability="full")
    again.load_entities({"room": 0}, places, now_ms=3)

    assert [second.find(name) for name in ("e0", "e1", "e2")] == [0, None, 2]
    assert second.series_key[:6].tolist() == first.series_key[:6].tolist()
    assert second.add("new", 0) == 1
    assert int(second.entity_key[1]) == 4
    again.close()


def test_a_kind_with_other_metrics_gets_new_series(tmp_path: Path) -> None:
    """An old reading is never taken for one of another metric; the old series stay readable."""
    path = tmp_path / "twin.db"
    store = SqliteStore(path, a_catalogue(), gateway="g1", durability="full")
    store.commit(Commit(now_ms=1, counts={("s", "x", ""): 1}))
    store.close()

    changed = a_catalogue(a_kind(metrics=("noise",)), entities=0)
    again = SqliteStore(path, changed, gateway="g1", durability="full")
    again.load_entities({"room": 0}, {}, now_ms=3)
    again.commit(Commit(now_ms=2, counts={("s", "x", ""): 1}))

    assert changed.find("e0") == 0
    assert query(again, "select id, metric from series order by id") == [(1, "temperature"), (2, "co2"), (3, "noise")]
    again.close()


def test_alerts_are_there_after_a_restart(store: SqliteStore) -> None:
    """An active alert is restored as it was; a cleared one is history."""
    store.commit(
        Commit(
            now_ms=1,
            alerts=[
                AlertChange(before=None, after=an_alert()),
                AlertChange(before=None, after=an_alert(alert=2, rule="hot")),
            ],
        )
    )
    store.commit(
        Commit(now_ms=2, alerts=[AlertChange(before=an_alert(), after=an_alert(state="cleared", value=800.0))])
    )

    assert store.active_alerts() == [an_alert(alert=2, rule="hot")]
    assert store.next_alert() == 3
    assert [event for event, _ in store.alert_events_after(1)] == [2, 3]


def test_one_writer_only(store: SqliteStore) -> None:
    """A second agent on the same database is refused with a message, and the first goes on."""
    with pytest.raises(StoreError, match="the agent is running"):
        SqliteStore(store.path, a_catalogue(), gateway="g1", durability="full")

    store.commit(Commit(now_ms=1, counts={("s", "x", ""): 1}))


def test_a_database_of_a_newer_schema_is_refused_unchanged(tmp_path: Path) -> None:
    """Older code says what to do, and touches nothing."""
    path = tmp_path / "twin.db"
    SqliteStore(path, a_catalogue(), gateway="g1", durability="full").close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at) values ('attwin', 'm999_later', '')"
        )
    connection.close()
    before = path.read_bytes()

    for opening in (
        lambda: SqliteStore(path, a_catalogue(), gateway="g1", durability="full"),
        reader(path).__enter__,
    ):
        with pytest.raises(StoreError, match=r"newer attwin \(schema m999_later\)"):
            opening()

    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database, far too short", b"\0" * 5000])
def test_what_is_no_database_is_refused_unchanged(tmp_path: Path, content: bytes) -> None:
    """A foreign file is named, and not written to."""
    path = tmp_path / "twin.db"
    path.write_bytes(content)

    with pytest.raises(StoreError, match="not a usable database"):
        SqliteStore(path, a_catalogue(), gateway="g1", durability="full")

    assert path.read_bytes() == content


def test_the_settings_of_the_connection_are_the_durable_ones(store: SqliteStore) -> None:
    """WAL, synchronous FULL and secure delete are what the promises rest on."""
    found = [
        store._connection.execute(f"pragma {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "secure_delete", "auto_vacuum")
    ]

    assert found == ["wal", 2, 1, 2]


def test_times_of_receipt_are_put_right_when_the_clock_is(tmp_path: Path) -> None:
    """Readings of every run since the machine was booted are shifted; what a sensor timed itself is not."""
    received = np.array([Reason.RECEIVED, 0], np.uint16)
    for offset_ms in (1000, 3000):
        catalogue = a_catalogue(entities=0)
        store = SqliteStore(tmp_path / "twin.db", catalogue, gateway="g1", durability="full")
        store.load_entities({"room": 0}, {}, now_ms=0)
        if catalogue.find("e0") is None:
            catalogue.add("e0", 0)
        store.begin_boot("this", offset_ms, now_ms=offset_ms)
        batch = replace(a_batch(values=[1.0, 2.0], times_ms=[offset_ms + 10, 77]), reason=received)
        store.commit(Commit(now_ms=offset_ms + 10, stored=batch, counts={("s", "x", ""): 1}))
        if offset_ms == 1000:
            store.close()

    store.mend_times(500_000, now_ms=500_020)
    after = replace(a_batch(values=[3.0], times_ms=[500_030]), reason=received[:1])
    store.commit(Commit(now_ms=500_030, stored=after, counts={("s", "x", ""): 1}))

    assert [s.time_ms.tolist() for s in store.segments_after(0)] == [[500_010, 77], [500_010, 77], [500_030]]
    assert store.newest_ms() == 500_030
    store.close()


def a_reject(*, message: int | None = None, taken: bytes = b"", time_ms: int = T0_MS) -> Reject:
    """Return a reject, of a message of which nothing was taken unless told."""
    return Reject(
        time_ms=time_ms,
        source=0,
        topic="t",
        reason=RejectReason.UNKNOWN_METRIC,
        detail="",
        payload=b"1",
        message=message,
        taken=taken,
    )


def test_the_rejects_of_a_message_are_found_together(store: SqliteStore) -> None:
    """Whichever of them is asked for; those of other messages, of this commit and of others, are not."""
    parts = [a_reject(message=1, taken=b"12345678"), a_reject(), a_reject(message=2), a_reject(message=1)]
    for _ in range(2):
        store.commit(Commit(now_ms=T0_MS, rejects=parts, counts={("s", "x", ""): 1}))

    assert [(kept.number, kept.message, kept.taken) for kept in store.load_rejects([8])] == [
        (5, 5, b"12345678"),
        (8, 5, b""),
    ]
    assert [(kept.number, kept.message, kept.taken) for kept in store.load_rejects([2, 7])] == [
        (2, 2, b""),
        (7, 7, b""),
    ]
    assert store.load_rejects([9]) == []


def test_numbers_of_rejects_are_never_given_again(store: SqliteStore) -> None:
    """Also where the newest one has left the ring."""
    store.commit(Commit(now_ms=T0_MS, rejects=[a_reject(), a_reject()], counts={("s", "x", ""): 1}))
    store.commit(Commit(now_ms=T0_MS, replayed=[2], counts={("s", "x", ""): 1}))
    store.commit(Commit(now_ms=T0_MS, rejects=[a_reject()], counts={("s", "x", ""): 1}))

    assert query(store, "select id from rejects order by id") == [(1,), (3,)]


def test_a_damaged_ring_is_said_to_be_damaged(store: SqliteStore) -> None:
    """So that the agent stops, and the next start mends."""
    store.commit(Commit(now_ms=T0_MS, rejects=[a_reject()], counts={("s", "x", ""): 1}))
    ((root,),) = query(store, "select rootpage from sqlite_master where name = 'rejects'")
    store._connection.execute("pragma wal_checkpoint(truncate)")
    with store.path.open("rb+") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\x77" * 4096)
    store._connection.execute("pragma shrink_memory")

    with pytest.raises(StoreDamagedError):
        store.load_rejects([1])


def test_rejects_are_dated_anew_when_the_clock_is_put_right(store: SqliteStore) -> None:
    """Those of this boot of the machine, by the clock of the run that they came in, as its readings are."""

    def refuse(*times_ms: int) -> None:
        facts = {"source": 0, "topic": "t", "reason": RejectReason.LATE, "detail": "", "payload": b""}
        rejects = [Reject(time_ms=time_ms, **facts) for time_ms in times_ms]
        store.commit(Commit(now_ms=times_ms[-1], rejects=rejects, counts={("s", "x", ""): 1}))

    store.begin_boot("before", 0, now_ms=100)
    refuse(150)
    store.begin_boot("this", 1000, now_ms=1000)
    refuse(1001, 1500)
    store.begin_boot("this", 3000, now_ms=3000)
    refuse(3001)
    store.begin_boot("this", 0, now_ms=40)
    refuse(42)

    store.mend_times(500_000, now_ms=500_020)
    refuse(500_030)
    store.mend_times(500_007, now_ms=500_040)

    found = [time_ms for (time_ms,) in query(store, "select time_ms from rejects order by id")]
    assert found == [150, 500_008, 500_507, 500_008, 500_049, 500_037]


def test_deliveries_are_remembered_over_a_restart(tmp_path: Path) -> None:
    """The newest ones, as many as the horizon says."""
    store = SqliteStore(tmp_path / "twin.db", a_catalogue(), gateway="g1", durability="full")
    for number in range(1, 6):
        store.commit(Commit(now_ms=1, counts={("s", "x", ""): 1}, deliveries=[(number, number * 7), (number + 10, 1)]))
    store.close()

    again = SqliteStore(tmp_path / "twin.db", a_catalogue(), gateway="g1", durability="full")
    found = again.load_deliveries(4)

    assert [found.is_repeated(n, n * 7) for n in (5, 4, 3)] == [True, True, False]
    assert not found.is_repeated(5, 36)
    again.close()


def test_a_damaged_message_is_parked_and_the_others_leave(store: SqliteStore) -> None:
    """SQLite does not notice a flipped bit of a payload; its checksum does, and the sums say so."""
    store.commit(Commit(now_ms=1, drafts=[a_draft(0), a_draft(1)]))
    store._connection.execute("update outbox set payload = cast('x' || substr(payload, 2) as blob) where sequence = 1")

    found = taken(store, 10)
    assert unsent(store) == 0
    store.upkeep(now_ms=1, times_are_final=False)

    assert [message.sequence for message in found] == [2]
    assert query(store, "select sequence, reason from parked") == [(1, "damaged")]
    (notice,) = taken(store, 10)
    assert notice.payload.endswith(b'"dropped":[[1,1,"parked"]]}')
    assert store.waiting_outgoing() == 2
    assert [s.parts for s in audit_of(store.path) if s.source == UPSTREAM] == [{"waiting": 2, "parked": 1}]


def test_messages_before_a_damaged_one_leave_although_the_disk_is_full(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only parking needs the disk, and waits for it; no message waits for the next start."""
    store.commit(Commit(now_ms=1, drafts=[a_draft(number) for number in range(3)]))
    store._connection.execute("update outbox set payload = x'00' where sequence = 2")

    def full(*_: object) -> None:
        raise StoreStalledError("full")

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "_park", full)
        found = taken(store, 10)
        with pytest.raises(StoreStalledError):
            store.upkeep(now_ms=1, times_are_final=False)
    store.upkeep(now_ms=1, times_are_final=False)

    assert [message.sequence for message in found] == [1, 3]
    assert query(store, "select sequence from parked") == [(2,)]
    assert [message.sequence for message in taken(store, 10)] == [4]
    assert store.waiting_outgoing() == 3


def test_messages_that_could_not_be_read_are_not_taken_for_sent(store: SqliteStore) -> None:
    """The next call returns them."""
    store.commit(Commit(now_ms=1, drafts=[a_draft(0)]))
    store._connection.execute("alter table outbox rename to unreadable")
    with pytest.raises(StoreError):
        taken(store, 10)
    store._connection.execute("alter table unreadable rename to outbox")

    assert [message.sequence for message in taken(store, 10)] == [1]


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        pytest.param(StoreStalledError("full"), StoreStalledError, id="a full disk"),
        pytest.param(sqlite3.OperationalError("refused"), StoreError, id="an error of SQLite"),
        pytest.param(KeyboardInterrupt(), KeyboardInterrupt, id="a signal"),
    ],
)
def test_an_opening_that_failed_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, expected: type[BaseException]
) -> None:
    """The agent waits for space in one process: the lock of the first try must not refuse the second."""
    path = tmp_path / "twin.db"

    def refused(_store: SqliteStore, _name: str) -> str:
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "meta", refused)
        with pytest.raises(expected):
            SqliteStore(path, a_catalogue(), gateway="g1", durability="full")

    again = SqliteStore(path, a_catalogue(), gateway="g1", durability="full")
    assert again.waiting_outgoing() == 0
    again.close()


def test_a_commit_that_failed_can_be_tried_again(store: SqliteStore) -> None:
    """What the writer remembers follows what is durable: entities are saved by the second try, bytes counted once."""
    reject = Reject(time_ms=1, source=0, topic="t", reason=RejectReason.TOO_LARGE, detail="d", payload=b"x" * 100)
    bad = [AlertChange(before=None, after=an_alert(rule=None))]
    for _ in range(3):
        with pytest.raises(StoreError):
            store.commit(Commit(now_ms=1, stored=a_batch(), counts={("s", "x", ""): 1}, rejects=[reject], alerts=bad))

    store.commit(Commit(now_ms=1, stored=a_batch(), counts={("s", "x", ""): 1}, rejects=[reject]))

    assert query(store, "select count(*) from entities") == [(1,)]
    assert query(store, "select count(*) from series") == [(2,)]
    assert store._rejects._held == query(store, "select sum(bytes) from rejects")[0][0] == 101


def test_a_backup_ends_although_the_agent_goes_on(tmp_path: Path, catalogue: Catalogue) -> None:
    """Each commit of the writer would begin the copy anew, were it not of one moment."""
    path = tmp_path / "twin.db"
    store = SqliteStore(path, catalogue, gateway="g1", durability="normal")
    noise = np.random.default_rng(1)
    for number in range(40):
        store.commit(
            Commit(now_ms=number, stored=a_batch(values=noise.random(20_000).tolist()), counts={("s", "x", ""): 1})
        )
    steps = []

    def go_on(left: int, _pages: int) -> None:
        steps.append(left)
        assert len(steps) < 1_000
        store.commit(Commit(now_ms=100, counts={("s", "x", ""): 1}))

    back_up(path, tmp_path / "copy.db", go_on)

    assert len(steps) > 5
    assert steps == sorted(steps, reverse=True)
    store.close()


DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("is_trusted", "left"),
    [
        pytest.param(True, [], id="by the clock, all that is old goes"),
        pytest.param(
            False, ["of the boot before"], id="without one, only what was queued since the machine was booted"
        ),
    ],
)
def test_a_message_expires_by_a_clock_that_is_right(tmp_path: Path, left: list[str], *, is_trusted: bool) -> None:
    """A gateway that believes to be years ahead does not throw away what waits since before."""
    path = tmp_path / "twin.db"
    for boot, name in (("one", "of the boot before"), ("two", "of this boot")):
        store = SqliteStore(path, a_catalogue(entities=0), gateway="g1", durability="full")
        store.begin_boot(boot, 0, now_ms=1_000)
        store.commit(Commit(now_ms=1_000, drafts=[a_draft(0, topic=name)]))
        if boot == "one":
            store.close()

    while store.upkeep(now_ms=1_000 + 31 * DAY_MS, times_are_final=is_trusted):
        pass

    waiting = taken(store, 10)
    assert [message.topic for message in waiting if not message.notice] == left
    assert [json.loads(m.payload)["dropped"] for m in waiting if m.notice] == [[[1 + len(left), 2, "expired"]]]
    store.close()


def test_times_that_are_put_right_count_for_expiry(store: SqliteStore) -> None:
    """What was queued in 1970 by the clock is as young as it is."""
    store.begin_boot("boot", 0, now_ms=1_000)
    store.commit(Commit(now_ms=1_000, drafts=[a_draft(0)]))
    store.mend_times(50 * 365 * DAY_MS, now_ms=50 * 365 * DAY_MS + 2_000)

    store.upkeep(now_ms=50 * 365 * DAY_MS + 2_000, times_are_final=True)

    assert [message.sequence for message in taken(store, 10)] == [1]


def test_messages_of_earlier_lanes_leave_with_their_ids(tmp_path: Path) -> None:
    """They come first in the lanes of today, whose numbers begin at 1."""
    path = tmp_path / "twin.db"
    frozen = Path(__file__).parents[1] / "data" / "schemas" / "m007.sql"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(frozen.read_text(encoding="utf-8"))
    store = SqliteStore(path, a_catalogue(entities=0), gateway="frozen", durability="full")
    store.commit(Commit(now_ms=1, drafts=[a_draft(0, lane="alerts")]))

    ids = [json.loads(message.payload)["id"] for message in taken(store, 10) if message.payload]

    old = store.store_id
    assert ids == [
        *(f"frozen:{old}:urgent:{number}" for number in (1, 3)),
        f"frozen:{old}:alerts:1",
        *(f"frozen:{old}:rest:{number}" for number in (1, 2, 3)),
    ]
    assert [found for found in audit_of(path) if found.difference] == []
    store.close()


def test_an_empty_message_takes_no_number(store: SqliteStore) -> None:
    """A receiver could not see it, and would take it for a gap."""
    drafts = [
        Draft(lane="alerts", topic="t", retain=True, body={"n": 1}),
        Draft(lane="alerts", topic="t", retain=True, body=None),
        Draft(lane="alerts", topic="e", retain=False, body={"n": 2}),
    ]
    store.commit(Commit(now_ms=1, drafts=drafts))

    payloads = [message.payload for message in taken(store, 10)]

    assert [json.loads(payload)["id"].rsplit(":")[-1] for payload in payloads if payload] == ["1", "2"]
    assert payloads[1] == b""


def test_no_critical_alert_is_dropped_while_anything_lower_waits(tmp_path: Path) -> None:
    """It uses the room of all lanes; then aggregates go, then other alerts, and the oldest of its kind last of all."""
    policy = OutboxPolicy(
        lanes={lane: LanePolicy(ttl_ms=0, budget_bytes=1_000, overflow=Overflow.DROP_OLDEST) for lane in LANES},
        largest_bytes=1_000,
    )
    store = SqliteStore(tmp_path / "twin.db", a_catalogue(), gateway="g1", durability="full", outbox=policy)

    def queue(lane: str, count: int, *, urgent: bool = False) -> None:
        body = {"pad": "x" * 50}
        draft = Draft(lane=lane, topic="t", retain=False, body=body, urgent=urgent)
        store.commit(Commit(now_ms=1, drafts=[draft] * count))

    def waiting() -> dict[str, int]:
        rows = query(store, "select lane || rank, count(*) from outbox where rank < 2 group by lane, rank")
        return {str(name): int(str(count)) for name, count in rows}

    queue("aggregates", 9)
    queue("alerts", 5)
    queue("alerts", 20, urgent=True)
    roomy = waiting()
    queue("alerts", 30, urgent=True)
    tight = waiting()
    queue("alerts", 30, urgent=True)

    assert roomy == {"aggregates0": 9, "alerts1": 20}
    assert tight["alerts1"] == 50
    assert tight["aggregates0"] < 9
    assert list(waiting()) == ["alerts1"]
    sizes = query(store, "select sum(length(topic) + length(payload)) from outbox where rank < 2")
    assert int(str(sizes[0][0])) <= 5_000
    assert [found for found in audit_of(store.path) if found.difference] == []
    store.close()
