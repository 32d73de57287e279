"""What was taken of a message of which a part was rejected, so that the rest can be taken later, and nothing twice.

Each reading is kept as a checksum of what it says. Times of receipt and lasting keys are no part of it: they change,
with the clock that is put right, and with the metrics of a kind.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

_BYTES = 8


def reading_checksum(entity: str, metric: str, time_ms: int, value: float) -> bytes:
    """Return the checksum of a reading.

    Args:
        entity: Its id.
        metric: Its name.
        time_ms: As the message says it: absolute, relative to the receipt, or that there is none.
        value: In the metric's unit.
    """
    return hashlib.blake2b(repr((entity, metric, time_ms, value)).encode(), digest_size=_BYTES).digest()


def found_again(taken: bytes, checksums: Sequence[bytes]) -> list[bool] | None:
    """Return which readings of a message were taken before.

    Args:
        taken: The checksums of those that were, one after the other; a reading that stands twice was taken twice.
        checksums: Of all that the message holds now, in order.

    Returns:
        One for each of ``checksums``; None where one that was taken is not among them, so that the message is read in
        another way now and nobody can tell.
    """
    left = Counter(taken[start : start + _BYTES] for start in range(0, len(taken), _BYTES))
    found = []
    for checksum in checksums:
        found.append(left[checksum] > 0)
        left[checksum] -= found[-1]
    return found if not +left else None
