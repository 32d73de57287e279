"""The time of day and of the week as inputs of a model, in the local time of its training data.

What a zone's offset is comes as a function: the rules of time zones are the machine's.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from attwin.core.local_time import MS_PER_DAY, LocalTime, OffsetOf

_DAYS_A_WEEK = 7
_SATURDAY = 5
_MONDAY_OF_EPOCH = 3
"""1970-01-01 was a Thursday, so day 0 is the fourth of its week."""

Compute = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Returns a feature of local times [ms]. Shape (N,)."""


class ClockFeatures:
    """Computes features of the clock."""

    def __init__(self, names: Sequence[str], offset_s: OffsetOf) -> None:
        """Make it.

        Args:
            names: Of ``CLOCK``.
            offset_s: Of the zone whose time it is.
        """
        self._compute = [CLOCK[name] for name in names]
        self._local = LocalTime(offset_s)

    def at(self, time_ms: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features at each time. Shape (R, C)."""
        if len(time_ms) > 1 and (time_ms == time_ms[0]).all():
            # a round scores many entities at one time
            return np.repeat(self.at(time_ms[:1]), len(time_ms), axis=0)
        out = np.empty((len(time_ms), len(self._compute)), np.float32)
        local_ms = self._local.local_ms(time_ms)
        for column, compute in enumerate(self._compute):
            out[:, column] = compute(local_ms)
        return out


def _weekday(local_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0 for Monday to 6 for Sunday."""
    return (local_ms // MS_PER_DAY + _MONDAY_OF_EPOCH) % _DAYS_A_WEEK


def _week_angle(local_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    return _weekday(local_ms).astype(np.float64) * (2 * np.pi / _DAYS_A_WEEK)


def _weekend(local_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    return (_weekday(local_ms) >= _SATURDAY).astype(np.float64)


def _hour(wave: np.ufunc, times: int) -> Compute:
    """Return what gives a wave that goes round some times a day."""
    return lambda local_ms: wave((local_ms % MS_PER_DAY) * (times * 2 * np.pi / MS_PER_DAY))


CLOCK: dict[str, Compute] = {
    "hour_sin": _hour(np.sin, 1),
    "hour_cos": _hour(np.cos, 1),
    "hour_sin_2": _hour(np.sin, 2),
    "hour_cos_2": _hour(np.cos, 2),
    "hour_sin_3": _hour(np.sin, 3),
    "hour_cos_3": _hour(np.cos, 3),
    "weekday_sin": lambda local_ms: np.sin(_week_angle(local_ms)),
    "weekday_cos": lambda local_ms: np.cos(_week_angle(local_ms)),
    "weekend": _weekend,
}
"""What a clock says, between -1 and 1: the time of day as an angle, to the millisecond, and twice and three times that
angle, by which a linear model tells office hours from mornings (a Fourier series: Hyndman and Athanasopoulos 2021,
section 7.4); the day of the week as an angle, which stands still from midnight to midnight; 1 at the weekend."""
