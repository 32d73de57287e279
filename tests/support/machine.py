"""What a test needs of the machine: rights, file systems of its own, networks of its own."""

import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest

_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_CLONE_NEWNET = 0x40000000
_GOING_DOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_LEAST_BYTES = {"ext4": 64 << 20, "xfs": 320 << 20}

_libc = ctypes.CDLL(None, use_errno=True)


def need_administrator(what: str) -> None:
    """Skip the test where the machine does not let it mount file systems and make networks.

    Args:
        what: What the test would have done.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    rights = int(next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1], 16)
    if os.geteuid() or not (rights >> _CAP_SYS_ADMIN & 1 and rights >> _CAP_NET_ADMIN & 1):
        pytest.skip(f"only root with CAP_SYS_ADMIN and CAP_NET_ADMIN can {what}")


def program(name: str) -> str:
    """Return where a program is; fail where it is not installed."""
    path = shutil.which(name, path=_SYSTEM_PATH)
    if path is None:
        pytest.fail(f"no {name}: run `make test`, which installs it")
    return path


class Disk:
    """A file system in a file, whose power can be cut.

    What the kernel has not been made to write is gone after a cut, as it would be of a real disk that does not lie
    about what it has flushed.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.path = folder / "disk"
        self.path.mkdir()
        self._image = folder / "disk.img"
        self._image.touch()
        os.truncate(self._image, _LEAST_BYTES[kind])
        subprocess.run([program(f"mkfs.{kind}"), "-q", str(self._image)], check=True)

    def __enter__(self) -> Self:
        # kept from cut to cut: a device that was given back may still be in the course of being cleared
        found = subprocess.run(
            [program("losetup"), "--find", "--show", str(self._image)], check=True, capture_output=True, text=True
        )
        self._device = found.stdout.strip()
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        if self.path.is_mount():
            subprocess.run([program("umount"), "--lazy", str(self.path)], check=True)
        subprocess.run([program("losetup"), "--detach", self._device], check=True)

    def mount(self) -> None:
        """Mount it; what its log holds is put right."""
        subprocess.run([program("mount"), self._device, str(self.path)], check=True)

    def cut_power(self) -> None:
        """Let the file system write nothing more, not even its log."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _GOING_DOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def boot(self) -> None:
        """Come back after a cut, with what the disk has; nobody may use it any more."""
        subprocess.run([program("umount"), str(self.path)], check=True)
        self.mount()


class Network:
    """A network namespace without a name: it ends with the last process and descriptor that has it."""

    def __init__(self) -> None:
        home = _this_network()
        try:
            _call(_libc.unshare(_CLONE_NEWNET))
            self._descriptor = _this_network()
        finally:
            _enter(home)
            os.close(home)
        with self.inside():
            subprocess.run([program("ip"), "link", "set", "lo", "up"], check=True)

    def close(self) -> None:
        """Let it go."""
        os.close(self._descriptor)

    @property
    def path(self) -> str:
        """Return its name for ``ip``."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Make sockets, threads and processes there instead of here."""
        home = _this_network()
        _enter(self._descriptor)
        try:
            yield
        finally:
            _enter(home)
            os.close(home)

    def drop(self, what: str) -> None:
        """Drop, without a word, what of the line arrives here.

        Args:
            what: A match of nftables; empty for everything.
        """
        self.pass_all()
        chain = f"type filter hook input priority 0; iifname line {what} counter drop;"
        with self.inside():
            subprocess.run([program("nft"), f"table inet line {{ chain in {{ {chain} }}; }}"], check=True)

    def dropped(self) -> int:
        """Return how many packets were dropped here since ``drop``."""
        with self.inside():
            rules = subprocess.run([program("nft"), "-j", "list", "ruleset"], check=True, capture_output=True).stdout
        found = [
            part["counter"]
            for item in json.loads(rules)["nftables"]
            for part in item.get("rule", {}).get("expr", [])
            if "counter" in part
        ]
        return sum(int(counter["packets"]) for counter in found)

    def pass_all(self) -> None:
        """Let everything through again."""
        with self.inside():
            subprocess.run([program("nft"), "flush", "ruleset"], check=True)


class Line:
    """Two networks and the only line between them.

    Attributes:
        near, far: The networks.
        address: Of the far one.
    """

    address = "10.77.0.2"

    def __init__(self) -> None:
        self.near, self.far = Network(), Network()
        ip = program("ip")
        with self.near.inside():
            pair = ("link", "add", "line", "type", "veth", "peer", "name", "line", "netns", self.far.path)
            subprocess.run([ip, *pair], check=True)
        for network, address in ((self.near, "10.77.0.1"), (self.far, self.address)):
            with network.inside():
                subprocess.run([ip, "address", "add", f"{address}/24", "dev", "line"], check=True)
                subprocess.run([ip, "link", "set", "line", "up"], check=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            stack.callback(self.near.close)
            stack.callback(self.far.close)

    def drop(self, what: str = "") -> None:
        """Drop what goes over the line, in both directions; neither end is told."""
        self.near.drop(what)
        self.far.drop(what)

    def mend(self) -> None:
        """Let everything through again."""
        self.near.pass_all()
        self.far.pass_all()


def _this_network() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(descriptor: int) -> None:
    # os.setns came with Python 3.12
    _call(_libc.setns(descriptor, _CLONE_NEWNET))


def _call(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
