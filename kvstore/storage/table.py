"""Named tables in an LMDB transaction: what mvcc's Tables and Table ask for.

Two views of the same thing: Table goes through the backend's one open write transaction, on the loop's thread;
ReadTable through a read transaction of another thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import lmdb

from kvstore.invariant import InvariantViolation, invariant
from kvstore.storage.many import numbered_values_of, values_of

MAX_KEY_BYTES = 511
# Rows that wait for one another; giving so many to LMDB takes a few tenths of a millisecond.
BUFFERED_ROWS = 256
# A row with more than that waits for no others: the buffer stays within a megabyte.
LARGE_VALUE = 4096


class Table:
    """One ordered table of bytes → bytes, written and read in the open write transaction.

    Hot: a put goes into a dict, and from there to LMDB with a few hundred others in one call, sorted, which costs half
    of what they cost one by one; a key that is written again meanwhile is written once. Reads see what is buffered.
    Keys are 1 … 511 bytes: longer ones are the caller's to shorten. NoSpace and StorageFailed on every write.
    """

    __slots__ = (
        "_appended",
        "_buffer",
        "_cursor",
        "_db",
        "_delete",
        "_fail",
        "_get",
        "_last",
        "_transaction",
        "dirty",
        "journal",
        "name",
    )

    def __init__(self, name: str, fail: Callable[[lmdb.Error, str], Exception]) -> None:
        self.name = name
        self.dirty = False  # written since the transaction began
        self.journal: set[bytes] | None = None  # keys written while the backend is shrunk
        self._fail = fail
        self._buffer: dict[bytes, bytes] = {}
        self._appended = True  # everything in the buffer was appended
        self._last = b""  # the key appended last

    def bind(self, transaction: Any, db: Any) -> None:
        """Go through that transaction from now on. What was buffered for another one and not flushed is forgotten."""
        self.dirty = False
        self._buffer = {}
        self._appended = True
        self._last = b""
        self._db = db
        self._get = transaction.get
        self._delete = transaction.delete
        self._cursor = transaction.cursor
        self._transaction = transaction

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        buffered = self._buffer.get(key)
        if buffered is not None:
            return buffered
        try:
            value: bytes | None = self._get(key, None, self._db)
        except lmdb.Error as error:
            raise self._refused(key, error) from error
        return value

    def get_many(self, keys: list[bytes], max_bytes: int) -> list[bytes]:
        """The values of the first keys, up to the one that makes them `max_bytes`, in order. All of them must be there.

        Hot: half of what they cost one by one, or less.
        """
        buffered = self._buffer
        if buffered and not buffered.keys().isdisjoint(keys):
            self.flush()
        try:
            return values_of(self._transaction, self._db, keys, max_bytes)
        except lmdb.Error as error:
            raise self._refused(keys[0], error) from error

    def get_numbered(self, numbers: list[int], width: int, max_bytes: int) -> list[bytes]:
        """get_many() of keys that are numbers of `width` bytes, the highest byte first.

        Hot: where they follow one another in the table as they do here, again half of what it costs.
        """
        buffered = self._buffer
        if buffered and not (self._appended and max(numbers, default=0) < int.from_bytes(next(iter(buffered)), "big")):
            self.flush()
        try:
            return numbered_values_of(self._transaction, self._db, numbers, width, max_bytes)
        except lmdb.Error as error:
            raise self._refused(numbers[0].to_bytes(width, "big"), error) from error

    def put(self, key: bytes, value: bytes) -> None:
        """Write or overwrite."""
        if not 0 < len(key) <= MAX_KEY_BYTES:
            raise self._bad_key(key)
        self._appended = False
        self._buffer[key] = value
        if len(self._buffer) >= BUFFERED_ROWS or len(value) > LARGE_VALUE:
            self.flush()
        else:
            self.dirty = True

    def append(self, key: bytes, value: bytes) -> None:
        """Write a key that is greater than every key of the table."""
        if not self._last < key or len(key) > MAX_KEY_BYTES:
            raise self._bad_key(key)
        self._last = key
        self._buffer[key] = value
        if len(self._buffer) >= BUFFERED_ROWS or len(value) > LARGE_VALUE:
            self.flush()
        else:
            self.dirty = True

    def put_all(self, rows: dict[bytes, bytes]) -> None:
        """put() of each; no key or value is longer than that lets wait."""
        self._appended = False
        self.dirty = True
        self._buffer.update(rows)
        if len(self._buffer) >= BUFFERED_ROWS:
            self.flush()

    def append_all(self, rows: dict[bytes, bytes]) -> None:
        """append() of each, in the order of the dict, which is that of the keys."""
        if not self._last < next(iter(rows)):
            raise self._bad_key(next(iter(rows)))
        self._last = next(reversed(rows))
        self.dirty = True
        self._buffer.update(rows)
        if len(self._buffer) >= BUFFERED_ROWS:
            self.flush()

    def delete(self, key: bytes) -> bool:
        """Remove; False if it was not there."""
        self.dirty = True
        if self.journal is not None:
            self.journal.add(key)
        buffered = self._buffer.pop(key, None) is not None
        try:
            removed: bool = self._delete(key, b"", self._db)
        except lmdb.Error as error:
            raise self._refused(key, error) from error
        return removed or buffered

    def delete_all(self, keys: list[bytes]) -> None:
        """delete() of each, be it there or not. Hot: half of what compaction costs."""
        if not keys:
            return
        self.dirty = True
        if self.journal is not None:
            self.journal.update(keys)
        if self._buffer and not self._buffer.keys().isdisjoint(keys):
            self.flush()
        try:
            deque(map(self._delete, keys, repeat(b""), repeat(self._db)), maxlen=0)
        except lmdb.Error as error:
            raise self._refused(keys[0], error) from error

    def flush(self) -> None:
        """Give what is buffered to LMDB."""
        if not self._buffer:
            return
        self.dirty = True
        rows = list(self._buffer.items())
        if not self._appended:
            rows.sort()
        try:
            # dupdata, overwrite, append
            consumed, _ = self._cursor(self._db).putmulti(rows, True, True, self._appended)
        except lmdb.KeyExistsError:
            consumed = -1  # LMDB's answer to an append that is not the greatest key
        except lmdb.Error as error:
            raise self._fail(error, f"can't write table {self.name}") from error
        invariant(consumed == len(rows), f"a key appended to table {self.name} is not its greatest")
        if self.journal is not None:
            self.journal.update(self._buffer)
        self._buffer = {}
        self._appended = True

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < end in order, or from the end down; the table is not written meanwhile."""
        self.flush()
        return scan(self._cursor(self._db), start, end, reverse)

    def names(self) -> Iterator[bytes]:
        """Every key, in order; the table is not written meanwhile."""
        self.flush()
        names: Iterator[bytes] = self._cursor(self._db).iternext(True, False)
        return names

    def _bad_key(self, key: bytes) -> InvariantViolation:
        if not 0 < len(key) <= MAX_KEY_BYTES:
            return InvariantViolation(f"a key of {len(key)} bytes in table {self.name}; LMDB takes 1 to 511")
        return InvariantViolation(f"key {key!r} is not the greatest of table {self.name}")

    def _refused(self, key: bytes, error: lmdb.Error) -> Exception:
        invariant(0 < len(key) <= MAX_KEY_BYTES, f"a key of {len(key)} bytes in table {self.name}; LMDB takes 1 to 511")
        return self._fail(error, f"can't use table {self.name}")


class ReadTable:
    """One table in a read transaction. A table that did not exist when the transaction began is empty."""

    __slots__ = ("_db", "_transaction")

    def __init__(self, transaction: Any, db: Any) -> None:
        self._transaction = transaction
        self._db = db

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        if self._db is None:
            return None
        value: bytes | None = self._transaction.get(key, None, self._db)
        return value

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < end in order, or from the end down."""
        if self._db is None:
            return iter(())
        return scan(self._transaction.cursor(self._db), start, end, reverse)


class ReadView:
    """All tables as they were at one moment. For one thread, and to be left soon: it keeps old pages from reuse."""

    __slots__ = ("_handles", "_transaction")

    def __init__(self, transaction: Any, handles: dict[str, Any]) -> None:
        self._transaction = transaction
        self._handles = handles

    def table(self, name: str) -> ReadTable:
        """The table of that name; an empty one if there is none."""
        db = self._handles.get(name)
        if db is not None:
            try:
                self._transaction.stat(db)
            except lmdb.Error:
                db = None  # its handle was made after this transaction began
        return ReadTable(self._transaction, db)


def scan(cursor: Any, start: bytes, end: bytes | None, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
    """Pairs with start <= key < end through a cursor, in either order."""
    if reverse:
        return _scan_down(cursor, start, end)
    if not cursor.set_range(start):
        return iter(())
    pairs: Iterator[tuple[bytes, bytes]] = cursor.iternext(True, True)
    return pairs if end is None else _until(pairs, end)


def _until(pairs: Iterator[tuple[bytes, bytes]], end: bytes) -> Iterator[tuple[bytes, bytes]]:
    for pair in pairs:
        if pair[0] >= end:
            return
        yield pair


def _scan_down(cursor: Any, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    # The first key not below the end, then one step back; with no such key, the last one of all.
    there = cursor.prev() if end is not None and cursor.set_range(end) else cursor.last()
    if not there:
        return
    for pair in cursor.iterprev(True, True):
        if pair[0] < start:
            return
        yield pair
