"""Facts about what lists and facts look like, whatever they hold."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from attwin.adapters.sqlite_store import SqliteStore
from attwin.core.types import Reject, RejectReason
from attwin.ports import Commit
from support.builders import T0_MS, a_catalogue

PAYLOAD = b"\x1b[31mRED\x1b]0;pwn\x07 \xc2\x9b1m\xe2\x80\xae"


def printed(*command: str) -> str:
    """Return what a command prints into a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "attwin", *command], capture_output=True, text=True, check=False
    ).stdout


def a_hostile_database(path: Path) -> Path:
    """Make a database whose texts hold what moves a terminal."""
    store = SqliteStore(path, a_catalogue(), gateway="g1", durability="normal")
    rejects = [
        Reject(
            time_ms=T0_MS,
            source=0,
            topic="s/" + "t" * 80 + "\x1b[2J",
            reason=RejectReason.LATE,
            detail="the cause \x1b[2J " + "d" * 80,
            payload=PAYLOAD,
        )
    ]
    store.commit(Commit(now_ms=T0_MS, rejects=rejects, counts={("s\x1b[2J", "messages_received", ""): 1}))
    store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update entities set name = 'e' || char(27) || '[2J'")
    return path


@pytest.mark.parametrize("line", ["rejects list", "twin list", "audit"])
def test_no_list_moves_the_terminal(tmp_path: Path, line: str) -> None:
    """Control characters, also those that only some terminals obey or that turn text around, are shown as escapes."""
    path = a_hostile_database(tmp_path / "twin.db")

    shown = printed(*line.split(), "--database", str(path))

    assert r"\x1b[2J" in shown
    assert all(character.isprintable() for character in shown.replace("\n", ""))


def test_a_twin_says_what_is_doubted_of_its_readings(tmp_path: Path) -> None:
    """A value out of range does not look like any other."""
    path = tmp_path / "twin.db"
    store = SqliteStore(path, a_catalogue(), gateway="g1", durability="normal")
    store.commit(Commit(now_ms=T0_MS, counts={("s", "readings_stored", "ahead"): 3}))
    store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("insert into state values (2, ?, 50.0, 'bad', x'', 'out_of_range')", (T0_MS,))

    shown = printed("twin", "show", "e0", "--database", str(path))
    listed = printed("twin", "list", "--database", str(path))
    status = printed("status", "--database", str(path))

    assert re.findall(r"^(co2.*?)  +(.*)", shown, re.MULTILINE) == [
        ("co2", "50"),
        ("co2 time", "2015-02-03 21:46:40 UTC"),
        ("co2 quality", "bad"),
        ("co2 reason", "out_of_range"),
    ]
    assert "co2 bad (out_of_range)" in listed
    assert re.search(r"^readings_stored\.ahead +3$", status, re.MULTILINE)


def test_a_pipe_gets_all_of_a_reject_and_a_terminal_what_fits(tmp_path: Path) -> None:
    """The detail begins with the cause, so what is cut is what matters least; `--json` has it as it is."""
    path = a_hostile_database(tmp_path / "twin.db")
    command = ["rejects", "list", "--database", str(path)]
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "attwin", *command], stdout=theirs, env={**os.environ, "COLUMNS": "120"}
    ) as process:
        os.close(theirs)
        assert process.wait() == 0
    on_terminal = os.read(ours, 65_536).decode()
    os.close(ours)
    piped = printed(*command)
    (row,) = map(json.loads, printed(*command, "--json").splitlines())

    assert max(map(len, on_terminal.splitlines())) == 120
    assert "  the cause" in on_terminal
    assert "t" * 80 in piped
    assert "d" * 80 in piped
    assert row["payload"].encode() == PAYLOAD
