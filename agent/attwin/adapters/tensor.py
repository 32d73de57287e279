"""What every TFLite runtime says about a model."""

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from attwin.core.quantise import Quantisation


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A model's input or output; ``quantisation`` is None where ``dtype`` is not int8."""

    shape: tuple[int, ...]
    dtype: str
    quantisation: Quantisation | None


class Engine(Protocol):
    """One model in one runtime."""

    input: Tensor
    output: Tensor

    def run(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the output rows of a batch; how many rows it has may differ from call to call."""
        ...
