"""The deliver stage: outbox in, messages in flight; what upstream answered, to be taken out of the outbox.

At least once: a message in flight at a crash is sent again with the same id and a mark, so a receiver ignores an id it
has seen.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from attwin.core.answers import LOST, Outcome, Pause, Suspicion, Verdict, judge
from attwin.core.lanes import LARGEST_BYTES, ParkReason
from attwin.core.outgoing import ALERTS, LANES, OutgoingMessage
from attwin.core.pace import Limit, Schedule
from attwin.ports import Answer, Clock, Store, UpLink

_LOW_BYTES = 65_536
"""What of all lanes but alerts may be in flight: an alert waits behind it, a second on a line of 500 kbit/s."""
_QUIET_MS = 2_000
"""How long a metered link stays open after everything has left: for answers, and what follows from them."""

log = logging.getLogger("attwin")


@dataclass(slots=True)
class Settled:
    """What is to be taken out of the outbox by the next commit.

    Attributes:
        delivered: What upstream has.
        parked: What it will never take, and why.
    """

    delivered: list[OutgoingMessage] = field(default_factory=list)
    parked: list[tuple[OutgoingMessage, str]] = field(default_factory=list)


class Delivery:
    """Decides what is sent when.

    Lanes leave in their order. Alerts may fill the window; the others leave a quarter of it free, and are few in bytes,
    so that an alert never waits long behind them.
    """

    def __init__(
        self,
        store: Store,
        uplink: UpLink,
        clock: Clock,
        *,
        bytes_per_s: int = 0,
        largest_bytes: int = LARGEST_BYTES,
        schedule: Schedule | None = None,
        local_ms: Callable[[int], int] = int,
    ) -> None:
        """Make the stage.

        Args:
            store: Holds what waits.
            uplink: Where it goes.
            clock: For pauses and the schedule.
            bytes_per_s: How fast it may leave; 0 for no limit.
            largest_bytes: Of messages.
            schedule: When the link is open; None for always.
            local_ms: Returns what clocks of the site show at a time.
        """
        now = clock.monotonic_ms()
        self._store, self._uplink, self._clock = store, uplink, clock
        self._limit = Limit(bytes_per_s, largest_bytes, now)
        self._schedule, self._local_ms = schedule, local_ms
        self._pauses = {lane: Pause() for lane in LANES}
        self._suspicion = Suspicion()
        self._low_bytes = 0
        self._started_ms = self._busy_ms = now

    def step(self) -> Settled:
        """Return what upstream has answered since the last call, and fill the window again. Never blocks.

        Raises:
            StoreError: The outbox cannot be read for now.
        """
        settled = Settled()
        answers = self._uplink.take_answers()
        if answers:
            self._settle(answers, settled)
        free = self._uplink.free_places()
        if free:
            self._fill(free, settled)
        return settled

    def tick(self) -> None:
        """Open or close a metered link."""
        if self._schedule is None:
            return
        now = self._clock.monotonic_ms()
        waits = self._store.waiting_outgoing()
        if waits:
            self._busy_ms = now
        urgent = self._schedule.urgent and self._store.has_urgent_outgoing()
        local_ms = self._local_ms(self._clock.now_ms()) if self._clock.is_trusted else None
        is_due = self._schedule.is_open(now - self._started_ms, local_ms)
        has_work = now - self._busy_ms < _QUIET_MS
        self._uplink.hold(closed=not (urgent or (is_due and has_work)))

    def pauses(self) -> dict[str, str]:
        """Return the lanes that wait because of what the broker said, and what that was."""
        return {lane: pause.reason for lane, pause in self._pauses.items() if pause.reason}

    def _settle(self, answers: list[Answer], settled: Settled) -> None:
        """Do what answers mean."""
        now = self._clock.monotonic_ms()
        parked = self._blamed()
        back = []
        for answer in answers:
            message = answer.message
            if message.lane != ALERTS:
                self._low_bytes -= message.size
            verdict = judge(answer.code, retain=message.retain)
            if message.notice and verdict.outcome is Outcome.PARKED:
                # the announcement of an announcement that was refused would be refused too
                verdict = Verdict(Outcome.LATER, f"it refuses {message.topic}: {verdict.reason}")
            if verdict.outcome is not Outcome.AGAIN:
                self._suspicion.answered()
            if verdict.outcome is Outcome.DELIVERED:
                settled.delivered.append(message)
                if self._pauses[message.lane].reason:
                    self._pauses[message.lane].end()
            elif verdict.outcome is Outcome.PARKED or (parked and answer.code == LOST):
                self._park(message, verdict.reason or parked, settled)
            else:
                back.append(message)
                if verdict.outcome is Outcome.LATER:
                    self._pauses[message.lane].begin(now, verdict.reason)
        if back:
            self._store.give_back_outgoing(back)

    def _blamed(self) -> str:
        """Return why the one message is parked with which connections have ended; empty for none."""
        reason = ""
        for loss in self._uplink.take_losses():
            reason = self._suspicion.lost(loss.in_flight, loss.code)
        return reason

    def _park(self, message: OutgoingMessage, reason: str, settled: Settled) -> None:
        log.error("lane=%s topic=%r state=parked reason=%s", message.lane, message.topic[:80], reason)
        settled.parked.append((message, reason))

    def _fill(self, free: int, settled: Settled) -> None:
        """Send what waits, in the order of the lanes."""
        now = self._clock.monotonic_ms()
        window = self._uplink.window()
        if self._suspicion.alone:
            window, free = 1, free - (window - 1)
        low = free - window // 4
        for lane in LANES:
            places = free if lane == ALERTS else low
            if places <= 0 or not self._store.unsent_outgoing(lane) or now < self._pauses[lane].until_ms:
                continue
            sent = self._send(lane, places, now, settled)
            free -= sent
            low -= sent

    def _send(self, lane: str, places: int, now: int, settled: Settled) -> int:
        """Send messages of a lane; return how many."""
        room = self._limit.room(now)
        # an alert is not put off by a limit, but what it takes is
        if lane == ALERTS:
            most = _LOW_BYTES
        elif self._low_bytes and self._low_bytes >= _LOW_BYTES:
            return 0
        else:
            most = _LOW_BYTES - self._low_bytes
            if room is not None:
                if room <= 0:
                    return 0
                most = min(most, room)
        found = self._store.take_outgoing(lane, places, most)
        largest = self._uplink.largest_bytes()
        if largest is not None:
            for message in [message for message in found if message.size > largest]:
                self._park(message, ParkReason.TOO_LARGE, settled)
            found = [message for message in found if message.size <= largest]
        if found:
            size = sum(message.size for message in found)
            self._limit.spend(size)
            if lane != ALERTS:
                self._low_bytes += size
            self._uplink.send(found)
        return len(found)
