"""Files and folders that are there after a power cut, and that only their user and group can read."""

import errno
import os
import stat
from pathlib import Path

GROUP_READS = 0o640
"""The mode of what the agent keeps: its group may read it, others may not."""


def open_or_make(path: Path, flags: int, *, mode: int = GROUP_READS) -> int:
    """Open a file and return its descriptor; where there is none it is made with a mode whatever the umask is.

    A file that is there keeps its mode: somebody may have chosen it.

    Raises:
        OSError: It can be neither opened nor made.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, mode)
    return descriptor


def make(path: Path, *, like: Path | None = None) -> None:
    """Make an empty file where there is none; SQLite gives its log the same mode.

    Args:
        path: The file.
        like: The file whose mode it gets; where there is none it is for user and group.

    Raises:
        OSError: It cannot be made.
    """
    mode = stat.S_IMODE(like.stat().st_mode) if like and like.exists() else GROUP_READS
    os.close(open_or_make(path, os.O_RDWR, mode=mode))


def is_full(error: OSError) -> bool:
    """Return whether an error says that there is no space, so that what failed can be tried again later."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


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
