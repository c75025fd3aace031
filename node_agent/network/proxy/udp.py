"""Forwards UDP in user space: a client's datagrams go to one backend until it is silent for a while.

Invariants: at most MOST_FLOWS flows of a port, the one silent for longest goes first; a flow whose backend leaves the
Service ends, so that the client's next datagram goes to another one.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from typing import Any, Final, cast

from node_agent.network.proxy.balancer import Balancer
from node_agent.network.proxy.endpoints import Backend
from node_agent.network.proxy.listeners import Place, Target
from node_agent.network.proxy.sockets import bound, is_own

IDLE_SECONDS: Final = 60.0
MOST_FLOWS: Final = 2048
_MOST_WAITING: Final = 32
_SWEEP: Final = 10.0


class UdpForwarder(asyncio.DatagramProtocol):
    """One port. `target` may be replaced at any time."""

    def __init__(self, place: Place, target: Target, idle: float = IDLE_SECONDS) -> None:
        self.place, self._target, self._idle = place, target, idle
        self._balancer = Balancer()
        self._transport: asyncio.DatagramTransport | None = None
        self._flows: OrderedDict[Any, _Flow] = OrderedDict()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = asyncio.Event()

    @property
    def target(self) -> Target:
        return self._target

    @target.setter
    def target(self, target: Target) -> None:
        self._target = target
        for client, flow in list(self._flows.items()):
            if flow.backend not in target.backends_for(str(client[0]), is_own):
                self._drop(client)

    async def start(self) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, sock=bound(self.place))
        self._sweep()

    @property
    def port(self) -> int:
        return int(self._transport.get_extra_info("sockname")[1]) if self._transport is not None else 0

    async def stop(self, *, connections: bool = False) -> None:
        """A port that is closed cannot carry answers back, so flows end in any case."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for client in list(self._flows):
            self._drop(client)
        if self._transport is not None:
            self._transport.abort()
            await self._closed.wait()  # the next one may want the port at once

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # uvloop's are no subclass

    def datagram_received(self, data: bytes, addr: Any) -> None:
        flow = self._flows.get(addr)
        now = asyncio.get_running_loop().time()
        if flow is None:
            flow = self._begin(addr, now)
            if flow is None:
                return
        flow.seen = now
        self._flows.move_to_end(addr)
        flow.send(data)

    def _begin(self, client: Any, now: float) -> _Flow | None:
        host, affinity = str(client[0]), self._target.affinity
        backends = self._target.backends_for(host, is_own)
        order = self._balancer.order(backends, host, affinity, now, random.random())
        if not order:
            return None
        self._balancer.took(host, order[0], affinity, now)
        flow = self._flows[client] = _Flow(self, client, order[0])
        flow.task = asyncio.get_running_loop().create_task(flow.connect())
        while len(self._flows) > MOST_FLOWS:
            self._drop(next(iter(self._flows)))
        return flow

    def back(self, client: Any, data: bytes) -> None:
        """A backend's answer to its client."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, client)
        flow = self._flows.get(client)
        if flow is not None:
            flow.seen = asyncio.get_running_loop().time()

    def lost(self, client: Any, flow: _Flow) -> None:
        """The backend refuses."""
        if self._flows.get(client) is flow:
            self._drop(client)

    def _drop(self, client: Any) -> None:
        flow = self._flows.pop(client, None)
        if flow is not None:
            flow.close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for client, flow in list(self._flows.items()):
            if loop.time() - flow.seen > self._idle:
                self._drop(client)
        self._sweeper = loop.call_later(min(_SWEEP, self._idle), self._sweep)


class _Flow(asyncio.DatagramProtocol):
    """One client's socket to its backend."""

    def __init__(self, forwarder: UdpForwarder, client: Any, backend: Backend) -> None:
        self._forwarder, self._client, self.backend = forwarder, client, backend
        self.seen = asyncio.get_running_loop().time()
        self.task: asyncio.Task[None] | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: list[bytes] = []
        self._closed = False

    async def connect(self) -> None:
        place = (self.backend.ip, self.backend.port)
        try:
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, remote_addr=place)
        except OSError:
            self._forwarder.lost(self._client, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._closed:
            transport.close()
            return
        self._transport = cast(asyncio.DatagramTransport, transport)
        for data in self._waiting:
            self._transport.sendto(data)
        self._waiting = []

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append(data)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._forwarder.back(self._client, data)

    def error_received(self, exc: Exception) -> None:
        self._forwarder.lost(self._client, self)

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.close()
