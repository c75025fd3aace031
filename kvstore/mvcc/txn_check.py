"""What can be said of a request without looking at the store; done before it is proposed.

Follows etcd's v3rpc checks, their order included, because clients match the error they get.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from kvstore.errors import error
from kvstore.pb.etcd_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

_SORT_ORDERS = frozenset(RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(RangeRequest.SortTarget.values())


def check_range(req: RangeRequest) -> None:
    """Raise EMPTY_KEY or INVALID_SORT_OPTION."""
    if not req.key:
        raise error("EMPTY_KEY")
    if req.sort_order not in _SORT_ORDERS or req.sort_target not in _SORT_TARGETS:
        raise error("INVALID_SORT_OPTION")


def check_put(req: PutRequest) -> None:
    """Raise EMPTY_KEY, VALUE_PROVIDED or LEASE_PROVIDED."""
    if not req.key:
        raise error("EMPTY_KEY")
    if req.ignore_value and req.value:
        raise error("VALUE_PROVIDED")
    if req.ignore_lease and req.lease:
        raise error("LEASE_PROVIDED")


def check_delete_range(req: DeleteRangeRequest) -> None:
    """Raise EMPTY_KEY."""
    if not req.key:
        raise error("EMPTY_KEY")


def check_txn(req: TxnRequest, max_ops: int = 128) -> None:
    """Raise TOO_MANY_OPS, an error of an inner request, KEY_NOT_FOUND for an empty operation, or DUPLICATE_KEY.

    max_ops: bounds max(compares, success, failure); a nested transaction gets what is left.
    """
    _check_ops(req, max_ops)
    for branch in (req.success, req.failure):
        # Hot: one operation, as most transactions have, is in nobody's way.
        if len(branch) > 1 or (branch and branch[0].HasField("request_txn")):
            _Writes.of(branch)


def _check_ops(req: TxnRequest, max_ops: int) -> None:
    used = max(len(req.compare), len(req.success), len(req.failure))
    if used > max_ops:
        raise error("TOO_MANY_OPS")
    if not all(compare.key for compare in req.compare):
        raise error("EMPTY_KEY")
    for branch in (req.success, req.failure):
        for op in branch:
            _check_op(op, max_ops - used)


def _check_op(op: RequestOp, max_ops: int) -> None:
    match op.WhichOneof("request"):
        case "request_range":
            check_range(op.request_range)
        case "request_put":
            check_put(op.request_put)
        case "request_delete_range":
            check_delete_range(op.request_delete_range)
        case "request_txn":
            _check_ops(op.request_txn, max_ops)
        case _:
            raise error("KEY_NOT_FOUND")


class _Intervals:
    """A union of half-open key ranges; a put is looked up in it in O(log n), however many deletes a client nests.

    Invariants: `_begins` and `_ends` are sorted, of one length, and the ranges neither overlap nor touch.
    """

    __slots__ = ("_begins", "_ends")

    def __init__(self) -> None:
        self._begins: list[bytes] = []
        self._ends: list[bytes] = []

    def add(self, begin: bytes, end: bytes) -> None:
        """Add [begin, end); nothing if it is empty."""
        if begin >= end:
            return
        low, high = bisect_left(self._ends, begin), bisect_right(self._begins, end)
        if low < high:
            begin, end = min(begin, self._begins[low]), max(end, self._ends[high - 1])
        self._begins[low:high] = [begin]
        self._ends[low:high] = [end]

    def add_all(self, other: _Intervals) -> None:
        """Add every range of the other."""
        for begin, end in zip(other._begins, other._ends, strict=True):
            self.add(begin, end)

    def __contains__(self, key: bytes) -> bool:
        at = bisect_right(self._begins, key) - 1
        return at >= 0 and key < self._ends[at]


class _Writes:
    """The keys that a list of operations puts and the ranges that it deletes.

    As in etcd, a range_end of "\\0" is taken literally here, so "delete from key on" overlaps nothing; and a put is
    compared with the deletes of its own level, of its nested transactions and of those before it.
    """

    __slots__ = ("deletes", "puts")

    def __init__(self) -> None:
        self.puts: set[bytes] = set()
        self.deletes = _Intervals()

    @classmethod
    def of(cls, ops: Sequence[RequestOp]) -> _Writes:
        """Collect, raising DUPLICATE_KEY for a key put twice or put and deleted."""
        writes = cls()
        for op in ops:
            if op.HasField("request_delete_range"):
                delete = op.request_delete_range
                writes.deletes.add(delete.key, delete.range_end or delete.key + b"\0")
        for op in ops:
            if op.HasField("request_txn"):
                writes._add_nested(op.request_txn)
        for op in ops:
            if op.HasField("request_put"):
                writes._add_put(op.request_put.key)
        return writes

    def _add_nested(self, txn: TxnRequest) -> None:
        then, otherwise = _Writes.of(txn.success), _Writes.of(txn.failure)
        for key in then.puts:
            self._add_put(key)
        for key in otherwise.puts:
            self._add_put(key, only_one_runs=key in then.puts)
        self.deletes.add_all(then.deletes)
        self.deletes.add_all(otherwise.deletes)

    def _add_put(self, key: bytes, *, only_one_runs: bool = False) -> None:
        if (key in self.puts and not only_one_runs) or key in self.deletes:
            raise error("DUPLICATE_KEY")
        self.puts.add(key)
