"""Forwards TCP connections in user space.

Invariants: neither side is read faster than the other takes it; the end of one direction is passed on alone, so that
protocols that half-close work; connections that exist live on when their endpoint leaves the Service.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable
from typing import Final, cast

from node_agent.network.proxy.balancer import Balancer
from node_agent.network.proxy.listeners import Place, Target
from node_agent.network.proxy.sockets import bound, is_own

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 5.0
MOST_CONNECTIONS: Final = 4096
_TRIES: Final = 3


class Side(asyncio.Protocol):
    """One of the two connections of a pair."""

    def __init__(self, closed: Callable[[], None] | None = None) -> None:
        self.peer: Side | None = None
        self.transport: asyncio.Transport | None = None
        self._closed = closed
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Keeps our own direction open."""
        self.ended = True
        peer = self.peer
        if peer is not None and peer.transport is not None and not peer.transport.is_closing():
            if peer.ended:
                peer.transport.close()
                return False
            peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        peer, self.peer = self.peer, None
        if peer is not None and peer.transport is not None:
            peer.peer = None
            if exc is not None:
                peer.transport.abort()
            else:
                peer.transport.close()
        if self._closed is not None:
            self._closed()


class TcpForwarder:
    """One listener. `target` may be replaced at any time, and counts for new connections."""

    open_connections = 0  # of all forwarders of the process

    def __init__(self, place: Place, target: Target) -> None:
        self.place, self.target = place, target
        self._balancer = Balancer()
        self._server: asyncio.Server | None = None
        self._sides: set[Side] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises OSError: the port is taken, the address is not this machine's."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=bound(self.place))

    @property
    def port(self) -> int:
        """Where it listens in fact."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else 0

    async def stop(self, *, connections: bool = False) -> None:
        """Take no more. connections: end those that are open, too."""
        if self._server is not None:
            self._server.close()
        if connections:
            for task in list(self._tasks):
                task.cancel()
            for side in list(self._sides):
                if side.transport is not None:
                    side.transport.abort()

    def _accept(self) -> Side:
        client = _Client(self)
        self._sides.add(client)
        return client

    def begin(self, client: Side) -> None:
        """A client is there: find it a backend."""
        if TcpForwarder.open_connections >= MOST_CONNECTIONS and client.transport is not None:
            log.warning("%s: more than %d connections; one is refused", self.target.title, MOST_CONNECTIONS)
            client.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def left(self, side: Side) -> None:
        self._sides.discard(side)

    async def _connect(self, client: Side) -> None:
        transport, target = client.transport, self.target
        if transport is None:
            return
        transport.pause_reading()  # until there is somewhere to write to
        peer = transport.get_extra_info("peername")
        if not peer:
            transport.abort()  # it has gone already
            return
        host = str(peer[0])
        loop = asyncio.get_running_loop()
        backends = target.backends_for(host, is_own)
        order = self._balancer.order(backends, host, target.affinity, loop.time(), random.random())
        for backend in order[:_TRIES]:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, server = await loop.create_connection(Side, backend.ip, backend.port)
            except (OSError, TimeoutError) as problem:
                log.info("%s: %s:%d: %s", target.title, backend.ip, backend.port, problem or "no answer")
                continue
            self._balancer.took(host, backend, target.affinity, loop.time())
            self._pair(client, server)
            return
        transport.abort()

    @staticmethod
    def _pair(client: Side, server: Side) -> None:
        if client.transport is None or client.transport.is_closing() or server.transport is None:
            if server.transport is not None:
                server.transport.abort()
            return
        client.peer, server.peer = server, client
        for side in (client, server):
            sock = side.transport.get_extra_info("socket") if side.transport is not None else None
            if sock is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.transport.resume_reading()


class _Client(Side):
    def __init__(self, forwarder: TcpForwarder) -> None:
        super().__init__(self._gone)
        self._forwarder = forwarder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        TcpForwarder.open_connections += 1
        self._forwarder.begin(self)

    def _gone(self) -> None:
        TcpForwarder.open_connections -= 1
        self._forwarder.left(self)
