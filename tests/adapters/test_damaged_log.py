"""Facts about databases that a kill left with a log beside them, where the log or the database was damaged since."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.columns import NEVER_MS
from attwin.core.errors import StoreDamagedError
from attwin.core.outgoing import Draft
from attwin.ports import Commit
from attwin.wiring.auditing import audit_of
from support.builders import T0_MS, a_batch, a_catalogue, taken

CHECKPOINTED, LOGGED = 150, 60
LOG_HEAD, FRAME_HEAD, PAGE = 32, 24, 4096


class Killed:
    """The files of an agent that was killed: some commits in the database, the newer ones in the log only.

    Attributes:
        path: The database, in a folder of its own.
        log_ends: The size of the log before the first of its commits and after each of them.
    """

    def __init__(self, folder: Path) -> None:
        running = folder / "running" / "twin.db"
        running.parent.mkdir()
        store = reopened(running)
        for number in range(1, CHECKPOINTED + 1):
            commit(store, number)
        store.close()
        store = reopened(running)
        log = running.with_name("twin.db-wal")
        self.log_ends = [log.stat().st_size]
        for number in range(CHECKPOINTED + 1, CHECKPOINTED + LOGGED + 1):
            commit(store, number)
            self.log_ends.append(log.stat().st_size)
        self._files = {part.name: part.read_bytes() for part in (running, log)}
        store.close()
        self.path = folder / "killed" / "twin.db"

    @property
    def log(self) -> bytes:
        """Return the log as the kill left it."""
        return self._files["twin.db-wal"]

    @property
    def database(self) -> bytes:
        """Return the database as the kill left it."""
        return self._files["twin.db"]

    def lay_out(self, **damaged: bytes) -> None:
        """Put the files there, with other bytes for the ``log`` or the ``database``."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
        self.path.parent.mkdir()
        self.path.with_name("twin.db.lock").touch()
        self.path.write_bytes(damaged.get("database", self.database))
        self.path.with_name("twin.db-wal").write_bytes(damaged.get("log", self.log))

    def commits_before(self, place: int) -> int:
        """Return how many commits the files hold before a place in the log."""
        return CHECKPOINTED + max(0, sum(end <= place for end in self.log_ends) - 1)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Files that tests damage in their own way."""
    return Killed(tmp_path_factory.mktemp("killed"))


def commit(store: SqliteStore, number: int) -> None:
    """Commit three readings and a message."""
    counts = {("s", name, ""): 3 for name in ("readings_decoded", "readings_stored")}
    counts |= {("s", name, ""): 1 for name in ("messages_received", "messages_decoded")}
    stored = a_batch(values=[number, number + 0.25, number + 0.5], times_ms=[T0_MS + number] * 3)
    drafts = [Draft(lane="alerts", topic=f"t{number}", retain=False, body={"n": number})]
    store.commit(Commit(now_ms=number, stored=stored, counts=counts, drafts=drafts))


def reopened(path: Path) -> SqliteStore:
    """Open a database that may be damaged, with the entity that it has or a new one."""
    catalogue = a_catalogue(entities=0)
    store = SqliteStore(path, catalogue, gateway="g", durability="normal")
    store.load_entities({"room": 0}, {}, now_ms=1)
    if not len(catalogue):
        catalogue.add("e0", 0)
    return store


def snapshot(store: SqliteStore) -> None:
    """Save a snapshot, which sums up the counts of the journal."""
    columns = {"time_ms": NEVER_MS, "value": np.nan, "quality": 0, "reason": 0, "score_ms": NEVER_MS, "score": np.nan}
    arrays = {f"twin.{name}": np.full(2, value) for name, value in columns.items()}
    store.save_snapshot(arrays, now_ms=1, missing_names=str)


def numbers_read(store: SqliteStore) -> list[int]:
    """Return the numbers of the commits whose readings are stored."""
    return sorted({int(value) for segment in store.segments_after(0) for value in segment.value.tolist()})


def started(path: Path) -> tuple[SqliteStore, list[int]]:
    """Open a database, read what a start reads, and save the first snapshot."""
    store = reopened(path)
    try:
        read = numbers_read(store)
        snapshot(store)
    except StoreDamagedError:
        store.close()
        raise
    return store, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a start finds.

    Attributes:
        set_aside: Whether the database was, and mended.
        read: The numbers of the commits whose readings are there.
        sent: Those of the commits whose messages are sent.
        sums_hold: Whether the audit finds nothing missing.
    """

    set_aside: bool
    read: list[int]
    sent: list[int]
    sums_hold: bool


def what_is_left(path: Path) -> Left:
    """Start as the agent does, commit, and check what holds whatever was damaged."""
    try:
        store, read = started(path)
    except StoreDamagedError:
        # noted by now: a second try sets it aside, as `attwin run` does
        store, read = started(path)
    sent = []
    for message in taken(store, 1000):
        sent.append(int(message.topic.removeprefix("t")))
        assert message.payload.endswith(f'"n":{sent[-1]}}}'.encode())
    assert sent == sorted(set(sent))
    commit(store, 999)
    assert numbers_read(store) == [*read, 999]
    set_aside = store.salvaged is not None
    store.close()
    sums_hold = not [found for found in audit_of(path) if found.difference]
    return Left(set_aside=set_aside, read=read, sent=sent, sums_hold=sums_hold)


def flipped(body: bytes, place: int, bit: int) -> bytes:
    """Return bytes of which one bit is another."""
    damaged = bytearray(body)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def test_a_log_that_a_kill_left_is_taken_whole(killed: Killed) -> None:
    """The rig itself: without damage every commit is there, and nothing is set aside."""
    killed.lay_out()

    every = list(range(1, CHECKPOINTED + LOGGED + 1))
    assert what_is_left(killed.path) == Left(set_aside=False, read=every, sent=every, sums_hold=True)


@pytest.mark.parametrize("flips", [60, pytest.param(3_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_flipped_bit_in_the_log_costs_nothing_that_was_committed_before_it(killed: Killed, flips: int) -> None:
    """Frames have checksums: all commits before the damage are there, and none that is not whole."""
    chance = random.Random(flips)  # noqa: S311 -- damage, not a secret
    for _ in range(flips):
        place = chance.randrange(len(killed.log))
        killed.lay_out(log=flipped(killed.log, place, chance.randrange(8)))

        left = what_is_left(killed.path)

        assert left.read == left.sent == list(range(1, len(left.read) + 1))
        assert len(left.read) >= killed.commits_before(place)
        assert left.sums_hold


@pytest.mark.parametrize("cuts", [40, pytest.param(1_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_log_that_was_cut_short_costs_only_what_was_cut(killed: Killed, cuts: int) -> None:
    """Inside its head, inside a frame, and exactly where a commit ends."""
    chance = random.Random(cuts)  # noqa: S311 -- damage, not a secret
    places = [0, 1, LOG_HEAD - 1, LOG_HEAD, LOG_HEAD + FRAME_HEAD, *chance.sample(killed.log_ends, 10)]
    places += [chance.randrange(len(killed.log)) for _ in range(cuts)]
    for place in places:
        killed.lay_out(log=killed.log[:place])

        every = list(range(1, killed.commits_before(place) + 1))
        assert what_is_left(killed.path) == Left(set_aside=False, read=every, sent=every, sums_hold=True)


def _cut_short(body: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body))]


def _zeroed_to_the_end(body: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(body))
    return body[:place] + bytes(len(body) - place)


def _one_page_lost(body: bytes, chance: random.Random) -> bytes:
    page = chance.randrange(len(body) // PAGE) * PAGE
    return body[:page] + bytes(PAGE) + body[page + PAGE :]


@pytest.mark.parametrize("damage", [_cut_short, _zeroed_to_the_end, _one_page_lost], ids=lambda f: f.__name__[1:])
@pytest.mark.parametrize("times", [25, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_damaged_database_with_a_log_beside_it_stops_no_start(
    killed: Killed, damage: Callable[[bytes, random.Random], bytes], times: int
) -> None:
    """It opens or is mended; what is left is whole; what is missing is counted as lost, or told by the audit."""
    chance = random.Random(times)  # noqa: S311 -- damage, not a secret
    every = set(range(1, CHECKPOINTED + LOGGED + 1))
    mended = 0
    for _ in range(times):
        killed.lay_out(database=damage(killed.database, chance))

        left = what_is_left(killed.path)

        assert every.issuperset(left.read)
        assert every.issuperset(left.sent)
        assert left.sums_hold == (left.set_aside or set(left.read) == set(left.sent) == every)
        mended += left.set_aside
    assert mended


def test_the_log_grows_with_every_commit(killed: Killed) -> None:
    """The rig itself: where the log would begin anew in between, its sizes would say nothing about commits."""
    assert all(before < after for before, after in pairwise(killed.log_ends))
    assert killed.commits_before(len(killed.log)) == CHECKPOINTED + LOGGED
