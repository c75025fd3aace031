"""What a log entry carries: a batch of client requests, each in the bytes it came in.

All requests that one member collected while its disk was busy travel as one Raft entry. The batch names the member
they came from and a sequence number for the first, so that this member finds who waits for each answer when it
applies the entry; every other member only applies.

    batch   := origin u64 | first sequence u64 | request*
    request := kind u8 | length u32 | body

While auth is on, a request also says who made it, so that every member can check their permissions when it is applied.
Its kind then carries the bit SIGNED, and its body begins with that:

    body    := auth revision u64 | length u32 | user | body
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from kvstore.auth.types import Identity
from kvstore.errors import Code, EtcdError

_HEAD = struct.Struct("<QQ")
_REQUEST = struct.Struct("<BI")
_IDENTITY = struct.Struct("<QI")
pack_request = _REQUEST.pack  # what stands before a body: kind and length
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
    # A lease that ran out: revoked by the leader, whoever's keys hang on it.
    LEASE_EXPIRE = 10
    # Changes of membership; all but the update travel in the context of an entry of Raft's own kind.
    MEMBER_ADD = 11
    MEMBER_REMOVE = 12
    MEMBER_PROMOTE = 13
    MEMBER_UPDATE = 14
    AUTH_ENABLE = 32
    AUTH_DISABLE = 33
    AUTHENTICATE = 34
    USER_ADD = 35
    USER_DELETE = 36
    USER_CHANGE_PASSWORD = 37
    USER_GRANT_ROLE = 38
    USER_REVOKE_ROLE = 39
    ROLE_ADD = 40
    ROLE_DELETE = 41
    ROLE_GRANT_PERMISSION = 42
    ROLE_REVOKE_PERMISSION = 43


SIGNED = 0x80
"""The bit of a kind whose body begins with who made the request."""


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
    return pack_request(kind, len(body)) + body


def sign(kind: int, body: bytes, identity: Identity) -> tuple[int, bytes]:
    """The request with who made it: its kind and body."""
    user = identity.user.encode()
    return kind | SIGNED, _IDENTITY.pack(identity.revision, len(user)) + user + body


def unsign(kind: int, body: bytes) -> tuple[int, bytes, Identity]:
    """What sign() was given. Raises BatchError."""
    start = _IDENTITY.size
    if len(body) < start:
        raise BatchError("a request is cut in its signature")
    revision, length = _IDENTITY.unpack_from(body)
    end = start + length
    if len(body) < end:
        raise BatchError("a request is cut in its signature")
    return kind & ~SIGNED, body[end:], Identity(body[start:end].decode(), revision)


def encode_head(origin: int, first_sequence: int) -> bytes:
    """The head of a batch."""
    return _HEAD.pack(origin, first_sequence)


def decode_head(data: bytes) -> tuple[int, int]:
    """(origin, first sequence) of a batch: all that its origin needs, which has the requests. Raises BatchError."""
    if len(data) < _HEAD.size:
        raise BatchError(f"{len(data)} bytes are too short for its head")
    origin, first = _HEAD.unpack_from(data)
    return origin, first


def decode(data: bytes) -> Batch:
    """The batch in a log entry's bytes. Raises BatchError."""
    origin, first = decode_head(data)
    # Hot: one pass, nothing called but C.
    requests: list[tuple[int, bytes]] = []
    at, size, unpack, head = _HEAD.size, len(data), _unpack_request, _REQUEST.size
    try:
        while at < size:
            kind, length = unpack(data, at)
            at += head
            end = at + length
            requests.append((kind, data[at:end]))
            at = end
    except struct.error:
        raise BatchError("a request is cut in its head") from None
    if at != size:
        raise BatchError("a request is cut in its body")
    return Batch(origin, first, requests)
