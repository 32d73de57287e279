"""YAML text to a tree of values that know their line.

The loader reads YAML 1.2 core scalars: `on`, `12:30` and `010` are what they look like, and a key may stand once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

_MOST_DEPTH = 40
_MOST_DIGITS = 40
_MOST_BYTES = 1_000_000
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
SECRET_TAG = "!secret"  # noqa: S105 -- the name of a YAML tag


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands.

    Attributes:
        value: A dict of nodes, a list of nodes, or a scalar.
        line: Counted from 1.
        tag: The local tag, such as ``!secret``; empty for none.
    """

    value: "dict[str, Node] | list[Node] | str | int | float | bool | None"
    line: int
    tag: str = ""


Report = Callable[[int, str], None]
"""Takes a line and what is wrong there."""


def read_tree(path: Path, report: Report, *, first_line: int = 0) -> Node | None:
    """Return the tree of the document in ``path``; None where it cannot be read at all.

    Everything that is wrong is told to ``report``; line 0 stands for the file as a whole.

    Args:
        path: The file.
        report: Takes what is wrong.
        first_line: The number that stands for the file as a whole, from which lines are counted.
    """
    tree = _read(path, lambda line, text: report(first_line + line, text))
    return _moved(tree, first_line) if tree and first_line else tree


def _read(path: Path, report: Report) -> Node | None:  # noqa: PLR0911 -- one return a way to be unreadable
    try:
        raw = path.read_bytes()
    except OSError as error:
        report(0, f"cannot be read: {error.strerror}")
        return None
    if len(raw) > _MOST_BYTES:
        report(0, f"{len(raw)} bytes; a configuration has at most {_MOST_BYTES}")
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        report(raw[: error.start].count(b"\n") + 1, "not UTF-8 text")
        return None
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                mark = event.start_mark
                report(mark.line + 1 if mark else 0, "aliases (*name) are not read; write the settings out")
                return None
        document = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        report(mark.line + 1 if mark else 0, f"not YAML: {error.problem or error.context}")
        return None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        report(0, f"not YAML: {str(error).splitlines()[0]}")
        return None
    if document is None:
        report(0, "empty")
        return None
    return _node(document, report, 0)


def _moved(node: Node, lines: int) -> Node:
    """Return a tree with other numbers of lines."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _moved(child, lines) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_moved(child, lines) for child in value]
    return Node(value, node.line + lines, node.tag)


def _node(node: yaml.Node, report: Report, depth: int) -> Node:
    line = node.start_mark.line + 1
    tag = node.tag if node.tag.startswith("!") else ""
    if depth > _MOST_DEPTH:
        report(line, f"nested deeper than {_MOST_DEPTH} levels (an alias of itself?)")
        return Node(None, line)
    if isinstance(node, yaml.MappingNode):
        return Node(_mapping(node, report, depth), line, tag)
    if isinstance(node, yaml.SequenceNode):
        return Node([_node(item, report, depth + 1) for item in node.value], line, tag)
    return Node(_scalar(node), line, tag)


def _mapping(node: yaml.MappingNode, report: Report, depth: int) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            report(line, "a key must be a word")
            continue
        key = key_node.value
        if key == "<<":
            report(line, "merge keys (<<) are YAML 1.1; write the settings out")
        elif key in found:
            report(line, f"`{key}` stands twice; the first is in line {found[key].line}")
        else:
            found[key] = _node(value_node, report, depth + 1)
    return found


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    """Return what a scalar means in YAML 1.2; a quoted one is text.

    Source: YAML 1.2.2, section 10.3.2 (core schema).
    """
    text = str(node.value)
    if getattr(node, "style", None) in ("'", '"', "|", ">") or node.tag.startswith("!"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MOST_DIGITS:
        return text
    if _INT.fullmatch(text):
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan"))
    return text
