"""The settings of what is pushed, and what is wrong with them."""

from dataclasses import dataclass, field
from pathlib import Path

from attwin.core.comparison import Gates
from attwin.settings.reader import Reader
from attwin.settings.types import DurationMs, FilePath, SizeBytes

_HOUR_MS, _MINUTE_MS, _SECOND_MS = 3_600_000, 60_000, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatesSettings:
    """What may be pushed to this gateway.

    Attributes:
        root: The root of trust, the 1.root.json that attwin-convert repo init makes; without it nothing can be pushed.
        shadow: For how long a pushed model scores beside the active one before it serves.
        probation: For how long it is watched then, and taken back where it does badly.
        longest: After this time an update that has come no further is refused.
        confirm: For how long the uplink may be away after a pushed configuration before that is taken back.
        rate: How much of a file may be fetched in a second; 0 for no limit.
        largest: Larger files are refused.
        gates: How far a pushed model may be from the one that serves.
        pinned: Paths such as upstream.url or kinds.room.model that no push can change.
    """

    root: FilePath = ""
    shadow: DurationMs = _HOUR_MS
    probation: DurationMs = _HOUR_MS
    longest: DurationMs = 24 * _HOUR_MS
    confirm: DurationMs = 5 * _MINUTE_MS
    rate: SizeBytes = 0
    largest: SizeBytes = 20_000_000
    gates: Gates = field(default_factory=Gates)
    pinned: list[str] = field(default_factory=list)


def check_updates(updates: UpdatesSettings, reader: Reader) -> None:
    """Report what is wrong with what may be pushed."""
    if updates.root and not Path(updates.root).is_file():
        reader.report_at("updates.root", f"no file `{updates.root}`")
    for name in ("shadow", "probation", "longest", "confirm"):
        if getattr(updates, name) < _SECOND_MS:
            reader.report_at(f"updates.{name}", "1s or more")
    if updates.longest < updates.shadow:
        reader.report_at("updates.longest", "shorter than `shadow`")
    for name in ("difference", "shift", "alerts", "latency", "saturation"):
        if getattr(updates.gates, name) <= 0:
            reader.report_at(f"updates.gates.{name}", "more than 0")
    if updates.gates.pairs < 0:
        reader.report_at("updates.gates.pairs", "0 or more")
