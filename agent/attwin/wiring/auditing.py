"""The sums that prove that no record has disappeared: what came in is what became of it, source by source.

The counters move in the same transaction as what they count. Two sums are checked against the tables themselves: the
readings that the journal holds, and the messages that wait in the outbox.
"""

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from attwin.adapters.sqlite_database import open_reader

_COUNTERS = "select source, name, reason, count from audit_totals order by source, name, reason"
_UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """One equation.

    Attributes:
        source: Which source of readings, or ``upstream``, or ``store``.
        what: What is accounted for.
        total: How many there were.
        parts: What became of them.
    """

    source: str
    what: str
    total: int
    parts: dict[str, int]

    @property
    def difference(self) -> int:
        """How many are unaccounted for; negative where there are too many."""
        return self.total - sum(self.parts.values())

    def as_dict(self) -> dict[str, object]:
        """Return the equation as it is printed."""
        return {
            "source": self.source,
            "what": self.what,
            "total": self.total,
            "parts": self.parts,
            "difference": self.difference,
        }


def audit_of(database: Path) -> list[Sum]:
    """Return all sums, of one moment.

    Raises:
        StoreError: There is no database that can be read.
    """
    with closing(open_reader(database)) as connection:
        connection.execute("begin")
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for source, name, reason, count in connection.execute(_COUNTERS):
            counts[source][f"{name}({reason})" if reason and source != _UPSTREAM else name] = (
                counts[source].get(name, 0) + count if source == _UPSTREAM else count
            )
        (held,) = connection.execute("select coalesce(sum(readings), 0) from journal").fetchone()
        (waiting,) = connection.execute("select count(*) from outbox").fetchone()
    upstream = counts.pop(_UPSTREAM, {})
    store = counts.pop("store", {})
    sums = []
    for source, found in sorted(counts.items()):
        sums.append(_sum(source, "messages received", found, "messages_received", "messages_"))
        sums.append(_sum(source, "readings decoded", found, "readings_decoded", "readings_"))
    stored = sum(found.get("readings_stored", 0) for found in counts.values())
    sums.append(Sum(source="store", what="readings stored", total=stored, parts={"in the journal": held, **store}))
    queued = upstream.pop("queued", 0)
    sums.append(Sum(source=_UPSTREAM, what="messages queued", total=queued, parts={"waiting": waiting, **upstream}))
    return sums


def _sum(source: str, what: str, found: dict[str, int], total: str, prefix: str) -> Sum:
    parts = {name.removeprefix(prefix): n for name, n in found.items() if name.startswith(prefix) and name != total}
    return Sum(source=source, what=what, total=found.get(total, 0), parts=parts)
