"""What runs TensorFlow, always in a process of its own: training, and conversion, which can crash it.

TensorFlow and a TFLite runtime do not share a process (loading both breaks the second), so the worker knows neither
bundles nor scorers: it reads arrays from a folder and writes a model and arrays there.

usage: python -m attwin_converter.keras_worker train|convert FOLDER
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TRAIN, PREDICT, CALIBRATION, LABEL = "train.npy", "predict.npy", "calibration.npy", "label.npy"
PLAN, MODEL, SCORES, TFLITE, OPERATORS = (
    "plan.json",
    "model.keras",
    "scores.npy",
    "model.tflite",
    "operators.json",
)


def train(folder: Path) -> None:
    """Train the dense network of the brief and predict the rows that will be compared.

    Dense 64 relu, dense 1 sigmoid; mean squared error; Adam with 0.001.
    """
    import keras  # noqa: PLC0415 -- only this process pays for it

    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    rows, label = np.load(folder / TRAIN), np.load(folder / LABEL)
    keras.utils.set_random_seed(plan["seed"])
    model = keras.Sequential(
        [
            keras.Input((rows.shape[1],)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss="mean_squared_error")

    def report(epoch: int, logs: dict[str, float]) -> None:
        print(json.dumps({"epoch": epoch + 1, "loss": logs["loss"]}), flush=True)  # noqa: T201 -- the protocol with the parent

    progress = keras.callbacks.LambdaCallback(on_epoch_end=report)
    model.fit(rows, label, epochs=plan["epochs"], batch_size=plan["batch"], verbose=0, callbacks=[progress])
    model.save(folder / MODEL)
    np.save(folder / SCORES, model.predict(np.load(folder / PREDICT), verbose=0)[:, 0])


def convert(folder: Path) -> None:
    """Convert the trained model to full int8, inputs and output included."""
    import keras  # noqa: PLC0415 -- only this process pays for it
    import tensorflow as tf  # noqa: PLC0415 -- the same

    rows = np.load(folder / CALIBRATION)

    def samples() -> Iterator[list[Any]]:
        for row in rows:
            yield [row[None, :]]

    converter = tf.lite.TFLiteConverter.from_keras_model(keras.models.load_model(folder / MODEL))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    body = converter.convert()
    (folder / TFLITE).write_bytes(body)
    (folder / OPERATORS).write_text(json.dumps(operators(body)), encoding="utf-8")


def operators(model: bytes) -> list[dict[str, object]]:
    """Return name and version of every operator of a TFLite file."""
    from tensorflow.lite.python import schema_py_generated as schema  # noqa: PLC0415 -- the same

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = schema.ModelT.InitFromPackedBuf(model, 0).operatorCodes
    found = {(names[max(c.builtinCode, c.deprecatedBuiltinCode)], c.version) for c in codes}
    return [{"name": name, "version": version} for name, version in sorted(found)]


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    {"train": train, "convert": convert}[sys.argv[1]](Path(sys.argv[2]))
