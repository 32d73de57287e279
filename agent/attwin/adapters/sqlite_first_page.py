"""The first page of a database, made anew: without it SQLite reads nothing of all the others.

It holds the head of the file and the root of the table of the schema, whose rows lie on pages of their own. Only these
two are made anew; the rows of the schema, and with them where each table begins, are the file's own. Whether that was
right is for the caller to prove, by the checksum of the schema.

Source: https://www.sqlite.org/fileformat2.html, sections 1.3 and 1.6.
"""

import os
import struct
from pathlib import Path

from attwin.adapters.durable import make, sync

_PAGE_BYTES = 4_096
"""SQLite's own choice, which nothing of ours changes."""
_HEAD = struct.Struct(">16sH6B12I20x2I")
_TREE = struct.Struct(">BHHHBI")
_INTERIOR, _LEAF_START = 0x05, b"\x0d"
_LEAF_HEAD_BYTES = 8
_SCHEMA_COLUMNS = 5
_KINDS = (b"table", b"index", b"view")
_VARINT_BYTES = 9
_BITS = 0x7F


def rebuild_first_page(path: Path) -> bool:
    """Put a new first page into a file, and keep the old one beside it; return whether a schema was found for it.

    Raises:
        OSError: The disk does not give the old page, or does not take the new one.
    """
    leaves = _schema_leaves(path)
    if not leaves:
        return False
    with path.open("rb+") as file:
        old = file.read(_PAGE_BYTES)
        if not kept(path).exists():
            part = kept(path).with_name(kept(path).name + ".part")
            make(part, like=path)
            part.write_bytes(old)
            sync(part)
            part.rename(kept(path))
            sync(path.parent)
        file.seek(0)
        file.write(_first_page(leaves, pages=path.stat().st_size // _PAGE_BYTES))
    return True


def put_back(path: Path) -> None:
    """Make a file again what it was before ``rebuild_first_page``."""
    with path.open("rb+") as file:
        file.write(kept(path).read_bytes())
    sync(path)
    kept(path).unlink()


def kept(path: Path) -> Path:
    """Return where the old first page of a file is kept."""
    return path.with_name(f"page1-of-{path.name}")


def _schema_leaves(path: Path) -> list[tuple[int, int]]:
    """Return (last row, page) of every page with rows of the schema, in their order."""
    leaves = []
    with path.open("rb") as file:
        for number in range(2, path.stat().st_size // _PAGE_BYTES + 1):
            page = _page(file.fileno(), number)
            if page[:1] == _LEAF_START:
                last = _last_schema_row(page)
                if last is not None:
                    leaves.append((last, number))
    return sorted(leaves)


def _page(descriptor: int, number: int) -> bytes:
    """Return a page of a file; an empty one where the disk does not give it, for there are others."""
    try:
        return os.pread(descriptor, _PAGE_BYTES, (number - 1) * _PAGE_BYTES)
    except OSError:
        return b""


def _last_schema_row(page: bytes) -> int | None:
    """Return the number of the last row of a leaf; None where it holds anything else than rows of the schema."""
    (count,) = struct.unpack_from(">H", page, 3)
    row = None
    try:
        for (at,) in struct.iter_unpack(">H", page[_LEAF_HEAD_BYTES : _LEAF_HEAD_BYTES + 2 * count]):
            _, start = _varint(page, at)
            row, start = _varint(page, start)
            size, place = _varint(page, start)
            types = []
            while place < start + size:
                found, place = _varint(page, place)
                types.append(found)
            # an odd type from 13 on is a text of half as many bytes
            name = page[place : place + (types[0] - 13) // 2]
            if len(types) != _SCHEMA_COLUMNS or name not in _KINDS:
                return None
    except IndexError:
        return None
    return row


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    value = 0
    for place in range(at, at + _VARINT_BYTES):
        value = value << 7 | page[place] & _BITS
        if page[place] <= _BITS:
            return value, place + 1
    raise IndexError(at)


def _first_page(leaves: list[tuple[int, int]], *, pages: int) -> bytes:
    """Return the head of a file, and a root above some leaves."""
    page = bytearray(_PAGE_BYTES)
    # neither free pages nor the map of an automatic vacuum is told: both are for writers only
    head = _HEAD.pack(
        *(b"SQLite format 3\0", _PAGE_BYTES, 2, 2, 0, 64, 32, 32, 1, pages, 0, 0, 1, 4, 0, 0, 1, 0, 0, 0, 1, 0)
    )
    page[: len(head)] = head
    at = _PAGE_BYTES
    for i, (last, leaf) in enumerate(leaves[:-1]):
        cell = struct.pack(">I", leaf) + _as_varint(last)
        at -= len(cell)
        page[at : at + len(cell)] = cell
        struct.pack_into(">H", page, _HEAD.size + _TREE.size + 2 * i, at)
    _TREE.pack_into(page, _HEAD.size, _INTERIOR, 0, len(leaves) - 1, at, 0, leaves[-1][1])
    return bytes(page)


def _as_varint(value: int) -> bytes:
    """Return a number below 16,384 as it stands in a cell."""
    return bytes([value >> 7 | _BITS + 1, value & _BITS]) if value > _BITS else bytes([value])
