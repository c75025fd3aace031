"""Frames as bytes: types, flags, and the builders of the small ones (RFC 9113 section 4.1 and 6)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_SIZE = 9
MAX_STREAM_ID = 0x7FFF_FFFF
MAX_WINDOW = 0x7FFF_FFFF
DEFAULT_WINDOW = 65_535
DEFAULT_MAX_FRAME = 16_384


class FrameType(IntEnum):
    """The type byte."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


# Flags. END_STREAM and ACK are the same bit, of different frames.
END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20

# A frame head read as (length << 8 | type, flags, stream id): one unpack, no 24-bit arithmetic.
HEAD = Struct(">IBI")
UINT32 = Struct(">I")
UINT16 = Struct(">H")


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes in front of a payload of that length."""
    return HEAD.pack(length << 8 | kind, flags, stream_id)


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A whole frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return frame(FrameType.RST_STREAM, 0, stream_id, UINT32.pack(code))


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE; stream 0 is the connection."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, UINT32.pack(increment))


def ping(data: bytes, *, ack: bool = False) -> bytes:
    """PING with eight bytes."""
    return frame(FrameType.PING, ACK if ack else 0, 0, data)


def goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """GOAWAY: streams above last_stream_id were not and will not be handled."""
    return frame(FrameType.GOAWAY, 0, 0, UINT32.pack(last_stream_id) + UINT32.pack(code) + debug)


def headers(stream_id: int, block: bytes, max_frame: int, *, end_stream: bool) -> bytes:
    """A HEADERS frame, followed by CONTINUATIONs if the block is longer than the peer's frames may be."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= max_frame:
        return frame(FrameType.HEADERS, flags | END_HEADERS, stream_id, block)
    pieces = [block[at : at + max_frame] for at in range(0, len(block), max_frame)]
    built = [frame(FrameType.HEADERS, flags, stream_id, pieces[0])]
    built += [frame(FrameType.CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    built.append(frame(FrameType.CONTINUATION, END_HEADERS, stream_id, pieces[-1]))
    return b"".join(built)
