"""Named arrays as bytes and back: the .npz format, the same bytes for the same arrays."""

import io
import zipfile
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_TIME = (1980, 1, 1, 0, 0, 0)
_FAST = 1


def pack_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Return arrays as the bytes of an .npz file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=_FAST) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as body:
                np.save(body, array, allow_pickle=False)
    return packed.getvalue()


def unpack_arrays(body: bytes) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of an .npz file.

    Raises:
        ValueError: It is none, or holds objects.
    """
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"not an .npz file: {error}") from error
