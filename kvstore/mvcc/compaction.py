"""Compaction: which revisions nobody may read any more, and their removal in slices.

Only history between the last compaction and this one is walked: each record names the revision that it superseded, and
that one goes. A tombstone goes too, except at the compacted revision itself: a watcher may still start there (etcd
keeps it since 3.5.16, and leaves it out of the hash); the next compaction's walk begins there and takes it.

Invariants: finished <= scheduled; everything that a read at or above `scheduled` needs stays.
Faults assumed: a crash at any point. The marks and the cursor stand in the same transaction as the removals, and each
removal may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from kvstore.errors import error

from .encoding import HEADER_SIZE, TOMBSTONE, record_key
from .keyspace import Keyspace
from .meta import COMPACT_CURSOR, COMPACT_FINISHED, COMPACT_SCHEDULED
from .table_keys import version_prefix
from .types import from_bytes, pack, to_bytes

MAX_BYTES: Final = 1 << 20
"""A step looks at no further record once it has read so much: records are as large as values."""

# Where a history record has the revision that it superseded, its flags, its key's length (if that is one octet) and
# the key.
_REVISION: Final = 12
_NO_REVISION: Final = bytes(_REVISION)
_FLAGS: Final = HEADER_SIZE - 1
_KEY_SIZE: Final = HEADER_SIZE + 1
_KEY: Final = _KEY_SIZE + 1


class Compactor:
    """Schedules and carries out compactions of one keyspace."""

    __slots__ = ("_cursor", "_finished", "_keyspace", "_scheduled")

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self._scheduled = self._finished = -1
        self._cursor = 0
        self.load()

    def load(self) -> None:
        """Pick up where the tables say it stopped."""
        meta = self._keyspace.meta
        self._scheduled = meta.get(COMPACT_SCHEDULED, -1)
        self._finished = meta.get(COMPACT_FINISHED, -1)
        self._cursor = meta.get(COMPACT_CURSOR, 0)

    @property
    def pending(self) -> bool:
        """Whether there is something to remove."""
        return self._finished < self._scheduled

    def schedule(self, revision: int) -> None:
        """Let reads below this main revision fail from now on. Raises COMPACTED, FUTURE_REVISION."""
        keyspace = self._keyspace
        if revision <= keyspace.compacted:
            raise error("COMPACTED")
        if revision > keyspace.revision:
            raise error("FUTURE_REVISION")
        if self.pending:  # the walk may be past tombstones that only this compaction may take
            self._advance(min(self._cursor, pack(max(self._scheduled, 0))))
        keyspace.compacted = self._scheduled = revision
        keyspace.meta.set(COMPACT_SCHEDULED, revision)

    def step(self, budget: int) -> bool:
        """Look at no more than `budget` history records; True once nothing is left to remove."""
        if not self.pending:
            return True
        keyspace, start, end = self._keyspace, to_bytes(self._cursor), to_bytes(pack(self._scheduled + 1))
        part = _look_at(islice(keyspace.history.scan(start, end), budget), to_bytes(pack(self._scheduled)))
        keyspace.forget(part.revisions, part.versions)
        if part.records < budget and part.size < MAX_BYTES:
            self._finish()
        else:
            self._advance(from_bytes(part.last) + 1)
        return not self.pending

    def _finish(self) -> None:
        self._finished = self._scheduled
        self._keyspace.meta.set(COMPACT_FINISHED, self._finished)
        self._advance(pack(self._finished))  # the next walk sees this revision's tombstones again

    def _advance(self, cursor: int) -> None:
        self._cursor = cursor
        self._keyspace.meta.set(COMPACT_CURSOR, cursor)


class _Part(NamedTuple):
    """What goes: rows of `history` and `versions`. Of the records looked at: the last one, how many, their bytes."""

    revisions: list[bytes]
    versions: list[bytes]
    last: bytes
    records: int
    size: int


def _look_at(records: Iterator[tuple[bytes, bytes]], tombstones_end: bytes) -> _Part:
    """What these records superseded, and those of them that are tombstones of an earlier revision.

    Hot: once for every change there ever was, so names are cut out of the records.
    """
    revisions: list[bytes] = []
    versions: list[bytes] = []
    last, count, size = b"", 0, 0
    for last, record in records:
        previous = record[:_REVISION]
        if previous != _NO_REVISION:
            revisions.append(previous)
            length = record[_KEY_SIZE]
            key = record[_KEY : _KEY + length] if length < 0x80 else record_key(record)
            plain = length < 0x80 and b"\0" not in key
            versions.append((key + b"\0" if plain else version_prefix(key)) + previous)
        if record[_FLAGS] & TOMBSTONE and last < tombstones_end:
            revisions.append(last)
        count += 1
        size += len(record)
        if size >= MAX_BYTES:
            break
    return _Part(revisions, versions, last, count, size)
