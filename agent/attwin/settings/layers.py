"""A configuration that was pushed, laid over the local one.

Mappings are merged key by key; items of a list that have names, such as rules, are replaced by name or added; anything
else is replaced. What the local file pins, and what is only the site's to say, stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attwin.settings.yaml_tree import Node

FIRST_LINE = 10_000_000
"""Lines of a layer are counted from here on: no file is so long."""
PINNED = "updates.pinned"
LOCAL_ONLY = ("gateway", "store", "privacy", "updates", "broker.password", "broker.password_file")
"""What a pushed configuration cannot say: who the gateway is, where and how it keeps data, and whom it trusts."""

Report = Callable[[int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A configuration that was pushed.

    Attributes:
        path: Its file.
        name: As people know it, such as ``house-rules-3``.
        version: Its version.
        sha256: The hash of its file.
    """

    path: Path
    name: str
    version: int = 0
    sha256: str = ""


def laid_over(local: Node, layer: Node, report: Report) -> Node:
    """Return the tree of a local file with a layer over it; what the layer must not say is reported."""
    if not isinstance(layer.value, dict) or not isinstance(local.value, dict):
        report(layer.line, "a pushed configuration is a mapping such as `rules: [...]`")
        return local
    return _merged(local, layer, "", _pinned(local), report)


def _pinned(local: Node) -> list[str]:
    """Return the paths that the local file keeps for itself."""
    updates = local.value.get("updates") if isinstance(local.value, dict) else None
    pinned = updates.value.get("pinned") if updates and isinstance(updates.value, dict) else None
    items = pinned.value if pinned and isinstance(pinned.value, list) else []
    return [item.value for item in items if isinstance(item.value, str)]


def _merged(local: Node, layer: Node, where: str, pinned: Sequence[str], report: Report) -> Node:
    if isinstance(local.value, dict) and isinstance(layer.value, dict):
        found = dict(local.value)
        for key, node in layer.value.items():
            own = f"{where}.{key}" if where else key
            if own in LOCAL_ONLY or _has_command(own, node):
                report(node.line, f"{own}: only the gateway's own file may say that")
            elif own not in pinned:
                nothing: dict[str, Node] = {}
                # what is below of a mapping is looked at also where the local file has none
                before = local.value.get(key, Node(nothing, node.line))
                found[key] = _merged(before, node, own, pinned, report)
        return replace(local, value=found)
    if isinstance(local.value, list) and isinstance(layer.value, list):
        names = [_name(node) for node in layer.value]
        if layer.value and all(names) and all(_name(node) for node in local.value):
            return replace(layer, value=[*(node for node in local.value if _name(node) not in names), *layer.value])
    return layer


def _has_command(where: str, node: Node) -> bool:
    """Return whether reactions of a layer would run programs."""
    items = node.value if where == "reactions" and isinstance(node.value, list) else []
    return any(isinstance(item.value, dict) and "command" in item.value for item in items)


def _name(node: Node) -> str:
    name = node.value.get("name") if isinstance(node.value, dict) else None
    return str(name.value) if name and isinstance(name.value, str) else ""
