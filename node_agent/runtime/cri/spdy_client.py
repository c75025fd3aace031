"""The client's side of SPDY/3.1, as far as a CRI runtime's streams need it: bytes in, events out. Pure.

Streams of ours have odd numbers. Windows are not kept: neither containerd nor CRI-O (moby/spdystream) has any. The
dictionary and what is said of the protocol are in node_agent/streams/spdy.py. Source: SPDY Protocol, Draft 3.1.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from node_agent.streams.spdy_dictionary import DICTIONARY

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN = 1
_CONTROL = 0x80030000
_MAX_FRAME = 1 << 20
_PIECE = 32 << 10


class SpdyBroken(Exception):
    """The runtime broke the protocol; the connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes of a stream; `ended`: the last ones. A stream that was reset has ended, and `reset` says so."""

    stream: int
    data: bytes
    ended: bool
    reset: bool = False


class SpdyClient:
    """`take()` gives what must be sent after each call."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._buffer = bytearray()
        self._out = bytearray()
        self._next = 1
        self._closed: set[int] = set()

    def take(self) -> bytes:
        out = bytes(self._out)
        self._out.clear()
        return out

    def open(self, headers: Mapping[str, str], *, ended: bool = False) -> int:
        """A new stream; `ended`: we shall send nothing on it."""
        stream, self._next = self._next, self._next + 2
        pairs = b"".join(_text(name) + _text(value) for name, value in headers.items())
        block = self._deflate.compress(struct.pack(">I", len(headers)) + pairs)
        block += self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._control(_SYN_STREAM, struct.pack(">IIH", stream, 0, 0) + block, _FIN if ended else 0)
        if ended:
            self._closed.add(stream)
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Nothing happens after the stream's end."""
        if stream in self._closed:
            return
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)] or ([b""] if end else [])
        for number, piece in enumerate(pieces):
            last = end and number == len(pieces) - 1
            self._out += struct.pack(">II", stream, (_FIN if last else 0) << 24 | len(piece)) + piece
        if end:
            self._closed.add(stream)

    def feed(self, data: bytes) -> list[Received]:
        """Raises SpdyBroken."""
        self._buffer += data
        events: list[Received] = []
        while len(self._buffer) >= 8:
            head, length = struct.unpack(">II", self._buffer[:8])
            flags, length = length >> 24, length & 0xFFFFFF
            if length > _MAX_FRAME:
                raise SpdyBroken(f"a frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                break
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            event = self._frame(head, flags, payload)
            if event is not None:
                events.append(event)
        return events

    def _frame(self, head: int, flags: int, payload: bytes) -> Received | None:
        if not head >> 31:
            return Received(head, payload, bool(flags & _FIN))
        kind = head & 0xFFFF
        try:
            if kind == _PING:
                (number,) = struct.unpack(">I", payload)
                if number % 2 == 0:
                    self._control(_PING, payload)
            elif kind == _RST_STREAM:
                stream, _ = struct.unpack(">II", payload)
                self._closed.add(stream)
                return Received(stream, b"", ended=True, reset=True)
            elif kind == _SYN_REPLY and flags & _FIN:
                (stream,) = struct.unpack(">I", payload[:4])
                return Received(stream & 0x7FFFFFFF, b"", ended=True)
        except struct.error as problem:
            raise SpdyBroken(f"a frame of type {kind} that is too short") from problem
        return None

    def _control(self, kind: int, payload: bytes, flags: int = 0) -> None:
        self._out += struct.pack(">II", _CONTROL | kind, flags << 24 | len(payload)) + payload


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data
