"""Texts that stand for numbers: a metric with categories has the values 0, 1, ... in their order."""

from collections.abc import Sequence


def code_of(categories: Sequence[str], value: object) -> float | None:
    """Return the code of what a sensor sent, None where it is none of the categories.

    A text must be one of them as it is written. A number is first taken for the text that it is, so that categories
    such as "1", "2", "4" can be sent as numbers, and then for a code. ``true`` and ``false`` are also found as TRUE,
    False and the like.
    """
    if isinstance(value, str):
        return float(categories.index(value)) if value in categories else None
    if isinstance(value, bool):
        alike = [place for place, name in enumerate(categories) if name.casefold() == str(value).casefold()]
        return float(alike[0] if alike else value)
    if isinstance(value, int | float):
        # the text of a number without a fraction has none
        text = str(int(value)) if value == value // 1 else str(value)
        if text in categories:
            return float(categories.index(text))
        return float(value) if value in range(len(categories)) else None
    return None


def wanted(name: str, categories: Sequence[str], found: str) -> str:
    """Return what a message says of a value that is none of the categories."""
    return f"`{name}` is one of {', '.join(categories)}; not {found}"
