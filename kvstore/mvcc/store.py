"""The multi-version store: the requests of etcd's KV service on one member, and the source of events for watchers.

A pure state machine: same tables and same requests in the same order give the same answers and bytes on every member.
Callers apply requests one at a time; a generator (slices) may be left open while others are applied.
Faults assumed: a crash anywhere; the tables' owner makes each batch of writes atomic. An exception that is not an
EtcdError means that tables and memory may differ: the member must stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from kvstore.errors import error
from kvstore.pb.etcd_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest

from .compaction import Compactor
from .hashing import compaction_hash_slices, hash_slices
from .history_events import read_events, superseded_kv
from .keyspace import Keyspace
from .large_delete import LargeDelete, large_delete, range_slices, sorted_slices
from .meta import Meta
from .one_key_run import one_key_run
from .put_run import put_run
from .ranges import range_size, read_range, read_slices
from .results import DeleteResult, HashResult, PutResult, RangeResult, TxnResult
from .swap import Swap, run_swap
from .swap_run import swap_run
from .txn import WriteBatch, run_txn, taken_ranges
from .txn_check import check_txn
from .types import EventSink, LeaseBook, StoredEvent, Tables


class Store:
    """One member's key-values.

    tables: where they live. leases: asked whether a lease exists, told which keys belong to it; it must know its
    leases before the store is made, which attaches every live key. sink: gets each revision's events.
    max_txn_ops: bound of `check_txn`.
    """

    __slots__ = ("_compactor", "_keyspace", "_leases", "_sink", "max_txn_ops")

    def __init__(self, tables: Tables, leases: LeaseBook, sink: EventSink, *, max_txn_ops: int = 128) -> None:
        self._keyspace = Keyspace(tables, leases)
        self._compactor = Compactor(self._keyspace)
        self._leases = leases
        self._sink = sink
        self.max_txn_ops = max_txn_ops

    def reload(self) -> None:
        """Read everything anew: the tables' content was replaced by a snapshot. Leases must be reloaded before."""
        self._keyspace.load()
        self._compactor.load()

    def learn(self, max_keys: int) -> bool:
        """Read on, after the start or reload(), what is otherwise looked up key by key; True when nothing is left."""
        return self._keyspace.learn(max_keys)

    @property
    def revision(self) -> int:
        """Current main revision; 1 when nothing was ever written."""
        return self._keyspace.revision

    @property
    def compacted_revision(self) -> int:
        """Reads below it fail; -1 when nothing was ever compacted."""
        return self._keyspace.compacted

    @property
    def unwatched_revision(self) -> int:
        """The main revision that comes next, 0 if somebody waits for its events."""
        return 0 if self._sink.watched else self._keyspace.revision + 1

    @property
    def key_count(self) -> int:
        """Number of live keys."""
        return len(self._keyspace.index)

    @property
    def put_count(self) -> int:
        """Keys put since the start."""
        return self._keyspace.puts

    @property
    def delete_count(self) -> int:
        """Keys deleted since the start."""
        return self._keyspace.deletes

    @property
    def meta(self) -> Meta:
        """Named integers of this member, the applied index among them."""
        return self._keyspace.meta

    # ---- writing

    def put(self, req: PutRequest) -> PutResult:
        """Write one key in a revision of its own.

        Raises EMPTY_KEY, LEASE_NOT_FOUND, KEY_NOT_FOUND (ignore_value, ignore_lease).
        """
        key, lease = req.key, req.lease
        if not key:
            raise error("EMPTY_KEY")
        if lease and not self._leases.exists(lease):
            raise error("LEASE_NOT_FOUND")
        if req.ignore_value or req.ignore_lease or req.prev_kv:
            batch = WriteBatch(self._keyspace)
            result = batch.put(req)
            batch.finish(self._sink)
            return result
        # Hot: the plain put, without a batch around it.
        keyspace = self._keyspace
        main = keyspace.revision + 1
        event = keyspace.put(main << 32, key, req.value, lease)
        keyspace.revision = main
        self._sink.publish(main, [event])
        return PutResult(main, None)

    def put_run(self, requests: Sequence[Any], start: int, end: int, kind: int) -> int:
        """Apply the puts that requests[start:end] begins with, as far as they are plain: see put_run.py.

        requests: each begins with its kind and its encoded body; a PutRequest is of `kind`. Returns how many were
        applied, each in a revision of its own; 0 if `put` is to have the first.
        """
        keyspace, sink = self._keyspace, self._sink
        count = one_key_run(keyspace, sink, requests, start, end, kind)
        return count or put_run(keyspace, sink, islice(requests, start, end), kind, end - start)

    def delete_range(self, req: DeleteRangeRequest) -> DeleteResult:
        """Delete every key of the range in one revision; none is taken if there is none. Raises EMPTY_KEY."""
        if not req.key:
            raise error("EMPTY_KEY")
        batch = WriteBatch(self._keyspace)
        result = batch.delete_range(req)
        batch.finish(self._sink)
        return result

    def delete_keys(self, keys: list[bytes]) -> DeleteResult:
        """Delete those of the keys that are alive, in sorted order and in one revision: what a revoked lease does."""
        revisions = self._keyspace.index.revisions
        batch = WriteBatch(self._keyspace)
        result = batch.delete_keys(sorted(key for key in set(keys) if key in revisions))
        batch.finish(self._sink)
        return result

    def delete_size(self, req: DeleteRangeRequest) -> int:
        """How many keys `delete_range` would delete: choose `delete_range_slices` when they are many."""
        return self._keyspace.index.count(req.key, req.range_end)

    def delete_range_slices(self, req: DeleteRangeRequest, max_keys: int) -> LargeDelete:
        """delete_range, `max_keys` each time it is advanced; nothing else may be written before it has ended.

        Raises EMPTY_KEY at once.
        """
        if not req.key:
            raise error("EMPTY_KEY")
        slices = range_slices(self._keyspace, req.key, req.range_end, max_keys)
        return large_delete(self._keyspace, self._sink, slices, prev_kv=req.prev_kv)

    def delete_keys_slices(self, keys: list[bytes], max_keys: int) -> LargeDelete:
        """delete_keys, in the same way; all of the keys are alive."""
        return large_delete(self._keyspace, self._sink, sorted_slices(keys, max_keys))

    @property
    def unfinished(self) -> bool:
        """Whether a large delete has begun and not ended, be it before a restart: reads of the present must wait."""
        return self._keyspace.unfinished != 0

    def check_txn(self, req: TxnRequest) -> None:
        """Everything wrong with a transaction that shows without the state; call it before proposing it."""
        check_txn(req, self.max_txn_ops)

    def txn(self, req: TxnRequest | Swap) -> TxnResult:
        """Apply a transaction that `check_txn` let pass: whole or, when an error is raised, not at all.

        Raises KEY_NOT_FOUND, LEASE_NOT_FOUND, COMPACTED, FUTURE_REVISION.
        """
        if isinstance(req, Swap):
            return run_swap(self._keyspace, self._sink, req)
        return run_txn(self._keyspace, self._leases, self._sink, req)

    def swap_run(self, requests: Sequence[Any], start: int, end: int, kind: int) -> list[TxnResult]:
        """Apply the transactions that requests[start:end] begins with, as far as they are swaps: see swap_run.py.

        requests: each begins with its kind and its encoded body, then perhaps the Swap read from that; a TxnRequest
        is of `kind`. A result for each that was applied; none if `txn` is to have the first.
        """
        return swap_run(self._keyspace, self._sink, islice(requests, start, end), kind, end - start)

    # ---- reading

    def taken_ranges(self, req: TxnRequest) -> tuple[bool, list[RangeRequest]] | None:
        """Of a transaction that only reads: whether its compares hold, and the ranges to be read, all at this revision.

        None if there is a transaction inside it. Raises COMPACTED, FUTURE_REVISION.
        """
        return taken_ranges(self._keyspace, req)

    def range(self, req: RangeRequest) -> RangeResult:
        """Read now or at req.revision. Raises EMPTY_KEY, COMPACTED, FUTURE_REVISION."""
        if not req.key:
            raise error("EMPTY_KEY")
        return read_range(self._keyspace, req, self._keyspace.revision)

    def get(self, key: bytes) -> bytes | None:
        """The encoded KeyValue of one key as it is now, which a plain Range answers; None if it is not alive."""
        found = self._keyspace.index.revisions.get(key, 0)
        return self._keyspace.kv(found) if found else None

    def range_slices(self, req: RangeRequest, max_items: int, max_bytes: int = 1 << 62) -> Iterator[RangeResult]:
        """The same answer in parts, at one pinned revision, however much is written between two of them.

        Each part looks at no more than `max_items` keys, and in key order ends with the one that brings it to
        `max_bytes`; its `kvs` may be empty; the last carries `more` and `count`.
        Raises as `range` does; COMPACTED also later, if a compaction passes the revision.
        """
        if not req.key:
            raise error("EMPTY_KEY")
        return read_slices(self._keyspace, req, self._keyspace.revision, max_items, max_bytes)

    def range_size(self, req: RangeRequest) -> int:
        """About how many keys `range` would touch: choose `range_slices` when it is large."""
        return range_size(self._keyspace, req)

    # ---- compaction and hash

    def compact(self, revision: int) -> None:
        """Let reads below the main revision fail; `compact_step` removes them. Raises COMPACTED, FUTURE_REVISION."""
        self._compactor.schedule(revision)

    def compact_step(self, budget: int) -> bool:
        """Remove what is compacted, looking at no more than `budget` records; True when nothing is left to do."""
        return self._compactor.step(budget)

    @property
    def compaction_pending(self) -> bool:
        """Whether `compact_step` has work, from before a restart or after."""
        return self._compactor.pending

    def hash_kv(self, revision: int = 0) -> HashResult:
        """etcd's HashKV up to a main revision, 0 for the current. Raises COMPACTED, FUTURE_REVISION."""
        for result in self.hash_kv_slices(revision, 1 << 62):
            if result is not None:
                return result
        raise AssertionError("hash_slices ends with a result")

    def hash_kv_slices(self, revision: int, max_items: int) -> Iterator[HashResult | None]:
        """The same in parts: None after every `max_items` records, then the result."""
        return hash_slices(self._keyspace, revision, max_items)

    def compaction_hash_slices(self, revision: int, max_items: int) -> Iterator[HashResult | None]:
        """The hash of what the last compaction, at that main revision, leaves; in parts, as above.

        Raises COMPACTED, FUTURE_REVISION if the last compaction was, or by now is, another one.
        """
        return compaction_hash_slices(self._keyspace, revision, max_items)

    # ---- what watchers that must catch up need (EventSource)

    def events(self, start: int, end: int, resume: int = 0) -> Iterator[StoredEvent]:
        """Every change with start <= main revision <= end, in order. The store may be written while it is in use.

        resume: leave out those below this packed revision.
        """
        return read_events(self._keyspace, start, end, resume)

    def previous_kv(self, event: StoredEvent) -> bytes | None:
        """The encoded KeyValue before the event's revision; None if there was none or it is compacted."""
        return superseded_kv(self._keyspace, event)
