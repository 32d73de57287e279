"""Keeps the process small: without the parts of libraries that a gateway never calls, and without freed memory.

numpy 1 imports all its parts, and paho an HTTP client for the proxies of WebSockets. Here the first use of one of their
names imports them, as numpy 2 does with its own.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

from attwin.adapters.allocator import give_large_arrays_back

_SELDOM_USED = frozenset(
    ("numpy.ctypeslib", "numpy.fft", "numpy.ma", "numpy.polynomial", "numpy.random", "urllib.request")
)


class _Postponed(MetaPathFinder):
    """Finds the modules of ``_SELDOM_USED``, to be loaded by their first use."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module late; None where it is another one."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _SELDOM_USED else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def stay_lean() -> None:
    """Let seldom used modules be loaded by their first use, and large arrays be given back when they are freed.

    Call it before anything imports numpy.
    """
    sys.meta_path.insert(0, _Postponed())
    give_large_arrays_back()
