"""Trust by The Update Framework: what a request brings is checked by python-tuf, and made durable.

python-tuf reads its metadata from a server; here it reads them from the request alone. It never syncs what it writes:
without that a power cut would bring an older trust back, and with it an older model.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from attwin.adapters.durable import sync
from attwin.core.errors import UpdateRefusedError

FLOORS = "attwin-floors"
"""The field of the root that lowers floors."""
_NOT_FOUND = 404
_BASE = "request:/"
_MOST_ROOT, _MOST_TIMESTAMP, _MOST_SNAPSHOT, _MOST_TARGETS = 64_000, 16_384, 64_000, 512_000
_WHY = {
    ExpiredMetadataError: "the metadata has expired",
    BadVersionNumberError: "the metadata is older than what is trusted here",
    UnsignedMetadataError: "the metadata is not signed by enough trusted keys",
    LengthOrHashMismatchError: "the metadata files do not belong together",
}


class _RequestFetcher(FetcherInterface):
    """Fetches what a request has brought."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._metadata = metadata

    def _fetch(self, url: str) -> Iterator[bytes]:
        text = self._metadata.get(url.removeprefix(_BASE))
        if text is None:
            raise DownloadHTTPError(f"the request has no {url.removeprefix(_BASE)}", _NOT_FOUND)
        yield text.encode()

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[Any]:
        """Give a file of the request.

        The library's own catches what is raised when the iterator is made, and a generator raises later.
        """
        body = b"".join(self._fetch(url))
        if len(body) > max_length:
            raise DownloadError(f"{url.removeprefix(_BASE)} has {len(body)} bytes; at most {max_length}")
        with tempfile.SpooledTemporaryFile(max_size=max_length + 1) as file:
            file.write(body)
            file.seek(0)
            yield file


def check_request(
    trust: Path, root: bytes, metadata: Mapping[str, str], target: str, *, now_ms: int
) -> dict[str, object]:
    """Check the metadata of a request, and return what they say of its target.

    Args:
        trust: Where what is trusted is kept.
        root: The pinned root.
        metadata: The texts of the metadata files by their names.
        target: The path of the target.
        now_ms: A time that has certainly passed, by which what has expired is refused.

    Raises:
        UpdateRefusedError: It cannot be trusted.
        OSError: What is trusted cannot be kept.
    """
    trust.mkdir(parents=True, exist_ok=True)
    try:
        updater = Updater(
            str(trust),
            _BASE,
            fetcher=_RequestFetcher(metadata),
            config=UpdaterConfig(
                root_max_length=_MOST_ROOT,
                timestamp_max_length=_MOST_TIMESTAMP,
                snapshot_max_length=_MOST_SNAPSHOT,
                targets_max_length=_MOST_TARGETS,
            ),
            bootstrap=root,
        )
        # by the gateway's clock, which knows what has certainly passed, and not by the machine's
        updater._trusted_set.reference_time = datetime.fromtimestamp(now_ms / 1000, UTC)  # noqa: SLF001 -- there is no other way to say what time it is
        updater.refresh()
        found = updater.get_targetinfo(target)
    except (RepositoryError, DownloadError) as error:
        why = next((text for kind, text in _WHY.items() if isinstance(error, kind)), "the metadata cannot be trusted")
        raise UpdateRefusedError(f"{why}: {str(error).splitlines()[0][:200]}") from error
    finally:
        # also what was trusted on the way to something that cannot be
        _sync_all(trust)
    if found is None:
        raise UpdateRefusedError(f"the repository has no target `{target[:100]}`")
    sha256 = found.hashes.get("sha256")
    if sha256 is None:
        raise UpdateRefusedError(f"the target `{target}` has no SHA-256")
    trusted = updater._trusted_set.root  # noqa: SLF001 -- the root that was trusted just now
    return {
        "path": found.path,
        "size": found.length,
        "sha256": sha256,
        "custom": found.custom,
        "root_version": trusted.version,
        "floors": trusted.unrecognized_fields.get(FLOORS),
    }


def read_metadata(path: Path) -> tuple[Mapping[str, str], str]:
    """Return metadata and source of a request that was kept in a file.

    Raises:
        UpdateRefusedError: It is none.
    """
    try:
        request = json.loads(path.read_bytes())
        metadata = request["metadata"]
        if not all(isinstance(text, str) for text in metadata.values()):
            raise UpdateRefusedError("`metadata` holds texts by the names of files")
        return metadata, str(request.get("source", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UpdateRefusedError(f"the request cannot be read: {error}") from error


def _sync_all(folder: Path) -> None:
    """Make files, links and names durable."""
    if not folder.is_dir():
        return
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink() and path.exists():
            sync(path)
    sync(folder.parent)
