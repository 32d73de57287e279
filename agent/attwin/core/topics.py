"""Topic templates: ``sensors/{entity}/{metric}`` as an MQTT topic filter and as a parser of topics.

An entity id on the wire is ASCII; other characters are percent-encoded (``quote_id``).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_ID = re.compile(r"[\w.:~-][\w .:~-]{0,63}", re.UNICODE)
_ID_MOST = 64
ID_RULE = "1 to 64 letters of any script, digits, or . _ : ~ -, and spaces inside"
"""What ``is_id`` takes, for people."""
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicTemplate:
    """A compiled template.

    Attributes:
        text: As written, for example ``sensors/{entity}/{metric}``.
        topic_filter: What to subscribe to, for example ``sensors/+/+``.
        fields: The level of every field, by its name.
    """

    text: str
    topic_filter: str
    fields: Mapping[str, int]

    def match(self, levels: Sequence[str]) -> bool:
        """Return whether a topic, split at its slashes, belongs to this template."""
        own = self.topic_filter.split("/")
        return len(own) == len(levels) and all(mine in ("+", theirs) for mine, theirs in zip(own, levels, strict=True))

    def values(self, levels: Sequence[str]) -> dict[str, str]:
        """Return what the fields stand for in a topic that matches."""
        return {name: unquote_id(levels[place]) for name, place in self.fields.items()}


def compile_template(text: str) -> TopicTemplate:
    """Return the compiled form of ``text``.

    A level is fixed text, a field such as ``{entity}``, or ``+`` for any one level.

    Raises:
        ValueError: A level mixes a field or a wildcard with other text, a field stands twice, or the template is empty.
    """
    if not text or text.startswith("$"):
        raise ValueError("a topic such as sensors/{entity}/{metric}, which does not start with $")
    fields: dict[str, int] = {}
    levels = text.split("/")
    for place, level in enumerate(levels):
        if level == "+" or not re.search(r"[{}+#]", level):
            continue
        field = _FIELD.fullmatch(level)
        if field is None:
            raise ValueError(f"level `{level}`: a level is fixed text, a field such as {{entity}}, or + for any text")
        if field[1] in fields:
            raise ValueError(f"{level} stands twice")
        fields[field[1]] = place
    return TopicTemplate(
        text=text,
        topic_filter="/".join("+" if level.startswith("{") else level for level in levels),
        fields=fields,
    )


def is_id(text: str) -> bool:
    """Return whether ``text`` can name an entity, see ``ID_RULE``."""
    return len(text) <= _ID_MOST and _ID.fullmatch(text) is not None and not text.endswith(" ")


def quote_id(entity: str) -> str:
    """Return the id as one ASCII topic level; other bytes of its UTF-8 form are percent-encoded."""
    return "".join(chr(b) if b in _UNRESERVED else f"%{b:02X}" for b in entity.encode())


def unquote_id(level: str) -> str:
    """Return the entity id that a topic level stands for; the inverse of ``quote_id``.

    A level that is not percent-encoded UTF-8 is returned as it is.
    """
    if "%" not in level:
        return level
    try:
        raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), level.encode())
        return raw.decode()
    except UnicodeDecodeError:
        return level
