"""Facts about ticks: what closes, when, and what is late."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attwin.core.grid import Grid
from support.builders import a_kind

STEP_MS = 1000
ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12_000)), max_size=40)


def feed(grid: Grid, rows: list[tuple[int, int]]) -> tuple[list[bool], list[tuple[int, int, tuple[float, ...]]]]:
    """Give rows (entity, time) to a grid; return which were late, and (entity, tick, values) of what closed."""
    entity = np.array([e for e, _ in rows], np.int32)
    time_ms = np.array([t for _, t in rows], np.int64)
    late = grid.late(entity, time_ms)
    grid.add(entity[~late], entity[~late], time_ms[~late], time_ms[~late].astype(float))
    return late.tolist(), closed(grid)


def closed(grid: Grid) -> list[tuple[int, int, tuple[float, ...]]]:
    """Return (entity, tick, values) of every tick that closes now."""
    found = []
    for wave in grid.close():
        assert len(set(wave.entity.tolist())) == len(wave.entity)
        for entity, tick in zip(wave.entity.tolist(), wave.tick.tolist(), strict=True):
            mine = (wave.series == entity) & (wave.series_tick == tick)
            found.append((entity, tick, tuple(wave.value[mine].tolist())))
    return found


@given(rows=ROWS, cuts=st.lists(st.integers(0, 40), max_size=5), lateness=st.sampled_from([0, 500, 3000]))
def test_what_closes_does_not_depend_on_how_readings_were_grouped(
    rows: list[tuple[int, int]], cuts: list[int], lateness: int
) -> None:
    """One batch, several batches and single readings give the same late readings and the same ticks."""
    kind = a_kind(lateness_ms=lateness)
    bounds = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    grouped, single = Grid(kind), Grid(kind)

    in_groups = [feed(grouped, rows[a:b]) for a, b in pairwise(bounds)]
    one_by_one = [feed(single, [row]) for row in rows]

    assert [x for late, _ in in_groups for x in late] == [x for late, _ in one_by_one for x in late]
    per_entity = [
        [[tick for tick in ticks if tick[0] == entity] for entity in range(3)]
        for ticks in ([t for _, c in in_groups for t in c], [t for _, c in one_by_one for t in c])
    ]
    assert per_entity[0] == per_entity[1]


@given(rows=ROWS, lateness=st.sampled_from([0, 500, 3000]))
def test_every_reading_is_late_or_in_exactly_one_tick(rows: list[tuple[int, int]], lateness: int) -> None:
    """Nothing is lost and nothing counts twice between a batch, its late readings and its ticks."""
    grid = Grid(a_kind(lateness_ms=lateness))

    late, ticks = feed(grid, rows)
    rest = [
        (int(e), int(k), tuple(w.value[(w.series == e) & (w.series_tick == k)].tolist()))
        for w in grid.close_all()
        for e, k in zip(w.entity.tolist(), w.tick.tolist(), strict=True)
    ]

    in_ticks = sorted(value for _, _, values in [*ticks, *rest] for value in values)
    assert in_ticks == sorted(float(t) for (_, t), is_late in zip(rows, late, strict=True) if not is_late)


def test_a_tick_closes_when_the_watermark_passes_its_end() -> None:
    """With a lateness of 500 ms, the tick that ends at 1000 closes at 1500 and not before."""
    grid = Grid(a_kind(lateness_ms=500))

    assert feed(grid, [(0, 200)])[1] == []
    assert feed(grid, [(0, 1499)])[1] == []
    assert feed(grid, [(0, 1500)])[1] == [(0, 0, (200.0,))]


def test_a_reading_of_an_open_tick_is_never_late() -> None:
    """Only a reading whose tick was closed is late, however old it is."""
    grid = Grid(a_kind(lateness_ms=2000))
    feed(grid, [(0, 5900)])

    assert feed(grid, [(0, 3000)])[0] == [False]
    assert feed(grid, [(0, 2999)])[0] == [True]


def test_a_forgotten_entity_leaves_nothing_behind() -> None:
    """Its readings do not close later, and its old times make nothing late."""
    grid = Grid(a_kind())
    feed(grid, [(0, 5_500)])

    grid.forget(0)

    assert feed(grid, [(0, 100), (0, 1_100)]) == ([False, False], [(0, 0, (100.0,))])


def test_a_snapshot_of_an_earlier_version_is_taken_over() -> None:
    """Its rows were one array a column."""
    before, after = Grid(a_kind()), Grid(a_kind())
    feed(before, [(0, 5_500), (1, 5_600), (0, 5_700)])
    state = before.dump()

    after.load({name.removesuffix(".0"): array for name, array in state.items()})

    assert feed(after, [(0, 6_100), (1, 6_100)])[1] == [(0, 5, (5500.0, 5700.0)), (1, 5, (5600.0,))]


def test_many_readings_close_as_few_do() -> None:
    """More than fit into a part, and more than are taken at once: nothing is lost, and none changes its tick."""
    random = np.random.default_rng(1)
    count, entities = 60_000, 50
    entity = random.integers(0, entities, count).astype(np.int32)
    # half of the entities lag behind, so that parts of parts close
    time_ms = np.sort(random.integers(1_500, 5_500, count)) - 1_500 * (entity % 2)
    grid = Grid(a_kind(lateness_ms=2000))
    found: list[tuple[int, int, tuple[float, ...]]] = []

    for start in range(0, count, 7_000):
        part = slice(start, start + 7_000)
        late = grid.late(entity[part], time_ms[part])
        assert not late.any()
        grid.add(entity[part], entity[part], time_ms[part], time_ms[part].astype(float))
        found += closed(grid)
        if start == 35_000:
            # a restart between
            state, grid = grid.dump(), Grid(a_kind(lateness_ms=2000))
            assert min(int(part.min()) for name, part in state.items() if name.startswith("entity")) >= 0
            grid.load(state)
    grid.forget(7)
    grid.add(
        *(
            np.full(entities, 9_000, kind) if kind is not np.int32 else np.arange(entities, dtype=kind)
            for kind in (np.int32, np.int32, np.int64, np.float64)
        )
    )
    found += closed(grid)

    wanted = {(e, t): time_ms[(entity == e) & (time_ms // 1000 == t)] for e in range(entities) for t in range(6)}
    assert {(e, t): values for e, t, values in found if e != 7} == {
        key: tuple(times.astype(float).tolist()) for key, times in wanted.items() if key[0] != 7 and len(times)
    }
