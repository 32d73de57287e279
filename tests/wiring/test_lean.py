"""Facts about imports that are postponed."""

import subprocess
import sys

_LATE = ("numpy.fft", "numpy.ma", "numpy.polynomial", "numpy.random", "urllib.request")
_LOADED = f"""
import sys, types
from attwin.wiring.lean import stay_lean
stay_lean()
import attwin.cli.run, attwin.wiring.daemon
print([name for name in {_LATE} if type(sys.modules.get(name)) is types.ModuleType])
"""
_USED = """
from attwin.wiring.lean import stay_lean
stay_lean()
import numpy, urllib.request
print(numpy.random.default_rng(1).integers(1, 2), numpy.ma.array([3]).sum(), urllib.request.Request("http://x").host)
"""


def printed(code: str) -> str:
    """Return what a new interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_agent_does_without_what_is_postponed() -> None:
    """No module of the agent calls for a part of numpy or paho that costs memory for nothing."""
    assert printed(_LOADED) == "[]"


def test_what_is_postponed_works_when_it_is_used() -> None:
    """The first use of a name imports its module."""
    assert printed(_USED) == "1 3 x"
