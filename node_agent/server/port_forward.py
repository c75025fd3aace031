"""/portForward: SPDY/3.1 frames, within WebSocket messages or alone, for each connection an error and a data stream.

The peer opens both with the headers `streamtype`, `port` and `requestid`; what goes wrong with a connection is told on
its error stream, and the others go on. Source: kubectl's port-forward, over `SPDY/3.1+portforward.k8s.io` or, before
1.31, SPDY/3.1 itself.

Faults assumed: the peer opens half of a pair and forgets it, sends without end (the transport holds it back), goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket as sockets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from aiohttp import WSMsgType, web

from node_agent.runtime.errors import RuntimeFault
from node_agent.runtime.sockets import SocketStream
from node_agent.runtime.streams import ByteStream
from node_agent.server.directory import Directory
from node_agent.server.exec import UPGRADE
from node_agent.server.spdy_link import SpdyLink, agreed, wants_spdy
from node_agent.streams.spdy import CANCEL, PROTOCOL_ERROR, Data, GoingAway, Opened, Reset, SpdyError, SpdyServer

log = logging.getLogger(__name__)

PROTOCOL: Final = "SPDY/3.1+portforward.k8s.io"
_SPDY_PROTOCOL: Final = "portforward.k8s.io"
_PING: Final = 30.0
_MOST_MESSAGE: Final = 4 << 20
_MOST_WAITING: Final = 64  # pieces for one connection that its program has not taken yet
_Connect = Callable[[int], Awaitable[ByteStream]]


@dataclass(slots=True)
class _Connection:
    """One forwarded connection: its two streams and what is on its way into the pod."""

    port: int
    error: int = 0
    data: int = 0
    inward: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(_MOST_WAITING))
    task: asyncio.Task[None] | None = None


class PortForward:
    """The handler of one server."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def serve(self, request: web.Request) -> web.StreamResponse:
        agent, _, sandbox = self._directory.sandbox(request.match_info["namespace"], request.match_info["pod"])

        async def connect(port: int) -> ByteStream:
            if sandbox.loopback:
                # Programs listen there or, as Kubernetes has it, at the pod's localhost.
                with contextlib.suppress(ConnectionRefusedError):
                    return await SocketStream.connect(sockets.socket(), (sandbox.loopback, port))
            return await agent.parts.runtime.port_forward(sandbox.id, port)

        if wants_spdy(request):
            link = await SpdyLink.open(request, agreed(request, (_SPDY_PROTOCOL,)))
            await _Session(link, connect).run()
            return link.response
        return await self._over_websocket(request, connect)

    async def _over_websocket(self, request: web.Request, connect: _Connect) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,), heartbeat=_PING, max_msg_size=_MOST_MESSAGE, compress=False
        )
        if not socket.can_prepare(request):
            raise web.HTTPBadRequest(text=UPGRADE)
        await socket.prepare(request)
        if socket.ws_protocol != PROTOCOL:
            await socket.close(code=1002, message=b"unknown subprotocol")
            return socket
        await _Session(_WebSocketLink(socket), connect).run()
        return socket


class _Link(Protocol):
    """Bytes to and from a client."""

    async def receive(self) -> bytes | None:
        """What has come; None at the end."""
        ...

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError."""
        ...

    async def close(self) -> None:
        """Raises ConnectionError."""
        ...


class _WebSocketLink:
    """See _Link: a message's bytes are part of the stream of bytes."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def receive(self) -> bytes | None:
        message = await self._socket.receive()
        return message.data if message.type is WSMsgType.BINARY else None

    async def send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def close(self) -> None:
        await self._socket.close()


class _Session:
    """One port-forward while it lasts."""

    def __init__(self, link: _Link, connect: _Connect) -> None:
        self._link, self._connect = link, connect
        self._spdy = SpdyServer()
        self._pairs: dict[str, _Connection] = {}
        self._streams: dict[int, _Connection] = {}
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        try:
            while (data := await self._link.receive()) is not None:
                if not await self._take(data):
                    break
        except SpdyError as problem:
            log.warning("a port-forward broke the protocol: %s", problem)
        finally:
            tasks = [c.task for c in {id(c): c for c in self._streams.values()}.values() if c.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(ConnectionError):
                await self._link.close()

    async def _take(self, data: bytes) -> bool:
        """Whether the session goes on."""
        for event in self._spdy.feed(data):
            match event:
                case Opened():
                    self._opened(event)
                case Data(stream, content, ended):
                    await self._data(stream, content, ended)
                case Reset(stream):
                    self._closed(stream)
                case GoingAway():
                    return False
        await self._send()
        return True

    def _opened(self, event: Opened) -> None:
        kind, port = event.headers.get("streamtype", ""), event.headers.get("port", "")
        if kind not in ("error", "data") or not port.isdigit() or not 0 < int(port) < 65536:
            self._spdy.reset(event.stream, PROTOCOL_ERROR)
            return
        self._spdy.reply(event.stream)
        request = event.headers.get("requestid") or str(event.stream - 2 * (kind == "data"))
        connection = self._pairs.setdefault(request, _Connection(int(port)))
        self._streams[event.stream] = connection
        if kind == "error":
            connection.error = event.stream
        else:
            connection.data = event.stream
        if connection.error and connection.data:
            del self._pairs[request]
            connection.task = asyncio.get_running_loop().create_task(self._forward(connection))

    async def _data(self, stream: int, content: bytes, ended: bool) -> None:
        connection = self._streams.get(stream)
        if connection is None or stream != connection.data:
            return
        if content:
            await self._inward(connection, content)
        if ended:
            await self._inward(connection, None)

    async def _inward(self, connection: _Connection, content: bytes | None) -> None:
        """Waits for room as long as the connection lives: so one slow program holds its sender back."""
        if connection.task is not None and connection.task.done():
            return
        putting = asyncio.ensure_future(connection.inward.put(content))
        waits = {putting, connection.task} if connection.task is not None else {putting}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        putting.cancel()

    def _closed(self, stream: int) -> None:
        connection = self._streams.pop(stream, None)
        if connection is not None and connection.task is not None:
            connection.task.cancel()

    # ---- one connection ----

    async def _forward(self, connection: _Connection) -> None:
        try:
            target = await self._connect(connection.port)
        except (RuntimeFault, OSError) as problem:
            await self._refuse(connection, problem)
            return
        try:
            inward = asyncio.ensure_future(self._into(connection, target))
            try:
                while data := await target.read():
                    self._spdy.send(connection.data, data)
                    await self._send()
            finally:
                inward.cancel()
            self._spdy.send(connection.data, b"", end=True)
            self._spdy.send(connection.error, b"", end=True)
            await self._send()
        except ConnectionError:
            self._spdy.reset(connection.data, CANCEL)
            await self._send()
        finally:
            self._streams.pop(connection.data, None)
            self._streams.pop(connection.error, None)
            await target.close()

    async def _into(self, connection: _Connection, target: ByteStream) -> None:
        with contextlib.suppress(ConnectionError):
            while (content := await connection.inward.get()) is not None:
                await target.write(content)
            await target.close_write()

    async def _refuse(self, connection: _Connection, problem: Exception) -> None:
        text = f"error forwarding port {connection.port} to pod: {problem}"
        self._spdy.send(connection.error, text.encode(), end=True)
        self._spdy.send(connection.data, b"", end=True)
        self._streams.pop(connection.data, None)
        self._streams.pop(connection.error, None)
        await self._send()

    async def _send(self) -> None:
        async with self._sending:
            if data := self._spdy.take():
                with contextlib.suppress(ConnectionError):
                    await self._link.send(data)
