"""HTTP/2 frames as bytes, and gRPC messages inside them (RFC 9113 section 4 and 6; gRPC's PROTOCOL-HTTP2)."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
# Length and kind, flags, stream.
_HEAD = struct.Struct(">IBI")
# Larger than what any measurement receives on one connection, so that windows are never the subject.
BIG_WINDOW = (1 << 31) - 1
_FIRST_WINDOW = 65535
# Of a DATA frame without another SETTINGS_MAX_FRAME_SIZE.
LONGEST = 16384


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def hello() -> bytes:
    """What a client says first: it takes as much as a connection and a stream can be sent."""
    settings = struct.pack(">HI", 4, BIG_WINDOW)
    return (
        PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW, 0, 0, struct.pack(">I", BIG_WINDOW - _FIRST_WINDOW))
    )


def message(body: bytes) -> bytes:
    """One gRPC message with its prefix."""
    return b"\0" + struct.pack(">I", len(body)) + body


def data(stream: int, body: bytes, *, last: bool) -> bytes:
    """One gRPC message in as many DATA frames as it needs. last: nothing more follows on the stream."""
    whole = message(body)
    if len(whole) <= LONGEST:
        return frame(DATA, END_STREAM if last else 0, stream, whole)
    parts = [whole[at : at + LONGEST] for at in range(0, len(whole), LONGEST)]
    flags = [0] * (len(parts) - 1) + [END_STREAM if last else 0]
    return b"".join(frame(DATA, flag, stream, part) for flag, part in zip(flags, parts, strict=True))
