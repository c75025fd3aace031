"""What the proxies of these tests have in common: a TCP proxy before one store, and how it reads HTTP/2's frames."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

# Carries what comes from the first to the second, until one of them ends.
Pump = Callable[[socket.socket, socket.socket], None]


class ForwardingProxy:
    """Forwards bytes between clients and one target. A subclass says how: its pumps carry what passes."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Cut every connection now."""
        close_sockets(*self._sockets)

    def _pumps(self) -> tuple[Pump, Pump]:
        """For one connection's requests and for its answers."""
        raise NotImplementedError

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                requests, answers = self._pumps()
                for way in ((requests, client, server), (answers, server, client)):
                    threading.Thread(target=_carry, args=way, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()


def _carry(pump: Pump, source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        pump(source, sink)
    close_sockets(source, sink)


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
