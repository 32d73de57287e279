"""Facts about the command line: help, exit codes, JSON, and what a terminal shows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from attwin.cli.main import cli

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


def test_model_show_says_what_a_bundle_promises() -> None:
    """The short form for people, the manifest for programs."""
    text = attwin("model", "show", "builtin:occupancy").stdout
    manifest = json.loads(attwin("model", "show", "builtin:occupancy", "--json").stdout)

    assert "somebody is in the room" in text
    assert (manifest["format"], manifest["kind"]) == (1, "room")
