"""A small gRPC load client on raw sockets whose puts all have keys of their own, as h2load's cannot.

All frames are made before the clock starts (a request is two frames that differ in stream id and body only), so that
the client costs the server little of the machine: what is left is counting END_STREAM flags in what comes back.
It is no HTTP/2 client: it knows what these servers send, and fails loudly on anything else.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from typing import NoReturn

from hpack import Encoder

from kvstore.pb.etcd_pb2 import PutRequest
from support.bench.h2load import Sample, summary

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _DATA, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 1, 0, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_BIG_WINDOW = (1 << 31) - 1


def puts(endpoint: str, keys: Iterator[bytes], value_size: int, count: int, connections: int, streams: int) -> Sample:
    """Put `count` keys, `connections * streams` in flight; RuntimeError if the server refuses one."""
    each = count // connections
    links = [_Link(endpoint, [next(keys) for _ in range(each)], value_size, streams) for _ in range(connections)]
    selector = selectors.DefaultSelector()
    for link in links:
        selector.register(link.socket, selectors.EVENT_READ, link)
    started = time.perf_counter()
    for link in links:
        link.fill()
    open_links = len(links)
    while open_links:
        for key, _ in selector.select(timeout=30) or _stalled():
            link = key.data
            link.receive()
            if not link.waiting:
                selector.unregister(link.socket)
                link.socket.close()
                open_links -= 1
    took = time.perf_counter() - started
    return summary(each * connections / took, [x for link in links for x in link.latencies])


def _stalled() -> list[tuple[selectors.SelectorKey, int]]:
    raise RuntimeError("the server was silent for 30 s")


def _closed() -> NoReturn:
    raise RuntimeError("the server closed the connection")


class _Link:
    """One connection with its prepared requests."""

    def __init__(self, endpoint: str, keys: list[bytes], value_size: int, streams: int) -> None:
        host, port = endpoint.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting = len(keys)
        self.latencies: list[float] = []
        self._begun: dict[int, float] = {}
        self._streams = streams
        self._window = 65535
        self._buffer = b""
        settings = struct.pack(">HI", 4, _BIG_WINDOW)
        grow = struct.pack(">I", _BIG_WINDOW - 65535)
        self.socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, grow))
        self._requests = deque(_frames(endpoint, keys, value_size, self._header_table_size()))

    def _header_table_size(self) -> int:
        """Read up to the server's settings, which come first, and keep what follows them."""
        while len(self._buffer) < 9 or len(self._buffer) < 9 + int.from_bytes(self._buffer[:3], "big"):
            self._buffer += self.socket.recv(4096) or _closed()
        end = 9 + int.from_bytes(self._buffer[:3], "big")
        pairs = dict(struct.iter_unpack(">HI", self._buffer[9:end]))
        self._buffer = self._buffer[end:]
        self.socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        return int(min(4096, pairs.get(1, 4096)))

    def fill(self) -> None:
        """Send as many requests as may be in flight and as the server's window allows."""
        out = []
        while self._requests and len(self._begun) < self._streams and self._requests[0][2] <= self._window:
            stream, data, size = self._requests.popleft()
            self._begun[stream] = time.perf_counter()
            self._window -= size
            out.append(data)
        if out:
            self.socket.sendall(b"".join(out))

    def receive(self) -> None:
        """Take what came, count finished requests, send the next ones."""
        data = self.socket.recv(1 << 18)
        if not data:
            _closed()
        buffer, position = self._buffer + data, 0
        # The hot loop of the client: one pass over the frame heads.
        while len(buffer) - position >= 9:
            length = int.from_bytes(buffer[position : position + 3], "big")
            end = position + 9 + length
            if end > len(buffer):
                break
            kind, flags = buffer[position + 3], buffer[position + 4]
            if kind == _HEADERS and flags & _END_STREAM:
                self._finished(buffer, position)
            elif kind > _HEADERS:
                self._control(kind, flags, buffer[position + 5 : end])
            position = end
        self._buffer = buffer[position:]
        self.fill()

    def _finished(self, buffer: bytes, position: int) -> None:
        stream = int.from_bytes(buffer[position + 5 : position + 9], "big")
        self.latencies.append((time.perf_counter() - self._begun.pop(stream)) * 1000)
        self.waiting -= 1

    def _control(self, kind: int, flags: int, rest: bytes) -> None:
        stream, payload = int.from_bytes(rest[:4], "big"), rest[4:]
        if kind == _WINDOW and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == _SETTINGS and not flags & _ACK:
            self.socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self.socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind in (_RST, _GOAWAY):
            raise RuntimeError(f"the server ended a stream or the connection: {payload!r}")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _frames(endpoint: str, keys: list[bytes], value_size: int, table: int) -> Iterator[tuple[int, bytes, int]]:
    """(stream id, HEADERS and DATA frame, bytes of flow control) of each put. table: the server's HPACK table size."""
    encoder = Encoder()
    if table != encoder.header_table_size:
        encoder.header_table_size = table
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/etcdserverpb.KV/Put"),
        (":authority", endpoint),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    for number, key in enumerate(keys):
        # From the second request on every header is an index into the table: the block stays the same.
        block = encoder.encode(headers)
        stream = 2 * number + 1
        message = PutRequest(key=key, value=b"v" * value_size).SerializeToString()
        body = b"\0" + struct.pack(">I", len(message)) + message
        data = _frame(_HEADERS, _END_HEADERS, stream, block) + _frame(_DATA, _END_STREAM, stream, body)
        yield stream, data, len(body)
