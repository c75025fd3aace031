"""SETTINGS: the peer's values, checked by a table (RFC 9113 section 6.5.2)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from kvstore.wire.h2.errors import ConnectionFault, ErrorCode
from kvstore.wire.h2.frames import DEFAULT_MAX_FRAME, DEFAULT_WINDOW, MAX_WINDOW

_PAIR = Struct(">HI")


class Setting(IntEnum):
    """Identifiers."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


# setting → (lowest, highest, the error of a value outside)
_ALLOWED: dict[int, tuple[int, int, ErrorCode]] = {
    Setting.ENABLE_PUSH: (0, 1, ErrorCode.PROTOCOL_ERROR),
    Setting.INITIAL_WINDOW_SIZE: (0, MAX_WINDOW, ErrorCode.FLOW_CONTROL_ERROR),
    Setting.MAX_FRAME_SIZE: (DEFAULT_MAX_FRAME, 0xFF_FFFF, ErrorCode.PROTOCOL_ERROR),
}

DEFAULTS: dict[int, int] = {
    Setting.HEADER_TABLE_SIZE: 4096,
    Setting.ENABLE_PUSH: 1,
    Setting.MAX_CONCURRENT_STREAMS: MAX_WINDOW,
    Setting.INITIAL_WINDOW_SIZE: DEFAULT_WINDOW,
    Setting.MAX_FRAME_SIZE: DEFAULT_MAX_FRAME,
    Setting.MAX_HEADER_LIST_SIZE: MAX_WINDOW,
}


def decode(payload: bytes) -> list[tuple[int, int]]:
    """The (identifier, value) pairs in a SETTINGS payload, unknown identifiers left out.

    Raises ConnectionFault for a length that is no multiple of six and for values that may not be.
    """
    if len(payload) % _PAIR.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS length is not a multiple of 6")
    known = []
    for identifier, value in _PAIR.iter_unpack(payload):
        low, high, code = _ALLOWED.get(identifier, (0, 0xFFFF_FFFF, ErrorCode.PROTOCOL_ERROR))
        if not low <= value <= high:
            raise ConnectionFault(code, f"{Setting(identifier).name} of {value}")
        if identifier in DEFAULTS:
            known.append((identifier, value))
    return known


def encode(values: dict[int, int]) -> bytes:
    """A SETTINGS payload."""
    return b"".join(_PAIR.pack(identifier, value) for identifier, value in values.items())
