"""Facts about models that were trained elsewhere: their bundles prove themselves, and what is none is refused."""

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from attwin.adapters.bundle_zip import read_bundle
from attwin.core.errors import BundleError, DataError, SettingsError
from attwin_converter.contract import load_contract
from attwin_converter.dataset import load_dataset
from attwin_converter.evaluate import evaluate
from attwin_converter.examining import ModelError
from attwin_converter.exporting import ParityError
from attwin_converter.importing import Imported, import_model
from attwin_converter.progress import Progress
from attwin_converter.runtimes import Runtime, runtimes
from attwin_converter.worker import WorkerError

pytestmark = pytest.mark.tflite
QUIET = Progress(stage=lambda _name, _steps: None, step=lambda _said: None)

MAKE = """
import sys
import flatbuffers
import keras
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

def model(units, activation, kernel, inputs=2):
    row = keras.Input((inputs,))
    last = keras.layers.Dense(units, activation=activation)
    made = keras.Model(row, last(row))
    last.set_weights([keras.ops.reshape(keras.ops.array(kernel, "float32"), (inputs, units)), keras.ops.zeros(units)])
    return made

def packed(graph):
    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())

good = model(1, "sigmoid", [6.0, 0.0])
good.save("good.keras")
model(1, None, [6.0, 0.0]).save("linear.keras")
model(3, "softmax", [6.0, 0.0] * 3).save("three.keras")
model(1, "sigmoid", [6.0, 0.0, 0.0], inputs=3).save("other.keras")
row = keras.Input((2,))
keras.Model(row, keras.layers.Dense(1, activation="sigmoid")(keras.ops.erf(row))).save("erf.keras")
keras.Model(row, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Lambda(lambda x: x)(row))).save("code.keras")
body = tf.lite.TFLiteConverter.from_keras_model(good).convert()
graph = schema.ModelT.InitFromPackedBuf(body, 0)
graph.operatorCodes[0].customCode = b"Gaze"
graph.operatorCodes[0].builtinCode = 32
graph.operatorCodes[0].deprecatedBuiltinCode = 32
newer = schema.ModelT.InitFromPackedBuf(body, 0)
for code in newer.operatorCodes:
    code.version = 99
for name, content in {
    "good.tflite": body, "half.tflite": body[: len(body) // 2], "text.tflite": b"no model at all" * 50,
    "custom.tflite": packed(graph), "newer.tflite": packed(newer), "half.keras": open("good.keras", "rb").read()[:900],
}.items():
    open(name, "wb").write(content)
"""

DATASET = """\
version: 1
name: small
kind: room
entity: room
metrics: {level: {}, noise: {}}
label: {column: busy, meaning: busy}
split: {by: time, files: [data.csv], at: '1970-01-01 02:00:00', embargo: 0}
features: {windows: [2m], statistics: [last]}
"""
CONTRACT = """\
version: 1
dataset: dataset.yaml
features:
  - {metric: level}
  - {metric: noise, mean: 0.5, scale: 2}
threshold: 0.4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models, rows in which a high level means busy, and a contract."""
    folder = tmp_path_factory.mktemp("import")
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [sys.executable, "-c", MAKE], cwd=folder, check=True, capture_output=True, env=environment, timeout=110
    )
    rng = np.random.default_rng(1)
    level = rng.normal(0, 1, 240)
    lines = [f"{60 * i},{x:.4f},{rng.normal():.4f},{int(x > 0)}" for i, x in enumerate(level)]
    (folder / "data.csv").write_text("time,level,noise,busy\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "dataset.yaml").write_text(DATASET, encoding="utf-8")
    (folder / "contract.yaml").write_text(CONTRACT, encoding="utf-8")
    return folder


@cache
def every_runtime() -> Sequence[Runtime]:
    """Return the runtimes that work here; asking takes a second."""
    return runtimes()


def imported(folder: Path, model: str, out: Path, more: str = "") -> Imported:
    """Import a model by the contract, and some lines more."""
    contract = folder / "contract.yaml"
    if more:
        contract = folder / f"{out.stem}.yaml"
        contract.write_text(CONTRACT + more, encoding="utf-8")
    return import_model(folder / model, load_contract(contract), out, every_runtime(), QUIET)


@pytest.mark.parametrize(
    ("model", "precision", "more"),
    [
        pytest.param("good.keras", "int8", "tolerance: 0.02\n", id="Keras to int8"),
        pytest.param("good.keras", "float16", "precision: float16\n", id="Keras to float16"),
        pytest.param("good.tflite", "float32", "", id="TFLite as it is"),
    ],
)
def test_its_bundle_is_as_good_in_the_agent_as_it_says(
    folder: Path, tmp_path: Path, model: str, precision: str, more: str
) -> None:
    """Scored by the agent's own features; a file that was not converted has nothing to be compared with."""
    out = tmp_path / "m.zip"

    found = imported(folder, model, out, more)

    figures, by = evaluate(out, load_dataset(folder / "dataset.yaml"))
    assert by.startswith(f"{precision} in ")
    assert found.manifest.after is not None
    assert figures.accuracy == pytest.approx(found.manifest.after.accuracy)
    assert figures.f1 == pytest.approx(found.manifest.after.f1)
    assert figures.accuracy > 0.97
    assert (found.manifest.before is not None) == model.endswith(".keras")
    assert [one.name for one in found.manifest.runtimes] == [one.name for one in every_runtime()]
    bundle = read_bundle(out)
    assert bundle.manifest.features[1].mean == 0.5
    assert "trained elsewhere" in bundle.card
    assert (bundle.manifest.masks, bundle.manifest.saturation) == ([], None)
    assert any("Whether it has seen the held-out rows" in warning for warning in found.warnings)


def test_inputs_in_the_wrong_order_are_noticed_by_what_they_score(folder: Path, tmp_path: Path) -> None:
    """Nothing else can: the file does not say what its inputs are."""
    contract = folder / "swapped.yaml"
    contract.write_text(CONTRACT.replace("level}", "noise}").replace("noise, mean", "level, mean"), encoding="utf-8")

    found = import_model(folder / "good.tflite", load_contract(contract), tmp_path / "m.zip", every_runtime(), QUIET)

    assert any("always answering the mean label gives" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        pytest.param("other.keras", ModelError, "the contract has 2 inputs, the model takes 3", id="width"),
        pytest.param("three.keras", ModelError, r"it makes \[\[3\]\] of a row; one score is wanted", id="classes"),
        pytest.param("linear.keras", ModelError, "let the model end in a sigmoid", id="no score"),
        pytest.param("code.keras", ModelError, "Lambda layer, which is Python code", id="code"),
        pytest.param("erf.keras", ModelError, "TFLite has no operator for Erf", id="operation without an operator"),
        pytest.param("half.keras", ModelError, "no .keras file, or a damaged one$", id="half a Keras file"),
        pytest.param("half.tflite", (ModelError, BundleError), "damaged|refuse|cannot|crashed", id="half a file"),
        pytest.param("text.tflite", ModelError, "no .tflite file, or a damaged one", id="text"),
        pytest.param("custom.tflite", ModelError, "it asks for Gaze, which no gateway has", id="custom operator"),
        pytest.param("newer.tflite", BundleError, "version|99", id="operator of a later version"),
        pytest.param("data.csv", DataError, "a model to import is a .keras or a .tflite file", id="no model"),
        pytest.param("gone.keras", DataError, "no such file", id="missing"),
    ],
)
def test_what_no_bundle_can_have_is_refused(
    folder: Path, tmp_path: Path, model: str, error: type[Exception], message: str
) -> None:
    """The message names the file and what is wrong; no bundle is written."""
    with pytest.raises(error, match=message) as raised:
        imported(folder, model, tmp_path / "m.zip")

    assert model in str(raised.value)
    assert not isinstance(raised.value, WorkerError)
    assert not (tmp_path / "m.zip").exists()


def test_what_int8_costs_too_much_is_refused_with_the_table(folder: Path, tmp_path: Path) -> None:
    """A model of others is not trained further."""
    with pytest.raises(ParityError, match=r"worse by more than the tolerance, -1[\s\S]*Keras"):
        import_model_with_tolerance(folder, tmp_path / "m.zip")

    assert not (tmp_path / "m.zip").exists()


def import_model_with_tolerance(folder: Path, out: Path) -> None:
    """Import with a tolerance that no file can keep."""
    from dataclasses import replace

    contract = load_contract(folder / "contract.yaml")
    training = replace(contract.dataset.training, tolerance=-1.0)
    strict = replace(contract, dataset=replace(contract.dataset, training=training))
    import_model(folder / "good.keras", strict, out, every_runtime(), QUIET)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "metric: level", "metric: levl", "`levl` is no metric of the data set; did you mean `level`", id="metric"
        ),
        pytest.param("threshold: 0.4", "threshold: 4", "a score from 0 to 1, not 4", id="threshold"),
        pytest.param("scale: 2", "scale: 0", "with scale 0", id="scale"),
        pytest.param("metric: level}", "metric: level, statistic: median}", "not `median`", id="statistic"),
        pytest.param("version: 1", "version: 1\nclock: [minute]", "clock features minute", id="clock"),
        pytest.param("version: 1", "version: 1\nmask: [level]", "did you mean `masks`", id="unknown key"),
        pytest.param("version: 1", "version: 1\nmasks: [sound]", "`sound` is no metric of the data set", id="mask"),
        pytest.param(
            "features:\n  - {metric: level}",
            "masks: [level]\nfeatures:\n  - {metric: noise}",
            "never 1",
            id="idle mask",
        ),
        pytest.param("version: 1", "version: 1\ntolerance: -1", "tolerance: out of range: -1", id="tolerance"),
        pytest.param("dataset.yaml", "gone.yaml", "gone.yaml", id="no data set"),
    ],
)
def test_a_contract_says_what_is_wrong_with_it(folder: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    """Every problem with its place, as configurations do."""
    path = tmp_path / "contract.yaml"
    text = CONTRACT.replace(old, new).replace("dataset: dataset", f"dataset: {folder}/dataset")
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError) as raised:
        load_contract(path)

    assert message in "\n".join(raised.value.problems)


def test_a_contract_may_ask_for_the_clock_and_for_flags(folder: Path) -> None:
    """Behind the features, as in a trained model."""
    path = folder / "flags.yaml"
    feature = "{metric: level, window: 1m, statistic: mean, mean: 1, scale: 2, bucket: 11}"
    path.write_text(
        f"version: 1\ndataset: dataset.yaml\nfeatures: [{feature}, {{metric: noise}}]\nclock: [hour_sin]\n"
        "masks: [level]\nsaturation: 4\nprecision: dynamic\nbudget: {file_kb: 8}\n",
        encoding="utf-8",
    )

    contract = load_contract(path)

    manifest, dataset = contract.draft(), contract.dataset
    spec, other = manifest.features
    assert (other.title, other.window_ms) == ("noise.last", 120_000)
    assert (spec.title, spec.window_ms, spec.mean, spec.scale) == ("level.mean[11]", 60_000, 1, 2)
    assert (manifest.input_count, manifest.clock, manifest.masks) == (4, ["hour_sin"], ["level"])
    assert (manifest.saturation, manifest.windows_ms) == (4, [60_000, 120_000])
    assert (dataset.training.precision, dataset.training.tolerance, dataset.budget.file_kb) == ("dynamic", 0.002, 8)


def test_a_model_that_costs_too_much_is_refused(folder: Path, tmp_path: Path) -> None:
    """By the budget of the contract."""
    with pytest.raises(ModelError, match=r"good.tflite: .*the budget is 1; `budget` of the contract may allow more"):
        imported(folder, "good.tflite", tmp_path / "m.zip", "budget: {file_kb: 1}\n")

    assert not (tmp_path / "m.zip").exists()


def test_the_command_says_what_it_found(folder: Path, tmp_path: Path) -> None:
    """As JSON for programs."""
    done = subprocess.run(
        [
            sys.executable, "-m", "attwin_converter.cli", "import", str(folder / "good.tflite"),
            "--contract", str(folder / "contract.yaml"), "--out", str(tmp_path / "m.zip"), "--json",
        ],
        capture_output=True, text=True, check=True, timeout=110,
    )  # fmt: skip

    said = json.loads(done.stdout)
    assert said["bundle"] == str(tmp_path / "m.zip")
    assert said["manifest"]["after"]["accuracy"] > 0.97
