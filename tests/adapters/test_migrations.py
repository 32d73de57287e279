"""Facts about databases that earlier versions made: frozen as SQL, opened and used by this one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from attwin.adapters import sqlite_database
from attwin.adapters.sqlite_backup import restore_copy
from attwin.adapters.sqlite_store import SqliteStore
from attwin.adapters.sqlite_upkeep import Keep
from attwin.core.catalogue import Catalogue
from attwin.core.journal import joined_segments
from attwin.wiring.auditing import audit_of
from support.builders import a_kind, taken

SCHEMAS = sorted((Path(__file__).parents[1] / "data" / "schemas").glob("*.sql"))
READINGS = 40
T0_MS = 1_700_000_000_000
LATER_MS = 1_900_000_000_000


def a_database(folder: Path, frozen: Path) -> Path:
    """Return a database as an earlier version left it: 40 readings, an alert that ended, messages that wait."""
    path = folder / "twin.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(frozen.read_text(encoding="utf-8"))
    path.with_name("twin.db.lock").touch()
    return path


def opened(path: Path) -> SqliteStore:
    """Open it as the agent does, with the kind that it knows, and never too large."""
    catalogue = Catalogue([a_kind(metrics=("co2", "light"))], most_entities=10)
    forever = 10**15
    keep = Keep(
        journal_ms=forever,
        rollups_ms=forever,
        scores_ms=forever,
        alerts_ms=forever,
        budget_bytes=forever,
        free_bytes=0,
    )
    store = SqliteStore(path, catalogue, gateway="g", durability="full", keep=keep)
    store.load_entities({"room": 0}, {}, now_ms=LATER_MS)
    return store


@pytest.mark.parametrize("frozen", SCHEMAS, ids=lambda path: path.stem)
def test_nothing_of_an_earlier_version_is_lost(tmp_path: Path, frozen: Path) -> None:
    """Readings, alerts, messages and rejects are there, the sums hold, and none of it is taken for damaged."""
    path = a_database(tmp_path, frozen)
    store = opened(path)
    readings = joined_segments(list(store.segments_after(0)))

    assert store.salvaged is None
    assert readings.time_ms.tolist() == [T0_MS + 30_000 * number for number in range(READINGS)]
    assert readings.value.tolist() == [1200.0 if number == 21 else 700.0 + number for number in range(READINGS)]
    assert store.active_alerts() == []
    assert store.next_alert() == 2
    assert len(taken(store, 100)) == store.waiting_outgoing() == 6
    assert len(store.load_rejects([1, 2])) == 2
    assert store._connection.execute("select count(*) from state").fetchone() == (4,)
    assert all(found.difference == 0 for found in audit_of(path))
    store.close()


def test_what_an_earlier_version_took_of_a_message_is_not_known(tmp_path: Path) -> None:
    """So the rest of it is not taken either; a message of which nothing was taken can be."""
    path = a_database(tmp_path, next(schema for schema in SCHEMAS if schema.stem == "m004"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update rejects set is_part = 1 where id = 2")
    store = opened(path)

    assert [(reject.message, reject.taken) for reject in store.load_rejects([1, 2])] == [(1, b""), (2, None)]
    store.close()


@pytest.mark.parametrize("frozen", SCHEMAS, ids=lambda path: path.stem)
def test_a_kill_after_a_migration_is_no_damage(tmp_path: Path, frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema is another by then, and its checksum is not noted yet."""
    path = a_database(tmp_path, frozen)

    def killed(_: sqlite3.Connection) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_database, "schema_checksum", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(path)
    store = opened(path)

    assert store.salvaged is None
    assert len(joined_segments(list(store.segments_after(0))).value) == READINGS
    store.close()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["twin.db", "twin.db.lock"]


@pytest.mark.parametrize("frozen", SCHEMAS, ids=lambda path: path.stem)
def test_what_an_earlier_version_stored_is_rolled_up_and_merged(tmp_path: Path, frozen: Path) -> None:
    """Its segments and the new ones go through the same upkeep."""
    path = a_database(tmp_path, frozen)
    store = opened(path)
    for _ in range(20):
        store.upkeep(now_ms=T0_MS, times_are_final=False)
    while store.upkeep(now_ms=LATER_MS, times_are_final=True):
        pass
    merged = joined_segments(list(store.segments_after(0)))
    store.close()

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select sum(count) from rollups").fetchone() == (READINGS,)
        assert connection.execute("select * from audit where reason = '' and name = 'damaged'").fetchall() == []
        assert connection.execute("select sum(merged), sum(readings) from journal").fetchone() == (1, READINGS)
    assert max(merged.value.tolist()) == 1200.0
    assert len(merged.value) == READINGS


@pytest.mark.parametrize("frozen", SCHEMAS, ids=lambda path: path.stem)
def test_a_backup_of_an_earlier_version_is_restored(tmp_path: Path, frozen: Path) -> None:
    """It is brought up to date by the next start, as any database of its age."""
    copy = a_database(tmp_path, frozen).rename(tmp_path / "copy.db")

    assert restore_copy(copy, tmp_path / "twin.db") is None

    store = opened(tmp_path / "twin.db")
    assert store.salvaged is None
    assert len(joined_segments(list(store.segments_after(0))).value) == READINGS
    store.close()


@pytest.mark.parametrize("frozen", SCHEMAS, ids=lambda path: path.stem)
def test_all_ways_lead_to_one_schema(tmp_path: Path, frozen: Path) -> None:
    """A migrated database has the tables, columns, indexes and views of a new one."""
    path = a_database(tmp_path, frozen)
    opened(path).close()
    new = tmp_path / "new.db"
    opened(new).close()

    assert shape(path) == shape(new)


def shape(path: Path) -> dict[str, object]:
    """Return what a database has, with the columns of each."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("select type, name from sqlite_master where name not like 'sqlite_%'").fetchall()
        return {f"{kind} {name}": connection.execute(f"pragma table_xinfo({name})").fetchall() for kind, name in names}
