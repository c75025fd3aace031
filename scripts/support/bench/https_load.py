"""A small HTTPS load client on raw sockets with client certificates: requests that differ, and watches by the thousand.

Requests are bytes made before the clock starts; a connection has one in flight. What is left per answer is one read,
a search for the end of the headers, and a length: little beside what a server does for it. It is no HTTP client: it
knows what our API server sends (Content-Length on every answer but watches), and fails loudly on anything else.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

_SILENCE_SECONDS = 30
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """An API server, and who we are: the context carries the client's certificate."""

    port: int
    context: ssl.SSLContext

    def connect(self) -> ssl.SSLSocket:
        """A connection that is ready for use. OSErrors."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=_SILENCE_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1")


@dataclass(frozen=True)
class Load:
    """What came of it. rate: a second; latencies in ms, sorted."""

    rate: float
    latencies: list[float]

    def quantile(self, part: float) -> float:
        """ms; part: 0.5 is the median."""
        return self.latencies[min(int(part * len(self.latencies)), len(self.latencies) - 1)]


def request(method: str, path: str, body: Any = None) -> bytes:
    """The bytes of a request; body goes as JSON."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n" if data else ""
    return head.encode() + b"\r\n" + data


def ask(target: Target, method: str, path: str, body: Any = None) -> bytes:
    """The body of one answer, whole. RuntimeError if it was a refusal."""
    with target.connect() as link:
        link.sendall(request(method, path, body).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        data = b"".join(iter(lambda: link.recv(1 << 18), b""))
    head, _, answer = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 2"):
        _refused(data)
    return _unchunked(answer) if b"chunked" in head.lower() else answer


def _unchunked(data: bytes) -> bytes:
    pieces, position = list[bytes](), 0
    while True:
        end = data.index(b"\r\n", position)
        size = int(data[position:end], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(data[end + 2 : end + 2 + size])
        position = end + 2 + size + 2


def run(
    target: Target, requests: Sequence[bytes], connections: int, when_connected: Callable[[], None] = lambda: None
) -> Load:
    """Send all of them over so many connections; the clock starts when they stand. RuntimeError if one is refused."""
    waiting = iter(requests)
    links = [_Link(target.connect(), waiting) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        for link in links:
            link.socket.setblocking(False)
            selector.register(link.socket, selectors.EVENT_READ, link)
        when_connected()
        started = time.perf_counter()
        open_links = sum(link.next() for link in links)
        while open_links:
            for key, _ in selector.select(_SILENCE_SECONDS) or _stalled():
                open_links -= key.data.receive()
        took = time.perf_counter() - started
    for link in links:
        link.socket.close()
    latencies = sorted(x for link in links for x in link.latencies)
    return Load(len(requests) / took, latencies)


class _Link:
    """One connection with one request in flight."""

    def __init__(self, link: ssl.SSLSocket, requests: Iterator[bytes]) -> None:
        self.socket, self.latencies = link, list[float]()
        self._requests, self._buffer, self._sent = requests, b"", 0.0

    def next(self) -> bool:
        """Send the next request; False when there is none."""
        data = next(self._requests, None)
        if data is None:
            return False
        self._sent = time.perf_counter()
        if self.socket.send(data) != len(data):
            raise RuntimeError("a request does not fit the socket's buffer")
        return True

    def receive(self) -> bool:
        """Take what came; True when this was the last answer."""
        try:
            data = self.socket.recv(1 << 16)
        except ssl.SSLWantReadError:
            return False
        self._buffer += data or _closed()
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 2"):
            _refused(self._buffer)
        length = _LENGTH.search(self._buffer, 0, end) or _refused(self._buffer)
        if len(self._buffer) < end + 4 + int(length.group(1)):
            return False
        self._buffer = b""
        self.latencies.append((time.perf_counter() - self._sent) * 1000)
        return not self.next()


class Watches:
    """Many watches of one path, read by one selector: `with Watches(…) as watches`, then `await_events`."""

    def __init__(self, target: Target, path: str, count: int, counted: bytes = b'{"type":"') -> None:
        """path: with its query. counted: how a line begins that counts as an event. Returns when all watches stand."""
        self._counted = counted
        # What may be the beginning of such a line at the end of what was read, by connection.
        self._rests: dict[ssl.SSLSocket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._sockets: list[ssl.SSLSocket] = []
        self.seen = 0
        for _ in range(count):
            link = target.connect()
            link.sendall(request("GET", path))
            self._sockets.append(link)
            head = link.recv(1 << 14)
            if not head.startswith(b"HTTP/1.1 200"):
                _refused(head)
            link.setblocking(False)
            self._selector.register(link, selectors.EVENT_READ)

    def await_events(self, wanted: int, patience: float = _SILENCE_SECONDS) -> None:
        """Read until so many events were seen by all watches together.

        RuntimeError when the server falls silent for `patience` seconds.
        """
        while self.seen < wanted:
            for key, _ in self._selector.select(patience) or _stalled(patience, self.seen):
                self._read(key.fileobj)  # type: ignore[arg-type]

    def _read(self, link: ssl.SSLSocket) -> None:
        try:
            while True:
                data = link.recv(1 << 16) or _closed()
                # No string of an object can hold this: its quotes would be escaped.
                data = self._rests.get(link, b"") + data
                self.seen += data.count(self._counted)
                self._rests[link] = data[1 - len(self._counted) :]
                if not link.pending():
                    return
        except ssl.SSLWantReadError:
            return

    def __enter__(self) -> Watches:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for link in self._sockets:
            link.close()


def _stalled(patience: float = _SILENCE_SECONDS, seen: int = 0) -> NoReturn:
    after = f" after {seen:,} events" if seen else ""
    raise RuntimeError(f"the server was silent for {patience:.0f} s{after}")


def _closed() -> NoReturn:
    raise RuntimeError("the server closed the connection")


def _refused(answer: bytes) -> NoReturn:
    raise RuntimeError(f"the server refused: {answer[:600]!r}")
