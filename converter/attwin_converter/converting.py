"""From a Keras model to a .tflite file, in the worker process: conversion can crash it."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attwin_converter.examining import TFLITE, ModelError, demand_scores, demand_shapes, load_keras, operators
from attwin_converter.fitting import MODEL, PLAN, ROWS

OPERATORS, LAYERS, SCORES = "operators.json", "layers.json", "scores.npy"
_SKETCH_ROWS = 64
_UNKNOWN_OPERATORS = re.compile(r"(?:Custom|TF Select) ops: (.+)")


def convert(folder: Path) -> None:
    """Convert ``model.keras`` to ``model.tflite``.

    Reads ``plan.json`` (``precision``) and ``rows.npz`` (``calibration``: rows that say how wide every tensor's values
    are; ``scored``). Writes the file, name and version of its operators, what int8 does to each tensor, and what the
    Keras model makes of ``scored``.

    Raises:
        ModelError: The model does not make one score of a row, or TFLite has no operator for a part of it.
    """
    precision = json.loads((folder / PLAN).read_text(encoding="utf-8"))["precision"]
    model = load_keras(folder / MODEL)
    with np.load(folder / ROWS) as rows:
        calibration, scored = rows["calibration"], rows["scored"]
    demand_shapes(model, calibration.shape[1])
    scores = model.predict(scored, verbose=0, batch_size=1024)[:, 0]
    demand_scores(scores.min(), scores.max())
    np.save(folder / SCORES, scores)
    body, layers = converted(model, calibration, precision)
    (folder / OPERATORS).write_text(json.dumps(operators(body)), encoding="utf-8")
    (folder / LAYERS).write_text(json.dumps(layers), encoding="utf-8")
    partial = folder / "partial.tflite"
    partial.write_bytes(body)
    partial.rename(folder / TFLITE)


def sketch(folder: Path) -> None:
    """Convert an untrained model of a plan, whose file costs a gateway what the trained one will."""
    from attwin_converter.architectures import averaged, build  # noqa: PLC0415 -- only this process pays for it

    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    model = averaged([build(plan, seed) for seed in plan["seeds"]], 1.0, 0.0)
    rows = np.random.default_rng(1).normal(size=(_SKETCH_ROWS, plan["width"])).astype(np.float32)
    body, _ = converted(model, rows, plan["precision"], debug=False)
    partial = folder / "partial.tflite"
    partial.write_bytes(body)
    partial.rename(folder / TFLITE)


def converted(
    model: Any,  # noqa: ANN401 -- a Keras model
    calibration: NDArray[np.float32],
    precision: str,
    *,
    debug: bool = True,
) -> tuple[bytes, list[dict[str, Any]]]:
    """Return the .tflite file of a model, and of int8 what it does to each tensor.

    Args:
        model: One row of inputs in, one score out.
        calibration: Rows that say how wide every tensor's values are. Shape (N, I).
        precision: One of ``manifest.PRECISIONS``.
        debug: Whether to find out what int8 does, which takes as long as the conversion.

    Raises:
        ModelError: TFLite has no operator for a part of the model.
    """
    import tensorflow as tf  # noqa: PLC0415 -- only this process pays for it
    from tensorflow.lite.python.convert_phase import ConverterError  # noqa: PLC0415 -- the same

    def samples() -> Iterator[list[Any]]:
        for row in calibration:
            yield [row[None, :]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif precision == "int8":
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        body: bytes = converter.convert()
    except ConverterError as error:
        lacking = _UNKNOWN_OPERATORS.search(str(error))
        if lacking is None:
            raise
        raise ModelError(f"TFLite has no operator for {lacking[1]}: build the model without it") from error
    layers = _layers(model, calibration) if precision == "int8" and debug else []
    return body, layers


def _layers(model: Any, calibration: NDArray[np.float32]) -> list[dict[str, Any]]:  # noqa: ANN401 -- a Keras model
    """Return of each quantised tensor its operator, name, and root mean squared error in quanta (0.29 is rounding)."""
    import tensorflow as tf  # noqa: PLC0415 -- only this process pays for it

    def samples() -> Iterator[list[Any]]:
        for row in calibration[:_SKETCH_ROWS]:
            yield [row[None, :]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=samples)
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    table.seek(0)
    return [
        {
            "operator": row["op_name"],
            "tensor": row["tensor_name"].split(";")[0],
            "error": math.sqrt(float(row["mean_squared_error"])) / float(row["scale"]),
        }
        for row in csv.DictReader(table)
    ]
