"""Facts about the sums."""

import pytest

from attwin.core.audit import STATE, STORE, UPSTREAM, sums_of


def test_what_is_taken_again_stands_beside_what_was_received() -> None:
    """So what was received can be compared with what the broker sent, and the sum holds."""
    counters = [("s", "messages_received", "", 2), ("s", "messages_replayed", "", 1)]
    counters += [("s", "messages_decoded", "", 2), ("s", "messages_rejected", "late", 1)]

    found = sums_of(counters, held=0, waiting=0, parked=0)[0]

    assert (found.total, found.again, found.difference) == (2, 1, 0)
    assert found.parts == {"decoded": 2, "rejected(late)": 1}


@pytest.mark.parametrize("topic", [STATE, STORE, UPSTREAM, "none"])
def test_a_source_may_be_called_as_the_agents_own_counters_are(topic: str) -> None:
    """Its readings are told from what became of stored ones, of messages upstream and of rows of the state."""
    of_source = [
        (topic, "messages_received", "", 7),
        (topic, "messages_empty", "no_reading", 2),
        (topic, "messages_decoded", "", 4),
        (topic, "messages_rejected", "bad_json", 1),
        (topic, "readings_decoded", "", 4),
        (topic, "readings_stored", "", 3),
        (topic, "readings_stored", "ahead", 1),
    ]
    own = [(STORE, "expired", "", 1), (UPSTREAM, "queued", "rest", 3), (UPSTREAM, "delivered", "rest", 2)]

    found = sums_of([*of_source, *own, (STATE, "state_rows_damaged", "", 1)], held=3, waiting=1, parked=0)

    assert [(s.source, s.total, s.parts) for s in found] == [
        (topic, 7, {"empty(no_reading)": 2, "decoded": 4, "rejected(bad_json)": 1}),
        (topic, 4, {"stored": 4}),
        (STORE, 4, {"in the journal": 3, "expired": 1}),
        (UPSTREAM, 3, {"waiting": 1, "delivered": 2}),
    ]
    assert [s.difference for s in found] == [0] * 4
