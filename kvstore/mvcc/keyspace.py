"""The current state and its history: tables `history`, `keys`, `versions` and the index of live keys.

The one place that writes these tables. `history` alone says what happened; `keys` spares a restart the reading of all
history, `versions` (key + superseded revision → superseding revision) answers reads of one key in the past.

Invariants: history's revisions only grow; every live key's current revision stands in the index and in `keys`; every
superseded revision that history still holds stands in `versions`.
Faults assumed: a crash between two writes; all of them are in one transaction of the tables' owner, so that either
all or none of a batch is there afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Final

from kvstore.invariant import InvariantViolation
from kvstore.varint import varint

from .encoding import HEADER, HEADER_SIZE, encode_put, record_key, tombstone_record
from .index import KeyIndex
from .meta import COMPACT_FINISHED, COMPACT_SCHEDULED, DELETE_UNFINISHED, Meta
from .table_keys import LONGEST_PLAIN, live_key, version_key, version_prefix
from .types import DELETE, PUT, LeaseBook, StoredEvent, Tables, from_bytes, main_of, to_bytes

END_OF_HISTORY: Final = (1 << 96) - 1
"""A packed revision above all others."""

_PLAIN: Final = 12  # bytes of a `keys` entry: the revision
_LEASED: Final = 20  # bytes of one whose key has a lease: revision and lease
_ALL: Final = 1 << 62

_PACK: Final = HEADER.pack
_UNPACK: Final = HEADER.unpack_from

_MOST_HEADS: Final = 16384

NO_LEASE: Final = bytes(9)
"""The end of a record's header: no lease, no flags."""

Head = tuple[int, bytes, bytes, int, bytes, int, bytes]
"""What the next put of a key without a lease wants to know of its current revision, which comes first; then the same
as 12 bytes, the create revision as 8, the version, the end of the record's header with the KeyValue up to its mod
revision, the create revision as a number, and version_prefix(key)."""


class Keyspace:
    """Revisions, live keys and history of one member.

    revision: current main revision, 1 when nothing was ever written.
    compacted: reads below it fail; -1 when nothing was ever compacted.
    heads: of some keys that were put or compared lately; one that is not of the key's current revision is void.
    unwritten: records of the run of puts that is being applied, which are not in history yet.
    unfinished: where a large delete (large_delete.py) goes on, a packed revision above `revision`; 0 if there is none.
    """

    __slots__ = (
        "_keys",
        "_leases",
        "_versions",
        "compacted",
        "deletes",
        "heads",
        "history",
        "index",
        "meta",
        "puts",
        "revision",
        "unfinished",
        "unwritten",
    )

    def __init__(self, tables: Tables, leases: LeaseBook) -> None:
        self.meta = Meta(tables)
        self.history = tables.table("history")
        self._keys = tables.table("keys")
        self._versions = tables.table("versions")
        self._leases = leases
        self.index = KeyIndex()
        self.heads: dict[bytes, Head] = {}
        self.unwritten: dict[bytes, bytes] = {}
        self.revision = 1
        # Since the start, for metrics.
        self.puts = self.deletes = 0
        self.compacted = -1
        self.unfinished = 0
        self.load()

    # ---- start

    def load(self) -> None:
        """Read the state from the tables and attach live keys to their leases (which must be known by then)."""
        self.compacted = max(self.meta.get(COMPACT_SCHEDULED, -1), self.meta.get(COMPACT_FINISHED, -1))
        last = next(self.history.scan(reverse=True), None)
        # Compaction leaves the last change of the compacted revision; one done by etcd, or a revision that was bumped
        # when a backup was restored, leaves only the mark.
        self.revision = max(main_of(from_bytes(last[0])) if last else 1, self.compacted)
        self.unfinished = self.meta.get(DELETE_UNFINISHED)
        if self.unfinished:
            self.revision = main_of(self.unfinished) - 1
        self.index = KeyIndex(self._live_keys(), self._find)
        self.heads = {}

    def _live_keys(self) -> list[bytes]:
        """Every key. Hot: all there is to a start with many of them."""
        if self._leases.any():
            return [self._attached(name, value) for name, value in self._keys.scan()]
        names = list(self._keys.names())
        if max(map(len, names), default=0) <= LONGEST_PLAIN:
            return names
        return [self._whole(name, self._keys.get(name) or b"") if len(name) > LONGEST_PLAIN else name for name in names]

    def _attached(self, name: bytes, value: bytes) -> bytes:
        key = self._whole(name, value)
        if len(value) == _LEASED:
            self._leases.attach(int.from_bytes(value[12:], "big", signed=True), key)
        return key

    def _find(self, key: bytes) -> int:
        """The current revision of a key, 0 if it is not alive, by the tables."""
        value = self._keys.get(live_key(key)) if key else None
        return 0 if value is None else from_bytes(value[:_PLAIN])

    def learn(self, most: int) -> bool:
        """Read the revisions of the next `most` live keys, which are looked up until then; True once all are known."""
        keys = self.index.unlearned(most)
        if not keys:
            return True
        self._look_up(keys)
        return False

    def _look_up(self, keys: list[bytes]) -> list[int]:
        """The current revisions of live keys by the tables; they are known from now on."""
        values = self._keys.get_many(list(map(live_key, keys)), _ALL)
        found = [from_bytes(value[:_PLAIN]) for value in values]
        self.index.learn(keys, found)
        return found

    def revisions_of(self, keys: list[bytes]) -> list[int]:
        """The current packed revisions of live keys. Hot: a call for all of them at once."""
        revisions = self.index.revisions
        if isinstance(revisions, dict):
            return list(itemgetter(*keys)(revisions)) if len(keys) > 1 else list(map(revisions.__getitem__, keys))
        known = revisions.known
        return list(map(known.__getitem__, keys)) if all(map(known.__contains__, keys)) else self._look_up(keys)

    def _whole(self, name: bytes, value: bytes) -> bytes:
        """The key that `name` stands for in the table `keys`."""
        return name if len(name) <= LONGEST_PLAIN else record_key(self.record(from_bytes(value[:12])))

    # ---- reading

    def record(self, revision: int) -> bytes:
        """The history record of a packed revision that is known to be there."""
        name = to_bytes(revision)
        record = self.unwritten.get(name) or self.history.get(name)
        if record is None:
            raise InvariantViolation("a revision that is still referred to is gone from history")
        return record

    def kv(self, revision: int) -> bytes:
        """The encoded KeyValue of a packed revision that is known to be there."""
        return self.record(revision)[HEADER_SIZE:]

    def revision_at(self, key: bytes, bound: int) -> int:
        """The packed revision that `key` had just before the packed revision `bound`; 0 if it was not alive."""
        live = self.index.revisions.get(key, 0)
        if 0 < live < bound:
            return live
        prefix = version_prefix(key)
        size = len(prefix) + 12
        for name, superseding in self._versions.scan(prefix + bytes(12), prefix + to_bytes(bound), reverse=True):
            if len(name) == size:  # not a long key whose digest happens to fall in between
                return from_bytes(name[-12:]) if from_bytes(superseding) >= bound else 0
        return 0

    def superseded_by(self, key: bytes, revision: int) -> int:
        """The packed revision that superseded `revision` of the key; 0 if it is the current one."""
        data = self._versions.get(version_key(key, revision))
        return 0 if data is None else from_bytes(data)

    def records(self, start: int, end: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` history records with start <= packed revision < end, in order."""
        pairs: Iterator[tuple[bytes, bytes]] = self.history.scan(to_bytes(start), to_bytes(end))
        return [(from_bytes(revision), record) for revision, record in islice(pairs, limit)]

    # ---- writing (the caller advances `revision` when its main revision is complete)

    def put(self, revision: int, key: bytes, value: bytes, lease: int) -> StoredEvent:
        """Write one put under a packed revision above all others; the lease is known to exist.

        Hot: tens of thousands of calls a second on every member, hence revisions made bytes in place and once, and
        the plain form of `version_key` and `live_key` without a call.
        """
        self.puts += 1
        main = revision >> 32
        name = revision.to_bytes(12, "big")
        revisions = self.index.revisions
        previous = revisions.get(key, 0)
        if previous:
            head = self.heads.get(key)
            if head is not None and head[0] == previous:
                _, old_name, create_bytes, version, opening, create, prefix = head
                old_lease = 0
                if not lease:
                    self.heads[key] = (revision, name, create_bytes, version + 1, opening, create, prefix)
            else:
                old_name = previous.to_bytes(12, "big")
                old = self.history.get(old_name)
                if old is None:
                    raise InvariantViolation("the current revision of a live key is gone from history")
                _, _, create, version, old_lease, _ = _UNPACK(old)
            kv = encode_put(key, create, main, version + 1, value, lease)
            record = _PACK(previous >> 32, previous & 0xFFFFFFFF, create, version + 1, lease, 0) + kv
            plain = len(key) <= LONGEST_PLAIN and b"\0" not in key
            self._versions.put(key + b"\0" + old_name if plain else version_key(key, previous), name)
            revisions[key] = revision
        else:
            old_lease = 0
            kv = encode_put(key, main, main, 1, value, lease)
            record = _PACK(0, 0, main, 1, lease, 0) + kv
            self.index.add(key, revision)
        self.history.append(name, record)
        entry = name + lease.to_bytes(8, "big", signed=True) if lease else name
        self._keys.put(key if len(key) <= LONGEST_PLAIN else live_key(key), entry)
        if old_lease != lease:
            self._move_lease(key, old_lease, lease)
        return StoredEvent(PUT, key, revision, kv, previous)

    # ---- writing runs of puts (put_run.py)

    def head(self, key: bytes, revision: int) -> Head | None:
        """The head of a key at its current packed revision; None if it has a lease."""
        head = self.heads.get(key)
        if head is not None and head[0] == revision:
            return head
        record = self.record(revision)
        _, _, create, version, lease, _ = _UNPACK(record)
        if lease:
            return None
        if len(self.heads) >= _MOST_HEADS:
            self.heads.clear()
        opening = b"".join((NO_LEASE, b"\x0a", varint(len(key)), key, b"\x10", varint(create), b"\x18"))
        name, prefix = revision.to_bytes(12, "big"), version_prefix(key)
        head = self.heads[key] = (revision, name, record[12:20], version, opening, create, prefix)
        return head

    def write_run(self, main: int, versions: dict[bytes, bytes], live: dict[bytes, bytes]) -> None:
        """Write the records of one put each in `unwritten`, and the rows that belong to them in the other tables.

        main: the last one's revision, which becomes the current one. Names and order are as `put` would write them; the
        index has them already.
        """
        records, self.unwritten = self.unwritten, {}
        self.puts += len(records)
        self.history.append_all(records)
        if versions:
            self._versions.put_all(versions)
        self._keys.put_all(live)
        self.revision = main

    def _move_lease(self, key: bytes, old: int, new: int) -> None:
        if old:
            self._leases.detach(old, key)
        if new:
            self._leases.attach(new, key)

    def delete(self, first: int, keys: list[bytes]) -> list[StoredEvent]:
        """Write the deletes of these live, sorted keys under packed revisions from `first` on."""
        events = [self._tombstone(first + offset, key) for offset, key in enumerate(keys)]
        if keys:
            self.index.remove(keys)
        return events

    def delete_part(self, first: int, keys: list[bytes]) -> None:
        """The same as a part of a large delete, which goes on behind it; the events stand in history only."""
        self.delete(first, keys)
        self._mark(first + len(keys))

    def finish_delete(self) -> None:
        """The large delete that is under way is complete; its revision is the current one."""
        self.revision = main_of(self.unfinished)
        self._mark(0)

    def _mark(self, unfinished: int) -> None:
        self.unfinished = unfinished
        self.meta.set(DELETE_UNFINISHED, unfinished)

    def _tombstone(self, revision: int, key: bytes) -> StoredEvent:
        self.deletes += 1
        previous = self.index.revisions[key]
        lease = HEADER.unpack_from(self.record(previous))[4]
        record = tombstone_record(previous, key, main_of(revision))
        name = to_bytes(revision)
        self.history.append(name, record)
        self._versions.put(version_key(key, previous), name)
        self._keys.delete(live_key(key))
        if lease:
            self._leases.detach(lease, key)
        return StoredEvent(DELETE, key, revision, record[HEADER_SIZE:], previous)

    # ---- compaction

    def forget(self, revisions: list[bytes], versions: list[bytes]) -> None:
        """Remove these rows of `history` and `versions`, those that are still there."""
        self.history.delete_all(revisions)
        self._versions.delete_all(versions)
