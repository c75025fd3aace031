"""Stands in for kvstore.storage.Backend, whose LMDB is C: the same contract over dicts.

What a crash leaves is what the real one promises: the state of the last finished sync(), or, when the crash came in the
middle of a sync, that of the commit it was for; a replacement is there whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.memory_tables import MemoryTable
from sim_disk import Disk
from sim_world import PowerCut
from sortedcontainers import SortedDict

from kvstore.invariant import invariant
from kvstore.storage.errors import BackendDamaged, NoSpace, StorageFailed

Undo = list[tuple[str, bytes, bytes | None]]


class Tables:
    """What outlives a process: the tables, and how to go back to the synced state."""

    def __init__(self) -> None:
        self.data: dict[str, SortedDict] = {}
        self.open: Undo = []  # of the open transaction
        self.committed: Undo = []  # of the one that waits for its sync

    def dict(self, name: str) -> SortedDict:
        """The rows of a table."""
        found = self.data.get(name)
        if found is None:
            found = self.data[name] = SortedDict()
        return found

    def back(self, undo: Undo) -> None:
        """Take writes back, the last first."""
        for name, key, old in reversed(undo):
            rows = self.dict(name)
            if old is None:
                rows.pop(key, None)
            else:
                rows[key] = old
        undo.clear()

    def copy(self) -> dict[str, dict[bytes, bytes]]:
        """All rows as of the last commit."""
        copied = {name: dict(rows) for name, rows in self.data.items()}
        for name, key, old in reversed(self.open):
            if old is None:
                copied[name].pop(key, None)
            else:
                copied[name][key] = old
        return copied


class SimTable(MemoryTable):
    """One table in the open transaction."""

    def __init__(self, owner: SimBackend, name: str) -> None:
        super().__init__()
        self._owner = owner
        self._name = name
        self.rebind()

    def rebind(self) -> None:
        """The tables' content is another one."""
        self.data = self._owner.tables.dict(self._name)

    def put(self, key: bytes, value: bytes) -> None:
        self._note(key)
        super().put(key, value)

    def delete(self, key: bytes) -> bool:
        self._note(key)
        return super().delete(key)

    def _note(self, key: bytes) -> None:
        self._owner.check_write()
        self._owner.tables.open.append((self._name, key, self.data.get(key)))


class _View:
    """A copy's tables."""

    def __init__(self, copied: dict[str, dict[bytes, bytes]]) -> None:
        self._copied = copied

    def table(self, name: str) -> Any:
        return self._copied.get(name, {})


class SimBackend:
    """One life's backend over tables that outlive it."""

    def __init__(self, disk: Disk, tables: Tables, copies: dict[bytes, dict[str, dict[bytes, bytes]]]) -> None:
        """copies: every copy of a backend ever made, by the bytes of the file that stands for it."""
        self.disk = disk
        self.tables = tables
        self.copies = copies
        self.space_short = False
        self._handles: dict[str, SimTable] = {}
        self._failed = False
        tables.back(tables.open)
        tables.back(tables.committed)

    def table(self, name: str) -> SimTable:
        found = self._handles.get(name)
        if found is None:
            found = self._handles[name] = SimTable(self, name)
        return found

    def check_write(self) -> None:
        """A write: the machine may be off."""
        if self.disk.dead:
            raise PowerCut
        self._check()

    def _check(self) -> None:
        if self._failed:
            raise StorageFailed("backend: an earlier call failed")

    @property
    def dirty(self) -> bool:
        return bool(self.tables.open)

    @property
    def needs_sync(self) -> bool:
        return bool(self.tables.committed)

    def commit(self) -> None:
        self.check_write()
        invariant(not self.needs_sync, "a commit before the one before it is synced")
        if not self.dirty:
            return
        if self.disk.full and self.disk.world.random.random() < 0.1:
            self._failed = True
            raise NoSpace("backend: can't commit: no space left")
        self.disk.step()
        self.tables.committed, self.tables.open = self.tables.open, []

    def sync(self) -> None:
        self._check()
        if not self.tables.committed:
            return
        try:
            self.disk.step()
        except PowerCut:
            if self.disk.world.random.random() < 0.5:
                self.tables.committed = []  # the mark was written; nobody heard of it
            raise
        if self.disk.fail_sync:
            self.disk.fail_sync = False
            self._failed = True
            raise StorageFailed("backend: fsync failed: Input/output error")
        self.tables.committed = []

    def take_space(self) -> None:
        self._check()
        self.space_short = self.disk.full

    def copy_to(self, path: Path) -> int:
        self._check()
        name = len(self.copies).to_bytes(8, "big")
        self.copies[name] = self.tables.copy()
        inode = self.disk.open(str(path), 0o100)
        inode.write(0, name)
        self.disk.sync(inode)
        return len(name)

    def open_view(self, path: Path) -> Any:
        """For kvstore.storage.open_view."""
        return open_view(self.copies, self.disk, path)

    def put_in_place(self, path: Path) -> SimBackend:
        self._check()
        self._placed = bytes(self.disk.inode(str(path)).data)
        if self._placed not in self.copies:
            raise BackendDamaged(f"{path}: not a backend file")
        self.disk.step()
        self.disk.unlink(str(path))
        return self

    def swollen(self) -> bool:
        return False

    def give_up_shrinking(self) -> None:
        """Nothing is ever shrunk here."""

    def retire(self) -> None:
        """There is no old file."""

    def take_over(self, new: SimBackend) -> SimBackend:
        name, tables = self._placed, self.tables
        tables.open, tables.committed = [], []
        tables.data = {table: SortedDict(rows) for table, rows in self.copies[name].items()}
        for handle in self._handles.values():
            handle.rebind()
        return self

    def size(self) -> int:
        return 4096

    size_in_use = size

    def close(self) -> None:
        if not self._failed:
            self.tables.back(self.tables.open)
            self.sync()
        self._failed = True


@contextmanager
def open_view(copies: dict[bytes, dict[str, dict[bytes, bytes]]], disk: Disk, path: Path) -> Iterator[_View]:
    """The tables in a file that copy_to made."""
    name = bytes(disk.inode(str(path)).data)
    if name not in copies:
        raise BackendDamaged(f"{path}: not a backend file")
    yield _View(copies[name])


Opener = Callable[..., SimBackend]
