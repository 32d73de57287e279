"""Fine-tunes a model with what int8 will do to it, for models that lose too much by being converted as they are.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference": values are rounded to 8 bits on the way forward, and the gradient passes as if they were not.
"""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from attwin_converter.fitting import MODEL, PLAN, ROWS, reporting

_BITS = 8


class FakeQuantise(keras.layers.Layer):  # type: ignore[misc]  # keras is untyped
    """Rounds a tensor to what 8 bits between its smallest and largest value can hold."""

    def call(self, x: Any) -> Any:  # noqa: ANN401 -- a tensor
        """Return the rounded tensor."""
        low, high = tf.minimum(tf.reduce_min(x), 0.0), tf.maximum(tf.reduce_max(x), 1e-6)
        return tf.quantization.fake_quant_with_min_max_vars(x, tf.stop_gradient(low), tf.stop_gradient(high), _BITS)


class RoundedDense(keras.layers.Dense):  # type: ignore[misc]  # keras is untyped
    """A dense layer whose weights are rounded, about 0 and by as much in every channel, as TFLite holds them."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: ANN401, ARG002, FBT001 -- Keras's call
        """Return the layer's output."""
        most = tf.stop_gradient(tf.reduce_max(tf.abs(self.kernel)) + 1e-9)
        kernel = tf.quantization.fake_quant_with_min_max_vars(self.kernel, -most, most, _BITS, narrow_range=True)
        out = tf.matmul(inputs, kernel)
        return self.activation(out + self.bias if self.use_bias else out)


def tune(folder: Path) -> None:
    """Train ``model.keras`` a little further, rounding as int8 will, and write it back.

    Reads ``plan.json`` (``epochs``, ``batch``, ``rate``, ``seed``) and ``rows.npz`` (``inputs``, ``label``,
    ``weight``).
    """
    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    with np.load(folder / ROWS) as rows:
        inputs, label, weight = rows["inputs"], rows["label"], rows["weight"]
    keras.utils.set_random_seed(plan["seed"])
    model = keras.models.load_model(folder / MODEL, compile=False)
    rounded = keras.models.clone_model(model, clone_function=_rounded, call_function=_rounding_call, recursive=True)
    rounded.set_weights(model.get_weights())
    rounded.compile(optimizer=keras.optimizers.Adam(plan["rate"]), loss="binary_crossentropy")
    rounded.fit(
        inputs,
        label,
        sample_weight=weight,
        epochs=plan["epochs"],
        batch_size=plan["batch"],
        verbose=0,
        callbacks=[reporting()],
    )
    model.set_weights(rounded.get_weights())
    model.save(folder / MODEL)


def _rounded(layer: Any) -> Any:  # noqa: ANN401 -- a layer
    kind = RoundedDense if type(layer) is keras.layers.Dense else type(layer)
    return kind.from_config(layer.get_config())


def _rounding_call(layer: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- a layer and its tensors
    made = layer(*args, **kwargs)
    return FakeQuantise()(made) if isinstance(made, keras.KerasTensor) else made
