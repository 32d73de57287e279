"""Facts about segments and roll-ups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.journal import Segment, decode, encode, encode_sorted, joined_segments
from attwin.core.rollup import roll_up

READINGS = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.integers(0, 2**42),
        st.floats(allow_nan=False),
        st.integers(0, 2),
        st.integers(0, 127),
    ),
    min_size=1,
    max_size=40,
)
Row = tuple[int, int, float, int, int]


def a_segment(rows: list[Row]) -> Segment:
    """Return readings as a segment."""
    key, time_ms, value, quality, reason = zip(*rows, strict=True)
    return Segment(
        series_key=np.array(key, np.int64),
        time_ms=np.array(time_ms, np.int64),
        value=np.array(value, np.float64),
        quality=np.array(quality, np.uint8),
        reason=np.array(reason, np.uint16),
    )


def rows_of(segment: Segment) -> list[Row]:
    """Return a segment as readings."""
    columns = (segment.series_key, segment.time_ms, segment.value, segment.quality, segment.reason)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(READINGS)
def test_a_segment_keeps_every_bit_in_order_of_arrival(rows: list[Row]) -> None:
    """Whatever was stored is read back."""
    assert rows_of(decode(encode(a_segment(rows)))) == rows


@given(READINGS, READINGS)
def test_a_sorted_segment_holds_the_same_readings_by_series_and_time(first: list[Row], second: list[Row]) -> None:
    """Merging loses nothing; readings of one series and time stay in order of arrival."""
    merged = decode(encode_sorted(joined_segments([a_segment(first), a_segment(second)])))

    assert rows_of(merged) == sorted([*first, *second], key=lambda row: row[:2])


@given(READINGS, st.integers(1, 6))
def test_one_series_is_read_alone(rows: list[Row], key: int) -> None:
    """From either sort of segment."""
    own = [row for row in rows if row[0] == key]

    assert rows_of(decode(encode(a_segment(rows)), key)) == own
    assert rows_of(decode(encode_sorted(a_segment(rows)), key)) == sorted(own, key=lambda row: row[1])


@pytest.mark.parametrize("make", [encode, encode_sorted])
def test_damage_is_a_value_error(make: object) -> None:
    """A cut is one anywhere; a flipped byte is one or, in a head, gives other readings, in columns of one length."""
    body = make(a_segment([(1, 10, 1.5, 2, 0), (2, 20, 2.5, 2, 0)]))  # type: ignore[operator]
    errors = 0
    for place in range(len(body)):
        with pytest.raises(ValueError, match=r"segment|buffer"):
            decode(body[:place])
        flipped = bytearray(body)
        flipped[place] ^= 0x55
        try:
            found = decode(bytes(flipped))
        except ValueError:
            errors += 1
        else:
            columns = (found.series_key, found.time_ms, found.value, found.quality, found.reason)
            assert len({len(column) for column in columns}) == 1

    assert errors > len(body) / 2


@given(READINGS)
def test_roll_ups_say_what_each_minute_held(rows: list[Row]) -> None:
    """Count, extremes, sum and the latest, by series and minute."""
    rows = [(key, time_ms % 10**6, value, *rest) for key, time_ms, value, *rest in rows if abs(value) < 1e200]
    segment = a_segment(rows) if rows else None
    if segment is None:
        return
    found = roll_up(segment.series_key, segment.time_ms, segment.value)

    groups: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for key, time_ms, value, *_ in rows:
        groups.setdefault((key, time_ms // 60_000 * 60_000), []).append((time_ms, value))
    assert list(zip(found.series_key.tolist(), found.minute_ms.tolist(), strict=True)) == sorted(groups)
    for place, place_key in enumerate(sorted(groups)):
        values = [value for _, value in groups[place_key]]
        newest = max(time_ms for time_ms, _ in groups[place_key])
        assert found.count[place] == len(values)
        assert (found.low[place], found.high[place]) == (min(values), max(values))
        assert found.total[place] == pytest.approx(sum(values), rel=1e-9, abs=1e190)
        assert found.last_ms[place] == newest
        assert found.last[place] in [value for time_ms, value in groups[place_key] if time_ms == newest]


def test_no_readings_roll_up_to_nothing() -> None:
    """An hour of bad readings leaves no row."""
    assert len(roll_up(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)).count) == 0
