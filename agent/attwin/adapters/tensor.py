"""What every TFLite runtime says about a model."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from attwin.core.quantise import Quantisation


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A model's input or output."""

    shape: tuple[int, ...]
    dtype: str
    quantisation: Quantisation


class Engine(Protocol):
    """One model in one runtime."""

    input: Tensor
    output: Tensor

    def run(self, rows: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return the output rows of a batch; how many rows it has may differ from call to call."""
        ...
