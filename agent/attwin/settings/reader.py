"""A tree of YAML nodes to frozen dataclasses, by the types of their fields.

Nothing stops at the first problem: a wrong value is reported and its default or an empty value stands in, so that every
problem is found at once. What stands in is not judged: see ``Reader.report_at``.
"""

import dataclasses
import difflib
import math
import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from attwin.settings.layers import FIRST_LINE, Layer, laid_over
from attwin.settings.types import (
    DurationMark,
    FileMark,
    LevelMark,
    Secret,
    SizeMark,
    parse_duration,
    parse_level,
    parse_size,
)
from attwin.settings.yaml_tree import SECRET_TAG, Node, read_tree

T = TypeVar("T")

WRONG: Any = object()
"""What stands for a value that was reported."""


def key_of(field_name: str) -> str:
    """Return the key of a field: ``for_`` is written ``for``."""
    return field_name.rstrip("_")


class Reader:
    """Reads one file.

    Attributes:
        problems: (line, text) of everything wrong so far; line 0 stands for the file as a whole.
        lines: The line of every value that was read, by its path such as ``rules[0].when``.
        unknown: The paths of what is no setting.
    """

    def __init__(self, path: Path, environment: Mapping[str, str] | None = None, *, layer: Layer | None = None) -> None:
        self.path = path
        self._layer = layer
        self.problems: list[tuple[int, str]] = []
        self.lines: dict[str, int] = {}
        self.unknown: set[str] = set()
        self._wrong: set[str] = set()
        self._environment = os.environ if environment is None else environment
        self._secrets: dict[str, Node] | None = None

    def report(self, line: int, text: str) -> None:
        """Note a problem."""
        self.problems.append((line, text))

    def report_at(self, where: str, text: str) -> None:
        """Note a problem at a path, or at the closest parent of it that stands in the file.

        Nothing is noted of what only stands in for a value that was reported.
        """
        if self.is_wrong(where):
            return
        parent = where
        while parent and parent not in self.lines:
            parent = parent.rpartition(".")[0]
        self.report(self.lines.get(parent, 0), f"{where}: {text}")

    def messages(self) -> list[str]:
        """Return the problems in the order of the file, each with its place."""
        ordered = sorted(self.problems, key=lambda problem: problem[0] or 10**9)
        return [f"{self.place(line)}: {text}" for line, text in ordered]

    def place(self, line: int) -> str:
        """Return a line with the name of its file; the name alone for line 0."""
        if self._layer and line >= FIRST_LINE:
            return f"{self._layer.name}:{line - FIRST_LINE}" if line > FIRST_LINE else self._layer.name
        return f"{self.path.name}:{line}" if line else self.path.name

    def origins(self) -> dict[str, str]:
        """Return where each value that was read stands, by its path."""
        return {where: self.place(line) for where, line in self.lines.items()}

    def read(self, cls: type[T]) -> T | None:
        """Return the file as a ``cls``; something stands in for what was reported. None where it is no mapping."""
        tree = read_tree(self.path, self.report)
        if tree is not None and self._layer:
            layer = read_tree(self._layer.path, self.report, first_line=FIRST_LINE)
            tree = laid_over(tree, layer, self.report) if layer else tree
        value = WRONG if tree is None else self._value(cls, tree, "")
        return None if value is WRONG else value

    def has_below(self, where: str) -> bool:
        """Return whether the file has anything inside a mapping or a list, be it right or wrong."""
        return any(path.startswith((f"{where}.", f"{where}[")) for path in self.lines)

    def has(self, where: str) -> bool:
        """Return whether the file has a value at a path, be it right or wrong."""
        return where in self.lines

    def is_wrong(self, where: str) -> bool:
        """Return whether the value at a path, or what it is in, was reported as wrong or missing."""
        return any(where == path or where.startswith((f"{path}.", f"{path}[")) for path in self._wrong)

    def _value(self, kind: Any, node: Node, where: str) -> Any:  # noqa: ANN401, PLR0911 -- a type and a value of that type; one return a form
        self.lines[where] = node.line
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            is_level = isinstance(arguments[1], LevelMark)
            return self._level(node, where) if is_level else self._annotated(arguments[1], node, where)
        if origin in (Union, types.UnionType):
            return self._value(_member(arguments, node), node, where)
        if origin is Literal:
            return self._literal(arguments, node, where)
        if origin is dict:
            return self._dict(arguments[1], node, where)
        if origin is list:
            return self._list(arguments[0], node, where)
        if dataclasses.is_dataclass(kind):
            return self._secret(node, where) if kind is Secret else self._dataclass(kind, node, where)
        return self._scalar(kind, node, where)

    def _refuse(self, line: int, where: str, problem: str) -> Any:  # noqa: ANN401 -- WRONG
        self._wrong.add(where)
        self.report(line, f"{where or 'the file'}: {problem}")
        return WRONG

    def _expect(self, node: Node, where: str, expected: str) -> Any:  # noqa: ANN401 -- WRONG
        found = node.value
        shown = "a mapping" if isinstance(found, dict) else "a list" if isinstance(found, list) else f"`{found}`"
        return self._refuse(node.line, where, f"{expected}, not {'nothing' if found is None else shown}")

    def _scalar(self, kind: Any, node: Node, where: str) -> Any:  # noqa: ANN401 -- a type and a value of that type
        value = node.value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is float and isinstance(value, int | float) and is_number and math.isfinite(value):
            return float(value)
        if kind is not float and type(value) is kind:
            return value
        expected = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
        hint = "; put it in quotes" if kind is str and value is not None and not isinstance(value, dict | list) else ""
        return self._expect(node, where, expected + hint)

    def _level(self, node: Node, where: str) -> Any:  # noqa: ANN401 -- a number or WRONG
        try:
            return parse_level(node.value)
        except ValueError as error:
            return self._expect(node, where, str(error))

    def _annotated(self, mark: object, node: Node, where: str) -> Any:  # noqa: ANN401 -- a value of the marked type
        if isinstance(mark, FileMark):
            if not isinstance(node.value, str):
                return self._expect(node, where, "a path")
            return str((self.path.parent / node.value).absolute()) if node.value else ""
        parse, example = _PARSERS[type(mark)]
        if node.value == 0 and not isinstance(node.value, bool):
            return 0
        if not isinstance(node.value, str):
            return self._expect(node, where, example)
        try:
            return parse(node.value)
        except ValueError as error:
            return self._expect(node, where, str(error))

    def _literal(self, allowed: tuple[object, ...], node: Node, where: str) -> Any:  # noqa: ANN401 -- one of the allowed
        # 3.1 and 5 are numbers to YAML where the setting is the text "5"
        for value in allowed:
            if node.value == value and not isinstance(node.value, bool):
                return value
            if isinstance(value, str) and str(node.value) == value:
                return value
        return self._expect(node, where, "one of " + ", ".join(map(str, allowed)))

    def _list(self, item: Any, node: Node, where: str) -> Any:  # noqa: ANN401 -- a type and a list of it
        if not isinstance(node.value, list):
            return self._expect(node, where, "a list")
        values = [self._value(item, child, f"{where}[{i}]") for i, child in enumerate(node.value)]
        # what follows a wrong item keeps its number
        return [_stand_in(item) if value is WRONG else value for value in values]

    def _dict(self, item: Any, node: Node, where: str) -> Any:  # noqa: ANN401 -- a type and a dict of it
        if not isinstance(node.value, dict):
            return self._expect(node, where, "a mapping")
        values = {key: self._value(item, child, _join(where, key)) for key, child in node.value.items()}
        return {key: value for key, value in values.items() if value is not WRONG}

    def _dataclass(self, cls: Any, node: Node, where: str) -> Any:  # noqa: ANN401 -- a dataclass and its instance
        given = node.value
        # a class may name the field that a plain text stands for
        if isinstance(given, str) and hasattr(cls, "SHORT_FORM"):
            given = {cls.SHORT_FORM: node}
        if not isinstance(given, dict):
            return self._expect(node, where, "a mapping")
        hints = get_type_hints(cls, include_extras=True)
        fields = {key_of(field.name): field for field in dataclasses.fields(cls)}
        for key, child in given.items():
            if key not in fields:
                self.report(child.line, f"{_join(where, key)}: not a setting; {did_you_mean(key, fields)}")
                self.unknown.add(_join(where, key))
        values = {}
        for key, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if key in given:
                value = self._value(hints[field.name], given[key], _join(where, key))
                if value is not WRONG:
                    values[field.name] = value
            elif required:
                self._refuse(node.line if where else 0, _join(where, key), "missing")
            if required and field.name not in values:
                values[field.name] = _stand_in(hints[field.name])
        return cls(**values)

    def _secret(self, node: Node, where: str) -> Any:  # noqa: ANN401 -- a Secret or WRONG
        if not isinstance(node.value, str):
            return self._expect(node, where, "text, or !secret NAME")
        if node.tag != SECRET_TAG:
            return Secret(node.value)
        folder = self._environment.get("CREDENTIALS_DIRECTORY")
        credential = Path(folder, node.value) if folder else None
        if credential and credential.is_file():
            return Secret(credential.read_text(encoding="utf-8").rstrip("\n"))
        if self._secrets is None:
            self._secrets = self._load_secrets()
        found = self._secrets.get(node.value)
        if found is None or not isinstance(found.value, str):
            wanted = f"no secret `{node.value}` in $CREDENTIALS_DIRECTORY or in secrets.yaml beside this file"
            return self._refuse(node.line, where, wanted)
        return Secret(found.value)

    def _load_secrets(self) -> dict[str, Node]:
        path = self.path.with_name("secrets.yaml")
        if not path.is_file():
            return {}
        # a problem in it must not show its text
        tree = read_tree(path, lambda line, _text: self.report(0, f"secrets.yaml:{line}: not readable as YAML"))
        return tree.value if tree and isinstance(tree.value, dict) else {}


_PARSERS = {
    DurationMark: (parse_duration, "a duration such as 5s or 2m"),
    SizeMark: (parse_size, "a size such as 500MB or 2GB"),
}


def _member(arguments: tuple[Any, ...], node: Node) -> Any:  # noqa: ANN401 -- a type
    """Return the member of a union that a value is read as: a list as a list, anything else as the first other one."""
    members = [argument for argument in arguments if argument is not type(None)]
    is_list = isinstance(node.value, list)
    return next((member for member in members if (get_origin(member) is list) == is_list), members[0])


def did_you_mean(word: str, known: Mapping[str, object] | list[str]) -> str:
    """Return the advice for an unknown word: the closest known one, or all of them."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else "known: " + ", ".join(sorted(known))


def _stand_in(kind: Any) -> Any:  # noqa: ANN401 -- a type and a value of it
    """Return a value of a type that says nothing."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _stand_in(arguments[0])
    if origin is Literal:
        return arguments[0]
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        required = [f for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING]
        return kind(**{field.name: _stand_in(hints[field.name]) for field in required})  # type: ignore[operator] # a class
    return (origin or kind)()


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
