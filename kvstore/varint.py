"""Varints, as protobuf writes whole numbers. Source: protobuf wire format."""

from __future__ import annotations

from typing import Final

_MASK64: Final = (1 << 64) - 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# Revisions and lengths are nearly always below 2^28: two look-ups in place of a loop.
_TABLE: Final = 1 << 14
_BYTES: Final = tuple(bytes((n,)) for n in range(256))
_LOW: Final = tuple([low + high for high in _BYTES[128:] for low in _BYTES[128:]])
_SMALL: Final = _BYTES[:128] + tuple([low + high for high in _BYTES[1:128] for low in _BYTES[128:]])


SHORT_VARINTS: Final = _SMALL
"""The varints of the numbers below 2^14."""
SPLIT: Final = _TABLE - 1
"""Which bits of a number its varint's first part stands for: see split_varint."""


def varint(value: int) -> bytes:
    """The protobuf varint of an int64 (a negative one takes ten bytes)."""
    if 0 <= value < 0x10000000:
        return _SMALL[value] if value < 0x4000 else _LOW[value & 0x3FFF] + _SMALL[value >> 14]
    return _varint(value & _MASK64)


def split_varint(value: int) -> tuple[tuple[bytes, ...], bytes, int]:
    """(firsts, rest, end): the varint of each n with value <= n < end is firsts[n & SPLIT] + rest. value >= 0.

    For counting up: what the numbers have in common is encoded once.
    """
    high = value >> 14
    return (_LOW, varint(high), high + 1 << 14) if high else (_SMALL, b"", _TABLE)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, position behind it) of the varint that begins at `at`."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
