"""Facts about what is told of many entities in few messages."""

import numpy as np

from attwin.core.catalogue import Catalogue, Kind, Metric
from attwin.core.outgoing import Draft
from attwin.core.types import readings
from attwin.runtime.aggregate import AggregatePublisher
from attwin.runtime.alerts import AlertBook
from attwin.runtime.twin import Twin

MINUTE_MS = 60_000
KIND = Kind(
    name="room",
    metrics=(Metric(name="co2", unit="ppm", low=0.0, high=1_000.0), Metric(name="light", unit="lx")),
    windows_ms=(),
    step_ms=1_000,
    lateness_ms=0,
)


def a_publisher(entities: int = 3, *, full: int = 10, largest: int = 64_000) -> AggregatePublisher:
    """Return one that tells co2, with a band of 50 ppm."""
    catalogue = Catalogue([KIND], most_entities=entities)
    for number in range(entities):
        catalogue.add(f"e{number}", 0)
    return AggregatePublisher(
        Twin(catalogue, {}, [], most_ahead_ms=1_000),
        base="attwin/g",
        every_ms=MINUTE_MS,
        metrics=["co2"],
        change=0.05,
        full=full,
        largest_bytes=largest,
        now_ms=0,
    )


def tell(publisher: AggregatePublisher, minute: int, *values: float, first: int = 0) -> list[Draft]:
    """Let every entity have a value in a minute, in which another metric has one too; return what is told after it."""
    count = len(values)
    series = np.arange(2 * first, 2 * (first + count), dtype=np.int32)
    times = np.full(2 * count, minute * MINUTE_MS + 5, np.int64)
    publisher.note_readings(readings(series, times, np.repeat(np.array(values, np.float64), 2)))
    # a quiet interval ends with the call after the next
    publisher.due(publisher._next_ms)
    return publisher.due(publisher._next_ms)


def bodies(drafts: list[Draft]) -> list[dict[str, object]]:
    """Return what messages say."""
    return [draft.body for draft in drafts if draft.body]


def test_an_interval_is_told_as_columns() -> None:
    """Chosen metrics alone, each entity once, numbers short."""
    (body,) = bodies(tell(a_publisher(), 7, 400.0, 512.123456, 600.0))

    assert body["entity"] == ["e0", "e1", "e2"]
    assert body["from_ms"] == 7 * MINUTE_MS
    assert body["co2"] == {
        "count": [1, 1, 1],
        "mean": [400, 512.12, 600],
        "min": [400, 512.12, 600],
        "max": [400, 512.12, 600],
    }
    assert "light" not in body
    assert "attention" not in body


def test_who_has_hardly_moved_is_left_out_until_all_are_told() -> None:
    """By the band of the metric's range; a full report bounds what a receiver may not know."""
    publisher = a_publisher(full=9)
    told = [tell(publisher, minute, 400.0, 400.0, 400.0 + 100.0 * (minute == 1)) for minute in range(5)]

    names = [[name for body in bodies(drafts) for name in body["entity"]] for drafts in told]  # type: ignore[attr-defined] # a list
    assert names[0] == ["e0", "e1", "e2"]
    assert names[1:3] == [["e2"], ["e2"]]
    # two calls an interval: the tenth tells all
    assert names[3:] == [[], ["e0", "e1", "e2"]]


def test_a_message_is_no_larger_than_the_outbox_takes() -> None:
    """Many entities become several messages."""
    drafts = tell(a_publisher(100, largest=4_000), 0, *range(100))

    sizes = [len(draft.payload("gateway:store:aggregates:12345")) for draft in drafts]
    assert max(sizes) <= 4_000
    assert sum(len(body["entity"]) for body in bodies(drafts)) == 100  # type: ignore[arg-type, misc] # lists


def test_alerts_that_began_are_counted() -> None:
    """Where their own lane dropped them, the count still tells."""
    publisher = a_publisher()
    book = AlertBook([], Catalogue([KIND], most_entities=1), [], next_alert=1)
    began = book.raise_own("r", "e1", "co2", value=1.0, now_ms=1)
    publisher.note_alerts([began, book.end(began.after, now_ms=2)])

    assert bodies(publisher.due(MINUTE_MS)) == [{"every_ms": MINUTE_MS, "alerts": {"e1": 1}}]
    assert publisher.due(2 * MINUTE_MS) == []


def test_nothing_is_told_before_its_time_and_all_of_it_at_the_end() -> None:
    """A stop does not lose the running interval."""
    publisher = a_publisher()
    publisher.note_readings(readings(np.array([0], np.int32), np.array([5], np.int64), np.array([400.0], np.float64)))

    assert publisher.due(MINUTE_MS - 1) == []
    (body,) = bodies(publisher.due(1, at_end=True))
    assert body["entity"] == ["e0"]
