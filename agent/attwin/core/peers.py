"""How far an entity is from others of its sort."""

import numpy as np
from numpy.typing import NDArray

LEAST_PEERS = 5
"""With fewer, nobody can say which of them is the odd one."""
_SIGMA_BY_MEDIAN = 1.4826
_SIGMA_BY_MEAN = 1.2533


def distances(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the robust distance of each value from the middle of all of them.

    It is 0 in the middle; where values scatter normally, 3 is as far as three standard deviations, and few odd ones
    do not change what the others are compared with.

    Args:
        value: NaN where nothing is known. Shape (N,).

    Returns:
        Shape (N,) [1]. NaN where nothing is known, and everywhere where fewer than ``LEAST_PEERS`` are known.

    Source:
        Iglewicz and Hoaglin 1993, the modified z-score by the median absolute deviation; by the mean absolute
        deviation where more than half of the values are equal, so that the median one is 0.
    """
    known = ~np.isnan(value)
    if known.sum() < LEAST_PEERS:
        return np.full(len(value), np.nan)
    apart = np.abs(value - np.median(value[known]))
    scale = _SIGMA_BY_MEDIAN * np.median(apart[known])
    if not scale:
        scale = _SIGMA_BY_MEAN * apart[known].mean()
    return np.where(known, apart / scale if scale else 0.0, np.nan)
