"""/exec and /attach, over WebSocket or SPDY: kubectl on one side, a process stream of the runtime on the other.

Faults assumed: either side breaks off at any moment (the other is let go of), a client that floods (the runtime's
stream holds it back) or does not read (the process waits, or is cut off when attached), silence for hours (pings).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from node_agent.runtime.errors import NotFound, NotRunning, RuntimeFault
from node_agent.runtime.streams import ProcessStream
from node_agent.server.directory import Directory, Found
from node_agent.server.fronts import Front, WebSocketFront, spdy_front
from node_agent.server.spdy_link import SpdyLink, agreed, wants_spdy
from node_agent.streams import channels
from node_agent.streams.channels import Channel

log = logging.getLogger(__name__)

# kubectl reads a text with a colon as YAML and shows nothing of it.
UPGRADE = "you must ask for an upgrade to WebSocket or to SPDY/3.1"
_PING = 30.0
_MOST_MESSAGE = 4 << 20


class Streams:
    """The handlers of one server."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def exec(self, request: web.Request) -> web.StreamResponse:
        found = self._find(request)
        command = request.query.getall("command", [])
        if not command:
            raise web.HTTPBadRequest(text="you must specify at least 1 command for exec")
        options = _Wanted.of(request)
        runtime = found.agent.parts.runtime

        async def open_stream() -> ProcessStream:
            return await runtime.exec(found.container.id, command, tty=options.tty, stdin=options.stdin)

        return await _serve(request, open_stream, options)

    async def attach(self, request: web.Request) -> web.StreamResponse:
        found = self._find(request)
        options = _Wanted.of(request)
        runtime = found.agent.parts.runtime

        async def open_stream() -> ProcessStream:
            return await runtime.attach(found.container.id, stdin=options.stdin)

        return await _serve(request, open_stream, options)

    def _find(self, request: web.Request) -> Found:
        part = request.match_info
        return self._directory.running(part["namespace"], part["pod"], part["container"], part.get("uid", ""))


class _Wanted:
    """Which channels the client asked for. Both spellings are in use: stdin=true and input=1."""

    def __init__(self, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> None:
        self.stdin, self.stdout, self.stderr, self.tty = stdin, stdout, stderr, tty

    @staticmethod
    def of(request: web.Request) -> _Wanted:
        def asked(*names: str) -> bool:
            return any(request.query.get(name) in ("true", "1") for name in names)

        wanted = _Wanted(asked("stdin", "input"), asked("stdout", "output"), asked("stderr", "error"), asked("tty"))
        if not (wanted.stdin or wanted.stdout or wanted.stderr):
            raise web.HTTPBadRequest(text="you must specify at least one of stdin, stdout, stderr")
        return wanted

    def channels(self) -> frozenset[Channel]:
        """Those that are in use; a terminal says everything on stdout."""
        used = {
            Channel.ERROR: True,
            Channel.STDIN: self.stdin,
            Channel.STDOUT: self.stdout,
            Channel.STDERR: self.stderr and not self.tty,
            Channel.RESIZE: self.tty,
        }
        return frozenset(channel for channel, is_used in used.items() if is_used)


async def _serve(
    request: web.Request, open_stream: Callable[[], Awaitable[ProcessStream]], wanted: _Wanted
) -> web.StreamResponse:
    return await (_serve_spdy if wants_spdy(request) else _serve_websocket)(request, open_stream, wanted)


async def _serve_websocket(
    request: web.Request, open_stream: Callable[[], Awaitable[ProcessStream]], wanted: _Wanted
) -> web.StreamResponse:
    socket = web.WebSocketResponse(
        protocols=channels.PROTOCOLS, heartbeat=_PING, max_msg_size=_MOST_MESSAGE, compress=False
    )
    if not socket.can_prepare(request):
        raise web.HTTPBadRequest(text=UPGRADE)
    process = await _opened(open_stream)
    try:
        await socket.prepare(request)
        await _Session(WebSocketFront(socket), process, wanted).run()
    finally:
        await process.close()
        with contextlib.suppress(ConnectionError):
            await socket.close()
    return socket


async def _serve_spdy(
    request: web.Request, open_stream: Callable[[], Awaitable[ProcessStream]], wanted: _Wanted
) -> web.StreamResponse:
    protocol = agreed(request, (channels.V4,))
    process = await _opened(open_stream)
    try:
        link = await SpdyLink.open(request, protocol)
        front = await spdy_front(link, wanted.channels())
        if front is not None:
            await _Session(front, process, wanted).run()
        await link.close()
    finally:
        await process.close()
    return link.response


async def _opened(open_stream: Callable[[], Awaitable[ProcessStream]]) -> ProcessStream:
    """Before the upgrade is answered: a container that is not there is an HTTP refusal, as clients expect."""
    try:
        return await open_stream()
    except (NotFound, NotRunning) as problem:
        raise web.HTTPNotFound(text=str(problem)) from None
    except RuntimeFault as problem:
        raise web.HTTPInternalServerError(text=str(problem)) from None


class _Session:
    """One exec or attach while it lasts."""

    def __init__(self, front: Front, process: ProcessStream, wanted: _Wanted) -> None:
        self._front, self._process, self._wanted = front, process, wanted

    async def run(self) -> None:
        """Until the process has ended and said all, or the client has gone."""
        reading = asyncio.create_task(self._from_client())
        writing = asyncio.create_task(self._to_client())
        done, _ = await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, writing):
            task.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)
        for task in done:
            problem = None if task.cancelled() else task.exception()
            if problem is not None and not isinstance(problem, (ConnectionError, RuntimeFault)):
                log.error("a stream into a container broke", exc_info=problem)

    async def _from_client(self) -> None:
        async for message in self._front.messages():
            match message:
                case channels.Input(content) if self._wanted.stdin and content:
                    await self._process.write(content)
                case channels.InputEnds():
                    await self._process.close_stdin()
                case channels.Resize(columns, rows):
                    await self._process.resize(columns, rows)

    async def _to_client(self) -> None:
        wanted = self._wanted.channels()
        while (piece := await self._process.read()) is not None:
            channel, data = Channel(int(piece[0])), piece[1]
            if channel in wanted:
                await self._front.output(channel, data)
        try:
            last = channels.ended(await self._process.wait())
        except RuntimeFault as problem:
            last = channels.failed(str(problem))
        await self._front.end(last)
