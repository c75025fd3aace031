"""The applied state: LMDB tables that the apply loop reads and writes in one open transaction.

The log makes writes durable; the backend follows in batches. `commit` ends a batch without waiting for the disk, `sync`
waits in a worker thread and then names the batch in the sync mark.
Invariants: no commit before the one before it is synced; after any stop that was not a close(), the state that is
opened is the one that the mark names (see meta_pages.py), so the log must be kept from that state's applied index on;
a file gets the name data.mdb only when all of it is on the disk.
Faults assumed: process and machine stop anywhere; fsync fails (then nothing more is committed, and the next start goes
back to the mark); the disk is full; the file is cut short, or its meta pages or the mark rot. LMDB has no checksums:
rot in its other pages is not seen here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from kvstore.failpoints import armed, hit
from kvstore.invariant import invariant
from kvstore.storage import meta_pages
from kvstore.storage.copying import copy_environment, open_view
from kvstore.storage.durable import rename, sync_directory, sync_file
from kvstore.storage.environment import Environment, EnvironmentClosed, readable
from kvstore.storage.errors import NoSpace, StorageError, StorageFailed, from_os, is_full
from kvstore.storage.shrinking import Shrinking, move
from kvstore.storage.sync_mark import ANY, SyncMark
from kvstore.storage.table import ReadView, Table

__all__ = ["Backend", "ReadView", "open_synced", "open_view"]

MAP_BYTES = 64 << 30
HEADROOM_BYTES = 128 << 20


class BackendFile(NamedTuple):
    """path: where it is. in_place: whether the file that is open here is (still) the one at that path."""

    path: str
    in_place: Callable[[], bool]


class Backend:
    """Named tables in one LMDB file. All methods are the loop's, but for sync, read and copy_to."""

    def __init__(
        self, directory: Path, environment: Environment, mark: SyncMark, *, fsync: bool, headroom: int, map_bytes: int
    ) -> None:
        """Use open()."""
        self.space_short = False
        self._path = directory / "data.mdb"
        self._environment = environment
        self._mark = mark
        self._fsync = fsync
        self._headroom = headroom
        self._map_bytes = map_bytes
        self._tables: dict[str, Table] = {}
        self._failed: str | None = None
        self._syncing = threading.Lock()
        self._committed = environment.transaction()
        self._shrinking: Shrinking | None = None
        self._renamed = False  # data.mdb is the shrunk copy already, and this goes on in the old file for a moment
        self._begin()

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        map_bytes: int = MAP_BYTES,
        headroom_bytes: int = HEADROOM_BYTES,
        fsync: bool = True,
    ) -> Backend:
        """Open the backend, or make an empty one; what it holds then is durable.

        map_bytes: address space, not disk; doubled when three quarters are full. headroom_bytes: disk blocks taken
        ahead of the file's end. fsync=False: sync() waits for nothing (unsafe).
        BackendDamaged: the file is missing a state that was synced. NoSpace, StorageFailed.
        """
        folder = Path(directory)
        try:
            mark = _open_mark(folder, map_bytes)
            meta_pages.settle(folder / "data.mdb", mark.transaction, mark.stamp)
            environment = Environment(folder / "data.mdb", map_bytes)
            if fsync:
                # An earlier start may have been without fsync: what it wrote is not on the disk because it is here.
                environment.env.sync(True)
                _mark(mark, environment, environment.transaction())
            else:
                mark.write(ANY)
        except OSError as error:
            raise from_os(error, f"backend: can't open {folder}") from error
        except lmdb.Error as error:
            raise StorageFailed(f"backend: can't open {folder}: {error}; check the disk, then start again") from error
        with readable(folder / "data.mdb"):
            return cls(folder, environment, mark, fsync=fsync, headroom=headroom_bytes, map_bytes=map_bytes)

    def _begin(self) -> None:
        """Open the next write transaction and bind the tables to it."""
        environment = self._environment
        environment.grow()
        self._transaction: Any = environment.env.begin(write=True)
        if not environment.handles:
            self._open_handles()
        for name, table in self._tables.items():
            table.bind(self._transaction, self._handle(name))

    def _open_handles(self) -> None:
        """All tables that exist get their handles now: a reader can use only such as were there when it began."""
        with self._transaction.cursor() as cursor:
            names = [key.decode() for key in cursor.iternext(True, False)]
        for name in names:
            self._handle(name)

    def _handle(self, name: str) -> Any:
        handles = self._environment.handles
        if name not in handles:
            handles[name] = self._environment.env.open_db(name.encode(), txn=self._transaction)
        return handles[name]

    def table(self, name: str) -> Table:
        """The table of that name, made if need be; the object stays good through commits and replacements."""
        table = self._tables.get(name)
        if table is None:
            table = Table(name, self._fail)
            table.bind(self._transaction, self._handle(name))
            # Making one is a write, too.
            table.dirty = True
            if self._shrinking is not None:
                table.journal = set()
            self._tables[name] = table
        return table

    @property
    def dirty(self) -> bool:
        """Whether anything was written since the last commit."""
        return any(table.dirty for table in self._tables.values())

    @property
    def needs_sync(self) -> bool:
        """Whether a commit waits for its sync(); the next one must not come before it."""
        return not self._renamed and self._committed != self._synced()

    def _synced(self) -> int:
        return self._committed if self._mark.transaction == ANY else self._mark.transaction

    def commit(self) -> None:
        """End the batch without waiting for the disk and begin the next; nothing if nothing was written.

        NoSpace, StorageFailed: the batch is lost, as in a crash; the process must stop and start again from the log.
        """
        self._check()
        invariant(not self.needs_sync, "a commit before the one before it is synced")
        if not self.dirty or self._renamed:
            return
        for table in self._tables.values():
            table.flush()
        if armed:
            hit("backend-before-commit")
        try:
            self._transaction.commit()
        except lmdb.Error as error:
            raise self._fail(error, "can't commit") from error
        self._committed = self._environment.transaction()
        if armed:
            hit("backend-after-commit")
        self._begin()

    def sync(self) -> None:
        """Wait until the last commit is on the disk. For a worker thread. StorageFailed, for good."""
        with self._syncing:
            self._check()
            committed = self._committed
            if not self._fsync or self._renamed or committed == self._mark.transaction:
                return
            try:
                self._environment.env.sync(True)
                if armed:
                    hit("backend-before-mark")
                _mark(self._mark, self._environment, committed)
                if armed:
                    hit("backend-after-mark")
            except (lmdb.Error, OSError) as error:
                raise self._stop(f"backend: fsync of {self._path} failed: {error}") from error
            self._environment.release_pages()
            self._reserve()

    def take_space(self) -> None:
        """Try to reserve what could not be reserved before, as sync() does after a commit. For a worker thread.

        StorageFailed, for good.
        """
        with self._syncing:
            self._check()
            self._reserve()

    def _reserve(self) -> None:
        try:
            self._environment.reserve(self._headroom)
            self.space_short = False
        except OSError as error:
            if not is_full(error):
                raise self._stop(f"backend: can't reserve space for {self._path}: {error}") from error
            self.space_short = True

    def swollen(self) -> bool:
        """Whether reads have made so much of the file count as this process's memory that release() is due."""
        return self._environment.swollen()

    def release(self) -> None:
        """Give back the pages of the file that were read; they stay in the page cache. For a worker thread."""
        self._environment.release_pages()

    def read(self) -> AbstractContextManager[ReadView]:
        """All tables as of the last commit, for the thread that asks; it sees no later one."""
        self._check()
        return self._read()

    @contextmanager
    def _read(self) -> Iterator[ReadView]:
        with self._held() as environment, environment.read() as view:
            yield view

    @contextmanager
    def _held(self) -> Iterator[Environment]:
        """The open file, which stays open; for any thread, so another may take its place at this very moment."""
        with ExitStack() as held:
            while True:
                environment = self._environment
                try:
                    held.enter_context(environment.hold())
                    break
                except EnvironmentClosed:
                    self._check()
            yield environment

    @contextmanager
    def file(self) -> Iterator[BackendFile]:
        """The file, for another process that reads it; any thread. It stays open, and its lock file in use."""
        self._check()
        with self._held() as environment:
            yield BackendFile(
                str(self._path), lambda: self._environment is environment and not self._renamed and not self._failed
            )

    def copy_to(self, path: str | os.PathLike[str]) -> int:
        """Write the state of the last commit, compacted, to a new file, durably; its size in bytes.

        For a worker thread. The file is there whole or not at all. NoSpace, StorageFailed.
        """
        self._check()
        with self._held() as environment:
            return copy_environment(environment.env, Path(path))

    def replace_with(self, path: str | os.PathLike[str]) -> None:
        """The file, made by copy_to, becomes the backend; what was not committed is forgotten.

        It must be on the same file system and is moved. Tables stay valid; views that are open keep the old state.
        BackendDamaged if it is no backend; then nothing has changed. NoSpace, StorageFailed.
        """
        self.give_up_shrinking()
        self.take_over(self.put_in_place(path)).retire()

    def give_up_shrinking(self) -> None:
        """The loop's, before put_in_place: a copy of the old state must not take the name any more."""
        self._shrinking = None
        self._forget_journal()

    def put_in_place(self, path: str | os.PathLike[str]) -> Environment:
        """The first half of replace_with, which waits for the disk, for a worker thread; for take_over.

        Until that the old state is read as before, and nothing more is committed. BackendDamaged, StorageFailed.
        """
        source = Path(path)
        with self._syncing:
            self._check()
            with open_view(source):
                pass
            try:
                return self._rename_over(source)
            except (lmdb.Error, OSError) as error:
                raise self._stop(f"backend: can't replace {self._path}: {error}") from error

    def _rename_over(self, path: Path) -> Environment:
        # From here to the last mark, both files are such that any state in them is on the disk: a crash may fall
        # on either side of the rename.
        self._environment.env.sync(True)
        sync_file(path)
        self._mark.write(ANY)
        self._renamed = True
        if armed:
            hit("backend-before-rename")
        os.rename(path, self._path)
        if armed:
            hit("backend-after-rename")
        sync_directory(self._path.parent)
        sync_directory(path.parent)
        # The lock file belongs to the old file: its readers, if there are any left, keep it without its name.
        _lock_path(self._path).unlink(missing_ok=True)
        new = Environment(self._path, self._map_bytes)
        if self._fsync:
            _mark(self._mark, new, new.transaction())
        return new

    def take_over(self, new: Environment) -> Environment:
        """The second half: go on in the new file, which holds the loop no longer than a commit.

        Returns the old one's, to be retired, which takes long (a thread may do it).
        """
        self._check()
        self._transaction.abort()
        old, self._environment = self._environment, new
        self._committed = new.transaction()
        self._renamed = False
        self._begin()
        return old

    # ---- shrinking: see shrinking.py

    def shrink(self, path: Path) -> Shrinking:
        """Begin to make the file smaller by way of a copy at that path, on the same file system. One at a time."""
        invariant(self._shrinking is None, "the backend is being shrunk already")
        self._shrinking = Shrinking(self, path)
        for table in self._tables.values():
            table.journal = set()
        return self._shrinking

    def stop_journal(self, shrinking: Shrinking) -> None:
        """That shrinking is over."""
        if self._shrinking is shrinking:
            self._shrinking = None
            self._forget_journal()

    def _forget_journal(self) -> None:
        for table in self._tables.values():
            table.journal = None

    def shrinks(self, shrinking: Shrinking) -> bool:
        """Whether that shrinking is under way, and not given up."""
        return self._shrinking is shrinking

    @property
    def environment(self) -> Environment:
        """The open file."""
        return self._environment

    def tables(self) -> list[Table]:
        """Every table that was asked for so far."""
        return list(self._tables.values())

    def rename_over(self, path: Path, new: Environment) -> None:
        """A synced copy takes the name of the backend's file. For a worker thread.

        Nothing is committed from now on until go_on_in(). StorageError, StorageFailed.
        """
        with self._syncing:
            self._check()
            if self._shrinking is None:
                raise StorageError("defragment: given up, a snapshot took the backend's place; ask again")
            try:
                # In this order: a crash may fall on either side of the rename, and both files are wholly synced.
                self._environment.env.sync(True)
                self._mark.write(ANY)
                self._renamed = True
                move(path, self._path)
                new.path = self._path
                sync_directory(self._path.parent)
                sync_directory(path.parent)
                if self._fsync:
                    _mark(self._mark, new, new.transaction())
            except (lmdb.Error, OSError) as error:
                raise self._stop(f"backend: can't replace {self._path}: {error}") from error

    def go_on_in(self, new: Environment, transaction: Any) -> Environment:
        """The file that took the name is the backend from here on.

        transaction: open in it, with all that is not committed. Returns the old file's, which takes long to close.
        """
        self._check()
        self._shrinking = None
        self._forget_journal()
        self._transaction.abort()
        old, self._environment, self._transaction = self._environment, new, transaction
        self._committed = new.transaction()
        self._renamed = False
        try:
            self._open_handles()
            for name, table in self._tables.items():
                table.bind(transaction, self._handle(name))
                table.dirty = True
        except lmdb.Error as error:
            raise self._stop(f"backend: can't go on in {self._path}: {error}") from error
        return old

    def cut_off(self, why: object) -> StorageFailed:
        """The copy has the name, and this can't go on in it: the error to raise.

        What the open transaction holds is lost, as in a crash: it is that of a file that no start will find.
        """
        if self._failed is not None:
            return StorageFailed(self._failed)
        return self._stop(f"backend: {self._path} is its smaller copy by now, which can't be gone on in: {why}")

    @property
    def failure(self) -> StorageFailed | None:
        """What stopped it for good, if anything did."""
        return None if self._failed is None else StorageFailed(self._failed)

    def size(self) -> int:
        """Bytes of the file, headroom aside."""
        return self._environment.size()

    def size_in_use(self) -> int:
        """Bytes of the pages that hold tables; the rest of size() is free for new ones."""
        stats = [self._transaction.stat(db) for db in self._environment.handles.values()]
        stats.append(self._environment.env.stat())
        pages: int = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return (pages + 2) * self._environment.page_bytes()

    def close(self) -> None:
        """Forget what was not committed, sync what was, and let go of the file. StorageFailed if the disk refuses."""
        try:
            if self._failed is None:
                self._transaction.abort()
                self.sync()
        finally:
            with self._syncing:
                self._failed = f"backend: {self._path} is closed"
                self._environment.retire()
                self._mark.close()
                self._tables.clear()

    def _fail(self, error: lmdb.Error, what: str) -> Exception:
        """The error to raise for a refused write. LMDB has given up the transaction, so there is no going on."""
        full = isinstance(error, lmdb.MapFullError | lmdb.TxnFullError) or self._disk_is_full()
        failure = self._stop(f"backend: {what} of {self._path}: {error}")
        return NoSpace(f"{failure}; free space on this file system first") if full else failure

    def _disk_is_full(self) -> bool:
        """Asked of the disk: LMDB calls a write that was cut short by a full one an input/output error."""
        try:
            self._environment.reserve(self._headroom)
        except OSError as error:
            return is_full(error)
        return False

    def _stop(self, message: str) -> StorageFailed:
        self._failed = f"{message}; this member must be started again, it then goes back to its last synced state"
        return StorageFailed(self._failed)

    def _check(self) -> None:
        if self._failed is not None:
            raise StorageFailed(self._failed)


@contextmanager
def open_synced(directory: Path) -> Iterator[ReadView | None]:
    """The tables as they were synced last, and nothing is changed. BackendDamaged, OSError.

    None if the file has to be settled first: what LMDB would show is a commit whose pages may be lost.
    """
    mark = SyncMark.open(directory / "synced")
    mark.close()
    path = directory / "data.mdb"
    if not meta_pages.is_settled(path, mark.transaction, mark.stamp):
        yield None
        return
    with open_view(path) as view:
        yield view


def _mark(mark: SyncMark, environment: Environment, transaction: int) -> None:
    """Note that the transaction is on the disk, durably. OSError."""
    mark.write(transaction, environment.stamp(transaction))


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + "-lock")


def _open_mark(folder: Path, map_bytes: int) -> SyncMark:
    """The mark of a backend that is there, or of a new one, which is made under another name first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_directory(folder.parent)
    data = folder / "data.mdb"
    if data.exists():
        return SyncMark.open(folder / "synced")
    new = folder / "new.mdb"
    for leftover in (new, _lock_path(new)):
        leftover.unlink(missing_ok=True)
    environment = Environment(new, map_bytes)
    environment.env.sync(True)
    environment.retire()
    _lock_path(new).unlink(missing_ok=True)
    mark = SyncMark.create(folder / "synced")
    rename(new, data)
    return mark
