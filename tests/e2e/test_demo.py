"""The demo, and the commands of the README, as a user runs them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = [sys.executable, "-m", "attwin", "demo", "--speed", "2000"]
SUM = re.compile(r"published (\d+) = stored (\d+) \+ duplicate (\d+) \+ rejected (\d+)")


def check_sums(output: str) -> int:
    """Check the last numbers of a demo and return how many readings were published."""
    found = SUM.search(output)
    assert found, output
    published, *parts = map(int, found.groups())
    assert published == sum(parts)
    return published


def processes_with(text: str) -> list[str]:
    """Return the command lines of running processes that hold a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if text in line]


@pytest.mark.tflite
@pytest.mark.parametrize("broker", [[], ["--embedded"]], ids=["mosquitto", "embedded"])
def test_the_demo_runs_and_adds_up(tmp_path: Path, broker: list[str]) -> None:
    """Twins, scores, alerts and what arrived upstream are shown as plain lines; the numbers add up."""
    done = subprocess.run(
        [*DEMO, "--seconds", "6", "--keep", str(tmp_path), *broker],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert check_sums(done.stdout) > 500
    assert ("amqtt" if broker else "mosquitto") in done.stdout
    assert re.search(r"twin +office .* attention 0\.\d+", done.stdout)
    assert re.search(r"alert +2015-02-02 .* active in-use at office", done.stdout)
    assert re.search(r"upstream +attwin/demo/events \(\d message", done.stdout)


@pytest.mark.tflite
def test_ctrl_c_ends_the_demo_cleanly(tmp_path: Path) -> None:
    """The sums are printed, and no process is left."""
    demo = subprocess.Popen(
        DEMO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    time.sleep(4)
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=30)

    assert demo.returncode == 0, out + err
    assert check_sums(out) > 0
    assert processes_with(str(tmp_path)) == []


@pytest.mark.tflite
def test_the_commands_of_the_readme_work(repository: Path, tmp_path: Path) -> None:
    """Every command in a `sh` block of the README that is marked as run by this test ends with 0."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- tested -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 3
    script = tmp_path / "readme.sh"
    script.write_text("set -eux\n" + "\n".join(blocks), encoding="utf-8")
    bin_folder = Path(sys.executable).parent

    done = subprocess.run(
        ["bash", str(script)],
        cwd=repository,
        env={"PATH": f"{bin_folder}:/usr/sbin:/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert done.returncode == 0, done.stdout + done.stderr
