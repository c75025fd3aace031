"""Bytes of stored key-values and of history records, made and read without protobuf.

A history record is a fixed header followed by the encoded KeyValue. The header repeats what an overwrite, a filter or
a sort needs, so that none of them parses protobuf; the KeyValue is what a Range answers with, byte for byte.

Invariants: `encode_kv` gives the bytes that protobuf's own serializer gives (fields in number order, zeros left out).
Source: protobuf wire format; mvccpb.KeyValue of the etcd v3 API.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from kvstore.varint import SHORT_VARINTS, SPLIT, read_varint, varint

# previous revision (12 bytes), create revision, version, lease, flags
HEADER: Final = Struct(">QIQQqB")
HEADER_SIZE: Final = HEADER.size
TOMBSTONE: Final = 1


def encode_kv(key: bytes, create: int, mod: int, version: int, value: bytes, lease: int) -> bytes:
    """An encoded KeyValue; `create` and `mod` are main revisions, the key is not empty."""
    parts = [b"\x0a", varint(len(key)), key]
    if create:
        parts += (b"\x10", varint(create))
    if mod:
        parts += (b"\x18", varint(mod))
    if version:
        parts += (b"\x20", varint(version))
    if value:
        parts += (b"\x2a", varint(len(value)), value)
    if lease:
        parts += (b"\x30", varint(lease))
    return b"".join(parts)


def encode_put(key: bytes, create: int, mod: int, version: int, value: bytes, lease: int) -> bytes:
    """The encoded KeyValue of a put: what `encode_kv` gives, for create, mod and version above 0.

    Hot: called for every put on every member. One join, and table look-ups in place of calls for short fields.
    """
    length, size = len(key), len(value)
    return b"".join(
        (
            b"\x0a",
            SHORT_VARINTS[length] if length <= SPLIT else varint(length),
            key,
            b"\x10",
            varint(create),
            b"\x18",
            varint(mod),
            b"\x20",
            SHORT_VARINTS[version] if version <= SPLIT else varint(version),
            b"\x2a" if size else b"",
            (SHORT_VARINTS[size] if size <= SPLIT else varint(size)) if size else b"",
            value,
            b"\x30" + varint(lease) if lease else b"",
        )
    )


def tombstone_record(previous: int, key: bytes, mod: int) -> bytes:
    """The history record of a delete; its KeyValue is that of a DELETE event: key and mod_revision."""
    header = HEADER.pack(previous >> 32, previous & 0xFFFFFFFF, 0, 0, 0, TOMBSTONE)
    return header + encode_kv(key, 0, mod, 0, b"", 0)


def record_key(record: bytes) -> bytes:
    """The key of a history record."""
    size, at = read_varint(record, HEADER_SIZE + 1)
    return record[at : at + size]


def value_of(kv: bytes) -> bytes:
    """The value of an encoded KeyValue as `encode_kv` makes it; empty if it has none."""
    size, at = read_varint(kv, 1)
    at += size
    end = len(kv)
    while at < end:
        if kv[at] == 0x2A:
            size, at = read_varint(kv, at + 1)
            return kv[at : at + size]
        at += 1
        while kv[at] > 0x7F:
            at += 1
        at += 1
    return b""
