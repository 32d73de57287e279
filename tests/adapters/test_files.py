"""Facts about alerts.jsonl, the control socket, CSV files and arrays."""

import contextlib
import json
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from attwin.adapters.alert_file import AlertFile
from attwin.adapters.arrays import pack_arrays, pack_planes, unpack_arrays, unpack_planes
from attwin.adapters.control_socket import ControlServer, ask
from attwin.adapters.csv_table import read_table
from attwin.adapters.sqlite_backup import back_up, restore_copy
from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.errors import AgentAwayError, DataError
from support.builders import T0_MS, a_catalogue

UTC = ZoneInfo("UTC")


def events_after(first: int) -> Iterator[tuple[int, str]]:
    """Return the events of a store that has three."""
    yield from ((n, json.dumps({"n": n})) for n in range(first + 1, 4))


def lines_of(path: Path) -> list[int]:
    """Return the event numbers in a file."""
    return [json.loads(line)["event"] for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def test_the_alert_file_has_every_event_once(tmp_path: Path) -> None:
    """Catching up twice, and again after a restart, writes nothing twice."""
    path = tmp_path / "alerts.jsonl"
    for _ in range(2):
        log = AlertFile(path, events_after)
        log.catch_up()
        log.catch_up()

    assert lines_of(path) == [1, 2, 3]


def test_the_alert_file_makes_good_what_a_crash_cut_short(tmp_path: Path) -> None:
    """A half line is closed, and its event is written again in full."""
    path = tmp_path / "alerts.jsonl"
    path.write_text('{"event": 1, "n": 1}\n{"event": 2, "n"', encoding="utf-8")

    AlertFile(path, events_after).catch_up()

    assert lines_of(path) == [1, 2, 3]


def test_the_alert_file_survives_being_rotated_away(tmp_path: Path) -> None:
    """After `logrotate create` the next event goes to a new file."""
    path = tmp_path / "alerts.jsonl"
    known = [(1, '{"n": 1}')]
    log = AlertFile(path, lambda after: iter([e for e in known if e[0] > after]))
    log.catch_up()
    path.rename(tmp_path / "alerts.jsonl.1")
    known.append((2, '{"n": 2}'))

    log.catch_up()

    assert (lines_of(tmp_path / "alerts.jsonl.1"), lines_of(path)) == ([1], [2])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """A control socket that echoes, driven by a thread."""
    path = tmp_path / "control.sock"
    control = ControlServer(path, lambda request: {"echo": request})
    going = threading.Event()
    going.set()

    def loop() -> None:
        while going.is_set():
            ready = select.select(control.filenos(), control.writers(), [], 0.01)
            for descriptor in [*ready[0], *ready[1]]:
                control.on_ready(descriptor)

    thread = threading.Thread(target=loop)
    thread.start()
    yield path
    going.clear()
    thread.join()
    control.close()


def test_the_control_socket_answers_a_line_with_a_line(server: Path) -> None:
    """A request gets its answer; the socket belongs to its user and group alone."""
    assert ask(server, {"verb": "x"}) == {"echo": {"verb": "x"}}
    assert server.stat().st_mode & 0o777 == 0o660


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["umask 0", "umask 022", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask of somebody else's choice."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of every file of a folder."""
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.mark.usefixtures("umask")
def test_what_the_agent_keeps_is_for_its_user_and_group(tmp_path: Path) -> None:
    """Whatever the umask: the database, its log, the alerts and their reserve; the lock is nobody else's."""
    store = SqliteStore(tmp_path / "twin.db", a_catalogue(), gateway="g", durability="normal")
    AlertFile(tmp_path / "alerts.jsonl", lambda _after: iter([(1, "{}")])).catch_up()
    found = modes(tmp_path)
    store.close()

    names = ("twin.db", "twin.db-wal", "twin.db-shm", "alerts.jsonl", "alerts.jsonl.reserve")
    assert found == {**dict.fromkeys(names, 0o640), "twin.db.lock": 0o600}


@pytest.mark.usefixtures("umask")
def test_a_copy_and_what_is_restored_from_it_are_too(tmp_path: Path) -> None:
    """A backup holds what the database holds."""
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir(mode=0o700)
    database, copy = tmp_path / "here" / "twin.db", tmp_path / "copy.db"
    SqliteStore(database, a_catalogue(), gateway="g", durability="normal").close()

    back_up(database, copy, lambda _left, _pages: None)
    restore_copy(copy, tmp_path / "there" / "twin.db")

    assert copy.stat().st_mode & 0o777 == 0o640
    assert modes(tmp_path / "there")["twin.db"] == 0o640


def test_a_mode_that_somebody_chose_is_kept(tmp_path: Path) -> None:
    """A database that was opened to a dashboard stays open to it."""
    path = tmp_path / "twin.db"
    SqliteStore(path, a_catalogue(), gateway="g", durability="normal").close()
    path.chmod(0o644)

    SqliteStore(path, a_catalogue(), gateway="g", durability="normal").close()

    assert path.stat().st_mode & 0o777 == 0o644


def test_the_control_socket_is_never_open_to_others(
    tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even between its birth and its change of mode."""
    born: list[int] = []
    change = Path.chmod
    monkeypatch.setattr(
        Path, "chmod", lambda path, mode: (born.append(path.stat().st_mode & 0o777), change(path, mode))
    )

    control = ControlServer(tmp_path / "control.sock", dict)
    mode = control.path.stat().st_mode & 0o777
    control.close()

    assert (born, mode) == ([0o660 & ~umask], 0o660)


def test_what_a_client_sends_or_does_not_read_never_ends_the_server(server: Path) -> None:
    """Nonsense gets an error; a client that asks much and reads nothing is served no faster than it reads."""
    with socket.socket(socket.AF_UNIX) as greedy:
        greedy.connect(str(server))
        greedy.setblocking(False)
        # either the buffers are full, or the server has hung up on somebody so greedy
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            for _ in range(100):
                greedy.send(b'{"verb": "%s"}\n' % (b"x" * 30_000))
        with socket.socket(socket.AF_UNIX) as odd:
            odd.settimeout(5)
            odd.connect(str(server))
            odd.sendall(b"[" * 60_000 + b"\n")
            assert b"a JSON object a line" in odd.recv(1000)

        assert ask(server, {"verb": "y"}) == {"echo": {"verb": "y"}}


def test_nobody_answers_where_no_agent_is(tmp_path: Path) -> None:
    """An absent agent is an error of its own kind, so that commands read the database instead."""
    with pytest.raises(AgentAwayError, match="no agent answers"):
        ask(tmp_path / "none.sock", {})


def test_a_socket_that_a_crash_left_is_taken_over(tmp_path: Path) -> None:
    """The next agent starts although the file is there."""
    path = tmp_path / "control.sock"
    first = ControlServer(path, dict)
    os.link(path, tmp_path / "kept")
    first.close()
    (tmp_path / "kept").rename(path)

    ControlServer(path, dict).close()

    assert not path.exists()


def write(folder: Path, text: str) -> Path:
    """Write a CSV file."""
    path = folder / "data.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_is_read_whatever_its_dialect(tmp_path: Path) -> None:
    """Separators, a byte-order mark, a header one short and missing cells are understood."""
    table = read_table(write(tmp_path, '\ufeff"time";"CO2"\n"1";"2015-02-03 21:46:40";700\n"2";"1423000001";NA\n'))

    assert table.names == ["row", "time", "CO2"]
    assert table.times_ms("time", UTC).tolist() == [T0_MS, T0_MS + 1000]
    np.testing.assert_array_equal(table.numbers("co2"), [700.0, np.nan])


def numbers_of(path: Path) -> list[float]:
    """Read times and numbers of a file."""
    table = read_table(path)
    table.times_ms("time", UTC)
    return table.numbers("x").tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("time,x\n1,2\n3\n", r"data.csv:3: 1 cells; the header has 2", id="short row"),
        pytest.param("time,x\n1,two\n", r"data.csv:2: column `x` holds `two`, which is no number", id="word"),
        pytest.param("time,x\nsoon,2\n", r"data.csv:2: column `time` holds `soon`; a time is ISO 8601", id="time"),
        pytest.param("time,y\n1,2\n", r"no column `x`; it has time, y", id="no column"),
        pytest.param("time,x\n", "no rows below the header", id="no rows"),
    ],
)
def test_a_wrong_csv_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """The message says the line, what stands there and what is allowed."""
    with pytest.raises(DataError, match=message):
        numbers_of(write(tmp_path, text))


@pytest.mark.parametrize(
    ("pack", "unpack", "complaint"),
    [(pack_arrays, unpack_arrays, "not an .npz file"), (pack_planes, unpack_planes, "not a snapshot")],
)
def test_packed_arrays_come_back_and_are_reproducible(
    pack: Callable[[Mapping[str, NDArray[np.generic]]], bytes],
    unpack: Callable[[bytes], dict[str, NDArray[np.generic]]],
    complaint: str,
) -> None:
    """The same arrays give the same bytes; garbage and a part are refused."""
    arrays = {"a.b": np.arange(5), "c": np.array([[1.5, np.nan]]), "d": np.zeros(0, np.uint16)}

    packed = pack(arrays)

    assert packed == pack(arrays)
    found = unpack(packed)
    assert list(found) == list(arrays)
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype
    for wrong in (b"PK garbage", b"", packed[: len(packed) // 2]):
        with pytest.raises(ValueError, match=complaint):
            unpack(wrong)


def test_a_column_of_categories_is_read_as_codes(tmp_path: Path) -> None:
    """A text that is none of them is an error with its line, a missing cell is NaN."""
    path = tmp_path / "visits.csv"
    path.write_text("time,visitor\n1,new\n2,\n3,other\n4,1\n5,robot\n", encoding="utf-8")
    table = read_table(path)

    found = table.codes("visitor", ["new", "other", "robot"])
    with pytest.raises(DataError, match=r"visits\.csv:6: column `visitor` is one of new, other; not 'robot'"):
        table.codes("visitor", ["new", "other"])

    np.testing.assert_array_equal(found, [0, np.nan, 1, 1, 2])
