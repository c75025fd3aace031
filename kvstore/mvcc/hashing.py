"""HashKV: the checksum by which members, ours or etcd's, compare their histories.

CRC-32C over what etcd's `key` bucket would hold: the bucket's name, then per revision its 17-byte key (8 of main, `_`,
8 of sub, and `t` behind a tombstone's) and the encoded KeyValue (of a tombstone the key alone). Revisions up to the
compacted one count only if a compaction at the hashed revision would keep them, unless it would keep none at all.
Source: etcd 3.5's store.HashByRev; its quirks are part of the value.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

import google_crc32c

from kvstore.errors import error

from .encoding import HEADER, HEADER_SIZE, TOMBSTONE, encode_kv, record_key
from .keyspace import Keyspace
from .results import HashResult
from .types import main_of, pack

_BUCKET_KEY = Struct(">QcQ")


def hash_slices(keyspace: Keyspace, revision: int, budget: int) -> Iterator[HashResult | None]:
    """None after each `budget` records, the result in the end. The store may be written and compacted in between.

    revision: main revision to hash up to, 0 for the current one. Raises COMPACTED, FUTURE_REVISION.
    """
    target = revision or keyspace.revision
    while True:
        _check(keyspace, revision)
        hasher = _Hasher(keyspace, target)
        while hasher.step(budget):
            yield None
            if keyspace.compacted != hasher.compacted:
                break  # start over: what counts has changed
        else:
            yield HashResult(hasher.value, hasher.compacted, target)
            return


def compaction_hash_slices(keyspace: Keyspace, revision: int, budget: int) -> Iterator[HashResult | None]:
    """The same up to the compacted revision itself, which only the members compare among themselves.

    Raises FUTURE_REVISION, COMPACTED if the keyspace is not, or no longer, compacted to that revision.
    """
    hasher = _Hasher(keyspace, revision)
    more = True
    while more:
        if keyspace.compacted != revision:
            raise error("FUTURE_REVISION" if keyspace.compacted < revision else "COMPACTED")
        more = hasher.step(budget)
        if more:
            yield None
    yield HashResult(hasher.value, revision, revision)


def _check(keyspace: Keyspace, revision: int) -> None:
    if 0 < revision <= keyspace.compacted:
        raise error("COMPACTED")
    if revision > keyspace.revision:
        raise error("FUTURE_REVISION")


class _Hasher:
    """One pass over history with one compacted revision.

    _strict: only revisions alive at the target count below the compacted one; _loose: all that compaction left.
    The loose one is wanted only if nothing is alive at the target.
    """

    __slots__ = ("_alive", "_end", "_keyspace", "_loose", "_next", "_strict", "_target", "compacted")

    def __init__(self, keyspace: Keyspace, target: int) -> None:
        self._keyspace = keyspace
        self.compacted = keyspace.compacted
        self._target = target
        self._next = 0
        self._end = pack(max(target, -1) + 1)
        self._strict = self._loose = int(google_crc32c.value(b"key"))
        self._alive = False

    @property
    def value(self) -> int:
        """The hash, once `step` has returned False."""
        return self._strict if self._alive else self._loose

    def step(self, budget: int) -> bool:
        """Hash no more than `budget` records; False when that was the last of them."""
        records = self._keyspace.records(self._next, self._end, budget)
        for revision, record in records:
            self._add(revision, record)
            self._next = revision + 1
        return len(records) == budget

    def _add(self, revision: int, record: bytes) -> None:
        old = main_of(revision) <= self.compacted
        deleted = HEADER.unpack_from(record)[5] & TOMBSTONE
        if old and deleted:
            return
        if deleted or (self._alive and not old):
            self._feed(revision, record, deleted, strict=True)
            return
        superseded = main_of(self._keyspace.superseded_by(record_key(record), revision))
        if old and 0 < superseded <= self.compacted:
            return
        alive = not superseded or superseded > self._target
        self._alive = self._alive or alive
        self._feed(revision, record, deleted, strict=alive or not old)

    def _feed(self, revision: int, record: bytes, deleted: int, *, strict: bool) -> None:
        row = _BUCKET_KEY.pack(revision >> 32, b"_", revision & 0xFFFFFFFF)
        row += b"t" + encode_kv(record_key(record), 0, 0, 0, b"", 0) if deleted else record[HEADER_SIZE:]
        if strict:
            self._strict = google_crc32c.extend(self._strict, row)
        if not self._alive:
            self._loose = google_crc32c.extend(self._loose, row)
