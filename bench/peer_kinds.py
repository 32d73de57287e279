"""The systems that ``peers.py`` compares: how each is installed, set up and started, and what it promises.

Settings lie in ``peer_settings``, where ``$port`` is the broker's.
"""

import json
import platform
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any, ClassVar

ROOT = Path(__file__).parents[1]
SETTINGS = Path(__file__).with_name("peer_settings")


class PeerError(Exception):
    """A peer could not be installed or started; its row says so."""


class Peer(ABC):
    """What is compared: how it is installed and started, and where it stores.

    Attributes:
        requirements: What its environment holds, the package that names the version first.
        work: What of the common work it does, and what beside it.
        acknowledges: When a message is acknowledged to the broker.
        database: Its database, below its folder.
        stored: Counts in it what was ever stored.
        outgoing: The topic that it publishes to.
        forwards_all: Whether it publishes every reading, and not alerts.
        greeting: Topic and payload of what it waits for before it works.
    """

    name: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]]
    work: ClassVar[str]
    acknowledges: ClassVar[str]
    database: ClassVar[str] = "readings.db"
    stored: ClassVar[str] = "select max(rowid) from readings"
    outgoing: ClassVar[str] = "alerts"
    forwards_all: ClassVar[bool] = False
    greeting: ClassVar[tuple[str, bytes] | None] = None

    def __init__(self, environments: Path) -> None:
        self.environment = environments / self.name

    def install(self) -> None:
        """Make the environment where there is none with these requirements.

        Raises:
            PeerError: It cannot be made.
        """
        marker = self.environment / ".installed"
        wanted = "\n".join((platform.python_version(), *self.requirements))
        if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
            return
        print(f"{self.name}: installing {' '.join(self.requirements)}", file=sys.stderr)
        shutil.rmtree(self.environment, ignore_errors=True)
        self.environment.mkdir(parents=True)
        self.fetch()
        marker.write_text(wanted, encoding="utf-8")

    def fetch(self) -> None:
        """Install the requirements with pip; pip itself stays outside."""
        call(sys.executable, "-m", "venv", "--without-pip", self.environment)
        self.pip(*self.requirements)

    def pip(self, *arguments: str | Path) -> None:
        """Install into the environment."""
        call(sys.executable, "-m", "pip", "--python", self.program("python"), "install", "--quiet", *arguments)

    def program(self, name: str) -> Path:
        """Return a program of the environment."""
        return self.environment / "bin" / name

    def version(self) -> str:
        """Return the version that is installed."""
        package = self.requirements[0].partition("==")[0]
        return next(iter(metadata.distributions(name=package, path=self._packages()))).version

    def size_mb(self) -> float:
        """Return how much the environment holds; a Python itself is not in it."""
        files = (path for path in self.environment.rglob("*") if path.is_file() and not path.is_symlink())
        return sum(path.stat().st_size for path in files) / 2**20

    def _packages(self) -> list[str]:
        return [str(path) for path in self.environment.glob("lib/python*/site-packages")]

    @abstractmethod
    def command(self, folder: Path, port: int) -> list[str | Path]:
        """Return what to start in ``folder``, where the settings now lie."""

    def published(self, payload: Any) -> int:  # noqa: ANN401, ARG002 -- any JSON; the others look into it
        """Return how many alerts an outgoing message holds."""
        return 1


class Attwin(Peer):
    """This agent, installed anew at every run."""

    name = "attwin"
    requirements = ("attwin",)
    work = "all of it, and cleaning, windows, features and the scores of an int8 model; synchronous=FULL"
    acknowledges = "after the durable commit"
    database = "twin.db"
    stored = "select sum(readings) from journal"
    outgoing = "attwin/bench/events"

    def install(self) -> None:
        """Install the working tree over what the environment holds."""
        if not self.program("python").exists():
            call(sys.executable, "-m", "venv", "--without-pip", self.environment)
        self.pip(ROOT)

    def command(self, folder: Path, port: int) -> list[str | Path]:
        """Return ``attwin run``."""
        settings = written("attwin.yaml", folder / "attwin.yaml", port)
        return [self.program("attwin"), "run", "--config", settings, "--log-level", "warning"]

    def published(self, payload: Any) -> int:  # noqa: ANN401 -- any JSON
        """Return one for the start of an alert; its end is published too."""
        return int(payload["after"]["state"] == "active")


class NodeRed(Peer):
    """Node-RED with the SQLite of Node.js; both come by npm."""

    name = "node-red"
    requirements = ("node-red@5.0.7", f"node-linux-{'x64' if platform.machine() == 'x86_64' else 'arm64'}@24.21.0")
    work = "all of it: mqtt in, a function node (rule; a transaction every 100 ms, synchronous=FULL), mqtt out"
    acknowledges = "on receipt, before storing"

    def fetch(self) -> None:
        """Install with npm; nothing of it has to be built."""
        call("npm", "install", "--loglevel", "error", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix",
             self.environment, *self.requirements)  # fmt: skip

    def version(self) -> str:
        """Return the versions of Node-RED and Node.js."""
        modules = self.environment / "node_modules"
        described = (modules / name.partition("@")[0] / "package.json" for name in self.requirements)
        node_red, node = (json.loads(path.read_text(encoding="utf-8"))["version"] for path in described)
        return f"{node_red}, Node.js {node}"

    def command(self, folder: Path, port: int) -> list[str | Path]:
        """Return ``node-red`` with a flow of three nodes."""
        function = {
            "id": "twin", "z": "flow", "type": "function", "outputs": 1, "wires": [["out"]],
            "func": (SETTINGS / "node_red.js").read_text(encoding="utf-8"),
            "initialize": (SETTINGS / "node_red_start.js").read_text(encoding="utf-8"),
        }  # fmt: skip
        database = str(folder / self.database)
        flow = [
            {"id": "flow", "type": "tab", "env": [{"name": "DATABASE", "type": "str", "value": database}]},
            {"id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(port), "clientid": "node-red",
             "autoConnect": True, "protocolVersion": "4", "keepalive": "60", "cleansession": True},
            {"id": "in", "z": "flow", "type": "mqtt in", "topic": "sensors/#", "qos": "1", "datatype": "json",
             "broker": "broker", "inputs": 0, "wires": [["twin"]]},
            function,
            {"id": "out", "z": "flow", "type": "mqtt out", "topic": "", "qos": "1", "broker": "broker", "wires": []},
        ]  # fmt: skip
        (folder / "flow.json").write_text(json.dumps(flow), encoding="utf-8")
        modules = self.environment / "node_modules"
        node = modules / self.requirements[1].partition("@")[0] / "bin" / "node"
        return [node, "--max-old-space-size=256", modules / "node-red" / "red.js", "--userDir", folder,
                "--settings", SETTINGS / "node_red_settings.js", folder / "flow.json"]  # fmt: skip


class Pathway(Peer):
    """Pathway with checkpoints, the mode that needs no licence key."""

    name = "pathway"
    requirements = ("pathway==0.33.0",)
    work = (
        "all of it: JSON source, SQLite sink (synchronous=FULL), filter, MQTT sink; commits and checkpoints every 1.5 s"
    )
    acknowledges = "after a checkpoint, a file that it does not flush to the disk (fsync)"

    def command(self, folder: Path, port: int) -> list[str | Path]:
        """Return the pipeline."""
        return [self.program("python"), SETTINGS / "pathway_pipeline.py", str(port), folder]


class Thingsboard(Peer):
    """thingsboard-gateway; the same broker takes the part of ThingsBoard, over a second connection."""

    name = "thingsboard-gateway"
    requirements = ("thingsboard-gateway==3.8.5",)
    work = (
        "no rule, no history: keeps every reading in SQLite (synchronous=NORMAL) until it is sent, and sends them all"
    )
    acknowledges = "on receipt, before storing"
    database = "data/data.db"
    stored = "select seq from sqlite_sequence where name = 'messages'"
    outgoing = "v1/gateway/telemetry"
    forwards_all = True
    # the answer to its first request to ThingsBoard: no limits
    greeting = (
        "v1/devices/me/rpc/response/1",
        b'{"maxPayloadSize": 65536, "maxInflightMessages": 12500, "rateLimits": {}, "gatewayRateLimits": {}}',
    )

    def command(self, folder: Path, port: int) -> list[str | Path]:
        """Return the gateway."""
        config = folder / "config"
        config.mkdir()
        written("thingsboard.json", config / "tb_gateway.json", port)
        written("thingsboard_mqtt.json", config / "mqtt.json", port)
        written("thingsboard_logs.json", config / "logs.json", port)
        return ["env", f"TB_GW_CONFIG_DIR={config}", self.program("thingsboard-gateway")]

    def published(self, payload: Any) -> int:  # noqa: ANN401 -- any JSON
        """Return the readings in a pack."""
        return sum(len(readings) for readings in payload.values())


PEERS = {peer.name: peer for peer in (Attwin, NodeRed, Pathway, Thingsboard)}


def call(*command: str | Path) -> None:
    """Run an installer.

    Raises:
        PeerError: It is not there, or fails.
    """
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PeerError(f"{command[0]} is not on this machine") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "error" in line.lower()] or ["no message"]
        raise PeerError(f"cannot be installed: {'; '.join(lines[:2])[:200]}") from error


def written(name: str, path: Path, port: int) -> Path:
    """Write settings with the broker's port in them and return where they lie."""
    text = Template((SETTINGS / name).read_text(encoding="utf-8")).substitute(port=port)
    path.write_text(text, encoding="utf-8")
    return path
