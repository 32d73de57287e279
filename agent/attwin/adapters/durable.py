"""Files and folders that are there after a power cut."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable.

    Raises:
        OSError: The disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
