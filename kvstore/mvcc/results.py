"""What the store's requests return: plain slotted values with encoded key-values inside."""

from __future__ import annotations


class RangeResult:
    """revision: current main revision (of the header). kvs: encoded KeyValues.

    more: the limit cut the answer. count: keys in the range, whatever limit and filters say.
    """

    __slots__ = ("count", "kvs", "more", "revision")

    def __init__(self, revision: int, kvs: list[bytes], more: bool, count: int) -> None:
        self.revision = revision
        self.kvs = kvs
        self.more = more
        self.count = count


class PutResult:
    """revision: the put's main revision. prev_kv: encoded KeyValue, None if not asked for or there was none."""

    __slots__ = ("prev_kv", "revision")

    def __init__(self, revision: int, prev_kv: bytes | None) -> None:
        self.revision = revision
        self.prev_kv = prev_kv


class DeleteResult:
    """revision: main revision after it. prev_kvs: encoded KeyValues, empty if not asked for."""

    __slots__ = ("deleted", "prev_kvs", "revision")

    def __init__(self, revision: int, deleted: int, prev_kvs: list[bytes]) -> None:
        self.revision = revision
        self.deleted = deleted
        self.prev_kvs = prev_kvs


class TxnResult:
    """succeeded: which branch ran. results: one for each operation of it, in order.

    revision: main revision after it; 0 in a nested one (etcd leaves its header empty).
    changed: whether anything was written; of the outermost one.
    """

    __slots__ = ("changed", "results", "revision", "succeeded")

    def __init__(self, succeeded: bool, results: list[OpResult], revision: int, changed: bool) -> None:
        self.succeeded = succeeded
        self.results = results
        self.revision = revision
        self.changed = changed


OpResult = RangeResult | PutResult | DeleteResult | TxnResult


class HashResult:
    """hash: CRC-32C as etcd's HashKV computes it. compact_revision: -1 if nothing was ever compacted.

    hash_revision: main revision up to which history was hashed.
    """

    __slots__ = ("compact_revision", "hash", "hash_revision")

    def __init__(self, hash: int, compact_revision: int, hash_revision: int) -> None:
        self.hash = hash
        self.compact_revision = compact_revision
        self.hash_revision = hash_revision
