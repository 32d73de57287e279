"""Facts about segments and roll-ups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.journal import (
    Segment,
    by_series,
    decode,
    encode,
    encode_sorted,
    joined_segments,
    sorted_blocks,
    sorted_body,
)
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


OLD_PLAIN = (
    "010408030000000068e5cf8b0100007801636260606004622620fe026200c10b660686875522ebdc154d1cc0020c0c0d734a193a6c9e98d7"
    "3181140a00b50000e07f08e2"
)
OLD_SORTED = (
    "02020000000100000000000000010000001e00000002000000000000000200000037000000010404010000000068e5cf8b01000078016364"
    "808306260106000244009401040802000000f469e5cf8b01000078016362606060026210f8c2c8c0f0b04a649dbba289c39c52860e9b27e6"
    "752039460600777d0764"
)
OLD_ROWS = [
    (2, 1_700_000_000_500, 20.13, 2, 0),
    (1, 1_700_000_000_000, -0.0, 2, 16),
    (2, 1_700_000_001_000, 1e300, 0, 1),
]


def test_segments_of_earlier_versions_are_read() -> None:
    """As they were written, whole and one series alone."""
    by_series = sorted(OLD_ROWS, key=lambda row: row[:2])

    assert rows_of(decode(bytes.fromhex(OLD_PLAIN))) == OLD_ROWS
    assert rows_of(decode(bytes.fromhex(OLD_SORTED))) == by_series
    assert rows_of(decode(bytes.fromhex(OLD_SORTED), 2)) == by_series[1:]


@pytest.mark.parametrize(
    ("values", "form"),
    [
        pytest.param([20.13, 19.5, -3.0], 18, id="decimals"),
        pytest.param([float(np.float32(0.1)), 2.0**100], 4, id="single"),
        pytest.param([0.1 + 0.2, 5e-324, -0.0], 8, id="double"),
        pytest.param([2.0**31, np.inf], 4, id="too large for a decimal"),
    ],
)
def test_values_keep_every_bit_in_the_smallest_form(values: list[float], form: int) -> None:
    """The sign of a zero and the last bit of a sum included."""
    body = encode(a_segment([(1, 0, value, 2, 0) for value in values]))

    assert decode(body).value.view(np.int64).tolist() == np.array(values).view(np.int64).tolist()
    assert body[2] == form


def test_a_sorted_segment_is_read_in_part() -> None:
    """A series that lies over the edge of a block comes whole; other blocks are not even decompressed."""
    rows = [(key, time_ms, 1.0, 2, 0) for key in (1, 2, 3) for time_ms in range(4_000)]
    body = bytearray(encode_sorted(a_segment(rows)))
    body[-1] ^= 0xFF

    assert rows_of(decode(bytes(body), 2)) == rows[4_000:8_000]
    with pytest.raises(ValueError, match="not a journal segment"):
        decode(bytes(body), 3)


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


@given(st.lists(READINGS, max_size=4))
def test_sorted_segments_are_merged_into_the_same_as_their_readings(parts: list[list[Row]]) -> None:
    """Readings of one series and time stay in the order of their segments."""
    merged = sorted_body(list(sorted_blocks([by_series(a_segment(rows)) for rows in parts])))

    assert rows_of(decode(merged)) == sorted([row for rows in parts for row in rows], key=lambda row: row[:2])


@pytest.mark.parametrize("series", [1, 3, 900])
def test_many_sorted_segments_are_merged_in_even_blocks(series: int) -> None:
    """Whether one series fills many blocks or a block holds many series: all is there, and no block is large."""
    chance = np.random.default_rng(series)
    parts = [
        by_series(
            a_segment([(key, at, 1.0, 2, 0) for at, key in enumerate(chance.integers(0, series, 9_000).tolist())])
        )
        for _ in range(5)
    ]

    blocks = list(sorted_blocks(parts))

    everything = by_series(joined_segments(parts))
    assert rows_of(decode(sorted_body(blocks))) == rows_of(everything)
    assert max(len(decode(body).series_key) for _, _, body in blocks) <= 4_096
    assert len(blocks) <= 14


def test_an_index_that_does_not_say_what_its_blocks_hold_is_noticed() -> None:
    """A bit that flips in it would hide a series."""
    body = bytearray(encode_sorted(a_segment([(key, 0, 1.0, 2, 0) for key in (1, 2, 3)])))
    assert len(decode(bytes(body)).value) == 3
    body[5] ^= 2

    with pytest.raises(ValueError, match="does not say what its blocks hold"):
        decode(bytes(body))
