"""Facts about operations on columns."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.columns import NEVER_MS, grown, newest_before

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(-50, 50)), min_size=1, max_size=40)
KNOWN = st.lists(st.one_of(st.just(NEVER_MS), st.integers(-60, 60)), min_size=5, max_size=5)


@given(rows=ROWS, known=KNOWN)
def test_newest_before_is_what_a_loop_finds(rows: list[tuple[int, int]], known: list[int]) -> None:
    """For every row: the newest time of its group among what was known and the rows before it."""
    newest = list(known)
    expected = []
    for group, time_ms in rows:
        expected.append(newest[group])
        newest[group] = max(newest[group], time_ms)

    found = newest_before(
        np.array([g for g, _ in rows], np.int32), np.array([t for _, t in rows], np.int64), np.array(known, np.int64)
    )

    assert found.tolist() == expected


def test_grown_keeps_what_is_there_and_fills_the_rest() -> None:
    """A grown column starts with the old one, gets room to spare, and is left alone when it is long enough."""
    column = np.array([1, 2], np.int64)

    longer = grown(column, 3, fill=-1)

    assert longer[:4].tolist() == [1, 2, -1, -1]
    assert grown(longer, 4) is longer
