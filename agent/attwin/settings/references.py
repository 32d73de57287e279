"""Names in the configuration that mean something defined elsewhere in it."""

from attwin.core.topics import ID_RULE, is_id
from attwin.settings.model import Settings
from attwin.settings.reader import Reader, did_you_mean


def check_name(name: str, where: str, reader: Reader) -> None:
    """Report a name that cannot be part of a topic."""
    if not is_id(name):
        reader.report_at(where, f"`{name}`: a name has {ID_RULE}")


def check_kind(kind: str, where: str, settings: Settings, reader: Reader) -> bool:
    """Report a kind that is not configured; return whether it is."""
    if kind not in settings.kinds and not reader.has(f"kinds.{kind}") and not reader.is_wrong("kinds"):
        reader.report_at(where, f"`{kind}` is not a kind; {did_you_mean(kind, settings.kinds)}")
    return kind in settings.kinds


def check_metric(metric: str, kind: str, where: str, settings: Settings, reader: Reader) -> None:
    """Report a metric that a kind does not have."""
    known = settings.kinds[kind].metrics
    at = f"kinds.{kind}.metrics"
    if metric not in known and not reader.has(f"{at}.{metric}") and not reader.is_wrong(at):
        reader.report_at(where, f"`{metric}` is not a metric of kind `{kind}`; {did_you_mean(metric, known)}")
