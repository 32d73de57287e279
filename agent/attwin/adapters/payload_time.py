"""Times as payloads write them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from attwin.adapters.json_tree import shown
from attwin.ports import NO_TIME_MS

FACTOR = {"s": 1000.0, "ms": 1.0}
EARLIEST_MS, LATEST_MS = 0, 1 << 43
"""1970 to 2248: outside, a time is a mistake of its unit."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_ms(text: str, zone: ZoneInfo) -> float:
    """Return an ISO 8601 time in milliseconds since 1970; one without an offset is in ``zone``.

    Raises:
        ValueError: ``text`` is not one.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    return (found - _EPOCH).total_seconds() * 1000.0


class TimeReader:
    """Reads the time of a payload that has been parsed."""

    def __init__(self, forms: Sequence[str], zone: ZoneInfo) -> None:
        """Make a reader.

        Args:
            forms: Which of ``s``, ``ms`` and ``iso`` are allowed, at most one of the first two.
            zone: Of ISO times without an offset.
        """
        self._factor = next((FACTOR[form] for form in forms if form in FACTOR), None)
        self._is_text = "iso" in forms
        self._zone = zone
        self._wanted = " or ".join("ISO 8601 text" if form == "iso" else f"a number of {form}" for form in forms)

    def read(self, given: object) -> int:
        """Return milliseconds since 1970, ``NO_TIME_MS`` for None.

        Raises:
            ValueError: It is no time; the message says what is wanted.
        """
        if given is None:
            return NO_TIME_MS
        found = math.nan
        if isinstance(given, str) and self._is_text:
            try:
                found = iso_ms(given, self._zone)
            except (ValueError, OverflowError):
                raise ValueError(f"the time is not ISO 8601: {given[:40]!r}") from None
        elif isinstance(given, int | float) and not isinstance(given, bool) and self._factor:
            try:
                found = given * self._factor
            except OverflowError:
                found = math.inf
        else:
            raise ValueError(f"the time must be {self._wanted}, not {shown(given)}")
        if not EARLIEST_MS <= found < LATEST_MS:
            raise ValueError(f"the time {str(given)[:40]} is outside 1970 to 2248; is its unit right?")
        return round(found)
