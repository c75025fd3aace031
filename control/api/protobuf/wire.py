"""The protobuf wire format: tags, varints and length-delimited fields, in both directions.

Pure; it knows no schema. Whatever the bytes are, reading ends in a WireError or in fields that lie inside them.

Source: "Encoding" in the protocol buffers documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
START_GROUP: Final = 3
FIXED32: Final = 5

_MASK64: Final = (1 << 64) - 1

# A field's value: an int for VARINT, FIXED64 and FIXED32 (raw bits), the content for BYTES.
Value = int | bytes


class WireError(ValueError):
    """The bytes are no protobuf message."""


def fields(data: bytes) -> Iterator[tuple[int, int, Value]]:
    """Yields (field number, wire type, value) in the message's order. WireError: truncated, or no protobuf."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if number == 0 or number > 0x1FFFFFFF:
            raise WireError(f"field number {number} at byte {position} is not valid")
        value, position = _value(data, position, wire)
        yield number, wire, value


def _value(data: bytes, position: int, wire: int) -> tuple[Value, int]:
    if wire == VARINT:
        return _varint(data, position)
    if wire == BYTES:
        length, position = _varint(data, position)
        return _slice(data, position, length), position + length
    if wire == FIXED64:
        return int.from_bytes(_slice(data, position, 8), "little"), position + 8
    if wire == FIXED32:
        return int.from_bytes(_slice(data, position, 4), "little"), position + 4
    # Kubernetes' messages have no groups.
    raise WireError(f"wire type {wire} at byte {position} is not supported")


def _slice(data: bytes, position: int, length: int) -> bytes:
    if position + length > len(data):
        raise WireError(f"message ends at byte {len(data)}, in a field that needs {position + length - len(data)} more")
    return data[position : position + length]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if position >= len(data):
            raise WireError(f"message ends at byte {len(data)}, inside a number")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & _MASK64, position
        shift += 7
        if shift > 63:
            raise WireError(f"number at byte {position} is longer than 64 bits")


def varints(data: bytes) -> Iterator[int]:
    """The numbers of a packed list."""
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value


def signed(value: int) -> int:
    """Two's complement reading of a varint's 64 bits."""
    return value - (1 << 64) if value >> 63 else value


def double(bits: int) -> float:
    """The IEEE 754 reading of a FIXED64's bits."""
    return float(struct.unpack("<d", bits.to_bytes(8, "little"))[0])


def varint(value: int) -> bytes:
    """Encodes an integer; negative ones as 64-bit two's complement."""
    value &= _MASK64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tagged(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    """A varint field."""
    return varint(number << 3 | VARINT) + varint(value)


def double_field(number: int, value: float) -> bytes:
    """A FIXED64 field that holds a float."""
    return varint(number << 3 | FIXED64) + struct.pack("<d", value)
