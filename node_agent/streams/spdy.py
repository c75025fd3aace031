"""The server's side of SPDY/3.1, as far as kubectl needs it: bytes in, events out. Pure.

Frames: SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS, data; SETTINGS and WINDOW_UPDATE are read and passed
over, because the peers (moby/spdystream) have no windows: the transport below holds a fast sender back.

Invariants: a header block is decompressed in its order, even of a stream that is refused, because all share one
compression state; what a peer can make us keep is bounded (frame, headers, streams). A breach of the protocol raises
SpdyError: the connection is of no use any more. Source: SPDY Protocol, Draft 3.1.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node_agent.streams.spdy_dictionary import DICTIONARY

_VERSION: Final = 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS = 1, 2, 3, 4, 6, 7, 8
_FIN: Final = 0x01
_MOST_FRAME: Final = 1 << 20
_MOST_HEADERS: Final = 64 << 10
_MOST_STREAMS: Final = 1024
_PIECE: Final = 32 << 10

PROTOCOL_ERROR: Final = 1
REFUSED_STREAM: Final = 3
CANCEL: Final = 5
INTERNAL_ERROR: Final = 6


class SpdyError(Exception):
    """The peer broke the protocol, or one of our bounds."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream the peer opened; ended: it will send nothing on it."""

    stream: int
    headers: Mapping[str, str]
    ended: bool


@dataclass(frozen=True, slots=True)
class Data:
    stream: int
    data: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class GoingAway:
    pass


Event = Opened | Data | Reset | GoingAway


class SpdyServer:
    """feed() what came, then send what take() gives."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._out = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._open: dict[int, list[bool]] = {}  # stream → [peer may send, we may send]
        self._last = 0

    def take(self) -> bytes:
        """What is to be sent now."""
        out = bytes(self._out)
        self._out.clear()
        return out

    # ---- in ----

    def feed(self, data: bytes) -> list[Event]:
        """Raises SpdyError."""
        self._buffer += data
        events: list[Event] = []
        while len(self._buffer) >= 8:
            head, length = struct.unpack(">II", self._buffer[:8])
            flags, length = length >> 24, length & 0xFFFFFF
            if length > _MOST_FRAME:
                raise SpdyError(f"a frame of {length} bytes; at most {_MOST_FRAME} are taken")
            if len(self._buffer) < 8 + length:
                break
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            event = self._control(head, flags, payload) if head >> 31 else self._data(head, flags, payload)
            if event is not None:
                events.append(event)
        return events

    def _data(self, stream: int, flags: int, payload: bytes) -> Event | None:
        state = self._open.get(stream)
        if state is None or not state[0]:
            if stream > self._last:
                raise SpdyError(f"data on stream {stream}, which was never opened")
            return None
        ended = bool(flags & _FIN)
        if ended:
            self._half_close(stream, 0)
        return Data(stream, payload, ended)

    def _control(self, head: int, flags: int, payload: bytes) -> Event | None:
        version, kind = head >> 16 & 0x7FFF, head & 0xFFFF
        if version != _VERSION:
            raise SpdyError(f"SPDY version {version}; this is version {_VERSION}")
        try:
            match kind:
                case _ if kind == _SYN_STREAM:
                    return self._syn_stream(flags, payload)
                case _ if kind == _HEADERS:
                    self._headers(payload[4:])
                case _ if kind == _SYN_REPLY:
                    raise SpdyError("an answer to a stream that we never opened")
                case _ if kind == _RST_STREAM:
                    stream, status = struct.unpack(">II", payload)
                    self._open.pop(stream, None)
                    return Reset(stream, status)
                case _ if kind == _PING:
                    (number,) = struct.unpack(">I", payload)
                    if number % 2:
                        self._frame(_PING, 0, payload)
                case _ if kind == _GOAWAY:
                    return GoingAway()
        except struct.error:
            raise SpdyError(f"a control frame of type {kind} that is too short") from None
        return None

    def _syn_stream(self, flags: int, payload: bytes) -> Event | None:
        stream, _, _ = struct.unpack(">IIH", payload[:10])
        headers = self._headers(payload[10:])
        stream &= 0x7FFFFFFF
        if stream % 2 == 0 or stream <= self._last:
            raise SpdyError(f"stream {stream} after {self._last}: clients open streams with odd, growing numbers")
        self._last = stream
        if len(self._open) >= _MOST_STREAMS:
            self.reset(stream, REFUSED_STREAM)
            return None
        ended = bool(flags & _FIN)
        self._open[stream] = [not ended, True]
        return Opened(stream, headers, ended)

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _MOST_HEADERS)
        except zlib.error as problem:
            raise SpdyError(f"headers that cannot be decompressed: {problem}") from None
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"headers of more than {_MOST_HEADERS} bytes")
        return _pairs(plain)

    # ---- out ----

    def reply(self, stream: int) -> None:
        """Accept a stream the peer opened."""
        block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._frame(_SYN_REPLY, 0, struct.pack(">I", stream) + block)

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Data for a stream; nothing happens when it is closed already."""
        state = self._open.get(stream)
        if state is None or not state[1]:
            return
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)] or ([b""] if end else [])
        for number, piece in enumerate(pieces):
            last = end and number == len(pieces) - 1
            self._out += struct.pack(">II", stream, (_FIN if last else 0) << 24 | len(piece)) + piece
        if end:
            self._half_close(stream, 1)

    def reset(self, stream: int, status: int) -> None:
        self._open.pop(stream, None)
        self._frame(_RST_STREAM, 0, struct.pack(">II", stream, status))

    def go_away(self) -> None:
        self._frame(_GOAWAY, 0, struct.pack(">II", self._last, 0))

    def _frame(self, kind: int, flags: int, payload: bytes) -> None:
        self._out += struct.pack(">HHI", 0x8000 | _VERSION, kind, flags << 24 | len(payload)) + payload

    def _half_close(self, stream: int, side: int) -> None:
        state = self._open[stream]
        state[side] = False
        if not any(state):
            del self._open[stream]


def _pairs(plain: bytes) -> dict[str, str]:
    """Names and values, each with its length before it."""
    found: dict[str, str] = {}
    try:
        (count,) = struct.unpack_from(">I", plain)
        at = 4
        for _ in range(count):
            name, at = _text(plain, at)
            value, at = _text(plain, at)
            found[name.lower()] = value
    except struct.error:
        raise SpdyError("headers that end too early") from None
    return found


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise SpdyError("headers that end too early")
    return plain[at + 4 : end].decode("utf-8", "replace"), end
