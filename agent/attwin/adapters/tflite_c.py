"""The TFLite C library by ctypes, for machines that have no Interpreter package (32-bit ARM with a new Python)."""

import ctypes
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attwin.adapters.tensor import Tensor
from attwin.core.quantise import Quantisation

_OK = 0
_TYPES = {1: "float32", 3: "uint8", 9: "int8"}
"""TfLiteType. Source: tensorflow/lite/core/c/c_api_types.h."""


class _QuantisationParams(ctypes.Structure):
    _fields_ = (("scale", ctypes.c_float), ("zero_point", ctypes.c_int32))


@dataclass(frozen=True, slots=True, kw_only=True)
class CLibrary:
    """A loaded ``libtensorflowlite_c.so``."""

    functions: ctypes.CDLL
    version: str


def find_library() -> CLibrary:
    """Return the library that $ATTWIN_TFLITE_C names, or the one that the package pymicro-wakeword carries.

    Raises:
        OSError: There is none, or it cannot be loaded.
    """
    path = os.environ.get("ATTWIN_TFLITE_C", "")
    if not path:
        carrier = importlib.util.find_spec("pymicro_wakeword")
        folders = (carrier.submodule_search_locations or []) if carrier else []
        found = [p for folder in folders for p in sorted(Path(folder).rglob("libtensorflowlite_c*.so"))]
        if not found:
            raise OSError("no libtensorflowlite_c.so: set ATTWIN_TFLITE_C to one")
        path = str(found[0])
    functions = ctypes.CDLL(path)
    for name in (
        "TfLiteVersion",
        "TfLiteModelCreate",
        "TfLiteInterpreterOptionsCreate",
        "TfLiteInterpreterCreate",
    ):
        getattr(functions, name).restype = ctypes.c_void_p
    for name in ("TfLiteInterpreterGetInputTensor", "TfLiteInterpreterGetOutputTensor"):
        getattr(functions, name).restype = ctypes.c_void_p
    functions.TfLiteTensorQuantizationParams.restype = _QuantisationParams
    functions.TfLiteTensorByteSize.restype = ctypes.c_size_t
    functions.TfLiteVersion.restype = ctypes.c_char_p
    return CLibrary(functions=functions, version=functions.TfLiteVersion().decode())


class CLibraryEngine:
    """Implements ``tflite.Engine``. The model's memory lives as long as this object."""

    def __init__(self, library: CLibrary, model: bytes) -> None:
        """Load a model.

        Raises:
            ValueError: The library refuses it.
        """
        self._c = library.functions
        self._model_bytes = ctypes.create_string_buffer(model, len(model))
        loaded = self._c.TfLiteModelCreate(self._model_bytes, ctypes.c_size_t(len(model)))
        if not loaded:
            raise ValueError("not a TFLite model")
        options = ctypes.c_void_p(self._c.TfLiteInterpreterOptionsCreate())
        self._c.TfLiteInterpreterOptionsSetNumThreads(options, ctypes.c_int32(1))
        made = self._c.TfLiteInterpreterCreate(ctypes.c_void_p(loaded), options)
        if not made:
            raise ValueError("an operator that the library does not have")
        self._interpreter = ctypes.c_void_p(made)
        self._batch = 0
        self._resize(1)
        self.input = self._describe(self._c.TfLiteInterpreterGetInputTensor)
        self.output = self._describe(self._c.TfLiteInterpreterGetOutputTensor)

    def run(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the output rows of a batch."""
        if len(rows) != self._batch:
            self._resize(len(rows))
        rows = np.ascontiguousarray(rows)
        given = self._tensor(self._c.TfLiteInterpreterGetInputTensor)
        size = ctypes.c_size_t(rows.nbytes)
        self._demand(self._c.TfLiteTensorCopyFromBuffer(given, rows.ctypes.data_as(ctypes.c_void_p), size), "input")
        self._demand(self._c.TfLiteInterpreterInvoke(self._interpreter), "invoke")
        made = np.empty((len(rows), *self.output.shape[1:]), np.dtype(self.output.dtype))
        result = self._tensor(self._c.TfLiteInterpreterGetOutputTensor)
        size = ctypes.c_size_t(made.nbytes)
        self._demand(self._c.TfLiteTensorCopyToBuffer(result, made.ctypes.data_as(ctypes.c_void_p), size), "output")
        return made

    def _resize(self, batch: int) -> None:
        given = self._tensor(self._c.TfLiteInterpreterGetInputTensor)
        count = self._c.TfLiteTensorNumDims(given)
        shape = [batch, *(self._c.TfLiteTensorDim(given, ctypes.c_int32(i)) for i in range(1, count))]
        dims = (ctypes.c_int * count)(*shape)
        resized = self._c.TfLiteInterpreterResizeInputTensor(
            self._interpreter, ctypes.c_int32(0), dims, ctypes.c_int32(count)
        )
        self._demand(resized, "resize")
        self._demand(self._c.TfLiteInterpreterAllocateTensors(self._interpreter), "allocate")
        self._batch = batch

    def _tensor(self, getter: "ctypes._NamedFuncPointer") -> ctypes.c_void_p:
        return ctypes.c_void_p(getter(self._interpreter, ctypes.c_int32(0)))

    def _describe(self, getter: "ctypes._NamedFuncPointer") -> Tensor:
        tensor = self._tensor(getter)
        count = self._c.TfLiteTensorNumDims(tensor)
        params = self._c.TfLiteTensorQuantizationParams(tensor)
        dtype = _TYPES.get(self._c.TfLiteTensorType(tensor), "another type")
        scale, zero_point = float(params.scale), int(params.zero_point)
        return Tensor(
            shape=tuple(self._c.TfLiteTensorDim(tensor, ctypes.c_int32(i)) for i in range(count)),
            dtype=dtype,
            quantisation=Quantisation(scale=scale, zero_point=zero_point) if dtype == "int8" else None,
        )

    @staticmethod
    def _demand(status: int, what: str) -> None:
        if status != _OK:
            raise ValueError(f"TFLite status {status} at {what}")
