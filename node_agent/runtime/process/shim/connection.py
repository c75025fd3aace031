"""One connection of the agent to the shim: frames in, frames out, nothing ever blocks."""

from __future__ import annotations

import socket
from collections.abc import Callable

from node_agent.runtime.process.shim.frames import BadFrame, FrameReader, frame
from node_agent.runtime.process.shim.poller import Poller

HIGH_WATER = 1 << 18
CUT_OFF = 1 << 22


class Connection:
    """`on_frame(connection, kind, body)`; `on_gone` and `on_drain` are set by whoever serves it.

    Bounded: beyond CUT_OFF unsent bytes the client is dropped; sources that can wait look at `full` and go on in
    `on_drain`.
    """

    def __init__(
        self, sock: socket.socket, poller: Poller, on_frame: Callable[[Connection, bytes, bytes], None]
    ) -> None:
        sock.setblocking(False)
        self._sock: socket.socket | None = sock
        self._poller = poller
        self._reader = FrameReader()
        self._out = bytearray()
        self.on_frame = on_frame
        self._ending = False
        self.on_gone: Callable[[], None] = lambda: None
        self.on_drain: Callable[[], None] = lambda: None
        poller.on_readable(sock.fileno(), self._read)

    @property
    def open(self) -> bool:
        return self._sock is not None

    @property
    def full(self) -> bool:
        return len(self._out) > HIGH_WATER

    def pause(self, paused: bool) -> None:
        """Whether to leave what the client sends where it is."""
        if self._sock is not None:
            self._poller.on_readable(self._sock.fileno(), None if paused else self._read)

    def send(self, kind: bytes, body: bytes = b"") -> None:
        if self._sock is None or self._ending:
            return
        self._out += frame(kind, body)
        if len(self._out) > CUT_OFF:
            self.drop()
        else:
            self._write()

    def end(self) -> None:
        """Close when all is sent."""
        self._ending = True
        if not self._out:
            self.drop()

    def drop(self) -> None:
        if self._sock is None:
            return
        self._poller.forget(self._sock.fileno())
        self._sock.close()
        self._sock = None
        self.on_gone()

    def _read(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop()
            return
        try:
            for kind, body in self._reader.feed(data):
                self.on_frame(self, kind, body)
        except (BadFrame, ValueError, KeyError, TypeError) as problem:
            self.send(b"F", str(problem).encode())
            self.end()

    def _write(self) -> None:
        if self._sock is None:
            return
        try:
            sent = self._sock.send(self._out) if self._out else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop()
            return
        was_full = self.full
        del self._out[:sent]
        self._poller.on_writable(self._sock.fileno(), self._write if self._out else None)
        if was_full and not self.full:
            self.on_drain()
        if self._ending and not self._out:
            self.drop()
