"""A TCP proxy that can cut a connection after a request went through and before its answer comes back."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

# DATA and HEADERS: an answer, as opposed to a PING or a WINDOW_UPDATE.
_ANSWERS = (0, 1)


class CuttingProxy:
    """Forwards bytes between clients and one target. arm(): the next answer is swallowed and its connection cut."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._armed = threading.Event()
        self._sockets: list[socket.socket] = []
        self.cuts = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def arm(self) -> None:
        """Cut the connection of the next request once the target has begun to answer it, and keep the answer back."""
        self._armed.set()

    def cut(self) -> None:
        """Cut every connection now."""
        close_sockets(*self._sockets)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                asked = threading.Event()
                for pump, pair in ((self._requests, (client, server)), (self._answers, (server, client))):
                    threading.Thread(target=pump, args=(*pair, asked), daemon=True).start()

    def _requests(self, source: socket.socket, sink: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                # Set before it is passed on: the answer may be faster than this thread.
                if self._armed.is_set():
                    asked.set()
                sink.sendall(data)
        close_sockets(source, sink)

    def _answers(self, source: socket.socket, sink: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            for kind, frame in frames(source):
                if kind in _ANSWERS and asked.is_set() and self._armed.is_set():
                    self._armed.clear()
                    self.cuts += 1
                    break
                sink.sendall(frame)
        close_sockets(source, sink)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        close_sockets(*self._sockets)


def frames(source: socket.socket) -> Iterator[tuple[int, bytes]]:
    """(type, whole frame) of each HTTP/2 frame (RFC 9113, section 4.1) until the source ends."""
    buffered = b""
    while data := source.recv(1 << 16):
        buffered += data
        while len(buffered) >= 9 and len(buffered) >= (size := 9 + int.from_bytes(buffered[:3], "big")):
            yield buffered[3], buffered[:size]
            buffered = buffered[size:]


def close_sockets(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
