"""A TCP proxy that keeps requests back, as a member does that hangs, and lets the store have them much later."""

from __future__ import annotations

import contextlib
import socket
import threading

from forwarding_proxy import ForwardingProxy, Pump, frames
from harness.wait import wait_until

_DATA, _HEADERS, _RST_STREAM = 0, 1, 3


class HoldingProxy(ForwardingProxy):
    """hold(): what clients send from now on waits for release().

    That a client gave up a call which was kept back (RST_STREAM) is not passed on: the store carries out all of them.
    """

    def __init__(self, target: str) -> None:
        self._lock = threading.Lock()
        self._holding = False
        self._kept: list[tuple[socket.socket, bytes]] = []
        # Their streams, by the connection and the id in the frame.
        self._late: set[tuple[socket.socket, bytes]] = set()
        # The requests that were kept back, and the answers since they were let go.
        self.held = self.answered = 0
        super().__init__(target)

    def hold(self) -> None:
        """Hang."""
        with self._lock:
            self._holding, self.held = True, 0

    def release(self) -> None:
        """Go on with what was kept back, and wait until the store has answered all of it."""
        with self._lock:
            self._holding, self.answered = False, 0
            for sink, frame in self._kept:
                sink.sendall(frame)
            self._kept.clear()
        wait_until(lambda: self.answered >= self.held, "answers to what was kept back")

    def _pumps(self) -> tuple[Pump, Pump]:
        return self._requests, self._answers

    def _requests(self, source: socket.socket, sink: socket.socket) -> None:
        sink.sendall(_exactly(source, len(_PREFACE)))
        for kind, frame in frames(source):
            with self._lock:
                self._pass_on(kind, frame, sink)

    def _pass_on(self, kind: int, frame: bytes, sink: socket.socket) -> None:
        stream = (sink, frame[5:9])
        if kind == _RST_STREAM and stream in self._late:
            return
        if not self._holding:
            sink.sendall(frame)
            return
        self._kept.append((sink, frame))
        if kind == _HEADERS:
            self.held += 1
            self._late.add(stream)

    def _answers(self, source: socket.socket, sink: socket.socket) -> None:
        for kind, frame in frames(source):
            self.answered += kind == _DATA
            with contextlib.suppress(OSError):
                sink.sendall(frame)


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := source.recv(size - len(data))):
        data += more
    return data
