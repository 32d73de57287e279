"""Which time a gateway may believe, when it has no clock that runs without power.

Time is the monotonic clock plus an offset. The offset follows the wall clock while that moves as clocks do; a jump is
believed only where something confirms it. So a gateway that boots in 1970, or whose clock is set to 2082, keeps its
time, and what it stored is put right when the truth comes.
"""

from dataclasses import dataclass

FOLLOW_MS = 2_000
"""Smaller differences are the wall clock's own business."""
BELIEVE_MS = 3_600_000
"""Smaller jumps are believed unconfirmed."""
FIRST_DAY_MS = 1_704_067_200_000
"""2024-01-01: this program did not exist before."""
_LONGEST_OFF_MS = 10 * 365 * 86_400_000


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump of the wall clock that was found out.

    Attributes:
        shift_ms: What was added to the believed time; 0 where the jump is not believed.
        problem: Why the clock is not trusted now, empty where it is.
    """

    shift_ms: int
    problem: str


class ClockTrust:
    """Decides which offset to believe.

    Attributes:
        offset_ms: The believed time less the monotonic clock.
        problem: Why the clock is not trusted, empty while it is.
    """

    def __init__(self, floor_ms: int, wall_ms: int, monotonic_ms: int, *, synchronised: bool) -> None:
        """Begin.

        Args:
            floor_ms: A time that has certainly passed, for example that of the newest reading in the store.
            wall_ms: The wall clock.
            monotonic_ms: A clock that never jumps.
            synchronised: Whether the system says that its clock is.
        """
        self._floor_ms = max(floor_ms, FIRST_DAY_MS)
        self._was_synchronised = synchronised
        # what NTP says is right even where an earlier mistake is stored
        least_ms = FIRST_DAY_MS if synchronised else self._floor_ms
        self._below_floor = wall_ms < least_ms
        self.offset_ms = max(wall_ms, least_ms) - monotonic_ms
        self.problem = "the clock is behind what is stored already; was it set?" if self._below_floor else ""

    def observe(self, wall_ms: int, monotonic_ms: int, *, synchronised: bool) -> Jump | None:
        """Compare the clocks; None where there is nothing to say."""
        jump_ms = wall_ms - monotonic_ms - self.offset_ms
        # a clock that NTP holds does not jump: only the moment at which it takes hold confirms one
        confirmed = synchronised and not self._was_synchronised
        self._was_synchronised = synchronised
        if abs(jump_ms) <= FOLLOW_MS:
            self.offset_ms += jump_ms
            return self._trusted(0) if self.problem else None
        if self._below_floor:
            was_set = self._floor_ms <= wall_ms < self._floor_ms + _LONGEST_OFF_MS
        else:
            was_set = abs(jump_ms) <= BELIEVE_MS
        if was_set or (confirmed and wall_ms >= FIRST_DAY_MS):
            self.offset_ms += jump_ms
            return self._trusted(jump_ms)
        if self.problem:
            return None
        self.problem = f"the clock jumped by {jump_ms / 86_400_000:+.1f} days; restart the agent if that is right"
        return Jump(0, self.problem)

    def _trusted(self, shift_ms: int) -> Jump:
        self.problem, self._below_floor = "", False
        return Jump(shift_ms, "")
