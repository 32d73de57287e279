"""Looks at model files, in the worker process: whether a bundle can have them, and what they ask of a runtime."""

import json
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from attwin.core.errors import AttwinError
from attwin_converter.fitting import PLAN

TFLITE, FOUND = "model.tflite", "found.json"
_ROUNDING = 1e-6
_CUSTOM_CODE = re.compile("Could not locate (?:class|function) '([^']+)'")


class ModelError(AttwinError):
    """A model file is not one that a bundle can have: the model has to change."""


def examine(folder: Path) -> None:
    """Look at ``model.tflite``, and write name and version of its operators, and how it holds its weights.

    Reads ``plan.json`` (``inputs``: how many it should have).

    Raises:
        ModelError: It is damaged, has other inputs or outputs, or asks for an operator of its own.
    """
    inputs = json.loads((folder / PLAN).read_text(encoding="utf-8"))["inputs"]
    body = (folder / TFLITE).read_bytes()
    try:
        found, precision, shapes = operators(body), _precision(body), _shapes(body)
    except (struct.error, ValueError, TypeError, AttributeError, IndexError) as error:
        raise ModelError("no .tflite file, or a damaged one") from error
    _demand_row(shapes, inputs)
    (folder / FOUND).write_text(json.dumps({"operators": found, "precision": precision}), encoding="utf-8")


def load_keras(path: Path) -> Any:  # noqa: ANN401 -- a Keras model
    """Return a Keras model, without running code that its file may bring.

    Raises:
        ModelError: It is damaged, or needs such code.
    """
    damaged = "no .keras file, or a damaged one"
    if not zipfile.is_zipfile(path):
        raise ModelError(damaged)
    import keras  # noqa: PLC0415 -- only this process pays for it

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        said = str(error)
        if "Lambda" in said:
            raise ModelError(
                "it has a Lambda layer, which is Python code, and code in a model file is not run: say it with layers "
                "or operations of Keras"
            ) from error
        if unknown := _CUSTOM_CODE.search(said):
            raise ModelError(
                f"it has `{unknown[1]}`, which is Python code outside of the file: say it with layers or operations of "
                "Keras, or import the .tflite file"
            ) from error
        raise ModelError(f"{damaged}: {said.partition(chr(10))[0]}") from error


def demand_shapes(model: Any, inputs: int) -> None:  # noqa: ANN401 -- a Keras model
    """Refuse a Keras model that does not make one score of one flat row of inputs.

    Raises:
        ModelError: It does not.
    """
    if not getattr(model, "inputs", None):
        raise ModelError(
            "it was saved before it knew its inputs: train it, or give it a keras.Input, and save it again"
        )
    if model.inputs[0].shape[0] is not None:
        raise ModelError(f"it takes {model.inputs[0].shape[0]} rows at a time; the agent gives it any number of rows")
    _demand_row([[list(tensor.shape) for tensor in tensors] for tensors in (model.inputs, model.outputs)], inputs)


def demand_scores(low: float, high: float, *, quantum: float | None = None) -> None:
    """Refuse a model whose lowest and highest outputs are no scores.

    Args:
        low: NaN where an output is.
        high: The same.
        quantum: By how much an output is rounded; None for float32.

    Raises:
        ModelError: They are outside of [0, 1].
    """
    if np.isnan(low) or np.isnan(high):
        raise ModelError("for some rows the model gives NaN; a score is a number from 0 to 1")
    slack = _ROUNDING if quantum is None else quantum
    if low < -slack or high > 1 + slack:
        raise ModelError(
            f"its outputs lie between {low:.4g} and {high:.4g}; a score lies between 0 and 1: let the model end in a "
            "sigmoid"
        )


def operators(model: bytes) -> list[dict[str, object]]:
    """Return name and version of every operator of a TFLite file.

    Raises:
        ModelError: One of them is not built into TFLite.
    """
    from tensorflow.lite.python import schema_py_generated as schema  # noqa: PLC0415 -- only this process pays for it

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = schema.ModelT.InitFromPackedBuf(model, 0).operatorCodes
    own = sorted({c.customCode.decode(errors="replace") for c in codes if c.customCode})
    if own:
        raise ModelError(f"it asks for {', '.join(own)}, which no gateway has: operators must be built into TFLite")
    numbers = [(max(c.builtinCode, c.deprecatedBuiltinCode), c.version) for c in codes]
    found = {(names.get(number, f"operator {number}"), version) for number, version in numbers}
    return [{"name": name, "version": version} for name, version in sorted(found)]


def _precision(model: bytes) -> str:
    """Return which of ``manifest.PRECISIONS`` a TFLite file has."""
    from tensorflow.lite.python import schema_py_generated as schema  # noqa: PLC0415 -- only this process pays for it

    [graph, *_] = schema.ModelT.InitFromPackedBuf(model, 0).subgraphs
    types = {tensor.type for tensor in graph.tensors}
    if graph.tensors[graph.inputs[0]].type == schema.TensorType.INT8:
        return "int8"
    if schema.TensorType.FLOAT16 in types:
        return "float16"
    return "dynamic" if schema.TensorType.INT8 in types else "float32"


def _shapes(model: bytes) -> list[list[list[int]]]:
    """Return the shapes of the inputs and of the outputs of a TFLite file."""
    from tensorflow.lite.python import schema_py_generated as schema  # noqa: PLC0415 -- only this process pays for it

    [graph, *_] = schema.ModelT.InitFromPackedBuf(model, 0).subgraphs
    return [[list(map(int, graph.tensors[k].shape)) for k in places] for places in (graph.inputs, graph.outputs)]


def _demand_row(shapes: list[list[list[int]]], inputs: int) -> None:
    """Refuse a model that does not make one score of one flat row of inputs.

    Args:
        shapes: Those of the inputs and of the outputs.
        inputs: How many numbers a row has.
    """
    given, made = ([shape[1:] for shape in of] for of in shapes)
    if len(given) != 1 or len(given[0]) != 1:
        raise ModelError(f"it takes inputs of the shapes {given}; a bundle gives one flat row, here [{inputs}]")
    if given[0][0] != inputs:
        raise ModelError(f"the contract has {inputs} inputs, the model takes {given[0][0]}")
    if made != [[1]]:
        raise ModelError(f"it makes {made} of a row; one score is wanted, [1]")
