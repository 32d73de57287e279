"""Facts about pushes, with a real broker, a real agent and a real repository."""

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from attwin.wiring.models import bundle_path, load_bundle, pack_arrays, read_bundle, replay_golden, write_bundle
from attwin.wiring.pushed import history_of, models_of
from support.processes import Agent, Client, Mosquitto, wait_until

DATA = Path(__file__).parents[1] / "data" / "occupancy"
FILES = ("datatest.txt", "datatraining.txt")
"""In the order of time."""
NAMES = ("temperature", "humidity", "light", "co2", "humidity_ratio")
CONFIG = """\
version: 1
gateway: {{id: {base}, site: north}}
broker: {{url: "{url}", inflight: 1000}}
upstream: {{url: "{url}"}}
kinds:
  room:
    model: builtin:occupancy
    metrics:
      temperature: {{unit: Cel}}
      humidity: {{unit: "%RH"}}
      light: {{unit: lx}}
      co2: {{unit: ppm}}
      humidity_ratio: {{unit: kg/kg}}
sources:
  - topic: {base}/{{entity}}/{{metric}}
    kind: room
    payload: {{time: time, time_unit: iso}}
updates:
  root: repo/metadata/1.root.json
  shadow: 1s
  probation: 1s
  confirm: 3s
  gates: {{pairs: 20}}
"""
RULES = """\
rules:
  - {name: stuffy, kind: room, when: {metric: co2, above: 5000}}
"""
pytestmark = pytest.mark.tflite


def convert(*arguments: str | Path, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run ``attwin-convert``."""
    done = subprocess.run(
        [sys.executable, "-m", "attwin_converter.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "ATTWIN_PASSPHRASE_FILE": str(folder / "words"), "HOME": str(folder)},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def a_version(folder: Path, version: int, *, change: Callable[[float], float] | None = None) -> Path:
    """Write another version of the office's model; with a change of the means of its inputs it is wrong by itself."""
    bundle, scorer = load_bundle(bundle_path("builtin:occupancy"))
    manifest = dataclasses.replace(bundle.manifest, version=version)
    golden = dict(bundle.golden)
    if change:
        features = [dataclasses.replace(spec, mean=change(spec.mean)) for spec in manifest.features]
        manifest = dataclasses.replace(manifest, features=features)
        golden["features"], golden["scores"], _ = replay_golden(manifest, scorer, golden)
    path = folder / f"occupancy-{version}.zip"
    write_bundle(path, manifest, model=bundle.model, golden=pack_arrays(golden), reference=b"{}")
    return path


class Site:
    """A gateway, a repository, and an office that is measured all the time, at the times of 2015."""

    def __init__(self, folder: Path, mosquitto: Mosquitto, base: str) -> None:
        self.folder, self.url, self.base = folder, mosquitto.url, base
        (folder / "words").write_text("correct horse\n", encoding="utf-8")
        (folder / "attwin.yaml").write_text(CONFIG.format(base=base, url=mosquitto.url), encoding="utf-8")
        convert("repo", "init", "repo", folder=folder)
        self.agent = Agent(folder / "attwin.yaml")
        self.client = Client(mosquitto.port, f"attwin/{base}/#")
        self.published = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def begin(self) -> None:
        """Start the agent, and measure."""
        self.agent.__enter__()
        wait_until(lambda: self.client.bodies("/info"), "the gateway says what it is")
        self._thread.start()

    def end(self) -> None:
        """Stop measuring, and the agent."""
        self._ended.set()
        self._thread.join()
        self.client.__exit__()
        self.agent.__exit__()

    def _measure(self) -> None:
        rows = [row for file in FILES for row in (DATA / file).read_text(encoding="utf-8").splitlines()[1:]]
        while not self._ended.is_set():
            for row in rows:
                cells = row.split(",")
                time = cells[1].strip('"').replace(" ", "T")
                for name, cell in zip(NAMES, cells[2:7], strict=True):
                    topic = f"{self.base}/office/{name}"
                    body = json.dumps({"value": float(cell), "time": time + "Z"})
                    self.client.publish(topic, body)
                    self.published += 1
                if self._ended.wait(0.02):
                    return

    def publish(self, file: Path, *options: str) -> None:
        """Sign a file."""
        convert("repo", "publish", "repo", file, *options, folder=self.folder)

    def push(self, name: Path | str, *, code: int = 0) -> list[dict[str, object]]:
        """Push, and return what the gateway said."""
        options = ("--repo", "repo", "--broker", self.url, "--gateway", self.base, "--wait", "40", "--json")
        done = convert("push", name, *options, folder=self.folder, code=code)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def serving(self) -> tuple[object, object]:
        """Return version and origin of the model that serves."""
        row = next(row for row in models_of(self.agent.database) if row["line"] == "model/room")
        return row["version"], row["from"]


@pytest.fixture
def base(request: pytest.FixtureRequest) -> str:
    """A topic base of the test's own: the broker serves the whole session."""
    return f"u-{abs(hash(request.node.nodeid)) % 10**9}"


@pytest.fixture
def site(tmp_path: Path, mosquitto: Mosquitto, base: str) -> Iterator[Site]:
    """A site whose agent runs."""
    made = Site(tmp_path, mosquitto, base)
    made.begin()
    yield made
    made.end()


def test_a_good_model_goes_through_all_gates_and_serves(site: Site) -> None:
    """Every step is told and kept; a second push of it changes nothing; an older version is refused."""
    first = read_bundle(bundle_path("builtin:occupancy")).manifest.version
    good, older = a_version(site.folder, first + 2), a_version(site.folder, first + 1)
    site.publish(older)
    site.publish(good)

    states = [said["state"] for said in site.push(good)]
    told = [state for number, state in enumerate(states) if state not in ("asked", *states[:number])]
    assert told == ["received", "fetching", "verified", "tested", "shadow", "probation", "committed"]
    assert site.serving() == (first + 2, "pushed")
    kept = [row["state"] for row in history_of(site.agent.database, "model/room", 100)]
    assert kept[-5:] == ["verified", "tested", "shadow", "probation", "committed"]

    assert site.push(good)[-1]["detail"] == {"already": True}
    refused = site.push(older, code=1)[-1]
    assert refused["state"] == "refused"
    assert "older than" in str(refused["reason"])
    info = site.client.bodies("/info")[-1]
    assert info["models"]["room"]["version"] == first + 2  # type: ignore[index]
    assert info["updates"]["lines"]["model/room"] == first + 2  # type: ignore[index]


def test_a_model_that_scores_otherwise_never_serves(site: Site) -> None:
    """It computes what it promises, so only the shadow finds out; what was there goes on."""
    first = read_bundle(bundle_path("builtin:occupancy")).manifest.version
    wrong = a_version(site.folder, first + 1, change=lambda mean: mean * 0.1 - 300)
    site.publish(wrong)

    refused = site.push(wrong, code=1)[-1]
    assert refused["state"] == "refused"
    assert "on average" in str(refused["reason"]) or "ends of the scale" in str(refused["reason"])
    assert site.serving() == (first, "configuration")


def test_what_another_repository_signs_is_refused(site: Site, tmp_path: Path) -> None:
    """Its keys are not those of the pinned root."""
    first = read_bundle(bundle_path("builtin:occupancy")).manifest.version
    good = a_version(site.folder, first + 1)
    convert("repo", "init", "other", folder=tmp_path)
    convert("repo", "publish", "other", good, folder=tmp_path)
    options = ("--repo", "other", "--broker", site.url, "--gateway", site.base, "--wait", "30", "--json")
    said = [json.loads(line) for line in convert("push", good, *options, folder=tmp_path, code=1).stdout.splitlines()]

    assert said[-1]["state"] == "refused"
    assert "not signed by enough trusted keys" in said[-1]["reason"]


def test_a_kill_on_probation_keeps_what_serves_and_a_rollback_brings_the_first_back(site: Site) -> None:
    """The slot is durable before the model serves; the one before it is kept."""
    first = read_bundle(bundle_path("builtin:occupancy")).manifest.version
    good = a_version(site.folder, first + 1)
    site.publish(good)
    pushed = threading.Thread(target=site.push, args=(good,))
    pushed.start()
    wait_until(lambda: site.serving() == (first + 1, "pushed"), "it serves", 40)
    site.agent.kill()
    site.agent.start()
    pushed.join()
    assert site.serving() == (first + 1, "pushed")

    subprocess.run(
        [sys.executable, "-m", "attwin", "model", "rollback", "room", "--config", str(site.agent.config)], check=True
    )
    wait_until(lambda: site.serving()[0] == first, "the first serves again")
    assert history_of(site.agent.database, None, 1)[0]["state"] == "rolled_back"
    refused = site.push(good, code=1)[-1]
    assert refused["state"] == "refused"


def test_a_pushed_configuration_is_laid_over_the_local_one(site: Site) -> None:
    """It holds once the uplink is back; a wrong one is refused with what is wrong, and where."""
    rules, wrong = site.folder / "house.yaml", site.folder / "wrong.yaml"
    rules.write_text(RULES, encoding="utf-8")
    wrong.write_text(RULES.replace("room", "rom"), encoding="utf-8")
    site.publish(rules, "--version", "1")

    assert site.push("house-1")[-1]["state"] == "committed"
    shown = subprocess.run(
        [sys.executable, "-m", "attwin", "config", "show", "--origin", "--config", str(site.agent.config)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "house-1:2" in next(line for line in shown.splitlines() if line.startswith("rules[0].name"))
    assert "attwin.yaml:2" in next(line for line in shown.splitlines() if line.startswith("gateway.id"))

    site.publish(wrong, "--version", "2")
    refused = site.push("wrong-2", code=1)[-1]
    assert refused["state"] == "refused"
    assert "`rom` is not a kind" in str(refused["reason"])


def test_a_rollout_whose_gate_does_not_hold_is_taken_back(site: Site) -> None:
    """The canary has committed it by then; the gate asks for what cannot be."""
    first = read_bundle(bundle_path("builtin:occupancy")).manifest.version
    good = a_version(site.folder, first + 1)
    site.publish(good)
    options = ("--repo", "repo", "--broker", site.url, "--gateway", site.base, "--wait", "40")
    staged = ("--canary", "50%", "--gate", "errors > 0")
    done = convert("push", good, *options, *staged, folder=site.folder, code=1)

    assert "errors is 0, wanted > 0" in done.stderr
    assert f"{site.base} rolled back" in done.stdout
    assert site.serving() == (first, "configuration")
    assert "the rollout stopped" in str(history_of(site.agent.database, None, 1)[0]["reason"])


def test_a_gateway_that_was_away_is_offered_the_newest(tmp_path: Path, mosquitto: Mosquitto, base: str) -> None:
    """`serve` waits for it, and offers what is published meanwhile."""
    first = read_bundle(bundle_path("builtin:occupancy")).manifest.version
    site = Site(tmp_path, mosquitto, base)
    command = ("serve", "--repo", "repo", "--broker", mosquitto.url, "--json")
    with subprocess.Popen(
        [sys.executable, "-m", "attwin_converter.cli", *command], cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as serving:
        try:
            site.publish(a_version(tmp_path, first + 1))
            site.begin()
            wait_until(lambda: site.serving()[0] == first + 1, "it serves", 40)
            assert site.serving() == (first + 1, "pushed")
        finally:
            serving.terminate()
            site.end()


def test_scores_of_the_office_do_not_change_for_the_same_model(site: Site) -> None:
    """The model on trial is warm: what it says of the same readings is what the active one says."""
    first = read_bundle(bundle_path("builtin:occupancy")).manifest.version
    good = a_version(site.folder, first + 1)
    site.publish(good)
    site.push(good)
    steps = history_of(site.agent.database, "model/room", 100)
    shadow = next(row["detail"]["shadow"] for row in steps if row["state"] == "probation")  # type: ignore[index]

    assert shadow["pairs"] >= 20
    assert np.isclose(shadow["difference"], 0, atol=0.02)
