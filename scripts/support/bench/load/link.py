"""One raw connection to a server, and the loop that serves many of them.

Invariant: what comes in is split into frames once; DATA and the end of a stream go to the subclass, the rest is
answered here. Faults assumed: a server that refuses, closes or falls silent; each raises RuntimeError.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from support.bench.load import frames

_SILENCE = 30.0
READ = 1 << 18


class Link:
    """A connection that has exchanged settings. table: the HPACK table size that the server allows."""

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.rsplit(":", 1)
        self.endpoint = endpoint
        self.socket = socket.create_connection((host, int(port)), timeout=_SILENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What the server lets us send on the connection, in bytes of DATA.
        self.window = 65535
        self._rest = b""
        self.socket.sendall(frames.hello())
        self.table = self._table_size()

    def _table_size(self) -> int:
        """Read up to the server's settings, which come first, and keep what follows them."""
        while len(self._rest) < 9 or len(self._rest) < 9 + int.from_bytes(self._rest[:3], "big"):
            self._rest += self.socket.recv(4096) or closed()
        end = 9 + int.from_bytes(self._rest[:3], "big")
        pairs = dict(struct.iter_unpack(">HI", self._rest[9:end]))
        self._rest = self._rest[end:]
        self.socket.sendall(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        return int(min(4096, pairs.get(1, 4096)))

    @property
    def done(self) -> bool:
        """Nothing more is to come that the measurement waits for."""
        raise NotImplementedError

    def data(self, stream: bytes, buffer: bytes, start: int, end: int) -> None:
        """A piece of an answer: buffer[start:end]. stream: its id, as on the wire."""

    def ended(self, stream: bytes) -> None:
        """The server has said all that it will say on the stream."""

    def start(self) -> None:
        """The clock begins."""

    def turn(self) -> None:
        """What was received is dealt with: send what can be sent."""

    def receive(self) -> None:
        """Take what came."""
        chunk = self.socket.recv(READ) or closed()
        self.take(self._rest + chunk if self._rest else chunk)
        self.turn()

    def take(self, buffer: bytes) -> None:
        """Split it into frames; what is left of it is kept."""
        at, size = 0, len(buffer)
        # The hot loop of the client: one pass over the frame heads.
        while size - at >= 9:
            start = at + 9
            end = start + (buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2])
            if end > size:
                break
            kind = buffer[at + 3]
            if kind == frames.DATA:
                self.data(buffer[at + 5 : start], buffer, start, end)
                if buffer[at + 4] & frames.END_STREAM:
                    self.ended(buffer[at + 5 : start])
            elif kind == frames.HEADERS:
                if buffer[at + 4] & frames.END_STREAM:
                    self.ended(buffer[at + 5 : start])
            else:
                self._control(kind, buffer[at + 4], buffer[at + 5 : end])
            at = end
        self._rest = buffer[at:]

    def _control(self, kind: int, flags: int, rest: bytes) -> None:
        stream, payload = int.from_bytes(rest[:4], "big"), rest[4:]
        if kind == frames.WINDOW and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind in (frames.SETTINGS, frames.PING) and not flags & frames.ACK:
            self.socket.sendall(frames.frame(kind, frames.ACK, 0, payload if kind == frames.PING else b""))
        elif kind in (frames.RST, frames.GOAWAY):
            raise RuntimeError(f"{self.endpoint} ended a stream or the connection: {payload!r}")

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def drive(links: Sequence[Link], until: Callable[[], bool] | None = None, silence: float = _SILENCE) -> float:
    """Serve the links until all are done, or `until()`; seconds it took.

    TimeoutError when nothing came for `silence` seconds.
    """
    poll = select.epoll(len(links) + 1)
    try:
        by_number = {link.socket.fileno(): link for link in links}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        started = time.perf_counter()
        for link in links:
            link.start()
        open_links = {link for link in links if not link.done}
        while open_links and not (until and until()):
            ready = poll.poll(silence)
            if not ready:
                raise TimeoutError(f"{links[0].endpoint} was silent for {silence:g} s")
            for number, _ in ready:
                link = by_number[number]
                link.receive()
                if link.done:
                    open_links.discard(link)
        return time.perf_counter() - started
    finally:
        poll.close()


def closed() -> NoReturn:
    """The other end has hung up."""
    raise RuntimeError("the server closed the connection")
