"""LMDB's two meta pages, and how to go back to the older one.

LMDB writes a commit's pages first and then one of the two meta pages, in turn. Without an fsync in between, a crash of
the machine may keep the meta page and lose pages that it points to; LMDB could not tell. The other meta page still
stands for the commit before, none of whose pages were written over: pages that a commit frees are used again only by
the second commit after it. So the older state is whole as long as one unsynced commit at most was made on top of it.
Format: LMDB 0.9, data version 1 (lmdb.h, mdb.c: MDB_page, MDB_meta), as the machine's byte order has it.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

from google_crc32c import value as _crc32c

from kvstore.storage.durable import write_at
from kvstore.storage.errors import BackendDamaged
from kvstore.storage.sync_mark import ANY, CURE, Stamp

_MAGIC = 0xBEEFC0DE
_VERSION = 1
_PAGE_HEADER = 16
_PAGE_NUMBER = struct.Struct("=Q")
_HEAD = struct.Struct("=IIQQ")  # magic, version, address, map size
_DB_BYTES = 48
_PAGE_SIZE = struct.Struct("=I")  # md_pad of the free list's MDB_db
_TAIL = struct.Struct("=QQ")  # last page, transaction id
_TAIL_AT = _PAGE_HEADER + _HEAD.size + 2 * _DB_BYTES
_META_BYTES = _TAIL_AT + _TAIL.size


class MetaPage(NamedTuple):
    """One meta page that can be read."""

    transaction: int
    number: int  # 0 or 1
    data: bytes  # page header and meta

    @property
    def checksum(self) -> int:
        """Of all but the page's own number, which settle() changes."""
        return int(_crc32c(self.data[_PAGE_NUMBER.size :]))


def stamp(fd: int, transaction: int) -> Stamp | None:
    """What the file looks like now, for the mark; None if neither meta page is that transaction's. OSError."""
    for page in _read(fd, _page_size(fd)):
        if page.transaction == transaction:
            return Stamp(os.fstat(fd).st_size, page.checksum)
    return None


def is_settled(path: Path, synced: int, known: Stamp | None = None) -> bool:
    """Whether LMDB would open that state as the file is. BackendDamaged if the file has lost it; OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pages = _read(fd, _page_size(fd))
        if synced == ANY:
            return bool(pages)
        chosen = [page for page in pages if page.transaction == synced]
        if chosen and known is not None:
            chosen = _as_known(path, fd, chosen, known)
        return bool(chosen) and max(pages).transaction == synced
    finally:
        os.close(fd)


def settle(path: Path, synced: int, known: Stamp | None = None) -> None:
    """Make `synced`, or whatever is there if it is ANY, the state that LMDB will open. BackendDamaged, OSError.

    known: what the file looked like when it was synced. Does nothing when it is so already; may be interrupted and
    repeated.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        size = _page_size(fd)
        pages = _read(fd, size)
        if synced == ANY and pages:
            synced = max(pages).transaction
        chosen = [page for page in pages if page.transaction == synced]
        if not chosen:
            there = ", ".join(str(page.transaction) for page in pages) or "none"
            raise BackendDamaged(
                f"{path}: transaction {synced} was synced, but the file holds {there}; restore the backend, {CURE}"
            )
        if known is not None:
            chosen = _as_known(path, fd, chosen, known)
        _make_newest(fd, size, chosen[0], pages)
    finally:
        os.close(fd)


def _as_known(path: Path, fd: int, pages: list[MetaPage], known: Stamp) -> list[MetaPage]:
    """The pages that are as they were. BackendDamaged if none is, or the file was cut short."""
    size = os.fstat(fd).st_size
    if size < known.size:
        raise BackendDamaged(f"{path}: {known.size} bytes were synced, {size} are left; restore the backend, {CURE}")
    whole = [page for page in pages if page.checksum == known.meta]
    if not whole:
        raise BackendDamaged(
            f"{path}: the meta page of transaction {pages[0].transaction} does not match its checksum;"
            f" restore the backend, {CURE}"
        )
    return whole


def _make_newest(fd: int, size: int, chosen: MetaPage, pages: list[MetaPage]) -> None:
    older = [page for page in pages if page.transaction < chosen.transaction]
    same = [page for page in pages if page.checksum == chosen.checksum]
    if len(older) + len(same) == 2:
        return
    other = 1 - chosen.number
    write_at(fd, [_PAGE_NUMBER.pack(other), chosen.data[_PAGE_NUMBER.size :]], other * size)
    os.fdatasync(fd)


def _page_size(fd: int) -> int:
    data = os.pread(fd, _META_BYTES, 0)
    if len(data) == _META_BYTES and _HEAD.unpack_from(data, _PAGE_HEADER)[:2] == (_MAGIC, _VERSION):
        (size,) = _PAGE_SIZE.unpack_from(data, _PAGE_HEADER + _HEAD.size)
        return int(size)
    return mmap.PAGESIZE


def _read(fd: int, size: int) -> list[MetaPage]:
    pages = []
    for number in (0, 1):
        data = os.pread(fd, _META_BYTES, number * size)
        if len(data) == _META_BYTES and _HEAD.unpack_from(data, _PAGE_HEADER)[:2] == (_MAGIC, _VERSION):
            pages.append(MetaPage(_TAIL.unpack_from(data, _TAIL_AT)[1], number, data))
    return pages
