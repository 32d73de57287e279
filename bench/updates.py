"""What an update costs a gateway: CPU and memory of the processes that check and test a bundle of 300 kB.

    python bench/updates.py

Beside them, in the same run, a bare interpreter that imports numpy: what no self-test can do without. The shortest of
several runs counts.
"""

import dataclasses
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attwin.wiring.models import bundle_path, pack_arrays, read_bundle, write_bundle
from attwin_converter.repository import Offer, Repository

RUNS = 7
BYTES = 300_000
VERSION = 1_000


LAUNCHER = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, 1, 0)])
_, status, usage = os.wait4(child, 0)
print(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""
"""A process takes over the peak of memory of the one that starts it; this one has none to speak of."""


def cost_of(arguments: list[str]) -> tuple[float, float]:
    """Return CPU [ms] and memory [MB] of a process at its best."""
    found = []
    for _ in range(RUNS):
        command = [sys.executable, "-I", "-S", "-c", LAUNCHER, sys.executable, "-I", *arguments]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        status, cpu_s, memory_kb = said.split()
        if status != "0":
            raise SystemExit(f"{' '.join(arguments)} ended with {status}")
        found.append((1000 * float(cpu_s), int(memory_kb) / 1024))
    return min(found)


def main() -> None:
    """Make a repository with one bundle, check it and test it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = read_bundle(bundle_path("builtin:occupancy"))
        path = folder / "office.zip"
        manifest = dataclasses.replace(bundle.manifest, version=VERSION)
        # a card makes it as large as asked
        card = b"<p>" + b"x" * (BYTES - bundle_path("builtin:occupancy").stat().st_size)
        golden = pack_arrays(dict(bundle.golden))
        write_bundle(path, manifest, model=bundle.model, golden=golden, reference=b"{}", card=card)
        repository = Repository.init(folder / "repo", lambda _name: b"correct horse")
        offer = Offer(
            body=path.read_bytes(), suffix=".zip", type="model", name=manifest.name, version=VERSION, kind=manifest.kind
        )
        target, _ = repository.publish(offer, lambda _name: b"correct horse")
        request = folder / "request.json"
        request.write_text(json.dumps({"metadata": repository.metadata_after(0)}), encoding="utf-8")
        root = folder / "repo" / "metadata" / "1.root.json"
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        check = ["--trust", str(folder / "trust"), "--root", str(root), "--request", str(request)]
        check += ["--target", target.path, "--now-ms", str(int(time.time() * 1000)), "--json"]
        test = ["--file", str(path), "--line", f"model/{manifest.kind}", "--sha256", sha256]
        bare_ms, bare_mb = cost_of(["-c", "import numpy"])
        print(f"bundle of {path.stat().st_size} bytes; import numpy alone: {bare_ms:.0f} ms, {bare_mb:.1f} MB")
        for what, arguments in (("check", check), ("test", test)):
            cpu_ms, memory_mb = cost_of(["-m", "attwin", "update", what, *arguments])
            print(
                f"{what}: {cpu_ms:.0f} ms CPU, {memory_mb:.1f} MB; "
                f"{cpu_ms / bare_ms:.2f} and {memory_mb / bare_mb:.2f} of importing numpy alone"
            )


if __name__ == "__main__":
    main()
