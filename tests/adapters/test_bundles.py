"""Facts about bundles and the runtimes that run them."""

import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from attwin.adapters.arrays import pack_arrays
from attwin.adapters.bundle_zip import read_bundle, write_bundle
from attwin.adapters.clock import SystemClock
from attwin.adapters.tflite import RUNTIMES, load_engine, probe
from attwin.core.errors import BundleError, BundleMismatchError, ScorerError
from attwin.runtime.selftest import self_test
from attwin.wiring.models import bundle_path, load_bundle, verify_in_child

BUILT_IN = bundle_path("builtin:occupancy")
Members = dict[str, bytes]


def repacked(folder: Path, change: Callable[[Members], None], compression: int = zipfile.ZIP_STORED) -> Path:
    """Return the built-in bundle with its members changed."""
    with zipfile.ZipFile(BUILT_IN) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    path = folder / "changed.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


def in_manifest(edit: Callable[[dict[str, object]], None]) -> Callable[[Members], None]:
    """Return a change of the manifest."""

    def change(members: Members) -> None:
        manifest = json.loads(members["manifest.json"])
        edit(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()

    return change


def flip(name: str) -> Callable[[Members], None]:
    """Return a change of one bit in the middle of a member."""

    def change(members: Members) -> None:
        body = bytearray(members[name])
        body[len(body) // 2] ^= 1
        members[name] = bytes(body)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(flip("model.tflite"), "model.tflite is .* the manifest says", id="flipped bit in the model"),
        pytest.param(flip("golden.npz"), "golden.npz is", id="flipped bit in the golden samples"),
        pytest.param(lambda m: m.pop("reference.json"), "reference.json is missing", id="missing member"),
        pytest.param(lambda m: m.pop("manifest.json"), "no manifest.json", id="no manifest"),
        pytest.param(lambda m: m.update({"../evil": b""}), "not an attwin bundle", id="foreign member"),
        pytest.param(lambda m: m.update({"manifest.json": b"{"}), "not of format 1", id="broken manifest"),
        pytest.param(in_manifest(lambda m: m.update(surprise=1)), "unknown keys: surprise", id="unknown key"),
        pytest.param(in_manifest(lambda m: m["features"][0].update(x=1)), r"features\[0\].x", id="unknown inner key"),
        pytest.param(in_manifest(lambda m: m.update(format=2)), "format 2; this agent reads 1", id="newer format"),
        pytest.param(
            in_manifest(lambda m: m["features"][0].update(metric="x")), "not in `metrics`", id="unknown metric"
        ),
        pytest.param(in_manifest(lambda m: m["features"][0].update(scale=0)), "with scale 0", id="zero scale"),
        pytest.param(
            in_manifest(lambda m: m["features"][0].update(statistic="mode")), "format 1", id="unknown statistic"
        ),
        pytest.param(in_manifest(lambda m: m.update(windows_ms=[1, 2, 3])), "3 windows", id="three windows"),
        pytest.param(in_manifest(lambda m: m.update(clock=["hour"])), "clock features", id="reserved field"),
    ],
)
def test_a_bundle_that_is_not_what_it_says_is_refused(
    tmp_path: Path, change: Callable[[Members], None], message: str
) -> None:
    """The refusal says what differs, and names the file."""
    path = repacked(tmp_path, change)

    with pytest.raises(BundleError, match=message) as caught:
        read_bundle(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"version: 1\n"])
def test_a_foreign_file_is_no_bundle(tmp_path: Path, content: bytes) -> None:
    """Whatever the file is, the answer is a BundleError."""
    path = tmp_path / "foreign.zip"
    path.write_bytes(content)

    with pytest.raises(BundleError, match="not an attwin bundle"):
        read_bundle(path)


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    """Without compression there are no zip bombs."""
    with pytest.raises(BundleError, match="compressed entries"):
        read_bundle(repacked(tmp_path, lambda _m: None, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        pytest.param(b"[", "reference.json cannot be read", id="no JSON"),
        pytest.param(b'{"score": {"edges": [0, 1], "counts": ["x"]}}', "reference.json cannot be read", id="text"),
        pytest.param(b'{"features": [{"edges": [0, 1], "counts": [1]}]}', "without a histogram", id="no score"),
        pytest.param(
            b'{"features": [{"edges": [0, 1], "counts": [1], "metric": "x", "statistic": "mean", "window_ms": 60000}], '
            b'"score": {"edges": [0, 1], "counts": [1]}}',
            "x.mean_1m, which is no input",
            id="another input",
        ),
        pytest.param(b'{"score": {"edges": [0, 1], "counts": [1, 2]}}', "2 bins and 2 rising edges", id="few edges"),
        pytest.param(b'{"score": {"edges": [1, 0], "counts": [1]}}', "1 bins and 2 rising edges", id="falling edges"),
        pytest.param(b'{"score": {"edges": [0, 1], "counts": [-1]}}', "negative numbers", id="negative count"),
        pytest.param(b'{"score": {"edges": [0, 1e300], "counts": [1]}}', "no numbers", id="endless edge"),
    ],
)
def test_a_reference_that_is_none_is_refused(tmp_path: Path, reference: bytes, message: str) -> None:
    """The agent could not say how far a day is from it."""
    bundle = read_bundle(BUILT_IN)
    path = tmp_path / "new.zip"
    golden = pack_arrays(bundle.golden)
    write_bundle(path, bundle.manifest, model=bundle.model, golden=golden, reference=reference)

    with pytest.raises(BundleError, match=message):
        read_bundle(path)


def test_a_bundle_is_the_same_bytes_for_the_same_content(tmp_path: Path) -> None:
    """Writing twice gives one hash, and what is read is what was written."""
    bundle = read_bundle(BUILT_IN)
    paths = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for path in paths:
        write_bundle(path, bundle.manifest, model=bundle.model, golden=b"g", reference=b"{}")

    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.tflite
def test_the_built_in_bundle_computes_what_it_promises() -> None:
    """Golden readings give the golden features and scores on this machine's runtime."""
    bundle, scorer = load_bundle(BUILT_IN)

    found = self_test(bundle.manifest, scorer, bundle.golden, SystemClock())

    assert found.rows == len(bundle.golden["scores"])
    assert found.worst <= bundle.manifest.tolerance


def self_test_of(path: Path) -> None:
    """Load a bundle and test it."""
    bundle, scorer = load_bundle(path)
    self_test(bundle.manifest, scorer, bundle.golden, SystemClock())


@pytest.mark.tflite
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(lambda f: f.reverse(), "is promised", id="features in another order"),
        pytest.param(
            lambda f: (f[0].update(statistic="mean"), f[1].update(statistic="last")),
            "temperature.mean",
            id="statistics the other way round",
        ),
        pytest.param(
            lambda f: f[0].update(statistic="max"), "temperature.last_5m, which is no", id="another statistic"
        ),
    ],
)
def test_a_swapped_feature_cannot_pass(
    tmp_path: Path, edit: Callable[[list[dict[str, object]]], None], message: str
) -> None:
    """A manifest whose features are not those of the training fails its own golden samples, or its own reference."""
    path = repacked(tmp_path, in_manifest(lambda m: edit(m["features"])))

    with pytest.raises(BundleMismatchError, match=message):
        self_test_of(path)


@pytest.mark.tflite
def test_another_model_cannot_pass() -> None:
    """A model that runs but computes something else fails its golden scores."""
    bundle, scorer = load_bundle(BUILT_IN)
    off = {**bundle.golden, "scores": 1 - bundle.golden["scores"].astype(np.float32)}

    with pytest.raises(BundleMismatchError, match="golden score is off"):
        self_test(bundle.manifest, scorer, off, SystemClock())


@pytest.mark.tflite
def test_a_slow_model_is_refused() -> None:
    """The limit of the manifest is measured on this machine."""
    bundle, scorer = load_bundle(BUILT_IN)
    strict = dataclasses.replace(bundle.manifest, limits=dataclasses.replace(bundle.manifest.limits, latency_us=1e-9))

    with pytest.raises(BundleError, match="a row takes"):
        self_test(strict, scorer, bundle.golden, SystemClock())


@pytest.mark.tflite
def test_a_self_test_in_a_child_tells_its_reason(tmp_path: Path) -> None:
    """The parent lives, and says what the child said."""
    verify_in_child(BUILT_IN)

    with pytest.raises(BundleError, match=r"the self-test failed: .*model.tflite is"):
        verify_in_child(repacked(tmp_path, flip("model.tflite")))


@pytest.mark.tflite
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 64, 65, 511, 512, 513, 1100])
def test_a_batch_of_any_size_scores_as_its_rows_do(rows: int) -> None:
    """Padding and splitting change no score."""
    bundle, scorer = load_bundle(BUILT_IN)
    width = len(bundle.manifest.features) + len(bundle.manifest.masks)
    inputs = np.random.default_rng(rows).normal(0, 2, (rows, width)).astype(np.float32)

    together = scorer.score(inputs)

    single = [scorer.score(row[None, :])[0] for row in inputs[:50]]
    assert together[:50].tolist() == pytest.approx(single, abs=1.01 / 256)
    assert len(together) == rows


@pytest.mark.tflite
def test_a_runtime_is_probed_and_not_only_imported() -> None:
    """One of the runtimes computes the known answer; the others say why not."""
    found = {}
    for name in RUNTIMES:
        try:
            found[name] = probe(name)
        except ScorerError as error:
            found[name] = str(error)

    assert any(answer[0].isdigit() for answer in found.values())
    assert all(answer for answer in found.values())


@pytest.mark.tflite
def test_the_c_library_computes_what_the_interpreter_does() -> None:
    """The fallback for machines without an Interpreter package passes the same golden samples."""
    bundle, scorer = load_bundle(BUILT_IN, runtime="c-library")
    _, usual = load_bundle(BUILT_IN)
    width = len(bundle.manifest.features) + len(bundle.manifest.masks)
    inputs = np.random.default_rng(1).normal(0, 1, (75, width)).astype(np.float32)

    found = self_test(bundle.manifest, scorer, bundle.golden, SystemClock())

    assert found.runtime.startswith("c-library")
    assert np.abs(scorer.score(inputs) - usual.score(inputs)).max() <= bundle.manifest.tolerance


@pytest.mark.tflite
def test_what_is_no_model_is_refused_by_a_working_runtime() -> None:
    """Random bytes are a BundleError, and the process lives."""
    with pytest.raises(BundleError, match="refuses the model"):
        load_engine(b"TFL3 this is no model at all, but long enough to be read" * 10)
