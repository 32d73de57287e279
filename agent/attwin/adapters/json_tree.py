"""JSON as a tree, and paths into it such as ``sensors.co2``."""

from collections.abc import Sequence

import msgspec

JSON_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError)
"""What msgspec raises for bytes that are not the JSON it wants."""

Path = tuple[str, ...]
_MASK = "***"

parse_json = msgspec.json.Decoder().decode


def path_of(text: str) -> Path:
    """Return a path as its steps; the empty text and a dot are the tree itself."""
    return tuple(text.split(".")) if text.strip(".") else ()


def at(tree: object, path: Path) -> object:
    """Return what a tree holds at a path, None where it holds nothing there."""
    for step in path:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(step)
    return tree


def masked_json(payload: bytes, hidden: Sequence[Path]) -> bytes:
    """Return a payload with stars in the place of hidden fields, in objects of a list too; b"" where it is no JSON."""
    if not hidden:
        return payload
    try:
        tree = parse_json(payload)
    except JSON_ERRORS:
        return b""
    if not isinstance(tree, dict | list):
        return b""
    for path in hidden:
        _mask(tree, path)
    return msgspec.json.encode(tree)


def _mask(tree: object, path: Path) -> None:
    if isinstance(tree, list):
        for item in tree:
            _mask(item, path)
    elif isinstance(tree, dict):
        if len(path) == 1 and path[0] in tree:
            tree[path[0]] = _MASK
        elif len(path) > 1:
            _mask(tree.get(path[0]), path[1:])
        # the objects of a list may lie deeper than the path, which is from each of them
        for item in tree.values():
            if isinstance(item, list):
                _mask(item, path)
