"""The other side of SPDY/3.1, for tests: what kubectl would send."""

from __future__ import annotations

import struct
import zlib

from node_agent.streams.spdy_dictionary import DICTIONARY


class SpdyClient:
    """Frames out, frames in."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = b""
        self.replied: list[int] = []
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.pings: list[int] = []

    def open(self, stream: int, headers: dict[str, str], fin: bool = False) -> bytes:
        pairs = b"".join(len(part).to_bytes(4, "big") + part.encode() for pair in headers.items() for part in pair)
        block = self._deflate.compress(struct.pack(">I", len(headers)) + pairs) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack(">IIH", stream, 0, 0) + block, int(fin))

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 8:
            head, length = struct.unpack(">II", self._buffer[:8])
            flags, length = length >> 24, length & 0xFFFFFF
            if len(self._buffer) < 8 + length:
                return
            payload, self._buffer = self._buffer[8 : 8 + length], self._buffer[8 + length :]
            if not head >> 31:
                self.data[head] = self.data.get(head, b"") + payload
                if flags & 1:
                    self.ended.add(head)
                continue
            number = struct.unpack(">I", payload[:4])[0]
            match head & 0xFFFF:
                case 2:
                    self.replied.append(number)
                    assert self._inflate.decompress(payload[4:]) == b"\0\0\0\0"
                case 3:
                    self.reset[number] = struct.unpack(">I", payload[4:])[0]
                case 6:
                    self.pings.append(number)


def control(kind: int, payload: bytes, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, flags << 24 | len(payload)) + payload


def data(stream: int, content: bytes, fin: bool = False) -> bytes:
    return struct.pack(">II", stream, int(fin) << 24 | len(content)) + content
