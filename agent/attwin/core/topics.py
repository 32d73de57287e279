"""Topic templates: ``sensors/{entity}/{metric}`` as an MQTT topic filter and as a parser of topics.

An entity id on the wire is ASCII; other characters are percent-encoded (``quote_id``).
"""

import re
from dataclasses import dataclass

_FIELDS = ("entity", "metric")
_ID = re.compile(r"[\w.:~-][\w .:~-]{0,63}", re.UNICODE)
_ID_MOST = 64
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicTemplate:
    """A compiled template.

    Attributes:
        text: As written, for example ``sensors/{entity}/{metric}``.
        topic_filter: What to subscribe to, for example ``sensors/+/+``.
        entity_level: The level that holds the entity id, or None.
        metric_level: The level that holds the metric name, or None.
    """

    text: str
    topic_filter: str
    entity_level: int | None
    metric_level: int | None

    def match(self, levels: list[str]) -> bool:
        """Return whether a topic, split at its slashes, belongs to this template."""
        own = self.topic_filter.split("/")
        return len(own) == len(levels) and all(mine in ("+", theirs) for mine, theirs in zip(own, levels, strict=True))


def compile_template(text: str) -> TopicTemplate:
    """Return the compiled form of ``text``.

    Raises:
        ValueError: A level mixes a field with other text, names an unknown field, repeats one,
            is a wildcard of its own, or the template is empty.
    """
    if not text or text.startswith("$"):
        raise ValueError("a topic such as sensors/{entity}/{metric}, which does not start with $")
    found: dict[str, int] = {}
    levels = text.split("/")
    for place, level in enumerate(levels):
        if not re.search(r"[{}+#]", level):
            continue
        name = level[1:-1]
        if level != f"{{{name}}}" or name not in _FIELDS:
            raise ValueError(
                f"level `{level}`: a level is fixed text, {{entity}} or {{metric}}; wildcards are not written"
            )
        if name in found:
            raise ValueError(f"{{{name}}} stands twice")
        found[name] = place
    return TopicTemplate(
        text=text,
        topic_filter="/".join("+" if level.startswith("{") else level for level in levels),
        entity_level=found.get("entity"),
        metric_level=found.get("metric"),
    )


def is_id(text: str) -> bool:
    """Return whether ``text`` can name an entity: 1 to 64 letters, digits or ``._:~-``, inner spaces."""
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
