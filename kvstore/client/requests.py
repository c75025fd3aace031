"""Requests from options: the one place that knows how prefixes and open ranges are written on the wire.

A key or value is bytes, or str, which stands for its UTF-8 bytes. The same builders serve the client's methods, the
operations inside transactions and the command line.
"""

from __future__ import annotations

from typing import Literal, TypedDict, Unpack

from kvstore.pb import etcd_pb2 as pb

Bytes = bytes | str
Order = Literal["none", "ascend", "descend"]
SortBy = Literal["key", "version", "create", "mod", "value"]

_ORDERS = {"none": pb.RangeRequest.NONE, "ascend": pb.RangeRequest.ASCEND, "descend": pb.RangeRequest.DESCEND}
_TARGETS = {
    "key": pb.RangeRequest.KEY,
    "version": pb.RangeRequest.VERSION,
    "create": pb.RangeRequest.CREATE,
    "mod": pb.RangeRequest.MOD,
    "value": pb.RangeRequest.VALUE,
}
# As a range end, this byte means "every key from the first on"; as a key, it is the smallest there is.
OPEN_END = b"\0"


def to_bytes(data: Bytes) -> bytes:
    """str as UTF-8 (surrogate escapes give back the bytes they stand for), bytes as they are."""
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data


def prefix_end(prefix: bytes) -> bytes:
    """The smallest key greater than every key with the prefix; the open end when there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else OPEN_END


def key_range(
    key: Bytes, range_end: Bytes | None = None, *, prefix: bool = False, from_key: bool = False
) -> tuple[bytes, bytes]:
    """(key, range_end) for the wire. An empty key with prefix or from_key is every key.

    ValueError when more than one of range_end, prefix and from_key is given.
    """
    if (range_end is not None) + prefix + from_key > 1:
        raise ValueError("range_end, prefix and from_key exclude each other")
    start = to_bytes(key)
    if not prefix and not from_key:
        return start, to_bytes(range_end or b"")
    if from_key or not start:
        return start or OPEN_END, OPEN_END
    return start, prefix_end(start)


class KeyOptions(TypedDict, total=False):
    """Which keys: prefix: all that begin with the key; from_key: all from the key on (an empty key is every key)."""

    prefix: bool
    from_key: bool


class ReadOptions(TypedDict, total=False):
    """What a range answers, and how."""

    # At most so many key-values; 0: all.
    limit: int
    # The store as it was then; 0: now.
    revision: int
    order: Order
    sort_by: SortBy
    # Answered from the asked member's own state, which may be a little old.
    serializable: bool
    keys_only: bool
    count_only: bool
    min_mod_revision: int
    max_mod_revision: int
    min_create_revision: int
    max_create_revision: int


class RangeOptions(KeyOptions, ReadOptions, total=False):
    """Which keys a range covers, what it answers, and how."""


class PutOptions(TypedDict, total=False):
    """How a put treats what is there."""

    # The lease that the key shall hang on; without one the key is detached from any.
    lease: int
    # Answer with the key-value that was there before.
    prev_kv: bool
    # Keep the value, keep the lease: the key must exist.
    ignore_value: bool
    ignore_lease: bool


class DeleteOptions(KeyOptions, total=False):
    """What a delete answers."""

    # Answer with the key-values that were deleted.
    prev_kv: bool


def range_request(key: Bytes, range_end: Bytes | None = None, **options: Unpack[RangeOptions]) -> pb.RangeRequest:
    """A Range over [key, range_end), or over the one key."""
    start, end = key_range(key, range_end, prefix=options.get("prefix", False), from_key=options.get("from_key", False))
    return pb.RangeRequest(
        key=start,
        range_end=end,
        limit=options.get("limit", 0),
        revision=options.get("revision", 0),
        sort_order=_ORDERS[options.get("order", "none")],
        sort_target=_TARGETS[options.get("sort_by", "key")],
        serializable=options.get("serializable", False),
        keys_only=options.get("keys_only", False),
        count_only=options.get("count_only", False),
        min_mod_revision=options.get("min_mod_revision", 0),
        max_mod_revision=options.get("max_mod_revision", 0),
        min_create_revision=options.get("min_create_revision", 0),
        max_create_revision=options.get("max_create_revision", 0),
    )


def put_request(key: Bytes, value: Bytes = b"", **options: Unpack[PutOptions]) -> pb.PutRequest:
    """A Put."""
    return pb.PutRequest(key=to_bytes(key), value=to_bytes(value), **options)


def delete_request(
    key: Bytes, range_end: Bytes | None = None, **options: Unpack[DeleteOptions]
) -> pb.DeleteRangeRequest:
    """A DeleteRange over [key, range_end), or over the one key."""
    start, end = key_range(key, range_end, prefix=options.get("prefix", False), from_key=options.get("from_key", False))
    return pb.DeleteRangeRequest(key=start, range_end=end, prev_kv=options.get("prev_kv", False))
