"""A peer in memory: frames by hand against a connection without sockets, and what comes back as frames."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from hpack import Decoder, Encoder

from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.methods import Method, Methods
from kvstore.wire.grpc.server_connection import ServerConnection
from kvstore.wire.h2 import frames
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.limits import Limits

PUT = "/test.Store/Put"
LATER = "/test.Store/Later"
BOOM = "/test.Store/Boom"
ECHO = "/test.Store/Echo"
QUIET = Limits(keepalive_interval=0)

SETTINGS = frames.frame(FrameType.SETTINGS, 0, 0, b"")
SETTINGS_ACK = frames.frame(FrameType.SETTINGS, frames.ACK, 0, b"")


class Frame(NamedTuple):
    """One frame as it was sent."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


def split(data: bytes) -> list[Frame]:
    """Bytes that hold whole frames."""
    found, at = [], 0
    while at < len(data):
        word, flags, stream_id = frames.HEAD.unpack_from(data, at)
        end = at + 9 + (word >> 8)
        assert end <= len(data), "a frame is cut off"
        found.append(Frame(word & 0xFF, flags, stream_id, data[at + 9 : end]))
        at = end
    return found


def message(body: bytes) -> bytes:
    """With the gRPC prefix."""
    return struct.pack(">BI", 0, len(body)) + body


def data(stream_id: int, payload: bytes, *, end: bool = False) -> bytes:
    return frames.frame(FrameType.DATA, frames.END_STREAM if end else 0, stream_id, payload)


def request_fields(path: str = PUT, **extra: str) -> list[tuple[str, str]]:
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    return fields + [(name.replace("_", "-"), value) for name, value in extra.items()]


class EchoStream:
    """Sends every message back."""

    def __init__(self, call, log: list) -> None:
        self.call, self.log = call, log
        log.append(("open", call))

    def message(self, data: bytes) -> None:
        self.log.append(("message", data))
        self.call.send(data)

    def half_close(self) -> None:
        self.log.append(("half_close",))
        self.call.finish()

    def closed(self) -> None:
        self.log.append(("closed",))


class RawPeer:
    """A client of a ServerConnection. `log` holds what the handlers saw, `calls` the calls that wait for an answer."""

    def __init__(
        self, limits: Limits = QUIET, *, greet: bool = True, max_message: int = 2 * 1024 * 1024, table: int = 0
    ) -> None:
        self.log: list = []
        self.calls: list = []
        self.wakes = 0
        self.now = 100.0
        self.methods = Methods()
        self.deadlines = Deadlines()
        self.methods.add(Method(PUT, self._put, None))
        self.methods.add(Method(LATER, lambda call, body: self.calls.append(call), None))
        self.methods.add(Method(BOOM, self._boom, None))
        self.methods.add(Method(ECHO, None, lambda call: EchoStream(call, self.log)))
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.connection = ServerConnection(
            limits,
            self._wake,
            self.now,
            methods=self.methods,
            deadlines=self.deadlines,
            peer="test:1",
            max_message=max_message,
        )
        self.greeting: list[Frame] = []
        if greet:
            self.encoder.header_table_size = table
            self.greeting = self.send(frames.PREFACE + SETTINGS + SETTINGS_ACK)
            if not table:
                # The table size update that every encoder owes us, so that tests may write blocks by hand.
                self.encoder.table_size_changes.clear()
                self.connection.headers.decode(b"\x20")

    def _wake(self) -> None:
        self.wakes += 1

    def _put(self, call, body: bytes) -> None:
        self.log.append(("put", body))
        call.reply(b"ok:" + body)

    def _boom(self, call, body: bytes) -> None:
        raise RuntimeError("boom")

    def send(self, data: bytes, *, step: int = 0) -> list[Frame]:
        """Give these bytes to the connection, whole or `step` at a time; the frames that it answered."""
        for at in range(0, len(data), step or len(data) or 1):
            self.connection.receive(data[at : at + (step or len(data))], self.now)
        return self.take()

    def take(self) -> list[Frame]:
        """Frames written since."""
        return split(b"".join(self.connection.take_output()))

    def block(self, fields: list[tuple[str, str]], *, huffman: bool = True) -> bytes:
        return self.encoder.encode(fields, huffman=huffman)

    def headers(self, stream_id: int, fields=None, *, end: bool = False) -> bytes:
        return frames.headers(stream_id, self.block(fields or request_fields()), 16_384, end_stream=end)

    def call(self, stream_id: int, body: bytes = b"x", path: str = PUT, **extra: str) -> list[Frame]:
        """A whole unary call."""
        return self.send(
            self.headers(stream_id, request_fields(path, **extra)) + data(stream_id, message(body), end=True)
        )

    def fields(self, frame: Frame) -> dict[str, str]:
        """A HEADERS frame's fields."""
        assert frame.kind == FrameType.HEADERS
        return {_text(name): _text(value) for name, value in self.decoder.decode(frame.payload)}

    def status(self, answer: list[Frame], stream_id: int = 1) -> tuple[int, str]:
        """grpc-status and grpc-message of the frames' last HEADERS on that stream."""
        last = {}
        for frame in answer:
            if frame.kind == FrameType.HEADERS:
                found = self.fields(frame)
                last = found if frame.stream_id == stream_id else last
        return int(last["grpc-status"]), last.get("grpc-message", "")

    def bodies(self, answer: list[Frame], stream_id: int = 1) -> bytes:
        """All DATA of that stream."""
        return b"".join(f.payload for f in answer if f.kind == FrameType.DATA and f.stream_id == stream_id)

    def goaway(self, answer: list[Frame]) -> int | None:
        """Error code of the GOAWAY among them."""
        return next((struct.unpack_from(">I", f.payload, 4)[0] for f in answer if f.kind == FrameType.GOAWAY), None)

    def resets(self, answer: list[Frame]) -> dict[int, int]:
        """stream → code of each RST_STREAM among them."""
        return {f.stream_id: struct.unpack(">I", f.payload)[0] for f in answer if f.kind == FrameType.RST_STREAM}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def settings(**values: int) -> bytes:
    """A SETTINGS frame: settings(INITIAL_WINDOW_SIZE=1)."""
    from kvstore.wire.h2.settings import Setting, encode

    return frames.frame(FrameType.SETTINGS, 0, 0, encode({Setting[name]: value for name, value in values.items()}))


Handler = Callable[..., None]
