"""Facts about fetching a file in blocks."""

from hypothesis import given
from hypothesis import strategies as st

from attwin.core.transfer import LEAST_BLOCK, MOST_BLOCK, Transfer

SIZE = 300_000
FILE = bytes(number * 7 % 251 for number in range(SIZE))


def block(offset: int, length: int) -> bytes:
    """Return what the pusher would send."""
    return FILE[offset : offset + length]


def test_a_file_arrives_in_few_blocks_over_a_fast_link() -> None:
    """Blocks double while they come soon, up to 64 KiB, and each is asked for once."""
    transfer, got, lengths = Transfer(SIZE), b"", []
    while not transfer.is_complete:
        for offset, length in transfer.wants(0):
            lengths.append(length)
            got += b"".join(transfer.take(offset, block(offset, length), 1))

    assert got == FILE
    assert sum(lengths) == SIZE
    assert lengths[0] == LEAST_BLOCK
    assert max(lengths) == MOST_BLOCK
    assert len(lengths) < 20


def test_blocks_stay_small_on_a_slow_link() -> None:
    """At 8 kB/s a cut loses 16 KiB at most, as each block takes its second or two."""
    transfer, now, asked = Transfer(SIZE), 0, list[int]()
    while not transfer.is_complete:
        for offset, length in transfer.wants(now):
            asked.append(length)
            now += length // 8 + 600
            transfer.take(offset, block(offset, length), now)

    assert set(asked[:-1]) == {LEAST_BLOCK}


def test_what_was_on_its_way_is_asked_for_again_after_a_cut() -> None:
    """At once, and not what had come."""
    transfer = Transfer(SIZE)
    first = transfer.wants(0)
    transfer.take(first[1][0], block(*first[1]), 1)
    transfer.lost()

    again = transfer.wants(2)
    assert [offset for offset, _ in again][:3] == [first[0][0], first[2][0], first[3][0]]


def test_a_block_that_does_not_come_is_asked_for_again_in_halves() -> None:
    """After ten seconds, then after twenty."""
    transfer = Transfer(SIZE)
    while len(transfer.wants(0)):
        pass
    assert transfer.wants(10_000) == []
    assert transfer.wants(10_001)[0] == (0, LEAST_BLOCK)
    assert transfer.wants(30_001) == []
    assert transfer.wants(30_002)[0] == (0, LEAST_BLOCK)


def test_blocks_that_nobody_asked_for_are_left_out() -> None:
    """Of another place, of another length, twice, or without end."""
    transfer = Transfer(SIZE)
    (offset, length), *_ = transfer.wants(0)

    assert not transfer.take(200_000, b"x" * length, 1)
    assert not transfer.take(offset, b"x" * (length - 1), 1)
    assert not transfer.take(offset, b"x" * (length + 1), 1)
    assert transfer.take(offset, block(offset, length), 1)
    assert not transfer.take(offset, block(offset, length), 1)
    assert transfer.stray == 4
    assert transfer.done == length


def test_a_rate_is_kept() -> None:
    """In a minute at 1,000 bytes a second no more than 60,000 and a block are asked for."""
    transfer, asked = Transfer(SIZE, rate=1_000), 0
    for now in range(0, 60_000, 100):
        for offset, length in transfer.wants(now):
            asked += length
            transfer.take(offset, block(offset, length), now)

    assert 55_000 <= asked <= 60_000 + MOST_BLOCK


def test_it_goes_on_where_the_file_ends() -> None:
    """After a restart what is here is not asked for again."""
    assert Transfer(SIZE, done=SIZE).is_complete
    assert Transfer(SIZE, done=250_000).wants(0)[0] == (250_000, LEAST_BLOCK)


@given(
    st.lists(
        st.tuples(st.sampled_from(["give", "twice", "lose", "cut", "wait", "junk"]), st.integers(0, 3)), max_size=200
    ),
    st.integers(1, 40_000),
)
def test_whatever_happens_the_file_is_what_was_sent(happens: list[tuple[str, int]], size: int) -> None:
    """Blocks that are lost, doubled, late, out of order or foreign change nothing of what is written."""
    transfer, got, now = Transfer(size), b"", 0
    waiting: list[tuple[int, int]] = []
    for what, which in [*happens, *[("give", 0), ("wait", 3)] * 200]:
        waiting += transfer.wants(now)
        place = which % len(waiting) if waiting else 0
        if what == "junk":
            got += b"".join(transfer.take(which * 1_000, b"junk" * which, now))
        elif what == "cut":
            waiting = []
            transfer.lost()
        elif what == "wait":
            now += which * 9_000
        elif waiting:
            offset, length = waiting[place] if what == "twice" else waiting.pop(place)
            if what != "lose":
                got += b"".join(transfer.take(offset, block(offset, length), now))
        if transfer.is_complete:
            break

    assert transfer.is_complete
    assert got == FILE[:size]
