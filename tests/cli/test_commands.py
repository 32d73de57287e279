"""Facts about the command line: help, exit codes, JSON, and what a terminal shows."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import pytest
from click.testing import CliRunner

import attwin as package
from attwin.adapters.arrays import pack_arrays
from attwin.adapters.bundle_zip import read_bundle, write_bundle
from attwin.adapters.control_socket import ControlServer
from attwin.adapters.sqlite_store import SqliteStore
from attwin.cli.main import cli
from attwin.cli.options import counted
from attwin.core.manifest import Figures, RuntimeSpec
from attwin.core.types import Reject, RejectReason
from attwin.ports import Commit
from attwin.wiring.reading import status_of
from support.builders import T0_MS, a_catalogue

OCCUPANCY = Path(package.__file__).parent / "data" / "occupancy.zip"
GOOD = """\
version: 1
gateway: {id: g1}
broker: {url: "mqtt://127.0.0.1", username: u, password: hunter2}
kinds: {room: {metrics: {co2: {unit: ppm}}}}
sources: [{topic: "s/{entity}/{metric}", kind: room}]
"""


def attwin(*command: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "attwin", *command], capture_output=True, text=True, check=False, cwd=cwd
    )


def commands() -> list[list[str]]:
    """Return every command and sub-command."""
    context = __import__("click").Context(cli)
    found = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        found.append([name])
        found += [[name, sub] for sub in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    """Help says what a command does and what each option means."""
    done = CliRunner().invoke(cli, [*command, "--help"])

    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.output.splitlines()]
    options = [line for line in lines if line.startswith("--")]
    assert len(lines) > 3
    assert all("  " in option or len(option) > 20 for option in options), options
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage")]


@pytest.mark.parametrize(
    "command", [c for c in commands() if c[-1] in ("list", "status", "doctor", "verify", "tail")], ids=" ".join
)
def test_every_list_has_json(command: list[str]) -> None:
    """A program can read what a person can."""
    assert "--json" in CliRunner().invoke(cli, [*command, "--help"]).output


def test_the_exit_codes(tmp_path: Path) -> None:
    """0 done, 1 failed, 2 usage, 78 configuration."""
    good = tmp_path / "attwin.yaml"
    good.write_text(GOOD, encoding="utf-8")
    bad = tmp_path / "bad.yaml"
    bad.write_text(GOOD.replace("gateway", "gatewy"), encoding="utf-8")

    codes = {
        what: attwin(*command).returncode
        for what, command in {
            "good": ("config", "check", "--config", str(good)),
            "wrong": ("config", "check", "--config", str(bad)),
            "usage": ("config", "chek"),
            "failed": ("status", "--config", str(good)),
        }.items()
    }

    assert codes == {"good": 0, "wrong": 78, "usage": 2, "failed": 1}


def test_a_configuration_without_an_option_is_the_one_here(tmp_path: Path) -> None:
    """./attwin.yaml is found; its secrets are not printed."""
    (tmp_path / "attwin.yaml").write_text(GOOD, encoding="utf-8")

    shown = attwin("config", "show", cwd=tmp_path)

    assert shown.returncode == 0, shown.stderr
    assert "'***'" in shown.stdout
    assert "hunter2" not in shown.stdout


ABOUT_A_DATABASE: dict[str, tuple[int, str, str]] = {
    "status": (0, "messages_received +1$", ""),
    "twin list": (0, "^e0 +room +- +- +- +- +- +-$", "No agent answers: the last saved state is not there yet.\n"),
    "twin show e0": (0, "^entity +e0$", "No agent answers: the last saved state is not there yet.\n"),
    "alerts list": (0, "^$", "No active alert.\n"),
    "alerts tail --no-follow": (0, "^$", ""),
    # the one message is received and nothing else, which the audit finds out
    "audit": (1, "^WRONG +s: messages received 1 = 0$", "s: messages received: 1 unaccounted for\n"),
    "rejects list": (0, "^1 .* late +s/x", ""),
}
"""The commands about a database, and their exit code, a line they print, and all that they say beside it."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in Brussels, beside no configuration."""
    return a_database(tmp_path_factory.mktemp("alone") / "twin.db", zone="Europe/Brussels")


def a_database(path: Path, *, zone: str) -> Path:
    """Make a database of one entity and one reject."""
    store = SqliteStore(path, a_catalogue(), gateway="g1", durability="normal")
    store.set_meta("gateway", "g1")
    store.set_meta("zone", zone)
    reject = Reject(time_ms=T0_MS, source=0, topic="s/x", reason=RejectReason.LATE, detail="late", payload=b"1")
    store.commit(Commit(now_ms=T0_MS, rejects=[reject], counts={("s", "messages_received", ""): 1}))
    store.close()
    return path


@pytest.mark.parametrize("line", ABOUT_A_DATABASE)
def test_a_database_alone_is_enough_to_look_at_it(database: Path, line: str) -> None:
    """Who may not read the configuration names the database."""
    code, printed, said = ABOUT_A_DATABASE[line]

    done = attwin(*line.split(), "--database", str(database), cwd=database.parent)

    assert (done.returncode, done.stderr) == (code, said)
    assert re.search(printed, done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("line", ABOUT_A_DATABASE)
def test_without_configuration_and_database_both_are_asked_for(database: Path, line: str) -> None:
    """One of them is needed, both are one too many, and a database has to be there."""
    command = line.split()

    neither = attwin(*command, cwd=database.parent)
    both = attwin(*command, "--database", str(database), "--config", "attwin.yaml", cwd=database.parent)
    nothing = attwin(*command, "--database", str(database.with_name("none.db")), cwd=database.parent)

    assert (neither.returncode, both.returncode, nothing.returncode) == (2, 2, 1)
    assert "--database" in neither.stderr
    assert "not both" in both.stderr
    assert "no database there" in nothing.stderr


@pytest.mark.parametrize("line", ABOUT_A_DATABASE)
def test_a_database_can_be_looked_at_whatever_else_is_wrong_in_the_configuration(database: Path, line: str) -> None:
    """A secret that only systemd's unit has does not keep root from asking; which command shows it is said."""
    config = database.with_name("secret.yaml")
    config.write_text(GOOD.replace("hunter2", "!secret hub") + "store: {path: twin.db}\n", encoding="utf-8")
    code, printed, said = ABOUT_A_DATABASE[line]

    done = attwin(*line.split(), "--config", str(config))

    hint = f"{config}: 1 problem, which `attwin config check --config {config}` shows.\n"
    assert (done.returncode, done.stderr) == (code, hint + said)
    assert re.search(printed, done.stdout, re.MULTILINE), done.stdout


def test_where_the_configuration_does_not_say_the_place_the_database_can_be_named(database: Path) -> None:
    """The hint names the option; of changes nothing is said by a command that makes none."""
    config = database.with_name("typo.yaml")
    config.write_text(GOOD + "stor: {path: twin.db}\n", encoding="utf-8")

    done = attwin("status", "--config", str(config))

    assert (done.returncode, "--database" in done.stderr) == (78, True)
    assert "changed" not in done.stderr


@pytest.mark.parametrize("line", ["run", "config check", "status"])
def test_without_a_configuration_a_new_user_is_sent_to_init(tmp_path: Path, line: str) -> None:
    """And no command suggests an option that it does not have."""
    done = attwin(*line.split(), cwd=tmp_path)

    assert (done.returncode, "attwin init" in done.stderr) == (2, True)
    assert ("--database" in done.stderr) == (line == "status")


def test_a_missing_model_and_folder_are_told_beside_other_problems(tmp_path: Path) -> None:
    """The check goes on to what lies beyond the file."""
    config = tmp_path / "attwin.yaml"
    text = GOOD.replace("room: {", "room: {model: none.zip, ") + "store: {path: none/twin.db}\nrule: []\n"
    config.write_text(text, encoding="utf-8")

    done = attwin("config", "check", "--config", str(config))

    assert done.returncode == 78
    assert re.findall(r"yaml:\d+: ([\w.]+): ", done.stderr) == ["kinds.room.model", "store.path", "rule"]


def test_what_is_printed_is_as_with_the_configuration(database: Path) -> None:
    """The gateway's id and its time zone stand in the database."""
    status = attwin("status", "--database", str(database)).stdout
    rejects = attwin("rejects", "list", "--database", str(database)).stdout

    assert re.search(r"^gateway +g1$", status, re.MULTILINE)
    assert "CET" in rejects


@pytest.mark.parametrize("zone", ["Atlantis/Capital", "../etc/passwd", ""])
def test_a_time_zone_that_this_machine_lacks_is_said_and_utc_is_used(tmp_path: Path, zone: str) -> None:
    """The database may come from another machine; what was asked for is printed all the same."""
    path = a_database(tmp_path / "twin.db", zone=zone)

    done = attwin("rejects", "list", "--database", str(path))

    assert done.returncode == 0
    assert done.stderr == f"The time zone `{zone}` of the database is not known here: times are in UTC.\n"
    assert "2015-02-03 21:46:40 UTC" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_is_told_that_the_agent_does_not_talk_to_him(database: Path) -> None:
    """Neither is it said not to run, nor does that end the command."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(database, folder / "twin.db")
        (folder / "twin.db").chmod(0o644)
        control = ControlServer(folder / "control.sock", dict)
        status = _as_nobody(folder / "twin.db")
        control.close()

    assert status["agent"] == "unknown; it talks to its user and root"
    assert status["entities"] == 1


def _as_nobody(database: Path) -> dict[str, object]:
    """Return the status that another user gets."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        # whatever happens, this copy of the test run ends here
        try:
            os.setgroups([])
            os.setgid(65_534)
            os.setuid(65_534)
            os.write(writes, json.dumps(status_of(database)).encode())
            code = 0
        except BaseException:  # noqa: BLE001 -- told to whoever runs the tests, and the exit code says so
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writes)
    _, ended = os.waitpid(child, 0)
    with os.fdopen(reads) as pipe:
        said = pipe.read()
    assert os.waitstatus_to_exitcode(ended) == 0
    found: dict[str, object] = json.loads(said)
    return found


def test_the_schema_is_json() -> None:
    """Editors can read it."""
    assert json.loads(attwin("config", "schema").stdout)["title"] == "attwin"


def test_doctor_names_the_runtime_that_runs() -> None:
    """The one that is chosen has computed a known answer; the others say why not."""
    found = json.loads(attwin("doctor", "--json").stdout)

    assert found["runtime"] in {r["name"] for r in found["runtimes"] if r["works"]}
    assert all(r["detail"] for r in found["runtimes"])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param(("score", "--bundle", "builtin:occupancy", "none.csv"), "none.csv: cannot be read", id="no file"),
        pytest.param(("score", "--bundle", "none.zip", "none.csv"), "none.zip: cannot be read", id="no bundle"),
        pytest.param(("publish", "none.csv"), "none.csv: cannot be read", id="nothing to publish"),
        pytest.param(
            ("backup", "/nonexistent/x.db", "--database", "none.db"),
            "/nonexistent/x.db: cannot be written: No such file or directory\n",
            id="no folder for a backup",
        ),
        pytest.param(("model", "show", "builtin:none"), "no built-in model is called `none`", id="no such model"),
    ],
)
def test_a_wrong_argument_gets_a_message_and_no_traceback(command: tuple[str, ...], message: str) -> None:
    """What was found, and exit code 1."""
    done = attwin(*command)

    assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_publishing_to_nobody_says_so(tmp_path: Path) -> None:
    """Without a broker there is a clear message and exit code 1."""
    (tmp_path / "x.csv").write_text("time,a\n1,2\n", encoding="utf-8")

    done = attwin("publish", str(tmp_path / "x.csv"), "--broker", "mqtt://127.0.0.1:1")

    assert (done.returncode, "is a broker running there?" in done.stderr) == (1, True), done.stderr


def test_scores_have_the_times_of_the_zone() -> None:
    """As they stand in the file."""
    file = Path(__file__).parents[1] / "data" / "occupancy" / "datatest.txt"

    shown = attwin("score", "--bundle", "builtin:occupancy", str(file), "--zone", "Europe/Brussels").stdout

    assert "2015-02-02 14:19:00 CET" in shown


def test_a_count_has_its_noun() -> None:
    """One source is not several."""
    assert [counted(n, "source") for n in (0, 1, 2)] == ["0 sources", "1 source", "2 sources"]


def test_model_show_says_what_a_bundle_promises() -> None:
    """The short form for people, the manifest for programs."""
    text = attwin("model", "show", "builtin:occupancy").stdout
    manifest = json.loads(attwin("model", "show", "builtin:occupancy", "--json").stdout)

    assert "somebody is in the room" in text
    before, after = manifest["before"], manifest["after"]
    assert f"accuracy {after['accuracy']:.4f} ({round(after['accuracy'] * 2665):,} of 2,665)" in text
    gap = {name: round(after[name] - before[name], 4) + 0.0 for name in ("accuracy", "brier", "auc")}
    assert f"accuracy {gap['accuracy']:+.4f}, Brier {gap['brier']:+.4f}, AUC {gap['auc']:+.4f}" in text
    assert re.search(rf"^sha256 +{hashlib.sha256(OCCUPANCY.read_bytes()).hexdigest()}$", text, re.MULTILINE)
    assert manifest["sha256"] in text
    assert (manifest["format"], manifest["kind"]) == (1, "room")


def test_model_show_says_what_was_checked_where_and_whether_there_is_a_card(tmp_path: Path) -> None:
    """Without a Keras model there is no difference; a regression has no Brier score."""
    known = read_bundle(OCCUPANCY)
    figures = Figures(rows=100, accuracy=0.9, brier=0.02, auc=None)
    runtime = RuntimeSpec(name="c-library", version="2.17.1", worst=0.0123, latency_us=0.416, memory_kb=128)
    golden, reference = pack_arrays(known.golden), b"{}"
    shown = {}
    for name, before, card in (("trained", figures, b"<!doctype html>"), ("taken", None, b"")):
        manifest = dataclasses.replace(
            known.manifest,
            before=before,
            after=dataclasses.replace(figures, accuracy=0.88, brier=0.025),
            runtimes=[runtime],
        )
        path = tmp_path / f"{name}.zip"
        write_bundle(path, manifest, model=known.model, golden=golden, reference=reference, card=card)
        lines = CliRunner().invoke(cli, ["model", "show", str(path)]).output.splitlines()
        shown[name] = {line[:13].strip(): line[13:].strip() for line in lines}

    assert shown["trained"]["difference"] == "accuracy -0.0200, mean squared error +0.0050"
    assert shown["trained"]["checked in"] == "c-library 2.17.1 (off by 0.0123 at most, 0.42 us a row, 128 KiB)"
    assert shown["trained"]["card"] == "`attwin-convert report` shows it"
    assert (shown["taken"]["difference"], shown["taken"]["card"]) == ("-", "-")
