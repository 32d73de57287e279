"""The affine int8 of TFLite: real = scale * (stored - zero point)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LOW, _HIGH = -128, 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """How a tensor of int8 stands for real numbers.

    Attributes:
        scale: One quantum.
        zero_point: What stands for 0.0.

    Source: TensorFlow Lite 8-bit quantisation specification.
    """

    scale: float
    zero_point: int

    def quantise(self, real: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return the nearest int8 of each number; numbers outside the range saturate."""
        stored = np.rint(real / np.float32(self.scale)) + self.zero_point
        clipped: NDArray[np.int8] = np.clip(stored, _LOW, _HIGH).astype(np.int8)
        return clipped

    def restore(self, stored: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return the real numbers that ``stored`` stands for."""
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)
