"""Docker's streams without a terminal: pieces with a head of eight bytes (1 stdout, 2 stderr, length). Pure.

Source: Docker Engine API, "Stream format" of attach.
"""

from __future__ import annotations

from node_agent.runtime.streams import Channel

_HEAD = 8


class Demultiplexer:
    """Bytes in, pieces out. A piece may come in several parts, unless `whole` ones are asked for (a log's messages)."""

    def __init__(self, *, raw: bool = False, whole: bool = False) -> None:
        self._raw = raw
        self._whole = whole
        self._buffer = bytearray()
        self._left = 0
        self._channel = Channel.STDOUT

    def feed(self, data: bytes) -> list[tuple[Channel, bytes]]:
        if self._raw:
            return [(Channel.STDOUT, data)]
        self._buffer += data
        pieces = []
        while self._buffer:
            if not self._left:
                if len(self._buffer) < _HEAD:
                    break
                self._channel = Channel.STDERR if self._buffer[0] == Channel.STDERR else Channel.STDOUT
                self._left = int.from_bytes(self._buffer[4:_HEAD], "big")
                del self._buffer[:_HEAD]
                continue
            if self._whole and len(self._buffer) < self._left:
                break
            piece = bytes(self._buffer[: self._left])
            del self._buffer[: len(piece)]
            self._left -= len(piece)
            pieces.append((self._channel, piece))
        return pieces
