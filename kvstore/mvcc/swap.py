"""Transactions as locks, elections and the control plane send them: some compares of single keys, then at most one
operation on one key in either branch. Compare-and-swap is one.

They are read from their bytes to plain values in one pass, once for all checks and for applying: protobuf makes an
object for every nested message each time it is looked at, which costs more than the transaction itself. What is of any
other form is left to TxnRequest and txn.py; so is one that only reads.

Invariants: `read_swap` takes no bytes that protobuf would refuse or understand differently, nor a transaction that
`check_txn` would refuse for anything but the number of its compares.
Source: protobuf wire format; TxnRequest, RequestOp and Compare of the etcd v3 API.
"""

from __future__ import annotations

from typing import Final

from kvstore.pb.etcd_pb2 import DeleteRangeRequest, RangeRequest

from .compares import UNION_TAGS, VALUE, holds
from .encoding import read_varint
from .keyspace import Keyspace
from .put_run import key_end
from .results import OpResult, PutResult, TxnResult
from .txn import WriteBatch
from .types import EventSink

# Tags of RequestOp's members.
_RANGE, _PUT, _DELETE = 0x0A, 0x12, 0x1A
_WRITES: Final = frozenset((_PUT, _DELETE))

_Compare = tuple[bytes, int, int, int | bytes]
"""Key, target, result, and what to compare with."""

_Op = tuple[int, bytes, bytes]
"""Tag in RequestOp, key, value of a put."""


class Swap:
    """One such transaction. then, otherwise: the operation of each branch. puts: whether one of them is a put."""

    __slots__ = ("compares", "otherwise", "puts", "then")

    def __init__(self, compares: list[_Compare], then: _Op | None, otherwise: _Op | None) -> None:
        self.compares = compares
        self.then = then
        self.otherwise = otherwise
        self.puts = (then is not None and then[0] == _PUT) or (otherwise is not None and otherwise[0] == _PUT)


def read_swap(data: bytes) -> Swap | None:
    """The transaction in an encoded TxnRequest; None if it is not of this form or changes nothing."""
    compares: list[_Compare] = []
    branches: dict[int, _Op] = {}
    at, size = 0, len(data)
    try:
        while at < size:
            tag = data[at]
            start, end = _inside(data, at + 1)
            if tag == 0x0A:
                compares.append(_compare(data, start, end))
            elif (tag == 0x12 or tag == 0x1A) and tag not in branches:
                branches[tag] = _op(data, start, end)
            else:
                return None
            at = end
    except (IndexError, _OtherForm):
        return None
    then, otherwise = branches.get(0x12), branches.get(0x1A)
    if at != size or not ((then and then[0] in _WRITES) or (otherwise and otherwise[0] in _WRITES)):
        return None
    return Swap(compares, then, otherwise)


class _OtherForm(ValueError):
    """Not what this is for."""


def _inside(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of a field begins and ends whose length stands at `at`; at most 16 KiB."""
    length = data[at]
    if length < 0x80:
        return at + 1, at + 1 + length
    more = data[at + 1]
    if more > 0x7F:
        raise _OtherForm
    return at + 2, at + 2 + (length & 0x7F | more << 7)


def _compare(data: bytes, at: int, end: int) -> _Compare:
    result = target = tag_given = 0
    key = b""
    given: int | bytes = 0
    while at < end:
        tag, number = data[at], data[at + 1]
        at += 2
        if number > 0x7F:
            begin = at - 1
            number, at = read_varint(data, begin)
            if at - begin > 9:
                raise _OtherForm  # negative, or longer than protobuf takes
        if tag == 0x08:
            result = number
        elif tag == 0x10:
            target = number
        elif tag == 0x1A:
            key, at = data[at : at + number], at + number
        elif tag in _GIVEN and not tag_given:
            tag_given = tag
            given, at = (data[at : at + number], at + number) if tag == 0x3A else (number, at)
        else:
            raise _OtherForm
        if number >> 31 and tag < 0x20:
            raise _OtherForm  # no enum's number
    if at != end or not key:
        raise _OtherForm
    # What is given for another target reads as zero.
    if tag_given != UNION_TAGS.get(target):
        given = b"" if target == VALUE else 0
    return key, target, result, given


_GIVEN: Final = frozenset(UNION_TAGS.values())


def _op(data: bytes, at: int, end: int) -> _Op:
    kind = data[at]
    start, inner_end = _inside(data, at + 1)
    if inner_end != end or end > len(data):
        raise _OtherForm
    body = data[start:end]
    if kind == _PUT:
        stop = key_end(body)
        if not stop:
            raise _OtherForm
        return kind, body[2:stop], body[_inside(body, stop + 1)[0] :]
    if kind not in (_RANGE, _DELETE) or body[0] != 0x0A or not 0 < body[1] == len(body) - 2 < 0x80:
        raise _OtherForm
    return kind, body[2:], b""


def run_swap(keyspace: Keyspace, sink: EventSink, swap: Swap) -> TxnResult:
    """Apply it: what run_txn does for the same transaction."""
    succeeded = True
    for key, target, result, wanted in swap.compares:
        if not holds(keyspace, key, target, result, wanted):
            succeeded = False
            break
    op = swap.then if succeeded else swap.otherwise
    if op is None:
        return TxnResult(succeeded, [], keyspace.revision, False)
    kind, key, value = op
    if kind != _PUT:
        return _run_other(keyspace, sink, succeeded, kind, key)
    main = keyspace.revision + 1
    event = keyspace.put(main << 32, key, value, 0)
    keyspace.revision = main
    sink.publish(main, [event])
    return TxnResult(succeeded, [PutResult(main, None)], main, True)


def _run_other(keyspace: Keyspace, sink: EventSink, succeeded: bool, kind: int, key: bytes) -> TxnResult:
    batch = WriteBatch(keyspace)
    done: OpResult = (
        batch.range(RangeRequest(key=key)) if kind == _RANGE else batch.delete_range(DeleteRangeRequest(key=key))
    )
    changed = bool(batch.events)
    return TxnResult(succeeded, [done], batch.finish(sink), changed)
