"""Encoded responses of the KV service, put together from stored bytes.

A Range answers with the key-values as they lie in the store; nothing is decoded on the way. Field numbers:
proto/etcd.proto.
"""

from __future__ import annotations

from kvstore.mvcc.results import DeleteResult, OpResult, PutResult, RangeResult, TxnResult
from kvstore.varint import varint


def delimited(tag: int, body: bytes) -> bytes:
    """A length-delimited field with a one-byte tag."""
    return bytes((tag,)) + varint(len(body)) + body


class _Tags(dict[int, bytes]):
    """The tag and length of a RangeResponse's `kvs` field, by length; those of usual lengths are remembered."""

    def __missing__(self, length: int) -> bytes:
        tag = b"\x12" + varint(length)
        if length < _USUAL:
            self[length] = tag
        return tag


_USUAL = 1 << 13
_tag = _Tags().__getitem__


def range_response(header: bytes, result: RangeResult) -> bytes:
    """RangeResponse, or a part of one; `header` is field 1 with its tag. Hot: no step that is made for each key."""
    kvs = result.kvs
    tail = b"\x18\x01" if result.more else b""
    if result.count:
        tail += b"\x20" + varint(result.count)
    if _alike(kvs):
        pieces = [header, *kvs]
        pieces[-1] += tail
        return _tag(len(kvs[0])).join(pieces)
    # Two lists are laid into one another: cheaper than pairs of them.
    pieces = [header] * (2 * len(kvs) + 2)
    pieces[1:-1:2] = list(map(_tag, map(len, kvs)))
    pieces[2:-1:2] = kvs
    pieces[-1] = tail
    return b"".join(pieces)


def _alike(kvs: list[bytes]) -> bool:
    """Whether all have one length. Where they have not, a look at three of them mostly tells."""
    if not kvs:
        return False
    length = len(kvs[0])
    return len(kvs[-1]) == length == len(kvs[len(kvs) // 2]) and len(set(map(len, kvs))) == 1


def put_response(header: bytes, result: PutResult) -> bytes:
    """PutResponse."""
    if result.prev_kv is None:
        return header
    return header + delimited(0x12, result.prev_kv)


def delete_response(header: bytes, result: DeleteResult) -> bytes:
    """DeleteRangeResponse."""
    parts = [header]
    if result.deleted:
        parts.append(b"\x10" + varint(result.deleted))
    parts.extend(delimited(0x1A, kv) for kv in result.prev_kvs)
    return b"".join(parts)


def txn_response(header: bytes, result: TxnResult) -> bytes:
    """TxnResponse."""
    results = result.results
    if len(results) == 1 and type(results[0]) is PutResult and results[0].prev_kv is None:
        # Hot: a swap. Each length is one byte.
        revision = varint(results[0].revision)
        size = len(revision)
        inner = bytes((0x1A, size + 5, 0x12, size + 3, 0x0A, size + 1, 0x18)) + revision
        return (header + b"\x10\x01" if result.succeeded else header) + inner
    parts = [header]
    if result.succeeded:
        parts.append(b"\x10\x01")
    parts.extend(delimited(0x1A, _response_op(op)) for op in result.results)
    return b"".join(parts)


def _response_op(result: OpResult) -> bytes:
    """One ResponseOp.

    Inside a transaction etcd's headers carry only the revision, and a nested transaction's is empty.
    """
    header = inner_header(result.revision)
    if isinstance(result, RangeResult):
        return delimited(0x0A, range_response(header, result))
    if isinstance(result, PutResult):
        return delimited(0x12, put_response(header, result))
    if isinstance(result, DeleteResult):
        return delimited(0x1A, delete_response(header, result))
    return delimited(0x22, txn_response(header, result))


def range_op_head(size: int) -> bytes:
    """What stands before a RangeResponse of that size in TxnResponse.responses: the tags and lengths of both."""
    head = b"\x0a" + varint(size)
    return b"\x1a" + varint(len(head) + size) + head


def inner_header(revision: int) -> bytes:
    """The header of a response inside a transaction, as field 1."""
    return delimited(0x0A, b"\x18" + varint(revision) if revision else b"")
