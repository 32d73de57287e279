"""What a receiver of messages upstream knows: which came twice, which are missing, and which were announced as dropped.

Numbers of a lane rise by one. So what is known of millions of messages is the highest number and a few ranges.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_ID_PARTS = 4
_MOST_RANGES = 10_000
"""A sender whose gaps are more is broken; the oldest of them are forgotten."""


class Ranges:
    """A set of whole numbers that lie together in runs."""

    def __init__(self) -> None:
        self._runs: list[tuple[int, int]] = []

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return sum(last - first + 1 for first, last in self._runs)

    def __contains__(self, number: int) -> bool:
        """Return whether a number is among them."""
        return any(first <= number <= last for first, last in self._runs)

    def add(self, first: int, last: int) -> None:
        """Add the numbers from the first to the last."""
        apart = [run for run in self._runs if run[1] < first - 1 or run[0] > last + 1]
        touching = [run for run in self._runs if not (run[1] < first - 1 or run[0] > last + 1)]
        lowest = min([first, *(run[0] for run in touching)])
        highest = max([last, *(run[1] for run in touching)])
        self._runs = sorted([*apart, (lowest, highest)])[-_MOST_RANGES:]

    def remove(self, first: int, last: int) -> list[tuple[int, int]]:
        """Take the numbers from the first to the last away; return the runs that were there."""
        removed, left = [], []
        for run in self._runs:
            removed.append((max(run[0], first), min(run[1], last)))
            left += [(run[0], min(run[1], first - 1)), (max(run[0], last + 1), run[1])]
        self._runs = [run for run in left if run[0] <= run[1]]
        return [run for run in removed if run[0] <= run[1]]

    def runs(self) -> list[tuple[int, int]]:
        """Return the runs, rising, each from its first to its last number."""
        return list(self._runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one message told.

    Attributes:
        what: ``message``, ``late`` (it was missing before), ``duplicate``, ``gap``, ``dropped`` (an announcement),
            ``state`` (no number: a state that the broker kept, or an empty or foreign payload).
        gateway, lane: Whose, empty where there is no id.
        topic: In full.
        number: Of the message; 0 for none.
        resend: Whether the sender says that it may have sent it before.
        ranges: Of a gap or an announcement: the first and the last number, and the reason.
        body: The payload as JSON, None where it is none.
    """

    what: str
    topic: str
    gateway: str = ""
    lane: str = ""
    number: int = 0
    resend: bool = False
    ranges: tuple[tuple[int, int, str], ...] = ()
    body: Any = None

    def as_dict(self) -> dict[str, object]:
        """Return it as it is printed; what is empty is left out."""
        names = ("what", "gateway", "lane", "number", "resend", "topic", "ranges", "body")
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value not in ("", 0, (), None)}


@dataclass(slots=True)
class _Stream:
    """The numbers of one lane of one database of a gateway."""

    highest: int
    missing: Ranges = field(default_factory=Ranges)
    announced: Ranges = field(default_factory=Ranges)


class Receiver:
    """Checks what arrives.

    Attributes:
        counts: How many messages there were of each ``what``, and of ``resend``; dropped numbers, by reason.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._streams: dict[tuple[str, str, str], _Stream] = {}

    @property
    def missing(self) -> int:
        """Return how many numbers are missing that nobody has announced."""
        return sum(len(stream.missing) for stream in self._streams.values())

    def take(self, topic: str, payload: bytes, *, retained: bool) -> list[Heard]:
        """Return what a message tells: the gap before it, then itself.

        Args:
            topic: In full.
            payload: As it arrived.
            retained: Whether it is one that the broker had kept: an old state, whose number says nothing.
        """
        body = _body_of(payload)
        found = _id_of(body)
        if found is None or retained:
            self.counts["state"] += 1
            gateway = topic.split("/")[1] if topic.count("/") else ""
            return [Heard(what="state", topic=topic, gateway=gateway, body=body)]
        gateway, store, lane, number = found
        resend = body.get("resend") is True
        heard = []
        stream = self._streams.get((gateway, store, lane))
        if stream is None:
            # who comes late cannot know what was before
            stream = self._streams[gateway, store, lane] = _Stream(0 if number == 1 else number - 1)
        what = self._place(stream, number)
        for first, last in self._gap(stream, number):
            self.counts["gap"] += 1
            gap = ((first, last, "missing"),)
            heard.append(Heard(what="gap", topic=topic, gateway=gateway, lane=lane, ranges=gap))
        stream.highest = max(stream.highest, number)
        ranges = self._announced(stream, body) if topic.endswith("/dropped") and what != "duplicate" else ()
        what = "dropped" if ranges else what
        self.counts[what] += 1
        self.counts["resend"] += resend
        heard.append(
            Heard(
                what=what,
                topic=topic,
                gateway=gateway,
                lane=lane,
                number=number,
                resend=resend,
                ranges=ranges,
                body=body,
            )
        )
        return heard

    def _place(self, stream: _Stream, number: int) -> str:
        """Return what a number is: new, missing before, or seen."""
        if number > stream.highest:
            stream.announced.remove(number, number)
            return "message"
        if stream.missing.remove(number, number) or stream.announced.remove(number, number):
            return "late"
        return "duplicate"

    @staticmethod
    def _gap(stream: _Stream, number: int) -> list[tuple[int, int]]:
        """Return the numbers that are missing before one, and remember them."""
        if number <= stream.highest + 1:
            return []
        found = Ranges()
        found.add(stream.highest + 1, number - 1)
        for run in stream.announced.runs():
            found.remove(*run)
        for run in found.runs():
            stream.missing.add(*run)
        return found.runs()

    def _announced(self, stream: _Stream, body: dict[str, Any]) -> tuple[tuple[int, int, str], ...]:
        """Take an announcement: what it names is not missing any more."""
        try:
            ranges = tuple((int(first), int(last), str(reason)) for first, last, reason in body["dropped"])
        except (KeyError, TypeError, ValueError):
            return ()
        for first, last, reason in ranges:
            ahead = (max(first, stream.highest + 1), last)
            for run in (*stream.missing.remove(first, last), *([ahead] if ahead[0] <= ahead[1] else [])):
                stream.announced.add(*run)
            self.counts[f"dropped: {reason}"] += last - first + 1
        return ranges


def _body_of(payload: bytes) -> Any:  # noqa: ANN401 -- JSON
    """Return a payload as JSON, None where it is none."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None


def _id_of(body: Any) -> tuple[str, str, str, int] | None:  # noqa: ANN401 -- JSON
    """Return gateway, store, lane and number of a message; None where it has no id."""
    text = body.get("id") if isinstance(body, dict) else None
    parts = text.rsplit(":", _ID_PARTS - 1) if isinstance(text, str) else []
    if len(parts) != _ID_PARTS or not parts[-1].isdecimal() or int(parts[-1]) < 1:
        return None
    return parts[0], parts[1], parts[2], int(parts[3])
