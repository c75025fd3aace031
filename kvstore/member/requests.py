"""What a log entry carries: a batch of client requests, each in the bytes it came in.

All requests that one member collected while its disk was busy travel as one Raft entry. The batch names the member
they came from and a sequence number for the first, so that this member finds who waits for each answer when it
applies the entry; every other member only applies.

    batch   := origin u64 | first sequence u64 | request*
    request := kind u8 | length u32 | body
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from kvstore.errors import Code, EtcdError

_HEAD = struct.Struct("<QQ")
_REQUEST = struct.Struct("<BI")
_pack_request = _REQUEST.pack
_unpack_request = _REQUEST.unpack_from


class RequestKind(IntEnum):
    """What a request's body is. The numbers are on disk: never reuse one."""

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACT = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    LEASE_CHECKPOINT = 7
    ALARM = 8
    MEMBER_ATTRIBUTES = 9


class BatchError(EtcdError):
    """A log entry that does not hold a whole batch: the log passed its checksums, so a member wrote nonsense."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.DATA_LOSS, f"log entry is not a batch of requests: {reason}")


class Batch(NamedTuple):
    """One decoded log entry."""

    origin: int
    first_sequence: int
    requests: list[tuple[int, bytes]]


def encode_request(kind: int, body: bytes) -> bytes:
    """One request of a batch; join them behind encode_head."""
    return _pack_request(kind, len(body)) + body


def encode_head(origin: int, first_sequence: int) -> bytes:
    """The head of a batch."""
    return _HEAD.pack(origin, first_sequence)


def decode(data: bytes) -> Batch:
    """The batch in a log entry's bytes. Raises BatchError."""
    if len(data) < _HEAD.size:
        raise BatchError(f"{len(data)} bytes are too short for its head")
    origin, first = _HEAD.unpack_from(data)
    return Batch(origin, first, list(_requests(data)))


def _requests(data: bytes) -> Iterator[tuple[int, bytes]]:
    at, size, head = _HEAD.size, len(data), _REQUEST.size
    while at < size:
        if at + head > size:
            raise BatchError("a request is cut in its head")
        kind, length = _unpack_request(data, at)
        at += head
        if at + length > size:
            raise BatchError("a request is cut in its body")
        yield kind, data[at : at + length]
        at += length
