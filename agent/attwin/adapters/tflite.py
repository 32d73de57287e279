"""TFLite runtimes: found by running a small model, not by importing; and the scorer.

A runtime may import well and fail at its first model (tflite-runtime 2.14 with numpy 2), so each candidate has to
compute a known answer before it is chosen.
"""

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.tensor import Engine, Tensor
from attwin.adapters.tflite_c import CLibraryEngine, find_library
from attwin.core.errors import BundleError, ScorerError
from attwin.core.quantise import Quantisation

RUNTIMES = ("tflite-runtime", "ai-edge-litert", "c-library")
"""In the order in which they are tried."""

_MODULES = {"tflite-runtime": "tflite_runtime.interpreter", "ai-edge-litert": "ai_edge_litert.interpreter"}
_BATCHES = (512, 64, 8, 1)
_PROBE_MODEL = Path(__file__).parent.parent / "data" / "probe.tflite"
_PROBE_ROWS = np.array([[-128, -128], [0, 0], [127, 127], [-128, 127]], np.int8)
_PROBE_ANSWER = np.array([[35], [10], [116], [-120]], np.int8)
_PROBE_TOLERANCE = 1
_FAR_OUT = 0.05
"""Rounding takes an output no farther out of [0, 1]."""


class InterpreterEngine:
    """Implements ``Engine`` by the ``Interpreter`` of tflite-runtime or ai-edge-litert, one for each batch size."""

    def __init__(self, module: Any, model: bytes) -> None:  # noqa: ANN401 -- a module
        self._module = module
        self._model = model
        self._interpreters: dict[int, tuple[Any, int, int]] = {}
        interpreter, _, _ = self._interpreter(1)
        self.input = _tensor(interpreter.get_input_details())
        self.output = _tensor(interpreter.get_output_details())

    def run(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the output rows of a batch."""
        interpreter, given, made = self._interpreter(len(rows))
        interpreter.set_tensor(given, rows)
        interpreter.invoke()
        result: NDArray[Any] = interpreter.get_tensor(made)
        return result

    def _interpreter(self, batch: int) -> tuple[Any, int, int]:
        if batch not in self._interpreters:
            with _silenced_stderr():
                interpreter = self._module.Interpreter(model_content=self._model, num_threads=1)
                given = interpreter.get_input_details()[0]
                interpreter.resize_tensor_input(given["index"], [batch, *given["shape"][1:].tolist()])
                interpreter.allocate_tensors()
            made = interpreter.get_output_details()[0]
            self._interpreters[batch] = (interpreter, given["index"], made["index"])
        return self._interpreters[batch]


class TfliteScorer:
    """Implements ``ports.Scorer`` for a model with one output, int8 throughout or float32 at both ends."""

    def __init__(self, engine: Engine, runtime: str, *, inputs: int) -> None:
        """Bind an engine.

        Raises:
            BundleError: The model is not what a scorer can run.
        """
        given, made = engine.input, engine.output
        if (given.dtype, made.dtype) not in (("int8", "int8"), ("float32", "float32")):
            raise BundleError(
                f"a model of {given.dtype} to {made.dtype}; this agent runs int8 to int8 and float32 to float32"
            )
        if given.shape[1:] != (inputs,) or made.shape[1:] != (1,):
            raise BundleError(
                f"a model of {given.shape[1:]} inputs and {made.shape[1:]} outputs; "
                f"the manifest has ({inputs},) and (1,)"
            )
        self.runtime = runtime
        self._engine = engine

    @property
    def quantisation(self) -> tuple[Quantisation | None, Quantisation | None]:
        """Return how input and output are stored; None for float32."""
        return self._engine.input.quantisation, self._engine.output.quantisation

    def score(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one score in [0, 1] for each row of standardised inputs; NaN where a model says something far from it.

        Raises:
            ScorerError: The runtime fails.
        """
        try:
            made = self.outputs(inputs)
        except (RuntimeError, ValueError) as error:
            raise ScorerError(f"{self.runtime} fails: {str(error).splitlines()[0]}") from error
        made[(made < -_FAR_OUT) | (made > 1 + _FAR_OUT)] = np.nan
        return np.clip(made, 0.0, 1.0)

    def outputs(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the model makes of each row, which is outside of [0, 1] where it was not made to score."""
        given, made = self.quantisation
        stored = self._run(given.quantise(inputs) if given else inputs)
        return made.restore(stored) if made else stored

    def _run(self, rows: NDArray[Any]) -> NDArray[Any]:
        made = np.empty(len(rows), rows.dtype)
        start = 0
        while start < len(rows):
            left = len(rows) - start
            # few sizes, so that few interpreters are kept; the last batch is padded
            batch = _BATCHES[0] if left >= _BATCHES[0] else min(size for size in _BATCHES if size >= left)
            part = rows[start : start + batch]
            padded = (
                part
                if len(part) == batch
                else np.concatenate([part, np.zeros((batch - len(part), rows.shape[1]), rows.dtype)])
            )
            made[start : start + len(part)] = self._engine.run(padded)[: len(part), 0]
            start += len(part)
        return made


def load_engine(model: bytes, wanted: str = "") -> tuple[Engine, str]:
    """Return the model in the first runtime that works here, and that runtime's name and version.

    Args:
        model: The bytes of a .tflite file that has been verified.
        wanted: One of ``RUNTIMES``, where only that one will do; else what $ATTWIN_RUNTIME says, if anything.

    Raises:
        ScorerError: No runtime works; it says why not, for each.
        BundleError: A working runtime refuses the model.
    """
    wanted = wanted or os.environ.get("ATTWIN_RUNTIME", "")
    if wanted and wanted not in RUNTIMES:
        raise ScorerError(f"no runtime is called `{wanted}`; known: {', '.join(RUNTIMES)}")
    refusals = []
    for name in [wanted] if wanted else RUNTIMES:
        try:
            version = probe(name)
        except ScorerError as error:
            refusals.append(f"{name}: {error}")
            continue
        try:
            return _engine(name, model), f"{name} {version}"
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{name} {version} refuses the model: {str(error).splitlines()[0]}") from error
    raise ScorerError("no TFLite runtime works here. " + "; ".join(refusals))


def chosen_runtime() -> str:
    """Return name and version of the runtime that models run in here.

    Raises:
        ScorerError: None works.
    """
    return load_engine(_PROBE_MODEL.read_bytes())[1]


def probe(name: str) -> str:
    """Return the version of a runtime after it has computed a known answer.

    Raises:
        ScorerError: It is not installed, fails, or computes something else.
    """
    try:
        answer = _engine(name, _PROBE_MODEL.read_bytes()).run(_PROBE_ROWS)
    except (ImportError, OSError) as error:
        raise ScorerError(f"not installed ({error})") from error
    except (AttributeError, ValueError, RuntimeError, TypeError) as error:
        raise ScorerError(f"fails at a small model: {type(error).__name__}: {str(error).splitlines()[0]}") from error
    if np.abs(answer.astype(int) - _PROBE_ANSWER).max() > _PROBE_TOLERANCE:
        raise ScorerError(f"computes {answer.ravel().tolist()} where {_PROBE_ANSWER.ravel().tolist()} is right")
    if name == "c-library":
        return find_library().version
    # its package's metadata would say the same, for a megabyte of parsers of mail
    return str(importlib.import_module(_MODULES[name].partition(".")[0]).__version__)


def _engine(name: str, model: bytes) -> Engine:
    if name == "c-library":
        return CLibraryEngine(find_library(), model)
    return InterpreterEngine(importlib.import_module(_MODULES[name]), model)


def _tensor(details: list[dict[str, Any]]) -> Tensor:
    only = details[0]
    scale, zero_point = only["quantization"]
    dtype = np.dtype(only["dtype"]).name
    return Tensor(
        shape=tuple(only["shape"].tolist()),
        dtype=dtype,
        quantisation=Quantisation(scale=float(scale), zero_point=int(zero_point)) if dtype == "int8" else None,
    )


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Keep a runtime's greeting out of the log: it writes to descriptor 2 from C."""
    keep, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)
        os.close(nothing)
