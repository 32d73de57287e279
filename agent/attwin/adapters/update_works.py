"""The files of updates, and the processes that check and test them.

Each process lives for one question, with limits: what is read there came over a network. A file is kept under its hash,
durably, before anything refers to it; what has come of a file in part lies beside.
"""

import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from attwin.adapters.durable import is_full, open_or_make, sync
from attwin.core.errors import UpdateRefusedError
from attwin.ports import Clock, WorkDone

_SECONDS = {"check": 20, "fetch": 3_600, "test": 30}
_MEMORY = 4 * 1024**3
_MOST_SAID = 65_536
_CHUNK = 65_536


class _Child:
    """A process that answers one question."""

    def __init__(self, what: str, arguments: Sequence[str], ends_ms: int) -> None:
        self.what = what
        self.ends_ms = ends_ms
        self._process = subprocess.Popen(  # noqa: S603 -- this interpreter and this package
            [sys.executable, "-I", "-m", "attwin", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name in _KEPT_ENVIRONMENT},
        )
        resource.prlimit(self._process.pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.prlimit(self._process.pid, resource.RLIMIT_CORE, (0, 0))
        self._out, self._err = (pipe.fileno() for pipe in (self._process.stdout, self._process.stderr) if pipe)
        self._said = {self._out: b"", self._err: b""}
        self._open = set(self._said)
        for descriptor in self._said:
            os.set_blocking(descriptor, False)

    def filenos(self) -> list[int]:
        return sorted(self._open)

    def read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._open.discard(descriptor)
        elif len(self._said[descriptor]) < _MOST_SAID:
            self._said[descriptor] += data

    def done(self) -> WorkDone | None:
        """Return what it has found once it has ended."""
        if self._open or self._process.poll() is None:
            return None
        code = self._process.returncode
        said = self._said[self._err].decode(errors="replace").strip().splitlines()
        self.close()
        if code:
            return WorkDone(what=self.what, answer={}, problem=said[-1] if said else f"its process ended with {code}")
        try:
            answer = json.loads(self._said[self._out])
        except ValueError:
            return WorkDone(what=self.what, answer={}, problem="its process said nothing that can be read")
        return WorkDone(what=self.what, answer=answer, problem="")

    def close(self) -> None:
        """Kill it, where it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        self._open = set()


_KEPT_ENVIRONMENT = frozenset(
    (
        *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        # where a configuration finds its database and its secrets, and which runtime serves
        *("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "ATTWIN_RUNTIME"),
    )
)
"""What a process of its own may know: no secret is in these."""


class LocalUpdateWorks:
    """Implements ``ports.UpdateWorks`` and ``ports.Watched``."""

    def __init__(
        self, folder: Path, root: Path | None, clock: Clock, *, free_bytes: int, config: Path | None = None
    ) -> None:
        """Make it.

        Args:
            folder: Where trust, files and parts of files are kept.
            root: The pinned root of trust; None where nothing is to be pushed here.
            clock: For deadlines.
            free_bytes: How much of the disk stays free.
            config: The local configuration, over which pushed ones are laid.
        """
        self._config = config
        self._folder, self._root, self._clock, self._free_bytes = folder, root, clock, free_bytes
        self._files, self._parts, self._trust = (folder / name for name in ("files", "incoming", "trust"))
        self._children: list[_Child] = []
        self._failed: list[WorkDone] = []

    def file(self, sha256: str) -> Path:
        """Return where a file is kept."""
        return self._files / sha256

    def check(self, request: bytes, target: str, *, now_ms: int) -> None:
        """Begin to check the metadata of a request at a time."""
        if self._root is None:
            problem = "this gateway trusts no root: its configuration has no `updates.root`"
            self._failed.append(WorkDone(what="check", answer={}, problem=problem))
            return
        asked = self._folder / "request.json"
        problem = _written(asked, request)
        if problem:
            self._failed.append(WorkDone(what="check", answer={}, problem=problem))
            return
        arguments = ["--trust", str(self._trust), "--root", str(self._root), "--request", str(asked)]
        self._start("check", ["update", "check", *arguments, "--target", target, "--now-ms", str(now_ms), "--json"])

    def fetch(self, address: str, sha256: str, size: int) -> None:
        """Begin to fetch a file from a web server."""
        with suppress(OSError):
            # its own process says what is wrong
            self._parts.mkdir(parents=True, exist_ok=True)
        arguments = ["--address", address, "--size", str(size), "--out", str(self._part(sha256))]
        self._start("fetch", ["update", "fetch", *arguments])

    def test(self, sha256: str, line: str) -> None:
        """Begin to test a file that is here."""
        arguments = ["--file", str(self.file(sha256)), "--line", line, "--sha256", sha256]
        arguments += ["--config", str(self._config)] if self._config else []
        self._start("test", ["update", "test", *arguments])

    def take_done(self) -> list[WorkDone]:
        """Return what has ended since the last call; what takes too long is ended."""
        done, self._failed = self._failed, []
        now = self._clock.monotonic_ms()
        for child in list(self._children):
            found = child.done()
            if found is None and now > child.ends_ms:
                child.close()
                found = WorkDone(what=child.what, answer={}, problem=f"it took more than {_SECONDS[child.what]} s")
            if found is not None:
                self._children.remove(child)
                done.append(found)
        return done

    def stop(self) -> None:
        """Stop what is under way for the present update, and forget what is here of a file in part."""
        for child in [child for child in self._children if child.what != "check"]:
            child.close()
            self._children.remove(child)
        _delete_but(self._parts, ())

    def close(self) -> None:
        """Stop all processes; what is here of a file in part stays for the next start."""
        for child in self._children:
            child.close()
        self._children = []

    def filenos(self) -> Sequence[int]:
        """Return the descriptors to read from."""
        return [descriptor for child in self._children for descriptor in child.filenos()]

    def writers(self) -> Sequence[int]:
        """Return none: what is asked is written at once."""
        return ()

    def on_ready(self, descriptor: int) -> None:
        """Read what a process says."""
        for child in self._children:
            if descriptor in child.filenos():
                child.read(descriptor)

    def root_version(self) -> int:
        """Return the version of the trusted root, 0 where there is none yet."""
        try:
            root = json.loads((self._trust / "root.json").read_bytes())
            version = root["signed"]["version"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return version if isinstance(version, int) else 0

    def room(self, size: int) -> str:
        """Return why there is no room for a file, empty where there is."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            disk = os.statvfs(self._folder)
        except OSError as error:
            return f"{self._folder} cannot be made: {error.strerror}"
        free = disk.f_bavail * disk.f_frsize
        # a part and, for a moment, nothing else: it is renamed
        if free < size + self._free_bytes:
            return f"the disk has {free} bytes free; {size} more would leave less than {self._free_bytes}"
        return ""

    def had(self, sha256: str) -> int:
        """Return how much of a file is here [bytes]."""
        part = self._part(sha256)
        return part.stat().st_size if part.is_file() else 0

    def append(self, sha256: str, data: bytes) -> str:
        """Write at the end of a file; return why that cannot be, empty where it was done."""
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
            descriptor = open_or_make(self._part(sha256), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
            try:
                before = os.fstat(descriptor).st_size
                if os.write(descriptor, data) < len(data):
                    os.ftruncate(descriptor, before)
                    return "the disk is full"
            finally:
                os.close(descriptor)
        except OSError as error:
            return "the disk is full" if is_full(error) else f"it cannot be written: {error.strerror}"
        return ""

    def finish(self, sha256: str, size: int) -> str:
        """Keep a file for good, durably; return why it cannot be kept, and is deleted; empty where it is kept."""
        part = self._part(sha256)
        try:
            found, length = hash_of(part), part.stat().st_size
            if length != size or found != sha256:
                part.unlink()
                return f"{length} bytes with the hash {found[:16]}; {size} with {sha256[:16]} are signed"
            self._files.mkdir(parents=True, exist_ok=True)
            sync(part)
            part.replace(self.file(sha256))
            for folder in (self._files, self._parts, self._folder):
                sync(folder)
        except OSError as error:
            return f"it cannot be kept: {error.strerror}"
        return ""

    def holds(self, sha256: str) -> bool:
        """Return whether a file is kept, and whole."""
        try:
            return hash_of(self.file(sha256)) == sha256
        except OSError:
            return False

    def keep_only(self, hashes: Collection[str]) -> None:
        """Delete all other files."""
        _delete_but(self._files, hashes)

    def take_in(self, path: str) -> str:
        """Keep a copy of a local file, and return its hash.

        Raises:
            UpdateRefusedError: It cannot be read, or kept.
        """
        try:
            body = Path(path).read_bytes()
        except OSError as error:
            raise UpdateRefusedError(f"{path}: {error.strerror}") from error
        sha256 = hashlib.sha256(body).hexdigest()
        if not self.holds(sha256):
            self._part(sha256).unlink(missing_ok=True)
            problem = self.append(sha256, body) or self.finish(sha256, len(body))
            if problem:
                raise UpdateRefusedError(f"{path}: {problem}")
        return sha256

    def size_of(self, sha256: str) -> int:
        """Return the size of a file that is kept [bytes]."""
        return self.file(sha256).stat().st_size

    def _part(self, sha256: str) -> Path:
        return self._parts / f"{sha256}.part"

    def _start(self, what: str, arguments: Sequence[str]) -> None:
        ends_ms = self._clock.monotonic_ms() + 1000 * _SECONDS[what]
        try:
            self._children.append(_Child(what, arguments, ends_ms))
        except OSError as error:
            self._failed.append(WorkDone(what=what, answer={}, problem=f"its process cannot start: {error.strerror}"))


def _delete_but(folder: Path, kept: Collection[str]) -> None:
    """Delete files but some; what the disk refuses to delete goes another time."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _written(path: Path, body: bytes) -> str:
    """Write what another process is to read; return why that cannot be, empty where it was done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = open_or_make(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            os.write(descriptor, body)
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"the request cannot be kept: {error.strerror}"
    return ""


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
