"""Giving the pages that LMDB has freed back to the file system, while the backend is read and written.

LMDB never makes its file smaller. So the last commit is copied without free pages, which takes as long as it takes, in
a thread; the tables note which keys are written meanwhile; these follow into the copy, a slice a turn, until hardly
any are left; then the copy takes the file's name, and the open transaction goes on in it.

    journal on → commit → copy()* → catch_up() … commit() → sync()* → [commits held] catch_up() commit() → take_name()*
      → catch_up() → switch()                                                            * in a worker thread

Invariants: a key's row in the copy is the copied one, or was read from the backend after the key was last written; no
commit of the old file comes after the state that the new one took its name with; whichever file has the name is wholly
synced.
Faults assumed: a crash anywhere leaves one whole file under the name (and the log from what it holds on); a full disk
ends the shrinking and nothing else, until the copy has the name: from there to the switch, whatever fails stops the
backend, whose open transaction is that of a file without a name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb

from kvstore.storage.copying import copy_environment
from kvstore.storage.environment import Environment
from kvstore.storage.errors import NoSpace, StorageError, is_full

if TYPE_CHECKING:
    from kvstore.storage.backend import Backend
    from kvstore.storage.table import Table

# LMDB's commit takes longer the more it has to write: this many rows are some milliseconds.
COMMIT_ROWS = 1_000


class Shrinking:
    """One shrinking of one backend. Methods are the loop's unless they say otherwise."""

    def __init__(self, backend: Backend, path: Path) -> None:
        """Begins to note what is written; see Backend.shrink. path: of the copy, on the same file system."""
        self._backend = backend
        self._path = path
        self._new: Environment | None = None
        self._transaction: Any = None
        self._rows = 0
        self.named = False
        discard(path)

    def copy(self) -> None:
        """Copy a commit that came after the beginning. For a worker thread. NoSpace, StorageFailed."""
        source = self._backend.environment
        with source.hold():
            copy_environment(source.env, self._path)
        # What the copy read is still mapped; the new file's share of this process's memory is measured from here on.
        source.release_pages()
        self._new = Environment(self._path, source.map_bytes)

    def catch_up(self, budget: int) -> bool:
        """Bring no more than so many rows over; True when the copy holds all that the backend holds."""
        for table in self._backend.tables():
            table.flush()
            journal = table.journal
            if journal is None:
                raise StorageError("defragment: given up, a snapshot took the backend's place; ask again")
            while journal and budget:
                budget -= 1
                self._bring(table, journal.pop())
            if journal:
                return False
        return True

    def _bring(self, table: Table, key: bytes) -> None:
        # Once the copy has the name, the state it took it with must stay the last committed one: the mark names it.
        if self._rows >= COMMIT_ROWS and not self.named:
            self.commit()
        value = table.get(key)
        try:
            transaction, db = self._open(table.name)
            if value is None:
                transaction.delete(key, b"", db)
            else:
                transaction.put(key, value, True, True, False, db)
        except lmdb.Error as error:
            raise self._failed(error) from error
        self._rows += 1

    def _open(self, name: str) -> tuple[Any, Any]:
        new = self._environment()
        if self._transaction is None:
            new.grow()
            self._transaction = new.env.begin(write=True)
        if name not in new.handles:
            new.handles[name] = new.env.open_db(name.encode(), txn=self._transaction)
        return self._transaction, new.handles[name]

    def _environment(self) -> Environment:
        assert self._new is not None, "copy() comes first"
        return self._new

    def commit(self) -> None:
        """End the copy's transaction. NoSpace, StorageError."""
        transaction, self._transaction, self._rows = self._transaction, None, 0
        if transaction is None:
            return
        try:
            transaction.commit()
        except lmdb.Error as error:
            raise self._failed(error) from error

    def sync(self) -> None:
        """Have what was brought over so far on the disk. For a worker thread. StorageError."""
        new = self._environment()
        try:
            with new.hold():
                new.env.sync(True)
        except lmdb.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: lmdb.Error) -> StorageError:
        """The copy is of no use any more. The backend is as good as before, or stopped if the copy has its name."""
        if self._stranded:
            return self._backend.cut_off(error)
        full = isinstance(error, lmdb.MapFullError) or "No space left" in str(error) or self._disk_is_full()
        return (NoSpace if full else StorageError)(f"defragment: can't write {self._path}: {error}; free space there")

    @property
    def _stranded(self) -> bool:
        """Whether the copy has the name and the backend has not gone on in it, nor in a snapshot."""
        return self.named and self._new is not None and self._backend.shrinks(self)

    def _disk_is_full(self) -> bool:
        try:
            self._environment().reserve(COMMIT_ROWS * self._environment().page_bytes())
        except OSError as error:
            return is_full(error)
        return False

    def take_name(self) -> None:
        """The copy, as committed, becomes the backend's file. For a worker thread, while commits are held.

        StorageFailed.
        """
        self.sync()
        new = self._environment()
        with new.hold():
            self._backend.rename_over(self._path, new)
        self.named = True

    def switch(self) -> Environment:
        """The backend goes on in the copy; the old file's environment, to be retired in a worker thread.

        Right after a catch_up() that returned True, in the same turn of the loop. StorageError, StorageFailed.
        """
        if not self._backend.shrinks(self):
            raise StorageError("defragment: given up, a snapshot took the backend's place; ask again")
        try:
            for table in self._backend.tables():
                self._open(table.name)
        except lmdb.Error as error:
            raise self._failed(error) from error
        transaction, self._transaction = self._transaction, None
        new, self._new = self._environment(), None
        return self._backend.go_on_in(new, transaction)

    def abandon(self) -> None:
        """Throw the copy away, unless it is the backend by now.

        If it has the name, and the backend has not gone on in it, this stops the backend.
        """
        if self._stranded:
            self._backend.cut_off("it was given up")
        self._backend.stop_journal(self)
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction = None
        if self._new is not None:
            self._new.retire()
            self._new = None
        if not self.named:
            discard(self._path)


def discard(path: Path) -> None:
    """Remove a copy and what belongs to it."""
    for name in (path.name, f"{path.name}-lock", f"{path.name}.tmp"):
        path.with_name(name).unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Give a copy with its lock file the name of the backend's file. OSError."""
    os.rename(source, target)
    # The old lock file belongs to the old file: its readers, if there are any left, keep it without its name.
    os.rename(f"{source}-lock", f"{target}-lock")
