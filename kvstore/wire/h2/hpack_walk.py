"""Where the fields of a header block begin and end, without decoding them (RFC 7541 section 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

# Octets behind the prefix. Five hold 32 bits; without a bound a block of 0xFF bytes costs quadratic time.
_LONGEST_INTEGER = 5


class Span(NamedTuple):
    """One field representation: block[start:end]; its value string starts at `value` (== end if it is indexed)."""

    start: int
    value: int
    end: int


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """The prefixed integer at `at` and the offset behind it. IndexError if the block ends inside."""
    mask = (1 << bits) - 1
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, 7 * _LONGEST_INTEGER, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, at
    raise IndexError("integer is too long")


def _string_end(block: bytes, at: int) -> int:
    length, at = _integer(block, at, 7)
    return at + length


def spans(block: bytes) -> Iterator[Span]:
    """Every field in order; table size updates are skipped. IndexError if the block ends inside one."""
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            _, end = _integer(block, at, 7)
            yield Span(at, end, end)
        elif first & 0xE0 == 0x20:
            _, end = _integer(block, at, 5)
        else:
            index, value = _integer(block, at, 6 if first & 0x40 else 4)
            if not index:
                value = _string_end(block, value)
            end = _string_end(block, value)
            if end > len(block):
                raise IndexError("string runs over the end")
            yield Span(at, value, end)
        at = end
