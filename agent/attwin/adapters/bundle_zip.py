"""Bundles: one zip of stored entries, read in place, never extracted."""

import dataclasses
import hashlib
import io
import types
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from attwin.adapters.arrays import unpack_arrays
from attwin.core.drift import Reference, ReferenceSpec
from attwin.core.errors import BundleError, BundleMismatchError
from attwin.core.manifest import CARD, GOLDEN, MANIFEST, MODEL, REFERENCE, FileSpec, Manifest, check

_MOST_BYTES = 64 * 1024 * 1024
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A bundle whose files are what its manifest says.

    Attributes:
        manifest: The contract.
        model: The bytes of the .tflite file.
        golden: Raw readings with the features and scores that they must give.
        reference: Histograms of the training rows; None where the bundle has none.
        card: The page for people; empty where the bundle has none.
        sha256: Of the whole file.
    """

    manifest: Manifest
    model: bytes
    golden: Mapping[str, NDArray[np.generic]]
    reference: Reference | None
    card: str
    sha256: str


def read_bundle(path: Path) -> Bundle:
    """Return the bundle in ``path``, its hashes checked.

    Raises:
        BundleError: It is missing, is no bundle, or its manifest asks for what this agent cannot do.
        BundleMismatchError: A file differs from what the manifest says.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        members = _members(raw)
        manifest = _manifest(members.get(MANIFEST, b""))
        check(manifest)
        for name, spec in manifest.files.items():
            _demand_same(name, members.get(name), spec)
        golden = _arrays(members[GOLDEN])
        reference = _reference(members[REFERENCE], manifest)
    except BundleError as error:
        raise type(error)(f"{path}: {error}") from error
    return Bundle(
        manifest=manifest,
        model=members[MODEL],
        golden=golden,
        reference=reference,
        card=members.get(CARD, b"").decode(errors="replace"),
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def write_bundle(
    path: Path, manifest: Manifest, *, model: bytes, golden: bytes, reference: bytes, card: bytes = b""
) -> None:
    """Write a bundle whose manifest gets size and hash of each file. The same input gives the same bytes."""
    files = {MODEL: model, GOLDEN: golden, REFERENCE: reference} | ({CARD: card} if card else {})
    manifest = dataclasses.replace(manifest, files={name: file_spec(body) for name, body in files.items()})
    check(manifest)
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    partial = path.with_name(path.name + ".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, body in {MANIFEST: text, **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), body)
    partial.replace(path)


def file_spec(body: bytes) -> FileSpec:
    """Return size and hash of a file."""
    return FileSpec(size=len(body), sha256=hashlib.sha256(body).hexdigest())


def _members(raw: bytes) -> dict[str, bytes]:
    if len(raw) > _MOST_BYTES:
        raise BundleError(f"{len(raw)} bytes; a bundle has at most {_MOST_BYTES}")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            wrong = [n for n in names if n not in (MANIFEST, MODEL, GOLDEN, REFERENCE, CARD)]
            if wrong or len(set(names)) != len(names):
                raise BundleError(f"a zip with {', '.join(sorted(wrong or names))[:200]}; not an attwin bundle")
            if any(e.compress_type != zipfile.ZIP_STORED or e.file_size > len(raw) for e in entries):
                raise BundleError("a zip with compressed entries; a bundle stores them")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BundleError(f"not an attwin bundle: {error}") from error


def _manifest(text: bytes) -> Manifest:
    if not text:
        raise BundleError(f"no {MANIFEST} in it; not an attwin bundle")
    try:
        plain = msgspec.json.decode(text)
        unknown = list(_unknown_keys(Manifest, plain, ""))
        if unknown:
            raise BundleError(f"the manifest has unknown keys: {', '.join(unknown)}")
        return msgspec.convert(plain, Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"the manifest is not of format 1: {error}") from error


def _unknown_keys(kind: Any, value: object, where: str) -> Iterator[str]:  # noqa: ANN401 -- a type
    """Yield the paths of keys that the type does not have; msgspec passes over them in dataclasses."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        yield from _unknown_keys(next(a for a in arguments if a is not type(None)), value, where)
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_keys(arguments[0], item, f"{where}[{index}]")
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _unknown_keys(arguments[1], item, f"{where}.{key}")
    elif dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        for key, item in value.items():
            if key in hints:
                yield from _unknown_keys(hints[key], item, f"{where}.{key}")
            else:
                yield f"{where}.{key}".lstrip(".")


def _demand_same(name: str, body: bytes | None, spec: FileSpec) -> None:
    if body is None:
        raise BundleMismatchError(f"{name} is missing")
    found = file_spec(body)
    if found != spec:
        raise BundleMismatchError(
            f"{name} is {found.size} bytes with SHA-256 {found.sha256[:12]}..., "
            f"the manifest says {spec.size} bytes with {spec.sha256[:12]}..."
        )


def _reference(body: bytes, manifest: Manifest) -> Reference | None:
    try:
        spec = msgspec.json.decode(body, type=ReferenceSpec)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{REFERENCE} cannot be read: {error}") from error
    return Reference(spec, manifest.input_keys()) if spec != ReferenceSpec() else None


def _arrays(body: bytes) -> dict[str, NDArray[np.generic]]:
    try:
        return unpack_arrays(body)
    except ValueError as error:
        raise BundleError(f"{GOLDEN} cannot be read: {error}") from error
