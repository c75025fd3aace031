"""HTTP/1.1 on the gRPC port: requests to one function, responses at once, later, or in pieces (RFC 9112).

Invariant: at most one request of a connection is being answered; what the client pipelines behind it waits unread, and
so it does behind an answer that the client does not read. So a connection holds one answer, however large.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from kvstore.wire.http import TEXT, Fields, HttpHandler, HttpRequest, HttpResponse
from kvstore.wire.http1_parser import BadRequest, Http1Parser
from kvstore.wire.limits import Limits
from kvstore.wire.link import Traffic

__all__ = ["Http1Link", "HttpRequest", "HttpResponse"]

_LINGER = 5.0
# A connection on which nothing was asked for this many seconds is closed, whatever idle_timeout says.
_IDLE = 300.0
# Octets a second at which a body may come, on the average of handshake_timeout.
_SLOWEST = 1024


def _response_head(status: int, fields: Fields) -> bytes:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Status"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {_one_line(value)}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _one_line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")


class Http1Link:
    """One HTTP/1.1 connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        traffic: Traffic,
        limits: Limits,
        serve: HttpHandler | None,
        peer: str,
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._traffic = traffic
        self._limits = limits
        self._serve = serve
        self._peer = peer
        self._parser = Http1Parser(limits)
        self._request: HttpRequest | None = None
        self._running = False
        self._last_used = self._last_progress = loop.time()
        self._held = False
        # The transport's buffer at the last tick: as long as it shrinks, the client reads.
        self._seen_unsent = 0
        # Octets of the body since _last_used.
        self._came = 0
        self._reading = True
        self._closing_since: float | None = None
        self._leaving = False
        self._keep_alive = True
        # Of the response in progress.
        self._http11 = True
        self._chunked = False

    @property
    def unsent(self) -> int:
        """Octets in the transport's buffer."""
        return int(self._transport.get_write_buffer_size())

    unsent_on_connection = unsent

    def write(self, data: bytes) -> None:
        """Bytes of a response: any number at once, but not while too many of them are unsent already."""
        if self.unsent > self._limits.max_unsent:
            self._transport.abort()
            return
        self._traffic.sent += len(data)
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._traffic.received += len(data)
        if self._closing_since is not None:
            return
        if self._parser.between:
            self._last_used = self._loop.time()
        self._parser.feed(data)
        self._read_or_wait()
        self._run()
        if self._parser.in_body:
            self._note_body(len(data))

    def _note_body(self, size: int) -> None:
        """So much of a body came. It may take as long as its length asks for."""
        self._came += size
        if self._came >= _SLOWEST * self._limits.handshake_timeout:
            self._came = 0
            self._last_used = self._loop.time()

    def _read_or_wait(self) -> None:
        # What is pipelined behind a request in progress waits in the kernel, not in our memory.
        busy = self._request is not None or self._held
        full = busy and self._parser.waiting > self._limits.max_http_head
        if full == self._reading:
            self._reading = not full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _run(self) -> None:
        # answered() comes back here; the loop below does its work instead, so pipelining does not recurse.
        if self._running:
            return
        self._running = True
        try:
            while self._request is None and self._closing_since is None and not self._held and self._one():
                pass
        except BadRequest as fault:
            self._refuse(fault)
        finally:
            self._running = False

    def _one(self) -> bool:
        parsed = self._parser.next()
        if parsed is None:
            if self._parser.wants_continue():
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return False
        head, body = parsed
        self._keep_alive = head.keep_alive and not self._leaving
        self._http11 = head.http11
        self._request = HttpRequest(self, head.method, head.target, head.headers, body, self._peer)
        self._request.serve(self._serve)
        return True

    def _refuse(self, fault: BadRequest) -> None:
        self._keep_alive = False
        body = fault.reason.encode() + b"\n"
        fields = [("content-type", TEXT), ("content-length", str(len(body))), ("connection", "close")]
        self.write(_response_head(fault.status, fields) + body)
        self.close()

    # HttpWriter.

    def head(self, status: int, fields: Fields, *, length: int | None) -> None:
        """Status and fields. A body of unknown length is chunked, or ended by closing for an HTTP/1.0 client."""
        self._chunked = length is None and self._http11
        if length is None and not self._http11:
            self._keep_alive = False
        if length is not None and status not in (204, 304):
            fields = [*fields, ("content-length", str(length))]
        elif self._chunked:
            fields = [*fields, ("transfer-encoding", "chunked")]
        connection = "keep-alive" if self._keep_alive else "close"
        self.write(_response_head(status, [*fields, ("connection", connection)]))

    def body(self, data: bytes) -> None:
        """A piece of the body."""
        self.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """The response is complete; the next request may be read."""
        if self._chunked and self._request is not None and self._request.method != "HEAD":
            self.write(b"0\r\n\r\n")
        self._request = None
        self._last_used = self._loop.time()
        if not self._keep_alive or self._leaving:
            self.close()
            return
        self._read_or_wait()
        self._run()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._held = True
        self._last_progress = self._loop.time()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._held = False
        self._last_used = self._loop.time()
        if self._request is not None:
            self._request.drained()
        if self._closing_since is None:
            self._read_or_wait()
            self._run()

    def lost(self, fault: Exception | None) -> None:
        """The transport has closed."""
        self._closing_since = self._closing_since or 0.0
        request, self._request = self._request, None
        if request is not None:
            request.drop()

    def close(self) -> None:
        """Close once what was written has left."""
        if self._closing_since is None:
            self._closing_since = self._loop.time()
            self._transport.close()

    def leave(self) -> None:
        """The server stops: close now, or behind the response in progress."""
        self._leaving = True
        if self._request is None:
            self.close()

    def tick(self, now: float) -> None:
        """Once a second: clients that send, read or ask too slowly."""
        unsent = self.unsent
        if unsent < self._seen_unsent:
            self._last_progress = now
        self._seen_unsent = unsent
        if self._is_late(now):
            self._transport.abort()

    def _is_late(self, now: float) -> bool:
        limits = self._limits
        if self._held:
            longest = limits.stall_timeout or (0 if self._closing_since is None else _LINGER)
            return bool(longest) and now - self._last_progress > longest
        if self._closing_since is not None:
            return now - max(self._closing_since, self._last_progress) > _LINGER
        if self._request is not None:
            return False
        if self._parser.between:
            return now - self._last_used > (limits.idle_timeout or _IDLE)
        return bool(limits.handshake_timeout) and now - self._last_used > limits.handshake_timeout
