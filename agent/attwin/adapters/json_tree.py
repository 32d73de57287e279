"""JSON as a tree, and paths into it such as ``sensors.co2``."""

from collections.abc import Iterator, Sequence

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


def shown(value: object, most: int = 40) -> str:
    """Return the front of a value as a message quotes it; a list or an object, which may be deep, by its sort alone."""
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else repr(str(value)[:most])


def masked_json(payload: bytes, hidden: Sequence[Path]) -> bytes:
    """Return a payload with stars in the place of hidden fields, whichever object they stand in; b"" for no JSON."""
    if not hidden:
        return payload
    try:
        tree = parse_json(payload)
        if not isinstance(tree, dict | list):
            return b""
        for found in list(_objects(tree)):
            for path in hidden:
                _mask(found, path)
        return msgspec.json.encode(tree)
    except JSON_ERRORS:
        return b""


def _mask(tree: dict[str, object], path: Path) -> None:
    """Put stars where a path, from this object on, leads; the lists on its way are passed through."""
    *way, last = path
    holders = [tree]
    for step in way:
        holders = [inner for holder in holders if step in holder for inner in _objects(holder[step], lists_only=True)]
    for holder in holders:
        if last in holder:
            holder[last] = _MASK


def _objects(tree: object, *, lists_only: bool = False) -> Iterator[dict[str, object]]:
    """Yield every object of a tree, or those of its lists alone; the tree may be deeper than calls can be."""
    waiting = [tree]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            if not lists_only:
                waiting += found.values()
        elif isinstance(found, list):
            waiting += found
