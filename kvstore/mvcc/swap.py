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

from kvstore.pb.etcd_pb2 import DeleteRangeRequest, PutRequest, RangeRequest
from kvstore.varint import read_varint

from .compares import UNION_TAGS, VALUE, holds
from .keyspace import Keyspace
from .put_run import key_end
from .results import OpResult, TxnResult
from .txn import WriteBatch
from .types import EventSink

# Tags of RequestOp's members.
_RANGE, PUT_OP, _DELETE = 0x0A, 0x12, 0x1A
_ONE_KEY: Final = frozenset((_RANGE, _DELETE))

_Compare = tuple[bytes, int, int, int | bytes]
"""Key, target, result, and what to compare with."""

_Op = tuple[int, bytes, bytes]
"""Tag in RequestOp, key, the encoded request."""


class Swap:
    """One such transaction. then, otherwise: the operation of each branch. puts: whether one of them is a put."""

    __slots__ = ("compares", "otherwise", "puts", "then")

    def __init__(self, compares: list[_Compare], then: _Op | None, otherwise: _Op | None) -> None:
        self.compares = compares
        self.then = then
        self.otherwise = otherwise
        self.puts = (then is not None and then[0] == PUT_OP) or (otherwise is not None and otherwise[0] == PUT_OP)


def read_swap(data: bytes) -> Swap | None:
    """The transaction in an encoded TxnRequest; None if it is not of this form or changes nothing. Hot."""
    compares: list[_Compare] = []
    then = otherwise = None
    at, size = 0, len(data)
    try:
        while at < size:
            tag, length = data[at], data[at + 1]
            at += 2
            if length > 0x7F:
                more = data[at]
                if more > 0x7F:
                    return None
                length = length & 0x7F | more << 7
                at += 1
            end = at + length
            if tag == 0x0A:
                compares.append(_compare(data, at, end))
            elif tag == 0x12 and then is None:
                then = _op(data[at:end], length)
            elif tag == 0x1A and otherwise is None:
                otherwise = _op(data[at:end], length)
            else:
                return None
            at = end
    except (IndexError, _OtherForm):
        return None
    if at != size or not ((then and then[0] != _RANGE) or (otherwise and otherwise[0] != _RANGE)):
        return None
    return Swap(compares, then, otherwise)


class _OtherForm(ValueError):
    """Not what this is for."""


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


def _op(data: bytes, size: int) -> _Op:
    """The operation in an encoded RequestOp, which should be `size` bytes and hold one request and nothing else."""
    kind, length = data[0], data[1]
    if length < 0x80:
        body = data[2:]
    else:
        length = length & 0x7F | data[2] << 7
        body = data[3:]
    if len(data) != size or len(body) != length:
        raise _OtherForm
    if kind == PUT_OP:
        stop = key_end(body)
        if stop:
            return kind, body[2:stop], body
    elif kind in _ONE_KEY and body[0] == 0x0A and 0 < body[1] == length - 2 < 0x80:
        return kind, body[2:], body
    raise _OtherForm


def chosen(keyspace: Keyspace, swap: Swap) -> tuple[bool, _Op | None]:
    """Whether its compares hold now, and the operation of that branch."""
    for key, target, result, wanted in swap.compares:
        if not holds(keyspace, key, target, result, wanted):
            return False, swap.otherwise
    return True, swap.then


def run_swap(keyspace: Keyspace, sink: EventSink, swap: Swap) -> TxnResult:
    """Apply it: what run_txn does for the same transaction."""
    succeeded, op = chosen(keyspace, swap)
    if op is None:
        return TxnResult(succeeded, [], keyspace.revision, False)
    kind, key, body = op
    batch = WriteBatch(keyspace)
    done: OpResult
    if kind == PUT_OP:
        done = batch.put(PutRequest.FromString(body))
    elif kind == _RANGE:
        done = batch.range(RangeRequest(key=key))
    else:
        done = batch.delete_range(DeleteRangeRequest(key=key))
    changed = bool(batch.events)
    return TxnResult(succeeded, [done], batch.finish(sink), changed)
