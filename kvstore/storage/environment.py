"""One open LMDB file: its handles, its readers, its room to grow.

A backend that is replaced goes on serving the readers it has; the last of them closes it.
Invariants: the map is never resized, and the file never closed, while a read transaction is open; it is closed once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lmdb

from kvstore.storage.durable import reserve
from kvstore.storage.errors import BackendDamaged, StorageError
from kvstore.storage.meta_pages import stamp
from kvstore.storage.resident import mapped_bytes, release
from kvstore.storage.sync_mark import CURE, Stamp
from kvstore.storage.table import ReadView

MAX_TABLES = 32
# So many bytes of the file may count as this process's memory, beside the programs and libraries that it began with.
RESIDENT_BYTES = 8 << 20
# The same between two commits, where only reads come.
READ_BYTES = 48 << 20


class EnvironmentClosed(StorageError):
    """The last reader of a file that was replaced has gone; whoever wants to read takes the one in its place."""


class Environment:
    """An LMDB environment on one file, without LMDB's own fsyncs."""

    def __init__(self, path: Path, map_bytes: int) -> None:
        """Open or make the file. BackendDamaged if LMDB can't use it."""
        self.path = path
        self.env = _open(path, map_bytes)
        self.handles: dict[str, Any] = {}
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._page_bytes: int = self.env.stat()["psize"]
        self._map_bytes: int = self.env.info()["map_size"]
        self._reserved = 0
        self._resident = mapped_bytes() + RESIDENT_BYTES
        self._lock = threading.Lock()  # guards the four below
        self._readers = 0
        self._retired = False
        self._closed = False

    def transaction(self) -> int:
        """Id of the last committed transaction."""
        identity: int = self.env.info()["last_txnid"]
        return identity

    def stamp(self, transaction: int) -> Stamp | None:
        """What the file looks like with that transaction, for the sync mark. OSError."""
        return stamp(self._fd, transaction)

    def size(self) -> int:
        """Bytes of the file that LMDB has used so far."""
        pages: int = self.env.info()["last_pgno"] + 1
        return pages * self._page_bytes

    @property
    def map_bytes(self) -> int:
        """Bytes of address space."""
        return self._map_bytes

    def page_bytes(self) -> int:
        """Bytes of a page."""
        return self._page_bytes

    @contextmanager
    def read(self) -> Iterator[ReadView]:
        """A read transaction for the calling thread. EnvironmentClosed."""
        with self.hold():
            transaction = self.env.begin()
            try:
                yield ReadView(transaction, self.handles)
            finally:
                transaction.abort()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the file open and its map in place. EnvironmentClosed: a thread may come here after retire()."""
        with self._lock:
            if self._closed:
                raise EnvironmentClosed(f"{self.path}: closed, another file is in its place; ask again")
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                self._close_unread()

    def retire(self) -> None:
        """Close as soon as nobody reads. No write transaction may be open."""
        with self._lock:
            self._retired = True
            self._close_unread()

    def grow(self) -> None:
        """Double the map once three quarters of it are used. Between write transactions; waits for the next time if
        somebody reads."""
        if self.size() * 4 < self._map_bytes * 3:
            return
        with self._lock:
            if self._readers == 0:
                self.env.set_mapsize(2 * self._map_bytes)
                self._map_bytes *= 2

    def reserve(self, headroom: int) -> None:
        """Take disk blocks for what the next commits will add, so that a full disk shows before them. OSError."""
        size = self.size()
        if size + headroom // 2 > self._reserved:
            reserve(self._fd, size, headroom)
            self._reserved = size + headroom

    def swollen(self) -> bool:
        """Whether what was read through the map since it was last given back is more than READ_BYTES."""
        return mapped_bytes() > self._resident - RESIDENT_BYTES + READ_BYTES

    def release_pages(self) -> None:
        """Give the pages back that were read through the map, once they are more than RESIDENT_BYTES. Any thread."""
        if mapped_bytes() > self._resident:
            with suppress(EnvironmentClosed), self.hold():
                release(self.path)

    def _close_unread(self) -> None:
        """Close it if that is due. Once: by a second time the descriptor would be another file's."""
        if self._retired and not self._closed and self._readers == 0:
            self._closed = True
            self.env.close()
            os.close(self._fd)


@contextmanager
def readable(path: str | os.PathLike[str]) -> Iterator[None]:
    """What LMDB says of a damaged page comes out as BackendDamaged."""
    try:
        yield
    except lmdb.Error as error:
        raise BackendDamaged(f"{path}: LMDB can't read it ({error}); restore the backend, {CURE}") from error


def _open(path: Path, map_bytes: int) -> Any:
    try:
        return lmdb.open(
            str(path),
            subdir=False,
            map_size=map_bytes,
            max_dbs=MAX_TABLES,
            sync=False,
            metasync=False,
            readahead=False,
            meminit=False,
            mode=0o600,
        )
    except lmdb.Error as error:
        raise BackendDamaged(f"{path}: LMDB can't open it ({error}); restore the backend, {CURE}") from error
