"""Facts about damaged databases: nothing is deleted, what can be read is saved, and the sums stay true."""

import errno
import itertools
import os
import random
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from sqlite_utils import Database

from attwin.adapters import sqlite_database, sqlite_salvage
from attwin.adapters.sqlite_migrations import MIGRATIONS
from attwin.adapters.sqlite_salvage import note_damage
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.alerts import AlertFacts
from attwin.core.columns import NEVER_MS
from attwin.core.errors import StoreDamagedError, StoreError, StoreStalledError
from attwin.core.outgoing import Draft
from attwin.ports import AlertChange, Commit
from attwin.wiring import reading
from attwin.wiring.auditing import audit_of
from support.builders import T0_MS, a_batch, a_catalogue, taken
from support.file_faults import FileFaults, KilledError

COMMITS = 400


def an_alert(number: int) -> AlertFacts:
    """Return an active alert."""
    return AlertFacts(
        alert=number, rule=f"r{number}", entity="e0", severity="info", subject="co2", state="active", value=1.0,
        threshold=0.0, since_ms=1, time_ms=2, opened_ms=2,
    )  # fmt: skip


def a_database(folder: Path) -> Path:
    """Make a database with readings, alerts and messages, cleanly closed."""
    path = folder / "twin.db"
    store = SqliteStore(path, a_catalogue(), gateway="g", durability="normal")
    for number in range(1, COMMITS + 1):
        counts = {("s", name, ""): 3 for name in ("readings_decoded", "readings_stored")}
        counts |= {("s", name, ""): 1 for name in ("messages_received", "messages_decoded")}
        store.commit(
            Commit(
                now_ms=number,
                stored=a_batch(values=[number, number * 1.1, 0.1], times_ms=[T0_MS + number] * 3),
                counts=counts,
                alerts=[AlertChange(before=None, after=an_alert(number))] if number <= 20 else [],
                drafts=[Draft(lane="alerts", topic=f"t{number}", retain=False, body={"n": number})]
                if number < 50
                else [],
            )
        )
    columns = {"time_ms": NEVER_MS, "value": np.nan, "quality": 0, "reason": 0, "score_ms": NEVER_MS, "score": np.nan}
    arrays = {f"twin.{name}": np.full(2, value) for name, value in columns.items()}
    store.save_snapshot(arrays, now_ms=COMMITS, missing_names=str)
    store.close()
    return path


def reopened(path: Path) -> SqliteStore:
    """Open a database that may be damaged."""
    return SqliteStore(path, a_catalogue(entities=0), gateway="g", durability="normal")


def set_aside(path: Path) -> list[Path]:
    """Return the files that were set aside."""
    return [found for found in path.parent.glob("twin.db.corrupt-*") if not found.name.endswith(("-wal", "-shm"))]


def test_a_sound_database_is_left_alone(tmp_path: Path) -> None:
    """The check finds nothing where there is nothing."""
    path = a_database(tmp_path)

    store = reopened(path)

    assert store.salvaged is None
    assert set_aside(path) == []
    assert store.waiting_outgoing() == 49
    store.close()


def test_a_first_start_that_was_interrupted_is_no_damage(tmp_path: Path) -> None:
    """A power cut may leave the table of migrations and nothing else: there is nothing to set aside or to tell."""
    path = tmp_path / "twin.db"
    with closing(sqlite3.connect(path)) as connection:
        MIGRATIONS.ensure_migrations_table(Database(connection))
        connection.commit()
    (tmp_path / "twin.db.lock").touch()

    store = reopened(path)

    assert store.salvaged is None
    assert set_aside(path) == []
    store.close()


def test_garbage_is_set_aside_and_the_agent_starts_anew(tmp_path: Path) -> None:
    """A file that is no database at all is kept, byte by byte."""
    path = tmp_path / "twin.db"
    garbage = random.Random(1).randbytes(50_000)  # noqa: S311 -- garbage, not a secret
    path.write_bytes(garbage)
    (tmp_path / "twin.db.lock").touch()

    store = reopened(path)

    assert store.salvaged is not None
    assert [found.read_bytes() for found in set_aside(path)] == [garbage]
    store.close()


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_of_a_truncated_file_what_is_left_is_saved(tmp_path: Path, keep: float) -> None:
    """The sums of the new database say what is gone."""
    path = a_database(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])

    store = reopened(path)
    store.close()

    assert store.salvaged is not None
    assert len(set_aside(path)) == 1
    assert [found.difference for found in audit_of(path)] == [0] * len(audit_of(path))


def test_a_file_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """SQLite reads nothing of a file that is shorter than its first page says; with a new one it does."""
    path = a_database(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.95)])

    store = reopened(path)

    assert store.salvaged is not None
    assert store.salvaged["journal"] > COMMITS / 2
    assert store.waiting_outgoing() == 49
    store.close()


def break_page(path: Path, page: int, byte: bytes = b"\xff") -> None:
    """Overwrite a page."""
    with path.open("rb+") as file:
        file.seek((page - 1) * 4096)
        file.write(byte * 4096)


@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_a_lost_first_page_costs_nothing(tmp_path: Path, byte: bytes) -> None:
    """It is made anew, its schema is proved, all rows are saved, and what stood there is kept."""
    path = a_database(tmp_path)
    break_page(path, 1, byte)

    store = reopened(path)

    (aside,) = set_aside(path)
    assert aside.with_name(f"page1-of-{aside.name}").read_bytes() == byte * 4096
    assert store.salvaged is not None
    assert (store.salvaged["alerts"], store.salvaged["journal"]) == (20, COMMITS)
    assert store.waiting_outgoing() == 49
    assert sum(len(segment.value) for segment in store.segments_after(0)) == 3 * COMMITS
    assert [found.difference for found in audit_of(path)] == [0] * len(audit_of(path))
    assert not [name for found in audit_of(path) for name in found.parts if "lost" in name]
    store.close()


@pytest.mark.parametrize("place", [1, 80], ids=["the first page", "another page"])
def test_a_page_that_the_disk_does_not_give_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """While the schema is searched for; where it is the first page itself, there is no schema, and the agent begins."""
    path = a_database(tmp_path)
    break_page(path, 1)
    pread, rebuild = os.pread, sqlite_salvage.rebuild_first_page

    def pread_of_a_bad_disk(descriptor: int, size: int, offset: int) -> bytes:
        if offset == (place - 1) * 4096:
            raise OSError(errno.EIO, "bad sector")
        return pread(descriptor, size, offset)

    def rebuild_of_a_bad_disk(aside: Path) -> bool:
        if place == 1:
            raise OSError(errno.EIO, "bad sector")
        return rebuild(aside)

    monkeypatch.setattr(os, "pread", pread_of_a_bad_disk)
    monkeypatch.setattr(sqlite_salvage, "rebuild_first_page", rebuild_of_a_bad_disk)
    store = reopened(path)

    assert store.salvaged is not None
    assert store.waiting_outgoing() == (0 if place == 1 else 49)
    assert len(set_aside(path)) == 1
    store.close()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_a_mode_that_somebody_chose_outlives_a_salvage(tmp_path: Path, mode: int) -> None:
    """The new database, and what is kept of the old one, can be read and written by the same users as before."""
    path = a_database(tmp_path)
    path.chmod(mode)
    break_page(path, 1)

    reopened(path).close()

    names = {"twin.db", "twin.db.corrupt", "page1-of-twin.db.corrupt"}
    found = {file.name.partition("-2")[0]: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert {name: found[name] for name in names} == dict.fromkeys(names, mode)


def test_the_log_of_a_file_whose_first_page_is_lost_is_read(tmp_path: Path) -> None:
    """What was committed last stands there and nowhere else."""
    path = a_database(tmp_path)
    catalogue = a_catalogue(entities=0)
    store = SqliteStore(path, catalogue, gateway="g", durability="normal")
    store.load_entities({"room": 0}, {}, now_ms=1)
    counts = {("s", name, ""): 1 for name in ("readings_decoded", "readings_stored")}
    store.commit(Commit(now_ms=1, stored=a_batch(values=[4711.0]), counts=counts))
    aside = tmp_path / "killed"
    aside.mkdir()
    for ending in ("", "-wal"):
        shutil.copy(f"{path}{ending}", aside)
    store.close()
    path = aside / "twin.db"
    break_page(path, 1)
    path.with_name("twin.db.lock").touch()

    store = reopened(path)

    assert len(list(aside.glob("page1-of-*"))) == 1
    assert 4711.0 in [value for segment in store.segments_after(0) for value in segment.value]
    assert [found.difference for found in audit_of(path)] == [0] * len(audit_of(path))
    store.close()


def test_a_log_that_cannot_be_read_for_now_is_waited_for(tmp_path: Path) -> None:
    """Without it the newest commits would be lost silently: that the file is damaged is no reason."""
    path, copy = a_database(tmp_path), tmp_path / "killed" / "twin.db"
    store = reopened(path)
    store.load_entities({"room": 0}, {}, now_ms=1)
    counts = {("s", name, ""): 1 for name in ("readings_decoded", "readings_stored")}
    store.commit(Commit(now_ms=1, stored=a_batch(values=[4711.0]), counts=counts))
    copy.parent.mkdir()
    for ending in ("", "-wal"):
        shutil.copy(f"{path}{ending}", copy.parent)
    store.close()
    copy.with_name("twin.db.lock").touch()
    note_damage(copy)
    log = copy.with_name("twin.db-wal").rename(tmp_path / "log")
    copy.with_name("twin.db-wal").mkdir()

    with pytest.raises(StoreError, match="unable to open"):
        reopened(copy)
    (unreadable,) = copy.parent.glob("*-wal")
    unreadable.rmdir()
    log.rename(unreadable)
    store = reopened(copy)

    assert store.salvaged is not None
    assert 4711.0 in [value for segment in store.segments_after(0) for value in segment.value]
    store.close()


@pytest.mark.parametrize("damaged", [b"TABLE alerts", b"threshold real"], ids=["its syntax", "a name"])
def test_a_first_page_that_cannot_be_proved_is_put_back(tmp_path: Path, damaged: bytes) -> None:
    """A schema that is damaged, too, is not believed: the file is what it was, and the agent starts anew."""
    path = a_database(tmp_path)
    whole = path.read_bytes()
    image = bytearray(whole)
    image[whole.index(damaged, whole.index(b"CREATE TABLE alerts"))] ^= 1
    image[:4096] = bytes(4096)
    path.write_bytes(bytes(image))

    store = reopened(path)

    assert [found.read_bytes() for found in set_aside(path)] == [bytes(image)]
    assert list(tmp_path.glob("page1-of-*")) == []
    assert store.salvaged is not None
    store.close()


@pytest.mark.parametrize("frozen", ["m002", "m003", "m004", "m005"])
def test_a_lost_first_page_of_an_earlier_schema_is_made_anew(tmp_path: Path, frozen: str) -> None:
    """The rows of the schema are the file's own, whatever its version."""
    path = tmp_path / "twin.db"
    with closing(sqlite3.connect(path)) as connection:
        schema = Path(__file__).parents[1] / "data" / "schemas" / f"{frozen}.sql"
        connection.executescript(schema.read_text(encoding="utf-8"))
    (tmp_path / "twin.db.lock").touch()
    break_page(path, 1)

    store = reopened(path)

    assert sum(len(segment.value) for segment in store.segments_after(0)) == 40
    store.close()


def test_a_reader_of_a_damaged_table_is_told_so(tmp_path: Path) -> None:
    """A start asks which models have served before it opens the store: it must come to the mending all the same."""
    path = a_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        roots = connection.execute("select rootpage from sqlite_master where name in ('models', 'outbox')").fetchall()
    for (root,) in roots:
        break_page(path, root)

    assert reading.tested_models(path) == set()
    with pytest.raises(StoreError, match="cannot be read"):
        reading.status_of(path)
    store = reopened(path)

    assert store.salvaged is not None
    store.close()


def test_a_damaged_journal_costs_only_what_cannot_be_read(tmp_path: Path) -> None:
    """Alerts and messages come through with their numbers, readings on both sides of the damage too."""
    path = a_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        store_id = connection.execute("select value from meta where name = 'store_id'").fetchone()
        pages = [
            row[0]
            for row in connection.execute("select pageno from dbstat where name = 'journal' and pagetype = 'leaf'")
        ]
    break_page(path, pages[len(pages) // 2])
    # the journal is not checked at a start: damage that is found there is remembered for the next
    note_damage(path)

    store = reopened(path)

    assert store.salvaged is not None
    assert store.salvaged["alerts"] == 20
    assert store.waiting_outgoing() == 49
    assert (store.store_id,) == store_id
    held = sum(len(segment.value) for segment in store.segments_after(0))
    assert 3 * COMMITS * 0.8 < held < 3 * COMMITS
    found = {s.source: s for s in audit_of(path)}
    assert found["store"].difference == 0
    assert found["store"].parts["lost in a damaged file"] >= 3
    store.commit(Commit(now_ms=1, drafts=[Draft(lane="alerts", topic="new", retain=False, body={})]))
    assert taken(store, 100)[-1].sequence == 50
    store.close()


def journal_numbers(path: Path) -> set[int]:
    """Return the numbers of the rows of the journal."""
    with closing(sqlite3.connect(path)) as connection:
        return {number for (number,) in connection.execute("select id from journal")}


@pytest.mark.parametrize("leaf", [2, -2, -1], ids=["in the middle", "near the end", "at the end"])
def test_commits_that_are_lost_with_their_counters_are_counted(tmp_path: Path, leaf: int) -> None:
    """Since the last snapshot the counters stand in the lost rows themselves, so only their numbers tell of them."""
    path = a_database(tmp_path)
    store = SqliteStore(path, a_catalogue(entities=0), gateway="g", durability="normal")
    store.load_entities({"room": 0}, {}, now_ms=1)
    noise = np.random.default_rng(1)
    counts = {("s", name, ""): 300 for name in ("readings_decoded", "readings_stored")}
    for number in range(40):
        store.commit(Commit(now_ms=number, stored=a_batch(values=noise.random(300).tolist()), counts=counts))
    store.close()
    whole = journal_numbers(path)
    with closing(sqlite3.connect(path)) as connection:
        # in their order; those before the snapshot are small
        leaves = connection.execute(
            "select pageno, ncell from dbstat where name = 'journal' and pagetype = 'leaf' order by path"
        )
        new = [page for page, cells in leaves if cells < 5]
    break_page(path, new[leaf])
    note_damage(path)

    store = reopened(path)
    store.close()

    lost = len(whole - journal_numbers(path))
    assert 1 <= lost < 5
    (found,) = (found for found in audit_of(path) if found.what == "commits lost in a damaged file")
    assert (found.source, found.total, found.difference) == ("store", 1 if leaf == -1 else lost, 0)
    assert [found.difference for found in audit_of(path)] == [0] * len(audit_of(path))

    note_damage(path)
    reopened(path).close()

    assert [again for again in audit_of(path) if again.what == found.what] == [found]


@pytest.mark.parametrize("flips", [100, pytest.param(3_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(1800)
def test_no_flipped_bit_stops_a_start_or_makes_a_false_sum(tmp_path: Path, flips: int) -> None:
    """Whatever bit flips, the agent opens a database whose messages are whole and whose sums hold."""
    original = a_database(tmp_path).read_bytes()
    chance = random.Random(flips)  # noqa: S311 -- damage, not a secret
    path = tmp_path / "flipped" / "twin.db"
    path.parent.mkdir()
    for _ in range(flips):
        for old in path.parent.iterdir():
            old.unlink()
        image = bytearray(original)
        image[chance.randrange(len(image))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(image))
        path.with_name("twin.db.lock").touch()

        store = reopened(path)
        for message in taken(store, 100):
            number = int(message.topic.removeprefix("t"))
            assert message.payload.endswith(f'"n":{number}}}'.encode())
        try:
            list(store.segments_after(0))
        except StoreDamagedError:
            store.close()
            store = reopened(path)
            list(store.segments_after(0))
        store.close()


def test_a_salvage_that_is_interrupted_is_done_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in the middle loses nothing: the file that was set aside is still there to be read."""
    path = a_database(tmp_path)
    note_damage(path)
    insert = sqlite_salvage._insert

    def killed(connection: sqlite3.Connection, table: str, *rest: object) -> None:
        if table == "outbox":
            raise sqlite3.OperationalError("the power is gone")
        insert(connection, table, *rest)  # type: ignore[arg-type] # as it was called

    monkeypatch.setattr(sqlite_salvage, "_insert", killed)
    with pytest.raises(StoreError):
        reopened(path)
    monkeypatch.undo()

    store = reopened(path)

    assert store.salvaged is not None
    assert store.waiting_outgoing() == 49
    assert len(set_aside(path)) == 1
    store.close()


def test_a_salvage_is_told_until_an_alert_of_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill or a full disk after the salvage, and before the alert, must not keep it from the operator."""
    path = a_database(tmp_path)
    note_damage(path)

    def full(_: sqlite3.Connection) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_database, "drop_damaged_rows", full)
        with pytest.raises(StoreStalledError):
            reopened(path)
    killed = reopened(path)
    killed.close()
    store = reopened(path)

    assert store.salvaged is not None
    assert store.salvaged == killed.salvaged
    assert store.salvaged["journal"] == COMMITS
    store.commit(Commit(now_ms=1, alerts=[AlertChange(before=None, after=an_alert(30))], tells_salvage=True))
    store.close()
    again = reopened(path)
    assert again.salvaged is None
    again.close()


@pytest.mark.parametrize("lost", ["", "where lane = 'alerts'"], ids=["all lanes", "one lane"])
def test_a_store_that_does_not_know_its_lanes_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Numbers may be given twice, so ids of messages must differ; also where a kill comes before the end is noted."""
    path = a_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        (store_id,) = connection.execute("select value from meta where name = 'store_id'").fetchone()
        connection.execute(f"delete from lanes {lost}")
        connection.commit()
    note_damage(path)

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_database, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            reopened(path)
    store = reopened(path)

    assert store.store_id != store_id
    assert store.waiting_outgoing() == 49
    assert len(set_aside(path)) == 1
    store.close()


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, StoreStalledError), (errno.EDQUOT, StoreStalledError), (errno.EIO, StoreError)],
)
def test_a_disk_that_refuses_while_a_file_is_set_aside_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[StoreError]
) -> None:
    """The file stays where it is, the lock is free again, and the next try does all of it."""
    path = a_database(tmp_path)
    note_damage(path)
    before = path.read_bytes()

    def refused(_: Path) -> None:
        raise OSError(number, "refused")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_salvage, "sync", refused)
        with pytest.raises(StoreError) as caught:
            reopened(path)
    assert (type(caught.value), path.read_bytes(), set_aside(path)) == (expected, before, [])

    store = reopened(path)

    assert store.salvaged is not None
    assert store.waiting_outgoing() == 49
    assert len(set_aside(path)) == 1
    store.close()


@pytest.mark.parametrize("problem", [KilledError(), OSError(errno.ENOSPC, "full")], ids=["a kill", "a full disk"])
@pytest.mark.parametrize("provable", [True, False], ids=["a schema that is proved", "a schema that cannot be proved"])
def test_a_start_that_mends_may_end_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, *, provable: bool
) -> None:
    """The next start does the rest: all that can be saved is, what was set aside is kept, and somebody is told."""
    original = a_database(tmp_path)
    break_page(original, 1)
    damaged = bytearray(original.read_bytes())
    if not provable:
        damaged[damaged.index(b"threshold real", damaged.index(b"CREATE TABLE alerts"))] ^= 1
    for step in itertools.count(1):
        path = tmp_path / str(step) / "twin.db"
        path.parent.mkdir()
        path.write_bytes(damaged)
        path.with_name("twin.db.lock").touch()
        with monkeypatch.context() as patch:
            faults = FileFaults(patch, step, problem)
            with suppress(KilledError, StoreStalledError):
                reopened(path).close()

        store = reopened(path)

        (aside,) = set_aside(path)
        first_pages = [found.name for found in path.parent.glob("page1-of-*")]
        assert first_pages == ([f"page1-of-{aside.name}"] if provable else [])
        assert aside.read_bytes()[4096:] == damaged[4096:]
        assert store.salvaged is not None
        assert store.salvaged["journal"] == (COMMITS if provable else 0)
        assert store.waiting_outgoing() == (49 if provable else 0)
        assert [found.difference for found in audit_of(path)] == [0] * len(audit_of(path))
        store.close()
        if not faults.has_raised:
            break
    assert step > 10


def test_a_store_whose_journal_is_gone_counts_on(tmp_path: Path) -> None:
    """Numbers of the journal begin anew; what is committed then is counted and rolled up all the same."""
    path = a_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("select rootpage from sqlite_master where name = 'journal'").fetchone()
    break_page(path, root)
    note_damage(path)

    store = reopened(path)
    counts = {("s", name, ""): 1 for name in ("readings_decoded", "readings_stored")}
    store.commit(Commit(now_ms=1, stored=a_batch(), counts=counts))

    assert [found.difference for found in audit_of(path)] == [0] * len(audit_of(path))
    store.close()


def test_an_entity_whose_series_are_lost_is_learned_anew(tmp_path: Path) -> None:
    """Its new series have numbers of their own: what was measured before is not taken for theirs."""
    path = a_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("select rootpage from sqlite_master where name = 'series'").fetchone()
    break_page(path, root)
    catalogue = a_catalogue(entities=0)

    store = SqliteStore(path, catalogue, gateway="g", durability="normal")
    store.load_entities({"room": 0}, {}, now_ms=1)
    catalogue.add("e0", 0)
    counts = {("s", name, ""): 1 for name in ("readings_decoded", "readings_stored")}
    store.commit(Commit(now_ms=1, stored=a_batch(), counts=counts))

    assert store.salvaged is not None
    keys = {int(key) for segment in store.segments_after(0) for key in segment.series_key}
    old = int(a_catalogue().series_key[0])
    assert keys == {old, int(catalogue.series_key[0])}
    assert int(catalogue.series_key[0]) > old
    store.close()
