"""Transactions: if these compares hold, then these operations, otherwise those; all in one revision.

    await client.txn().when(version("k") == 0).then(put("k", "v")).otherwise(get("k")).commit()

`version("k") == 0` is a compare, not a bool: the four operators of etcd (==, !=, <, >) are overloaded on Target.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Self, Unpack

from kvstore.client.requests import (
    Bytes,
    DeleteOptions,
    KeyOptions,
    PutOptions,
    RangeOptions,
    delete_request,
    key_range,
    put_request,
    range_request,
    to_bytes,
)
from kvstore.pb import etcd_pb2 as pb


class Target:
    """One property of a key (or of every key of a range), to be compared with a value."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, field: str, target: pb.Compare.CompareTarget, key: bytes, range_end: bytes) -> None:
        self._field, self._target, self._key, self._range_end = field, target, key, range_end

    def _compare(self, result: pb.Compare.CompareResult, value: int | Bytes) -> pb.Compare:
        compare = pb.Compare(result=result, target=self._target, key=self._key, range_end=self._range_end)
        setattr(compare, self._field, value if isinstance(value, int) else to_bytes(value))
        return compare

    def __eq__(self, value: int | Bytes) -> pb.Compare:  # type: ignore[override]
        return self._compare(pb.Compare.EQUAL, value)

    def __ne__(self, value: int | Bytes) -> pb.Compare:  # type: ignore[override]
        return self._compare(pb.Compare.NOT_EQUAL, value)

    def __gt__(self, value: int | Bytes) -> pb.Compare:
        return self._compare(pb.Compare.GREATER, value)

    def __lt__(self, value: int | Bytes) -> pb.Compare:
        return self._compare(pb.Compare.LESS, value)


def _target(
    field: str, target: pb.Compare.CompareTarget, key: Bytes, range_end: Bytes | None, options: KeyOptions
) -> Target:
    return Target(field, target, *key_range(key, range_end, **options))


def version(key: Bytes, range_end: Bytes | None = None, **options: Unpack[KeyOptions]) -> Target:
    """Puts since the key was created; 0 for a key that does not exist."""
    return _target("version", pb.Compare.VERSION, key, range_end, options)


def create_revision(key: Bytes, range_end: Bytes | None = None, **options: Unpack[KeyOptions]) -> Target:
    """The revision that created the key; 0 for a key that does not exist."""
    return _target("create_revision", pb.Compare.CREATE, key, range_end, options)


def mod_revision(key: Bytes, range_end: Bytes | None = None, **options: Unpack[KeyOptions]) -> Target:
    """The revision of the last put; 0 for a key that does not exist."""
    return _target("mod_revision", pb.Compare.MOD, key, range_end, options)


def value(key: Bytes, range_end: Bytes | None = None, **options: Unpack[KeyOptions]) -> Target:
    """The value; every comparison with it is false for a key that does not exist."""
    return _target("value", pb.Compare.VALUE, key, range_end, options)


def lease_of(key: Bytes, range_end: Bytes | None = None, **options: Unpack[KeyOptions]) -> Target:
    """The id of the lease the key hangs on; 0 for none."""
    return _target("lease", pb.Compare.LEASE, key, range_end, options)


def put(key: Bytes, value: Bytes = b"", **options: Unpack[PutOptions]) -> pb.RequestOp:
    """A put inside a transaction."""
    return pb.RequestOp(request_put=put_request(key, value, **options))


def get(key: Bytes, range_end: Bytes | None = None, **options: Unpack[RangeOptions]) -> pb.RequestOp:
    """A range inside a transaction."""
    return pb.RequestOp(request_range=range_request(key, range_end, **options))


def delete(key: Bytes, range_end: Bytes | None = None, **options: Unpack[DeleteOptions]) -> pb.RequestOp:
    """A delete inside a transaction."""
    return pb.RequestOp(request_delete_range=delete_request(key, range_end, **options))


OnDoubt = Callable[[], None] | None
Commit = Callable[[pb.TxnRequest, bool, OnDoubt], Awaitable[pb.TxnResponse]]


class TxnBuilder:
    """A transaction being put together; each step returns the same object."""

    def __init__(self) -> None:
        self.request = pb.TxnRequest()

    def when(self, *compares: pb.Compare) -> Self:
        """Add conditions; all of them must hold. Without any, the transaction succeeds."""
        self.request.compare.extend(compares)
        return self

    def then(self, *operations: pb.RequestOp | TxnBuilder) -> Self:
        """Add operations for when every condition holds; a transaction among them is a nested one."""
        self.request.success.extend(_operations(operations))
        return self

    def otherwise(self, *operations: pb.RequestOp | TxnBuilder) -> Self:
        """Add operations for when a condition fails."""
        self.request.failure.extend(_operations(operations))
        return self


class Txn(TxnBuilder):
    """A transaction of an asynchronous client. Get one from client.txn()."""

    def __init__(self, commit: Commit) -> None:
        super().__init__()
        self._commit = commit

    async def commit(self, *, repeatable: bool = False, on_doubt: OnDoubt = None) -> pb.TxnResponse:
        """Run it; `.succeeded` of the answer says which branch ran.

        repeatable: the caller's promise that applying it twice does no harm (its compares see to that); then it is
        sent again after a broken connection. A transaction that only reads always is. A member that hangs may carry
        out the first attempt long after the second, so the compares must fail for good once the first one has
        succeeded; on_doubt is called for every attempt of which that may be said.
        Raises MaybeApplied when it was sent and its fate is unknown; StoreError when the store refused it.
        """
        return await self._commit(self.request, repeatable, on_doubt)


def _operations(operations: Sequence[pb.RequestOp | TxnBuilder]) -> list[pb.RequestOp]:
    return [pb.RequestOp(request_txn=op.request) if isinstance(op, TxnBuilder) else op for op in operations]


def only_reads(request: pb.TxnRequest) -> bool:
    """Whether no branch of the transaction writes."""
    for operation in (*request.success, *request.failure):
        kind = operation.WhichOneof("request")
        if kind == "request_txn" and only_reads(operation.request_txn):
            continue
        if kind not in (None, "request_range"):
            return False
    return True
