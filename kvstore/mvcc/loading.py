"""Filling empty tables with another store's history: revisions in, our records with all they know of each other out.

The source gives encoded KeyValues in the order of their revisions, as etcd's `key` bucket holds them. What our records
say beyond that (which revision they superseded, and which superseded them) follows from the order.
Invariants: what the tables hold afterwards is what a store would hold that had applied the same changes and
compactions.
Memory: one entry a live key.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.pb.etcd_pb2 import KeyValue

from .encoding import HEADER, tombstone_record
from .meta import COMPACT_CURSOR, COMPACT_FINISHED, COMPACT_SCHEDULED, Meta
from .table_keys import live_key, version_key
from .types import Tables, main_of, pack, to_bytes


class HistoryLoader:
    """Takes every change once, in order; then finish()."""

    def __init__(self, tables: Tables, knows_lease: Callable[[int], bool]) -> None:
        """tables: empty. knows_lease: whether a lease exists; a key is not attached to one that does not.

        Its KeyValue goes on naming the lease; for all that is written later it has none.
        """
        self._meta = Meta(tables)
        self._history = tables.table("history")
        self._keys = tables.table("keys")
        self._versions = tables.table("versions")
        self._knows_lease = knows_lease
        self._live: dict[bytes, tuple[int, int]] = {}  # key → revision, lease
        self.revision = 1

    def put(self, revision: int, kv: bytes) -> None:
        """A put under a packed revision. Raises DecodeError, ValueError for bytes that are no KeyValue of it."""
        parsed = KeyValue.FromString(kv)
        key, main = parsed.key, main_of(revision)
        if not key:
            # etcd's own mark for a revision that was bumped: nobody can read it, but it counts.
            self.revision = main
            return
        if parsed.mod_revision != main or not 0 < parsed.create_revision <= main:
            raise ValueError(f"key {key!r} of revision {main} says that it is of {parsed.mod_revision}")
        previous = self._supersede(key, revision)
        lease = parsed.lease if self._knows_lease(parsed.lease) else 0
        head = HEADER.pack(previous >> 32, previous & 0xFFFFFFFF, parsed.create_revision, parsed.version, lease, 0)
        self._history.append(to_bytes(revision), head + kv)
        self._live[key] = (revision, lease)

    def delete(self, revision: int, kv: bytes) -> None:
        """A delete under a packed revision; of its KeyValue only the key counts. Raises as put."""
        key = KeyValue.FromString(kv).key
        if not key:
            raise ValueError(f"the delete of revision {main_of(revision)} names no key")
        previous = self._supersede(key, revision)
        self._history.append(to_bytes(revision), tombstone_record(previous, key, main_of(revision)))
        self._live.pop(key, None)

    def _supersede(self, key: bytes, revision: int) -> int:
        """The packed revision that ends here, 0 if the key was not alive."""
        self.revision = main_of(revision)
        previous = self._live.get(key, (0, 0))[0]
        if previous:
            self._versions.put(version_key(key, previous), to_bytes(revision))
        return previous

    def finish(self, scheduled: int, finished: int) -> None:
        """Write the live keys and the compactions: the scheduled revision and the finished one (-1: none)."""
        for key, (revision, lease) in self._live.items():
            attached = lease.to_bytes(8, "big", signed=True) if lease else b""
            self._keys.put(live_key(key), to_bytes(revision) + attached)
        if scheduled < 0:
            return
        self._meta.set(COMPACT_SCHEDULED, scheduled)
        self._meta.set(COMPACT_FINISHED, finished)
        self._meta.set(COMPACT_CURSOR, pack(finished) if finished == scheduled else 0)
