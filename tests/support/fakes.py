"""Fakes that keep the promises of the ports."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attwin.core.answers import LOST
from attwin.core.catalogue import Catalogue
from attwin.core.clock_trust import Jump
from attwin.core.outgoing import OutgoingMessage
from attwin.core.reactions import Reaction
from attwin.ports import AlertChange, Answer, Commit, Doing, DriftDay, ForecastRow, KeptReject, Loss, Messages
from attwin.runtime.foresight import Foresight
from attwin.runtime.reactions import Reactions
from attwin.runtime.rules import RuleBoard


class FakeClock:
    """A clock that a test turns."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.wall_ms = now_ms
        self.ticks_ms = 0
        self.problem = ""
        self.jump: Jump | None = None

    @property
    def is_trusted(self) -> bool:
        """Whether there is no problem."""
        return not self.problem

    @property
    def offset_ms(self) -> int:
        """Return the difference of the two clocks."""
        return self.wall_ms - self.ticks_ms

    def check(self) -> Jump | None:
        """Return the jump that a test has set, once."""
        jump, self.jump = self.jump, None
        return jump

    def now_ms(self) -> int:
        """Return the wall clock."""
        return self.wall_ms

    def monotonic_ms(self) -> int:
        """Return the monotonic clock."""
        return self.ticks_ms

    def monotonic_us(self) -> int:
        """Return the same, finer."""
        return 1000 * self.ticks_ms

    def pass_ms(self, duration_ms: int) -> None:
        """Let time pass on both clocks."""
        self.wall_ms += duration_ms
        self.ticks_ms += duration_ms


class MeanScorer:
    """Scores a row by the sigmoid of the mean of its inputs, far from saturation."""

    runtime = "fake"

    def __init__(self) -> None:
        self.calls = 0

    def score(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one score a row."""
        self.calls += 1
        score: NDArray[np.float32] = (1 / (1 + np.exp(-inputs.mean(axis=1, dtype=np.float64) / 4))).astype(np.float32)
        return score


class FakeLink:
    """A link without a socket."""

    def __init__(self, *, up: bool = True) -> None:
        self.up = up

    def fileno(self) -> int | None:
        """Return that there is no socket."""
        return None

    def wants_read(self) -> bool:
        """Return that there is room."""
        return True

    def wants_write(self) -> bool:
        """Return that nothing waits."""
        return False

    def on_readable(self) -> None:
        """Do nothing."""

    def on_writable(self) -> None:
        """Do nothing."""

    def tick(self) -> None:
        """Do nothing."""

    def is_up(self) -> bool:
        """Return what the test has set."""
        return self.up

    def problem(self) -> str:
        """Return why the link is down."""
        return "" if self.up else "away"

    def close(self) -> None:
        """Go down."""
        self.up = False


class FakeSensors(FakeLink):
    """Sensors whose messages a test queues."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self.replies: list[tuple[str, bytes]] = []
        self.number = 1
        self._told: list[int] = []
        self._messages: list[Messages] = []

    def arrive(self, topic: str, payload: bytes, *, packet_id: int = 1, flags: int = 0x32) -> None:
        """Let a message arrive."""
        if not self._messages or self._messages[-1].connection != self.number:
            self._messages.append(Messages(connection=self.number))
        self._messages[-1].add(topic.encode(), payload, length=len(payload), flags=flags, packet_id=packet_id)

    def take(self) -> Messages:
        """Return what arrived over the oldest connection."""
        return self._messages.pop(0)

    def waiting(self) -> int:
        """Return how much arrived."""
        return sum(map(len, self._messages))

    def acknowledge(self, packet_ids: Sequence[int], connection: int) -> None:
        """Note acknowledgements of the current connection."""
        if connection == self.number:
            self.acknowledged += packet_ids

    def reply(self, topic: str, payload: bytes) -> None:
        """Note a reply."""
        self.replies.append((topic, payload))

    def tell(self, number: int, topic: str, payload: bytes, retain: bool) -> bool:  # noqa: FBT001 -- the port's
        """Note what is told; the broker has it at once."""
        del retain
        if self.up:
            self.replies.append((topic, payload))
            self._told.append(number)
        return self.up

    def take_told(self) -> list[int]:
        """Return the numbers of what was told."""
        told, self._told = self._told, []
        return told


class FakeUplink(FakeLink):
    """An upstream that answers when a test says so."""

    def __init__(self, *, up: bool = True, window: int = 20, largest: int | None = None) -> None:
        super().__init__(up=up)
        self.sent: list[OutgoingMessage] = []
        self.open: list[OutgoingMessage] = []
        self.told: list[tuple[str, bytes]] = []
        self.held: list[bool] = []
        self.info: dict[str, object] = {}
        self._asked = Messages()
        self._window = window
        self._largest = largest
        self._answers: list[Answer] = []
        self._losses: list[Loss] = []

    def free_places(self) -> int:
        """Return the room in the window."""
        return self._window - len(self.open) if self.up else 0

    def window(self) -> int:
        """Return what the test has set."""
        return self._window

    def largest_bytes(self) -> int | None:
        """Return what the test has set."""
        return self._largest

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        """Note messages as in flight."""
        self.sent += messages
        self.open += messages

    def answer(self, code: int = 0, count: int | None = None) -> None:
        """Let upstream answer the oldest messages in flight, all of them unless told."""
        answered, self.open = self.open[:count], self.open[len(self.open[:count]) :]
        self._answers += [Answer(message, code) for message in answered]

    def lose(self, code: int = LOST) -> None:
        """Let the connection end, and come back at once."""
        self._losses.append(Loss(len(self.open), code))
        self.answer(LOST)

    def tell(self, topic: str, payload: bytes) -> None:
        """Note what is told without the outbox."""
        self.told.append((topic, payload))

    def ask(self, topic: str, payload: bytes, *, flags: int = 0x32) -> None:
        """Let somebody ask for something."""
        self._asked.add(topic.encode(), payload, length=len(payload), flags=flags, packet_id=1)

    def take_requests(self) -> Messages:
        """Return what was asked."""
        taken, self._asked = self._asked, Messages()
        return taken

    def describe(self, info: Mapping[str, object]) -> None:
        """Note what the gateway says of itself."""
        self.info = dict(info)

    def take_answers(self) -> list[Answer]:
        """Return what was answered."""
        taken, self._answers = self._answers, []
        return taken

    def take_losses(self) -> list[Loss]:
        """Return what was lost."""
        taken, self._losses = self._losses, []
        return taken

    def hold(self, *, closed: bool) -> None:
        """Note it."""
        self.held.append(closed)
        self.up = not closed


class FakeStore:
    """A store that keeps commits in a list, and may refuse them."""

    store_id = "fake"

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.snapshots = 0
        self.mended: list[int] = []
        self.ring: list[KeptReject] = []
        self.unreadable: Exception | None = None
        self.refusal: Exception | None = None
        self.outbox_refusal: Exception | None = None
        self.closed = False

    def commit(self, commit: Commit) -> None:
        """Keep a commit, or refuse it."""
        if self.refusal:
            raise self.refusal
        self.commits.append(commit)

    def load_rejects(self, numbers: Sequence[int]) -> list[KeptReject]:
        """Return what a test has put into the ring."""
        if self.unreadable:
            raise self.unreadable
        messages = {reject.message for reject in self.ring if reject.number in numbers}
        return [reject for reject in self.ring if reject.message in messages]

    def take_outgoing(self, lane: str, limit: int, most_bytes: int) -> list[OutgoingMessage]:
        """Return that nothing waits."""
        del lane, limit, most_bytes
        return []

    def give_back_outgoing(self, messages: Sequence[OutgoingMessage]) -> None:
        """Do nothing."""

    def unsent_outgoing(self, lane: str) -> int:
        """Return that nothing waits, or refuse."""
        del lane
        if self.outbox_refusal:
            raise self.outbox_refusal
        return 0

    def save_foresight(
        self, arrays: Mapping[str, NDArray[np.generic]], rows: Sequence[ForecastRow], *, now_ms: int
    ) -> None:
        """Keep nothing."""

    def next_reaction(self, name: str, after: int) -> Doing | None:
        """Return that there is none."""
        del name, after

    def in_flight_outgoing(self) -> dict[str, int]:
        """Return that nothing is on its way."""
        return {}

    def has_urgent_outgoing(self) -> bool:
        """Return that nothing waits."""
        return False

    def park_outgoing(self, lane: str, sequence: int, *, now_ms: int) -> str:
        """Return that nothing waits."""
        del lane, sequence, now_ms
        return "gone"

    def retry_outgoing(self, lane: str, sequence: int) -> bool:
        """Return that nothing was set aside."""
        del lane, sequence
        return False

    def waiting_outgoing(self) -> int:
        """Return that nothing waits."""
        return 0

    def save_snapshot(
        self,
        arrays: Mapping[str, NDArray[np.generic]],
        *,
        now_ms: int,
        missing_names: Callable[[int], str],
        drift: Sequence[DriftDay] = (),
    ) -> None:
        """Count a snapshot."""
        del arrays, now_ms, missing_names, drift
        self.snapshots += 1

    def forget_entity(self, key: int, *, now_ms: int) -> None:
        """Do nothing."""

    def probe(self) -> None:
        """Refuse as a commit would."""
        if self.refusal:
            raise self.refusal

    def upkeep(self, *, now_ms: int, times_are_final: bool) -> bool:
        """Return that there is nothing to do."""
        del now_ms, times_are_final
        return False

    def mend_times(self, offset_ms: int, *, now_ms: int) -> None:
        """Note it."""
        del now_ms
        self.mended.append(offset_ms)

    def close(self) -> None:
        """Note it."""
        self.closed = True


class FakeAlertLog:
    """Counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.reserved: list[AlertChange] = []

    def catch_up(self) -> None:
        """Count a call."""
        self.calls += 1

    def reserve(self, changes: Sequence[AlertChange]) -> None:
        """Note alerts that the store cannot keep."""
        self.reserved += changes

    def release(self) -> None:
        """Forget them."""
        self.reserved = []


class FakeReactor:
    """A reactor that does what a test says.

    Attributes:
        started: (reaction, number) of what was begun.
        done: What ``take_done`` returns next.
        able: Whether anything can be begun.
    """

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.done: list[tuple[int, str]] = []
        self.able = True

    def start(self, reaction: Reaction, doing: Doing) -> bool:
        """Note it."""
        if self.able:
            self.started.append((reaction.name, doing.number))
        return self.able

    def take_done(self) -> list[tuple[int, str]]:
        """Return what a test has set, once."""
        done, self.done = self.done, []
        return done


def no_reactions() -> Reactions:
    """Return a stage without reactions, which asks for nothing."""
    return Reactions([], FakeStore(), FakeReactor(), FakeClock())


def no_foresight() -> Foresight:
    """Return a stage that looks at nothing."""
    catalogue = Catalogue([], most_entities=1)
    return Foresight([], catalogue, RuleBoard([], catalogue), lambda _time_s: 0)
