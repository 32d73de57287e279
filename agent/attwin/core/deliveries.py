"""Which messages without a time of their own were taken lately: a second delivery is told from a second reading.

A broker delivers a message again, with the DUP flag and the same packet id, where it has seen no PUBACK. A payload with
a time is recognised by its time; one without is recognised by packet id and checksum, within the last deliveries.
"""

import zlib
from collections.abc import Iterable

HORIZON = 65_535
"""How many deliveries are remembered: as many as there are packet ids."""
LEAST_HORIZON = 4_096
"""How many are remembered over a restart at least, however small the broker's in-flight window is said to be."""


def fingerprint(topic: bytes, payload: bytes) -> int:
    """Return the checksum of a message."""
    return zlib.crc32(payload, zlib.crc32(topic))


class Deliveries:
    """The checksum of the last message with each packet id."""

    def __init__(self, horizon: int = HORIZON) -> None:
        self._horizon = horizon
        self._checksums: dict[int, int] = {}

    def is_repeated(self, packet_id: int, checksum: int) -> bool:
        """Return whether a message that the broker says it delivers again was taken before."""
        return self._checksums.get(packet_id) == checksum

    def remember(self, delivered: Iterable[tuple[int, int]]) -> None:
        """Note (packet id, checksum) of messages that are taken, in order."""
        for packet_id, checksum in delivered:
            # the newest stand last
            self._checksums.pop(packet_id, None)
            self._checksums[packet_id] = checksum
        while len(self._checksums) > self._horizon:
            del self._checksums[next(iter(self._checksums))]
