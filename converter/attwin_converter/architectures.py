"""The families of models, built in Keras. Imported by the worker process alone.

Every model takes one flat row of inputs and ends in a layer called ``logit`` before its sigmoid, so that its
probabilities can be calibrated by scaling that layer.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras

Tensor: TypeAlias = Any
"""Keras publishes no types."""
Plan = dict[str, Any]
"""What to build: ``family``, ``width``, and of sequences ``steps`` and ``channels``; they come first in a row."""


def build(plan: Plan, seed: int) -> keras.Model:
    """Return an untrained model."""
    keras.utils.set_random_seed(seed)
    row = keras.Input((plan["width"],))
    hidden = _FAMILIES[plan["family"]](row, plan)
    logit = keras.layers.Dense(1, name="logit")(hidden)
    return keras.Model(row, keras.layers.Activation("sigmoid")(logit))


def averaged(models: list[keras.Model], slope: float, offset: float) -> keras.Model:
    """Return one model whose logit is ``slope`` times the mean of the models' logits, and ``offset``.

    Of one model its last layer is scaled; of several the last layers are, by their share, and added.
    """
    logits = []
    row = keras.Input(models[0].input_shape[1:])
    for model in models:
        last = model.get_layer("logit")
        kernel, bias = last.get_weights()
        last.set_weights([kernel * slope / len(models), (bias * slope + offset) / len(models)])
        logits.append(keras.Model(model.input, last.output)(row))
    logit = keras.layers.Add()(logits) if len(logits) > 1 else logits[0]
    return keras.Model(row, keras.layers.Activation("sigmoid")(logit))


def _logistic(row: Tensor, _plan: Plan) -> Tensor:
    return row


def _dense(row: Tensor, _plan: Plan) -> Tensor:
    """Return the hidden layer of the brief's network."""
    return keras.layers.Dense(64, activation="relu")(row)


def _wide(row: Tensor, _plan: Plan, dropout: float = 0.5) -> Tensor:
    hidden = row
    for units in (256, 64):
        hidden = keras.layers.Dense(units, use_bias=False)(hidden)
        hidden = keras.layers.BatchNormalization()(hidden)
        hidden = keras.layers.Activation("relu")(hidden)
        hidden = keras.layers.Dropout(dropout)(hidden)
    return hidden


def _distilled(row: Tensor, plan: Plan) -> Tensor:
    """Return the same; what trees teach has no noise to be kept from."""
    return _wide(row, plan, dropout=0.1)


def _convolution(row: Tensor, plan: Plan) -> Tensor:
    """Return what a temporal convolution with growing dilation makes of the sequence."""
    sequence, rest = _sequence(row, plan)
    for dilation in (1, 2, 4):
        sequence = keras.layers.Conv1D(16, 3, padding="causal", dilation_rate=dilation, activation="relu")(sequence)
    return _joined(keras.layers.GlobalAveragePooling1D()(sequence), rest)


def _gru(row: Tensor, plan: Plan) -> Tensor:
    """Return the last state of a gated recurrent unit; unrolled, because the loop crashes the converter."""
    sequence, rest = _sequence(row, plan)
    return _joined(keras.layers.GRU(16, unroll=True, reset_after=False)(sequence), rest)


def _transformer(row: Tensor, plan: Plan) -> Tensor:
    """Return the mean of a small Transformer encoder over the sequence (Vaswani et al. 2017, one block, two heads)."""
    sequence, rest = _sequence(row, plan)
    hidden = keras.layers.Dense(16)(sequence)
    place = keras.layers.Embedding(plan["steps"], 16)(keras.ops.arange(plan["steps"]))
    hidden = hidden + place
    attended = keras.layers.MultiHeadAttention(num_heads=2, key_dim=8)(hidden, hidden)
    hidden = keras.layers.LayerNormalization()(hidden + attended)
    forward = keras.layers.Dense(16)(keras.layers.Dense(32, activation="relu")(hidden))
    hidden = keras.layers.LayerNormalization()(hidden + forward)
    return _joined(keras.layers.GlobalAveragePooling1D()(hidden), rest)


def _sequence(row: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """Return the sequence, shape (N, steps, channels), and the other inputs."""
    length = plan["steps"] * plan["channels"]
    return keras.layers.Reshape((plan["steps"], plan["channels"]))(row[:, :length]), row[:, length:]


def _joined(hidden: Tensor, rest: Tensor) -> Tensor:
    return keras.layers.Dense(16, activation="relu")(keras.layers.Concatenate()([hidden, rest]))


_FAMILIES: dict[str, Callable[[Tensor, Plan], Tensor]] = {
    "logistic": _logistic,
    "dense": _dense,
    "wide": _wide,
    "distilled": _distilled,
    "convolution": _convolution,
    "gru": _gru,
    "transformer": _transformer,
}
