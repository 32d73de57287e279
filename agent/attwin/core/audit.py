"""The sums that prove that no record has disappeared: what came in is what became of it, source by source."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

UPSTREAM, STORE, STATE, SITE = "upstream", "store", "state", "site"
"""Whose counters those are that are not of a source of readings; a source may be called so too."""
_OF_SOURCES = ("messages_", "readings_")
"""How the names of the counters of sources begin, and no others."""
_STORED = "readings_stored"
MESSAGES_REPLAYED = "messages_replayed"
LOST = "lost in a damaged file"
COMMITS_LOST = "commits lost in a damaged file"
"""Among the counters of the store, though it counts no readings: how many were lost with these commits nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """One equation.

    Attributes:
        source: Which source of readings, or ``upstream``, or ``store``.
        what: What is accounted for.
        total: How many there were.
        parts: What became of them.
        again: How many of them were taken once more, out of the ring of rejects.
        prefix: Before the names of the counters of the parts.
    """

    source: str
    what: str
    total: int
    parts: dict[str, int]
    prefix: str
    again: int = 0

    @property
    def difference(self) -> int:
        """How many are unaccounted for; negative where there are too many."""
        return self.total + self.again - sum(self.parts.values())

    def as_dict(self) -> dict[str, object]:
        """Return the equation as it is printed."""
        return {
            "source": self.source,
            "what": self.what,
            "total": self.total,
            **({"replayed": self.again} if self.again else {}),
            "parts": self.parts,
            "difference": self.difference,
        }


def is_of_source(name: str) -> bool:
    """Return whether a counter's name is one that sources of readings have."""
    return name.startswith(_OF_SOURCES)


def sums_of(
    counters: Iterable[tuple[str, str, str, int]], *, held: int, waiting: int, parked: int, reacting: int = 0
) -> list[Sum]:
    """Return all sums.

    Args:
        counters: (source, name, reason, count).
        held: How many readings the journal holds.
        waiting: How many messages wait in the outbox.
        parked: How many were set aside.
        reacting: How many reactions on site wait.
    """
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    upstream: dict[str, int] = defaultdict(int)
    store: dict[str, int] = defaultdict(int)
    site: dict[str, int] = defaultdict(int)
    for source, name, reason, count in counters:
        if is_of_source(name):
            # what is stored is stored, whatever is doubted of it
            counts[source][f"{name}({reason})" if reason and name != _STORED else name] += count
        elif source == UPSTREAM:
            upstream[name] += count
        elif source == STORE:
            store[name] += count
        elif source == SITE:
            site[name] += count
        # the rest is of ``STATE``: rows of the current state are made of the readings, which are accounted for
    lost_commits = store.pop(COMMITS_LOST, 0)
    sums = []
    for source, found in sorted(counts.items()):
        sums.append(_sum(source, "messages received", found, "messages_"))
        sums.append(_sum(source, "readings decoded", found, "readings_"))
    stored = sum(found.get(_STORED, 0) for found in counts.values())
    queued = upstream.pop("queued", 0)
    waits = {"waiting": waiting, **({"parked": parked} if parked else {})}
    sums += [
        Sum(source=STORE, what="readings stored", total=stored, parts={"in the journal": held, **store}, prefix=""),
        Sum(source=UPSTREAM, what="messages queued", total=queued, parts={**waits, **upstream}, prefix=""),
    ]
    if site:
        total = site.pop("queued", 0)
        sums.append(
            Sum(source=SITE, what="reactions queued", total=total, parts={"waiting": reacting, **site}, prefix="")
        )
    if lost_commits:
        parts = {"of an unknown number of readings": lost_commits}
        sums.append(Sum(source=STORE, what=COMMITS_LOST, total=lost_commits, parts=parts, prefix=""))
    return sums


def _sum(source: str, what: str, found: dict[str, int], prefix: str) -> Sum:
    total = what.replace(" ", "_")
    own = {name: count for name, count in found.items() if name.startswith(prefix)}
    came, again = own.pop(total, 0), own.pop(MESSAGES_REPLAYED, 0)
    parts = {name.removeprefix(prefix): count for name, count in own.items()}
    return Sum(source=source, what=what, total=came, again=again, parts=parts, prefix=prefix)
