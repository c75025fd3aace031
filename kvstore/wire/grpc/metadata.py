"""Metadata and timeouts as they stand in header fields (gRPC's PROTOCOL-HTTP2)."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping

Field = tuple[bytes, bytes]
MetadataValue = str | bytes

# What belongs to the protocol and not to the caller.
_RESERVED = frozenset((b"te", b"content-type", b"content-length"))
# Unit → (its value in seconds, units a second); the longest timeout is 99,999,999 hours.
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def is_grpc(content_type: bytes) -> bool:
    """Whether a content-type is gRPC's, with any message format."""
    base = b"application/grpc"
    return content_type.startswith(base) and content_type[len(base) : len(base) + 1] in (b"", b"+", b";")


def parse_timeout(value: bytes) -> float:
    """Seconds in a grpc-timeout. ValueError unless it is one to eight digits and a unit."""
    digits, unit = value[:-1], _UNITS.get(value[-1:])
    if unit is None or not 1 <= len(digits) <= 8 or not digits.isdigit():
        raise ValueError(f"malformed grpc-timeout {value!r}")
    return int(digits) * unit


def format_timeout(seconds: float) -> bytes:
    """A grpc-timeout, in the finest unit whose number has at most eight digits; at least one nanosecond."""
    for unit in (b"n", b"u", b"m", b"S", b"M"):
        number = max(1, round(seconds / _UNITS[unit]))
        if number < 10**8:
            return b"%d%s" % (number, unit)
    return b"%dH" % min(10**8 - 1, round(seconds / 3600))


def decode(fields: Iterable[Field]) -> Mapping[str, str]:
    """Names to values, the last one of a repeated name; `-bin` values stay base64 (see decode_binary)."""
    return {
        name.decode("latin-1"): value.decode("utf-8", "replace")
        for name, value in fields
        if not name.startswith((b":", b"grpc-")) and name not in _RESERVED
    }


def decode_binary(fields: Iterable[Field]) -> Mapping[str, bytes]:
    """The `-bin` fields, decoded; one that is no base64 is left out."""
    decoded: dict[str, bytes] = {}
    for name, value in fields:
        if name.endswith(b"-bin"):
            try:
                decoded[name.decode("latin-1")] = b64decode(value + b"=" * (-len(value) % 4), validate=True)
            except binascii.Error:
                continue
    return decoded


def encode(metadata: Iterable[tuple[str, MetadataValue]]) -> list[Field]:
    """Fields for the wire. `-bin` names take bytes, others str of printable ASCII; ValueError for others."""
    fields = []
    for name, value in metadata:
        if isinstance(value, bytes):
            if not name.endswith("-bin"):
                raise ValueError(f"metadata {name!r}: bytes need a name that ends in -bin")
            raw = b64encode(value).rstrip(b"=")
        else:
            raw = value.strip().encode("ascii")
            if not raw.decode().isprintable():
                raise ValueError(f"metadata {name!r} holds control characters")
        fields.append((name.lower().encode("ascii"), raw))
    return fields
