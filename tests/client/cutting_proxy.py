"""A TCP proxy that can cut a connection after a request went through and before its answer comes back."""

from __future__ import annotations

import socket
import threading
from functools import partial

from forwarding_proxy import ForwardingProxy, Pump, frames

# DATA and HEADERS: an answer, as opposed to a PING or a WINDOW_UPDATE.
_ANSWERS = (0, 1)


class CuttingProxy(ForwardingProxy):
    """arm(): the next answer is swallowed and its connection cut."""

    def __init__(self, target: str) -> None:
        self._armed = threading.Event()
        self.cuts = 0
        super().__init__(target)

    def arm(self) -> None:
        """Cut the connection of the next request once the target has begun to answer it, and keep the answer back."""
        self._armed.set()

    def _pumps(self) -> tuple[Pump, Pump]:
        asked = threading.Event()
        return partial(self._requests, asked), partial(self._answers, asked)

    def _requests(self, asked: threading.Event, source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(1 << 16):
            # Set before it is passed on: the answer may be faster than this thread.
            if self._armed.is_set():
                asked.set()
            sink.sendall(data)

    def _answers(self, asked: threading.Event, source: socket.socket, sink: socket.socket) -> None:
        for kind, frame in frames(source):
            if kind in _ANSWERS and asked.is_set() and self._armed.is_set():
                self._armed.clear()
                self.cuts += 1
                break
            sink.sendall(frame)
