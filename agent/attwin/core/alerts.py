"""What is known of an alert, at each of its transitions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

DRIFT, STORE_DAMAGED, UPDATE_REVERTED = "drift", "store-damaged", "update-reverted"
CONFIG_REFUSED = "config-refused"
"""The rules of the agent's own alerts: a kind has drifted from its training; the database was set aside; a model or a
configuration that was pushed has been taken back; a configuration that was to be taken anew cannot be used."""
OWN_RULES = (DRIFT, STORE_DAMAGED, UPDATE_REVERTED, CONFIG_REFUSED)

ACTIVE, CLEARED = "active", "cleared"
QUIET, SNOOZED, SUPPRESSED = "quiet", "snoozed", "suppressed"
"""Why an alert is not told: it is a quiet hour, somebody has asked for it, or another alert explains it."""
SEVERITIES = ("info", "warning", "critical")
"""From the mildest to the gravest."""

MOST_SNOOZE_MS = 30 * 86_400_000
"""Who wants to hear nothing for longer wants another rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFacts:
    """An alert at one of its transitions, as stored and as published.

    Attributes:
        alert: Its number in the store; the same from active to cleared.
        rule, entity, severity: What it is; the entity is a group where it stands for several.
        subject: What it is about: a metric, a feature, ``attention``.
        state: ``active`` or ``cleared``.
        value: What caused the transition; of a group, for how many the condition holds.
        threshold: The level that was passed; of a group, how many are too many.
        since_ms: When the condition began.
        time_ms: When the transition happened, in event time.
        opened_ms: When it became active, in event time.
        acknowledged_ms: When a person took it up, by the gateway's clock; None where nobody has.
        by: Who acknowledged or snoozed it last.
        note: What they said.
        snoozed_until_ms: Until when it is not to be told, by the gateway's clock; None where nobody has asked.
        muted: Why it is not told now: ``quiet``, ``snoozed``, ``suppressed``.
        announced: Whether it was told: its end is told too, and nothing of it before.
        flapping: Whether it stands for one that comes and goes.
        members: The entities of the group for which the condition holds.
        text: What else there is to say: of a warning, when it is to come.
    """

    alert: int
    rule: str
    entity: str
    severity: str
    subject: str
    state: str
    value: float
    threshold: float
    since_ms: int
    time_ms: int
    opened_ms: int
    acknowledged_ms: int | None = None
    by: str = ""
    note: str = ""
    snoozed_until_ms: int | None = None
    muted: tuple[str, ...] = ()
    announced: bool = True
    flapping: bool = False
    members: tuple[str, ...] = ()
    text: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it has not cleared."""
        return self.state == ACTIVE

    @property
    def key(self) -> tuple[str, str]:
        """Its rule and entity: there is one alert of them at a time."""
        return self.rule, self.entity

    def as_dict(self) -> dict[str, object]:
        """Return the alert as it is written to files and topics: without what says nothing, with how long it lasted."""
        facts = asdict(self)
        announced = facts.pop("announced")
        if not self.is_active:
            facts["duration_ms"] = self.time_ms - self.opened_ms
        if not announced:
            facts["announced"] = False
        said = {name: value for name, value in facts.items() if value not in (None, "", ())}
        if not self.flapping:
            del said["flapping"]
        return said


def gravest(severities: Sequence[str]) -> str:
    """Return the gravest of some severities."""
    return max(severities, key=SEVERITIES.index)
