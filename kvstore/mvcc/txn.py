"""One main revision's worth of writes, and the Txn request that runs inside one.

A Txn goes in three steps, like etcd's: every compare (nested ones too) is evaluated on the state before it; everything
that can fail is checked on the branches that were taken; then the operations run, and nothing in them can fail.
So a transaction is applied whole or not at all, on every member alike.

Invariants: sub-revisions count the writes from 0; a transaction that changes nothing takes no revision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kvstore.errors import error
from kvstore.invariant import InvariantViolation
from kvstore.pb.etcd_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

from .compares import all_hold
from .encoding import HEADER, HEADER_SIZE, value_of
from .index import TO_THE_END
from .keyspace import Keyspace
from .ranges import read_range
from .results import DeleteResult, OpResult, PutResult, RangeResult, TxnResult
from .types import EventSink, LeaseBook, StoredEvent, pack


class WriteBatch:
    """The writes of one main revision; `finish` makes it the current one and hands out its events."""

    __slots__ = ("_keyspace", "_main", "events")

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self._main = keyspace.revision + 1
        self.events: list[StoredEvent] = []

    @property
    def revision(self) -> int:
        """The main revision that reads in this batch see: its own once it has written."""
        return self._main if self.events else self._main - 1

    def range(self, req: RangeRequest) -> RangeResult:
        """Read, earlier writes of this batch included. Raises COMPACTED, FUTURE_REVISION."""
        return read_range(self._keyspace, req, self.revision)

    def put(self, req: PutRequest) -> PutResult:
        """Write one key; the lease is known to exist. Raises KEY_NOT_FOUND for ignore_value, ignore_lease."""
        value, lease = req.value, req.lease
        before = self._keyspace.index.revisions.get(req.key, 0)
        if req.ignore_value or req.ignore_lease:
            if not before:
                raise error("KEY_NOT_FOUND")
            record = self._keyspace.record(before)
            value = value_of(record[HEADER_SIZE:]) if req.ignore_value else value
            lease = HEADER.unpack_from(record)[4] if req.ignore_lease else lease
        previous = self._keyspace.kv(before) if req.prev_kv and before else None
        self.events.append(self._keyspace.put(self._next(), req.key, value, lease))
        return PutResult(self._main, previous)

    def delete_range(self, req: DeleteRangeRequest) -> DeleteResult:
        """Delete every live key of the range, in order."""
        keys = self._keyspace.index.keys(req.key, req.range_end)
        return self.delete_keys(keys, prev_kv=req.prev_kv)

    def delete_keys(self, keys: list[bytes], *, prev_kv: bool = False) -> DeleteResult:
        """Delete these live keys, which are sorted."""
        revisions = self._keyspace.index.revisions
        previous = [self._keyspace.kv(revisions[key]) for key in keys] if prev_kv else []
        self.events += self._keyspace.delete(self._next(), keys)
        return DeleteResult(self.revision, len(keys), previous)

    def _next(self) -> int:
        return pack(self._main, len(self.events))

    def finish(self, sink: EventSink) -> int:
        """Make it current and publish; the main revision after it."""
        if self.events:
            self._keyspace.revision = self._main
            sink.publish(self._main, self.events)
        return self._keyspace.revision


class Branch:
    """The operations that a transaction's compares chose, nested ones resolved: kind, request, its branch."""

    __slots__ = ("ops", "succeeded")

    def __init__(self, keyspace: Keyspace, req: TxnRequest) -> None:
        self.succeeded = all_hold(keyspace, req.compare)
        self.ops = [_resolved(keyspace, op) for op in (req.success if self.succeeded else req.failure)]

    def flat(self) -> Iterator[tuple[str, Any]]:
        """Kind and request of every operation that will run, in order; nested transactions opened."""
        for kind, request, nested in self.ops:
            if nested is None:
                yield kind, request
            else:
                yield from nested.flat()

    def run(self, batch: WriteBatch) -> list[OpResult]:
        """Apply everything; one result an operation."""
        return [_run(batch, kind, request, nested) for kind, request, nested in self.ops]


def _resolved(keyspace: Keyspace, op: RequestOp) -> tuple[str, Any, Branch | None]:
    kind = op.WhichOneof("request")
    if kind is None:
        raise InvariantViolation("an empty operation got past check_txn")
    request = getattr(op, kind)
    return kind, request, Branch(keyspace, request) if kind == "request_txn" else None


def _run(batch: WriteBatch, kind: str, request: Any, nested: Branch | None) -> OpResult:
    if nested is not None:
        return TxnResult(nested.succeeded, nested.run(batch), 0, False)
    if kind == "request_put":
        return batch.put(request)
    return batch.range(request) if kind == "request_range" else batch.delete_range(request)


def run_txn(keyspace: Keyspace, leases: LeaseBook, sink: EventSink, req: TxnRequest) -> TxnResult:
    """Apply a transaction that `check_txn` let pass.

    Raises KEY_NOT_FOUND, LEASE_NOT_FOUND, COMPACTED, FUTURE_REVISION, all of them before the first write.
    """
    branch = Branch(keyspace, req)
    ops = list(branch.flat())
    _check_puts(keyspace, leases, ops)
    for kind, request in ops:
        if kind == "request_range" and request.revision:
            _check_revision(keyspace, request.revision)
    batch = WriteBatch(keyspace)
    results = branch.run(batch)
    changed = bool(batch.events)
    return TxnResult(branch.succeeded, results, batch.finish(sink), changed)


def taken_ranges(keyspace: Keyspace, req: TxnRequest) -> tuple[bool, list[RangeRequest]] | None:
    """Of a transaction that only reads: whether its compares hold, and the ranges to be read, all at this revision.

    None if there is a transaction inside it. Raises COMPACTED, FUTURE_REVISION.
    """
    branch = Branch(keyspace, req)
    if any(nested is not None for _, _, nested in branch.ops):
        return None
    ranges = [request for _, request, _ in branch.ops]
    for request in ranges:
        if request.revision:
            _check_revision(keyspace, request.revision)
    return branch.succeeded, ranges


def _check_revision(keyspace: Keyspace, wanted: int) -> None:
    if wanted > keyspace.revision:
        raise error("FUTURE_REVISION")
    if wanted < keyspace.compacted:  # a negative one too: so does etcd, here but not in a plain Range
        raise error("COMPACTED")


def _check_puts(keyspace: Keyspace, leases: LeaseBook, ops: Sequence[tuple[str, Any]]) -> None:
    deleted: list[tuple[bytes, bytes]] = []
    for kind, request in ops:
        if kind == "request_delete_range":
            deleted.append((request.key, request.range_end))
        elif kind == "request_put":
            _check_put(keyspace, leases, request, deleted)


def _check_put(keyspace: Keyspace, leases: LeaseBook, put: PutRequest, deleted: list[tuple[bytes, bytes]]) -> None:
    if put.ignore_value or put.ignore_lease:
        # The duplicate check lets a "delete from key on" stand before a put of such a key, which would find no value.
        gone = any(end == TO_THE_END and put.key >= begin for begin, end in deleted)
        if gone or put.key not in keyspace.index.revisions:
            raise error("KEY_NOT_FOUND")
    if put.lease and not leases.exists(put.lease):
        raise error("LEASE_NOT_FOUND")
