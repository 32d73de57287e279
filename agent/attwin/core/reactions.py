"""Reactions on site: what is done where an alert changes, without upstream."""

from collections.abc import Mapping
from dataclasses import dataclass

from attwin.core.alerts import SEVERITIES

FIELDS = ("entity", "rule", "severity", "state", "type", "value", "subject", "alert")
"""What stands in braces in a topic or in an argument of a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """One thing that is done: exactly one of topic, command and url.

    Attributes:
        name: As in the configuration.
        rules: For alerts of these; empty for all, those of the agent's own included.
        severity: For alerts that are so grave at least.
        topic: Of the sensors' broker.
        retain: Whether that broker keeps the message.
        command: A program and its arguments; no shell is between.
        url: Where the event is posted to.
        token: Sent as a bearer token, empty for none.
        timeout_ms: How long it may take.
        retries: How often it is tried again.
        within_ms: How old an event may be; an older one is not reacted to any more.
    """

    name: str
    rules: frozenset[str]
    severity: str
    topic: str
    retain: bool
    command: tuple[str, ...]
    url: str
    token: str
    timeout_ms: int
    retries: int
    within_ms: int

    def concerns(self, rule: str, severity: str) -> bool:
        """Return whether it reacts to alerts of a rule with a severity."""
        grave_enough = SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)
        return grave_enough and (not self.rules or rule in self.rules)


def filled(text: str, event: Mapping[str, object]) -> str:
    """Return a text with the fields of an event in the place of ``{entity}``, ``{rule}``, ..."""
    for name in FIELDS:
        if f"{{{name}}}" in text:
            value = event.get(name, "")
            text = text.replace(f"{{{name}}}", f"{value:g}" if isinstance(value, float) else str(value))
    return text
