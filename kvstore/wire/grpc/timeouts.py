"""A grpc-timeout as it stands in a header block, read without the general HPACK decoder.

Clients with deadlines send another value with nearly every call, mostly in Huffman's code, and decoding that in Python
costs as much as all the rest of a request. A value has few symbols (ten digits, six units) of 5 to 7 bits each, and
those of one client share their first digits: so it is cut behind its fourth octet, the two pieces are decoded once and
remembered, and their numbers put together.

Invariant: what is answered is what decoding the string and parse_timeout would say; where they might object, or a value
is longer than those in use, the answer is None and they are to be asked.
Source: RFC 7541 section 5.2 and appendix B (the table is hpack's); gRPC's PROTOCOL-HTTP2.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from kvstore.wire.grpc.metadata import parse_timeout

_HUFFMAN: Final = 0x80
_CUT: Final = 4
_LONGEST: Final = 8  # octets; eight digits and a unit take 55 bits at most
_DIGITS: Final = 8
# Bits → symbol.
_SYMBOLS: Final = {f"{REQUEST_CODES[s]:0{REQUEST_CODES_LENGTH[s]}b}": chr(s) for s in b"0123456789HMSmun"}
_SIZES: Final = range(min(map(len, _SYMBOLS)), max(map(len, _SYMBOLS)) + 1)


class _Start(NamedTuple):
    """The first octets: the number of whole digits in them, how many, and the bits behind the last one."""

    number: int
    digits: int
    left: str


class _Rest(NamedTuple):
    """The others: the number of their digits, how many (and ten to the power of that), and a unit's seconds."""

    number: int
    digits: int
    scale: int
    unit: float


def seconds(literal: bytes) -> float | None:
    """Seconds in the string literal (length octet, then octets) of a grpc-timeout; None if it must be decoded. Hot."""
    if not literal[0] & _HUFFMAN:
        return _plain(literal[1:])
    if not _CUT < len(literal) - 1 <= _LONGEST:
        return _short(literal[1:]) if len(literal) - 1 <= _CUT else None
    start = _start(literal[1 : _CUT + 1])
    if start is None:
        return None
    rest = _rest(start[2], literal[_CUT + 1 :])
    if rest is None or start[1] + rest[1] > _DIGITS:
        return None
    return (start[0] * rest[2] + rest[0]) * rest[3]


@lru_cache(1024)
def _plain(text: bytes) -> float | None:
    try:
        return parse_timeout(text)
    except ValueError:
        return None


@lru_cache(1024)
def _short(coded: bytes) -> float | None:
    text, left = _decode(_bits(coded))
    return _plain(text.encode()) if _is_padding(left) else None


@lru_cache(1024)
def _start(coded: bytes) -> _Start | None:
    text, left = _decode(_bits(coded))
    return _Start(int(text), len(text), left) if text.isdigit() and len(left) < _SIZES.stop else None


@lru_cache(4096)
def _rest(before: str, coded: bytes) -> _Rest | None:
    text, left = _decode(before + _bits(coded))
    unit = _plain(b"1" + text[-1:].encode())
    digits = text[:-1]
    if unit is None or not _is_padding(left) or (digits and not digits.isdigit()):
        return None
    return _Rest(int(digits or "0"), len(digits), 10 ** len(digits), unit)


def _bits(coded: bytes) -> str:
    return f"{int.from_bytes(coded, 'big'):0{8 * len(coded)}b}" if coded else ""


def _is_padding(left: str) -> bool:
    return len(left) < 8 and "0" not in left


def _decode(bits: str) -> tuple[str, str]:
    """(symbols of a timeout, the bits behind the last whole one): no symbol's code begins another's."""
    text, at = "", 0
    while True:
        for size in _SIZES:
            symbol = _SYMBOLS.get(bits[at : at + size]) if at + size <= len(bits) else None
            if symbol is not None:
                break
        else:
            return text, bits[at:]
        text, at = text + symbol, at + size
