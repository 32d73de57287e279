"""Names of measurements such as ``urn:dev:mac:0024befffe804ff1/temperature``: which entity, which metric."""

import re

_USUAL = re.compile(r"(?P<entity>.+)[:/](?P<metric>[^:/]+)")
_USUAL_METRIC = re.compile(r"(?:.*[:/])?(?P<metric>[^:/]+)")


def name_pattern(template: str, *, entity_elsewhere: bool) -> re.Pattern[str]:
    """Return the pattern that finds ``entity`` and ``metric`` in a name.

    Args:
        template: Such as ``urn:dev:mac:{entity}/{metric}``; empty for the usual form: the metric is what stands after
            the last ``:`` or ``/``, the entity all that stands before it.
        entity_elsewhere: Whether the entity is said elsewhere, so that what stands before the metric does not matter.

    Raises:
        ValueError: The template lacks a field that is needed, or has one that is said elsewhere.
    """
    if not template:
        return _USUAL_METRIC if entity_elsewhere else _USUAL
    wanted = ["metric"] if entity_elsewhere else ["entity", "metric"]
    if sorted(re.findall(r"\{(\w+)\}", template)) != wanted:
        fields = " and ".join(f"{{{name}}}" for name in wanted)
        raise ValueError(f"a name such as urn:dev:mac:{{entity}}/{{metric}}, with {fields} once")
    pattern = re.escape(template)
    pattern = pattern.replace(r"\{entity\}", "(?P<entity>.+)").replace(r"\{metric\}", "(?P<metric>[^:/]+)")
    return re.compile(pattern)
