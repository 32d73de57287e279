"""Facts about roll-ups by the minute."""

from dataclasses import fields

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.rollup import Rollups, joined, roll_up

READINGS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 200_000), st.integers(-50, 50).map(float)), min_size=1, max_size=60
)


def rolled(readings: list[tuple[int, int, float]]) -> Rollups:
    """Return the roll-ups of readings (series, time, value)."""
    series, time_ms, value = zip(*readings, strict=True) if readings else ((), (), ())
    return roll_up(np.array(series, np.int64), np.array(time_ms, np.int64), np.array(value, np.float64))


def as_rows(found: Rollups) -> list[tuple[float, ...]]:
    """Return them as rows."""
    return list(zip(*(getattr(found, field.name).tolist() for field in fields(Rollups)), strict=True))


@given(readings=READINGS, cut=st.integers(0, 60))
def test_parts_joined_are_the_whole(readings: list[tuple[int, int, float]], cut: int) -> None:
    """However readings are parted; and each minute is what its readings say."""
    whole = as_rows(rolled(readings))

    assert as_rows(joined([rolled(readings[:cut]), rolled(readings[cut:])])) == whole

    minutes: dict[tuple[int, int], list[tuple[int, int, float]]] = {}
    for place, (series, time_ms, value) in enumerate(readings):
        minutes.setdefault((series, time_ms // 60_000 * 60_000), []).append((time_ms, place, value))
    assert whole == [
        (*key, len(own), sum(v for *_, v in own), min(v for *_, v in own), max(v for *_, v in own), last, last_ms)
        for key, own in sorted(minutes.items())
        for last_ms, _, last in [max(own)]
    ]
