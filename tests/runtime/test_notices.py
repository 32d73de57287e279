"""Facts about what the agent says in its log."""

import pytest

from attwin.runtime.notices import Notices
from support.fakes import FakeClock


def test_messages_without_a_reading_are_said_once_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    """With their source and the topic of one; the next line counts those in between. Another source has its own."""
    clock = FakeClock(0)
    notices = Notices(clock)

    for topic in ("s/a", "s/b", "s/c"):
        notices.empty([("s/{entity}", topic, 2)])
    notices.empty([("z/{entity}", "z/a", 1)])
    clock.pass_ms(10_000)
    notices.empty([("s/{entity}", "s/d", 1)])

    said = [record.getMessage().partition(" detail")[0] for record in caplog.records]
    assert said == [
        "empty=2 source='s/{entity}' topic='s/a'",
        "empty=1 source='z/{entity}' topic='z/a'",
        "empty=5 source='s/{entity}' topic='s/d'",
    ]
