"""Fits the models of a plan to rows, in the worker process; and the logistic regression, which needs no Keras.

A fit reads a plan and arrays from a folder and writes its result there, so that it can run in a process, on another
machine, or be found done already.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLAN, ROWS, DONE, MODEL = "plan.json", "rows.npz", "done.npz", "model.keras"
_MOST_STEPS = 50
_SMALL = 1e-9

Plan = dict[str, Any]
"""``family``, ``seeds`` (one model each), ``epochs``, ``batch``, ``rate``, ``penalty``; ``patience`` to stop early;
``groups`` of ``pool.groups_of``; ``width``, ``steps`` and ``channels`` of ``architectures.build``; ``slope`` and
``offset`` if the result is a model."""
Rows = dict[str, NDArray[Any]]
"""``inputs``, ``label`` and ``weight`` to train on; ``watched`` and ``watched_label`` to stop early by, if any;
``scored`` where scores are wanted."""


def give(folder: Path, plan: Mapping[str, Any], rows: Mapping[str, NDArray[Any]]) -> None:
    """Write what a step reads."""
    (folder / PLAN).write_text(json.dumps(plan), encoding="utf-8")
    named: Any = dict(rows)
    np.savez(folder / ROWS, **named)


def fit(folder: Path) -> None:
    """Fit the models of a plan and write ``done.npz``.

    ``logit``, the mean of the models' for the rows of ``scored``, and ``epochs``, after how many each was best.
    """
    plan, rows = _read(folder)
    logits, epochs = [], []
    for seed in plan["seeds"]:
        if plan["family"] == "logistic":
            weights = logistic(rows["inputs"], rows["label"], rows["weight"], plan["penalty"])
            logits.append(rows["scored"] @ weights[:-1] + weights[-1])
            epochs.append(0)
        else:
            model, trained = _network(plan, rows, seed)
            logits.append(logit(model.predict(rows["scored"], verbose=0, batch_size=1024)[:, 0]))
            epochs.append(trained)
    partial = folder / "partial.npz"
    np.savez(partial, logit=np.mean(logits, axis=0), epochs=np.array(epochs))
    partial.rename(folder / DONE)


def fit_model(folder: Path) -> None:
    """Fit the models of a plan, and write one of their average, calibrated, as ``model.keras``."""
    from attwin_converter.architectures import averaged, build  # noqa: PLC0415 -- only this process pays for it

    plan, rows = _read(folder)
    models = []
    for seed in plan["seeds"]:
        if plan["family"] == "logistic":
            model = build(plan, seed)
            weights = logistic(rows["inputs"], rows["label"], rows["weight"], plan["penalty"])
            model.get_layer("logit").set_weights([weights[:-1, None], weights[-1:]])
        else:
            model, _ = _network(plan, rows, seed)
        models.append(model)
    partial = folder / "partial.keras"
    averaged(models, plan["slope"], plan["offset"]).save(partial)
    partial.rename(folder / MODEL)


def _read(folder: Path) -> tuple[Plan, Rows]:
    with np.load(folder / ROWS) as file:
        return json.loads((folder / PLAN).read_text(encoding="utf-8")), dict(file)


def _network(plan: Plan, rows: Rows, seed: int) -> tuple[Any, int]:
    """Return a trained network, and after how many epochs it was best on the watched rows, if there are any."""
    import keras  # noqa: PLC0415 -- only this process pays for it

    from attwin_converter.architectures import build  # noqa: PLC0415 -- the same
    from attwin_converter.distilling import BATCH, EPOCHS, taught  # noqa: PLC0415 -- the same

    if plan["family"] == "distilled":
        rows, plan = taught(plan, rows, seed), plan | {"epochs": EPOCHS, "batch": BATCH}
    model = build(plan, seed)
    optimiser = keras.optimizers.AdamW(plan["rate"], weight_decay=plan["penalty"])
    model.compile(optimizer=optimiser, loss="binary_crossentropy")
    stop = keras.callbacks.EarlyStopping(patience=plan.get("patience", 0), restore_best_weights=True)
    watched = (rows["watched"], rows["watched_label"]) if "watched" in rows else None
    model.fit(
        rows["inputs"],
        rows["label"],
        sample_weight=rows["weight"],
        validation_data=watched,
        epochs=plan["epochs"],
        batch_size=plan["batch"],
        verbose=0,
        callbacks=[reporting(), stop] if watched else [reporting()],
    )
    return model, int(stop.best_epoch) + 1 if watched else plan["epochs"]


def reporting() -> Any:  # noqa: ANN401 -- a Keras callback
    """Return what tells the parent of every epoch."""
    import keras  # noqa: PLC0415 -- only this process pays for it

    return keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: print(  # noqa: T201 -- the protocol with the parent
            json.dumps({"epoch": epoch + 1, "loss": logs["loss"]}), flush=True
        )
    )


def logistic(inputs: NDArray[Any], label: NDArray[Any], weight: NDArray[Any], penalty: float) -> NDArray[np.float64]:
    """Return the weights of a logistic regression, the intercept last. Shape (F + 1,).

    Labels may lie between 0 and 1. Source: Newton's method on the mean weighted cross-entropy and ``penalty`` / 2 times
    the squared weights (Hastie et al. 2009, section 4.4.1); a step that makes it worse is halved.
    """
    x = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1, dtype=np.float64)
    share = weight / weight.sum()
    ridge = np.full(x.shape[1], penalty)
    ridge[-1] = 0.0

    def loss(w: NDArray[np.float64]) -> float:
        z = x @ w
        return float(share @ (np.logaddexp(0, z) - label * z) + ridge @ (w * w) / 2)

    found = np.zeros(x.shape[1])
    now = loss(found)
    for _ in range(_MOST_STEPS):
        p = sigmoid(x @ found)
        slope = x.T @ (share * (p - label)) + ridge * found
        curve = (x * (share * p * (1 - p))[:, None]).T @ x + np.diag(ridge + _SMALL)
        step = np.linalg.solve(curve, slope)
        while (then := loss(found - step)) > now and np.abs(step).max() > _SMALL:
            step /= 2
        found, before, now = found - step, now, then
        if before - now < _SMALL:
            break
    return found


def sigmoid(z: NDArray[Any]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-z))."""
    half: NDArray[np.float64] = np.asarray(z, np.float64) / 2
    return np.asarray(0.5 * (1 + np.tanh(half)), np.float64)


def logit(p: NDArray[Any]) -> NDArray[np.float64]:
    """Return log(p / (1 - p)), of probabilities that are kept away from 0 and 1 by a float's rounding."""
    kept = np.clip(np.asarray(p, np.float64), 1e-7, 1 - 1e-7)
    z: NDArray[np.float64] = np.log(kept / (1 - kept))
    return z
