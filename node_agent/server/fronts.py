"""kubectl's side of exec and attach: its input as messages, output and the last word to it, over WebSocket or SPDY.

WebSocket: numbered channels in its messages (streams/channels.py). SPDY: the client opens a stream for each of error,
stdin, stdout, stderr and resize, by the header `streamtype`; the last word is a Status on the error stream. Source:
the remote command protocols v4 and v5 of Kubernetes.

Faults assumed: a client that goes, floods (its stream is read no faster than the program takes it), breaks the
protocol, or opens half of its streams and no more (30 s).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final, Protocol

from aiohttp import WSMsgType, web

from node_agent.server.spdy_link import SpdyLink
from node_agent.streams import channels
from node_agent.streams.channels import Channel, Input, InputEnds, Message
from node_agent.streams.spdy import PROTOCOL_ERROR, Data, GoingAway, Opened, Reset, SpdyError, SpdyServer

log = logging.getLogger(__name__)

_OPENING_SECONDS: Final = 30.0
# kubectl up to 1.32 reads before it has made its streams, and throws away what comes for them until then
# (kubernetes/kubernetes pull request 131203). Where containers start slowly nobody notices.
_SETTLE_SECONDS: Final = 0.03
_TYPES: Final = {
    "error": Channel.ERROR,
    "stdin": Channel.STDIN,
    "stdout": Channel.STDOUT,
    "stderr": Channel.STDERR,
    "resize": Channel.RESIZE,
}
_MOST_SIZE: Final = 4096  # bytes of a terminal's size that is not whole yet


class Front(Protocol):
    """One client."""

    def messages(self) -> AsyncIterator[Message]:
        """What it says, until it goes."""
        ...

    async def output(self, channel: Channel, data: bytes) -> None:
        """Raises ConnectionError."""
        ...

    async def end(self, status: bytes) -> None:
        """The last word, a Status object. Raises ConnectionError."""
        ...


class WebSocketFront:
    """See Front."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._protocol = socket.ws_protocol or channels.V4
        self._settled = asyncio.get_running_loop().time() + _SETTLE_SECONDS

    async def messages(self) -> AsyncIterator[Message]:
        async for message in self._socket:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                break
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            yield channels.read(data, self._protocol)

    async def output(self, channel: Channel, data: bytes) -> None:
        await self._settle()
        await self._socket.send_bytes(channels.output(channel, data))

    async def _settle(self) -> None:
        if (left := self._settled - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)

    async def end(self, status: bytes) -> None:
        await self._settle()
        await self._socket.send_bytes(channels.output(Channel.ERROR, status))
        await self._socket.close()


class SpdyFront:
    """See Front. wanted: the channels that the client will open streams for."""

    def __init__(self, link: SpdyLink, wanted: frozenset[Channel]) -> None:
        self._link = link
        self._wanted = wanted
        self._spdy = SpdyServer()
        self._streams: dict[Channel, int] = {}
        self._early: list[Message] = []
        self._size = b""
        self._sending = asyncio.Lock()

    async def opened(self) -> None:
        """All streams are there. Raises ConnectionError: the client went, or leaves us waiting."""
        try:
            async with asyncio.timeout(_OPENING_SECONDS):
                while not self._wanted <= self._streams.keys():
                    heard = await self._hear()
                    if heard is None:
                        raise ConnectionResetError("the client went before it had opened its streams")
                    self._early += heard
        except TimeoutError:
            missing = ", ".join(sorted(one.name.lower() for one in self._wanted - self._streams.keys()))
            raise ConnectionResetError(f"the client opened no stream for {missing} in time") from None

    async def messages(self) -> AsyncIterator[Message]:
        heard: list[Message] | None = self._early
        while heard is not None:
            for message in heard:
                yield message
            heard = await self._hear()

    async def output(self, channel: Channel, data: bytes) -> None:
        if (stream := self._streams.get(channel)) is not None:
            self._spdy.send(stream, data)
            await self._flush()

    async def end(self, status: bytes) -> None:
        for channel, stream in self._streams.items():
            self._spdy.send(stream, status if channel is Channel.ERROR else b"", end=True)
        await self._flush()

    async def _hear(self) -> list[Message] | None:
        """What the client says next; None when it says nothing more."""
        data = await self._link.receive()
        if data is None:
            return None
        found: list[Message] = []
        try:
            for event in self._spdy.feed(data):
                if isinstance(event, GoingAway):
                    return None
                found += self._read(event)
        except SpdyError as problem:
            log.warning("a client broke the protocol: %s", problem)
            return None
        await self._flush()
        return found

    def _read(self, event: Opened | Data | Reset) -> list[Message]:
        match event:
            case Opened(stream, headers, ended):
                channel = _TYPES.get(headers.get("streamtype", ""))
                if channel is None or channel in self._streams:
                    self._spdy.reset(stream, PROTOCOL_ERROR)
                    return []
                self._spdy.reply(stream)
                self._streams[channel] = stream
                return [InputEnds()] if ended and channel is Channel.STDIN else []
            case Data(stream, data, ended) if stream == self._streams.get(Channel.STDIN):
                return [Input(data), *([InputEnds()] if ended else [])]
            case Data(stream, data) if stream == self._streams.get(Channel.RESIZE):
                return self._sizes(data)
            case Reset(stream) if stream == self._streams.get(Channel.STDIN):
                return [InputEnds()]
        return []

    def _sizes(self, data: bytes) -> list[Message]:
        """Sizes of the terminal, a line each."""
        *lines, rest = (self._size + data).split(b"\n")
        self._size = rest[:_MOST_SIZE]
        return [channels.size(line) for line in lines]

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._spdy.take():
                await self._link.send(data)


async def spdy_front(link: SpdyLink, wanted: frozenset[Channel]) -> SpdyFront | None:
    """A client with its streams open; None, and a line in the log, if it does not open them."""
    front = SpdyFront(link, wanted)
    try:
        await front.opened()
    except ConnectionError as problem:
        log.info("exec or attach over SPDY: %s", problem)
        with contextlib.suppress(ConnectionError):
            await link.close()
        return None
    return front
