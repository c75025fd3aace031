"""The server: listening sockets, one protocol object a connection, one clock for all of them.

HTTP/2 and HTTP/1.1 share the port and are told apart by the first bytes; a TLS context may be given to listen().
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
from collections.abc import Callable
from typing import cast

from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.methods import Method, Methods, StreamFactory, TogetherHandler, UnaryHandler
from kvstore.wire.grpc.server_connection import ServerConnection
from kvstore.wire.h2.frames import PREFACE
from kvstore.wire.http import HttpHandler
from kvstore.wire.http1 import Http1Link
from kvstore.wire.limits import Limits
from kvstore.wire.link import Link, Traffic, tune
from kvstore.wire.tls import Certificate, common_name

_TICK = 1.0
# Timers of uvloop are whole milliseconds, and may come that much early.
_TIMER_ERROR = 0.001
Admits = Callable[[Certificate | None], bool]


class Stats(Traffic):
    """What a metrics collector reads: plain ints."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted = 0
        self.refused = 0
        self.connections = 0


class GrpcServer:
    """Serves gRPC, and plain HTTP (1.1 and 2) through `http`, on any number of addresses.

    max_message_bytes: longest request message; longer ones get RESOURCE_EXHAUSTED.
    http: called with each request that is not gRPC; returns the response, or None to answer later through the request.
    """

    def __init__(self, limits: Limits | None = None, max_message_bytes: int = 2 * 1024 * 1024) -> None:
        self.limits = limits or Limits()
        self.max_message_bytes = max_message_bytes
        self.http: HttpHandler | None = None
        self.stats = Stats()
        self._methods = Methods()
        self.deadlines = Deadlines(self._expire_at)
        self._expiry: asyncio.TimerHandle | None = None
        self.links: set[_ServerProtocol] = set()
        self._listeners: list[asyncio.Server] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._empty: asyncio.Event | None = None
        self.stopping = False

    @property
    def methods(self) -> dict[str, Method]:
        """Every method by path, with its counters."""
        return {method.path: method for method in self._methods.by_path.values()}

    def unary(self, path: str, handler: UnaryHandler, together: TogetherHandler | None = None) -> None:
        """handler(call, message) answers with call.reply or call.fail, now or later; `together` may do so for several
        calls. ValueError if path is taken."""
        self._methods.add(Method(path, handler, None, together))

    def stream(self, path: str, factory: StreamFactory) -> None:
        """factory(call) makes the object that hears the call's messages. ValueError if path is taken."""
        self._methods.add(Method(path, None, factory))

    async def listen(
        self, host: str, port: int, ssl: tls.SSLContext | None = None, admits: Admits | None = None
    ) -> int:
        """Accept connections there; the port that was bound (for port 0). OSError if it cannot be.

        admits: asked with a client's verified certificate (or None), whose connection is cut if it says no.
        """
        loop = asyncio.get_running_loop()
        if ssl is not None:
            ssl.set_alpn_protocols(["h2", "http/1.1"])
        handshake = (self.limits.handshake_timeout or None) if ssl is not None else None
        listener = await loop.create_server(
            lambda: _ServerProtocol(self, loop, admits),
            host,
            port,
            ssl=ssl,
            backlog=1024,
            ssl_handshake_timeout=handshake,
        )
        self._listeners.append(listener)
        if not self._timers:
            self._every(_TICK, self._tick)
        return int(listener.sockets[0].getsockname()[1])

    def _every(self, period: float, step: Callable[[float], None]) -> None:
        loop = asyncio.get_running_loop()
        slot = len(self._timers)

        def run() -> None:
            self._timers[slot] = loop.call_later(period, run)
            step(loop.time())

        self._timers.append(loop.call_later(period, run))

    def _expire_at(self, at: float) -> None:
        """Look at the deadlines then (loop time), and no more at the time that was said before."""
        if self._expiry is not None:
            self._expiry.cancel()
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(max(at - loop.time(), 0.0) + _TIMER_ERROR, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        late = self.deadlines.expired(asyncio.get_running_loop().time())
        if (at := self.deadlines.next_at()) is not None:
            self._expire_at(at)
        for call in late:
            call.expire()

    def _tick(self, now: float) -> None:
        for link in list(self.links):
            link.tick(now)

    async def stop(self, grace: float = 0.0) -> None:
        """Stop listening, let running calls finish for `grace` seconds, then close what is left."""
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        for link in list(self.links):
            link.leave()
        if grace > 0 and self.links:
            self._empty = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace)
        for timer in [*self._timers, *([self._expiry] if self._expiry else [])]:
            timer.cancel()
        for link in list(self.links):
            link.abort()

    def add_link(self, link: _ServerProtocol) -> bool:
        """A connection was made; False if there are too many."""
        if len(self.links) >= self.limits.max_connections or self.stopping:
            self.stats.refused += 1
            return False
        self.links.add(link)
        self.stats.accepted += 1
        self.stats.connections = len(self.links)
        return True

    def drop_link(self, link: _ServerProtocol) -> None:
        """A connection was lost."""
        self.links.discard(link)
        self.stats.connections = len(self.links)
        if self._empty is not None and not self.links:
            self._empty.set()

    def new_connection(self, link: Link, now: float, peer: str) -> ServerConnection:
        """The HTTP/2 state of a new connection."""
        return ServerConnection(
            self.limits,
            link.wake,
            now,
            methods=self._methods,
            deadlines=self.deadlines,
            peer=peer,
            max_message=self.max_message_bytes,
            http=self.http,
        )


class _ServerProtocol(asyncio.Protocol):
    """One accepted connection: finds out what the client speaks, then hands everything to that."""

    def __init__(self, server: GrpcServer, loop: asyncio.AbstractEventLoop, admits: Admits | None) -> None:
        self._server = server
        self._admits = admits
        self._loop = loop
        self._first = b""
        self._link: Link | Http1Link | None = None
        self._born = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        admitted = self._admits is None or self._admits(transport.get_extra_info("peercert"))
        if not admitted or not self._server.add_link(self):
            self._transport.abort()
            return
        tune(self._transport)
        address = transport.get_extra_info("peername")
        self._peer = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address or "")

    def data_received(self, data: bytes) -> None:
        self._first += data
        if len(self._first) < len(PREFACE) and PREFACE.startswith(self._first):
            return
        self._link = self._http2() if self._first.startswith(PREFACE[:16]) else self._http1()
        first, self._first = self._first, b""
        self._link.data_received(first)
        # From here on without a call in between; a transport looks its protocol's methods up once.
        self.data_received = self._link.data_received  # type: ignore[method-assign]
        self._transport.set_protocol(self)

    def _http2(self) -> Link:
        link = Link(self._loop, self._transport, self._server.stats)
        connection = self._server.new_connection(link, self._loop.time(), self._peer)
        connection.common_name = common_name(self._transport.get_extra_info("peercert"))
        link.attach(connection)
        return link

    def _http1(self) -> Http1Link:
        server = self._server
        return Http1Link(self._loop, self._transport, server.stats, server.limits, server.http, self._peer)

    def pause_writing(self) -> None:
        if self._link is not None:
            self._link.pause_writing()

    def resume_writing(self) -> None:
        if self._link is not None:
            self._link.resume_writing()

    def connection_lost(self, fault: Exception | None) -> None:
        if self._link is not None:
            self._link.lost(fault)
        self._server.drop_link(self)

    def tick(self, now: float) -> None:
        """Once a second."""
        timeout = self._server.limits.handshake_timeout
        if self._link is not None:
            self._link.tick(now)
        elif timeout and now - self._born > timeout:
            self._transport.abort()

    def leave(self) -> None:
        """The server stops."""
        if isinstance(self._link, Link) and isinstance(self._link.connection, ServerConnection):
            self._link.connection.leave()
        elif isinstance(self._link, Http1Link):
            self._link.leave()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
