"""Compaction: which revisions nobody may read any more, and their removal in slices.

Only history between the last compaction and this one is walked: each record names the revision that it superseded, and
that one goes. A tombstone goes too, except at the compacted revision itself: a watcher may still start there (etcd
keeps it since 3.5.16, and leaves it out of the hash); the next compaction's walk begins there and takes it.

Invariants: finished <= scheduled; everything that a read at or above `scheduled` needs stays.
Faults assumed: a crash at any point. The marks and the cursor stand in the same transaction as the removals, and each
removal may be repeated.
"""

from __future__ import annotations

from kvstore.errors import error

from .encoding import HEADER, TOMBSTONE, record_key
from .keyspace import Keyspace
from .meta import COMPACT_CURSOR, COMPACT_FINISHED, COMPACT_SCHEDULED
from .types import main_of, pack


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
        records = self._keyspace.records(self._cursor, pack(self._scheduled + 1), budget)
        for revision, record in records:
            self._remove(revision, record)
        if len(records) < budget:
            self._finish()
        else:
            self._advance(records[-1][0] + 1)
        return not self.pending

    def _remove(self, revision: int, record: bytes) -> None:
        main, sub, _, _, _, flags = HEADER.unpack_from(record)
        if main:
            self._keyspace.forget(record_key(record), pack(main, sub))
        if flags & TOMBSTONE and main_of(revision) < self._scheduled:
            self._keyspace.forget_tombstone(revision)

    def _finish(self) -> None:
        self._finished = self._scheduled
        self._keyspace.meta.set(COMPACT_FINISHED, self._finished)
        self._advance(pack(self._finished))  # the next walk sees this revision's tombstones again

    def _advance(self, cursor: int) -> None:
        self._cursor = cursor
        self._keyspace.meta.set(COMPACT_CURSOR, cursor)
