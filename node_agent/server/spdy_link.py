"""A connection that has left HTTP for SPDY/3.1: kubectl before 1.31 asks so for exec, attach and port-forward.

aiohttp knows no upgrade but WebSocket's; what comes after the answer 101 it gives to the parser that is set then, and
that is this link. Invariant: what has come and was not asked for is at most some 256 KiB, then nothing more is read.
Faults assumed: the peer goes at any moment (receive() says None), or does not read (send() waits).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from aiohttp import web

_UPGRADE: Final = "SPDY/3.1"
_VERSION: Final = "X-Stream-Protocol-Version"
_MOST_WAITING: Final = 256 << 10


def wants_spdy(request: web.Request) -> bool:
    """Whether the client asks to go on in SPDY."""
    options = {word.strip().lower() for word in request.headers.get("Connection", "").split(",")}
    return "upgrade" in options and request.headers.get("Upgrade", "").lower() == _UPGRADE.lower()


def agreed(request: web.Request, protocols: Sequence[str]) -> str:
    """The first protocol of the client's that is among ours. Raises HTTPForbidden, as the kubelet, if there is none."""
    offered = [one.strip() for line in request.headers.getall(_VERSION, ()) for one in line.split(",")]
    for one in offered:
        if one in protocols:
            return one
    raise web.HTTPForbidden(
        text=f"unable to upgrade, unable to negotiate protocol, client supports {offered}, server accepts {protocols}"
    )


class SpdyLink:
    """See the module."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client has gone")
        self.response = response
        self._protocol = request.protocol
        self._transport = request.transport
        self._arrived: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._news = asyncio.Event()

    @classmethod
    async def open(cls, request: web.Request, protocol: str) -> SpdyLink:
        """Answer the upgrade. Raises ConnectionError."""
        headers = {"Upgrade": _UPGRADE, "Connection": "Upgrade", _VERSION: protocol}
        link = cls(request, web.StreamResponse(status=101, headers=headers))
        # Typed for its own WebSocket; what it calls are feed_data and feed_eof.
        request.protocol.set_parser(link)  # type: ignore[arg-type]
        request.protocol.keep_alive(False)
        await link.response.prepare(request)
        return link

    # ---- what aiohttp calls ----

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Bytes came; never the end of a message, as HTTP sees it."""
        self._arrived.append(data)
        self._waiting += len(data)
        if self._waiting > _MOST_WAITING:
            self._transport.pause_reading()
        self._news.set()
        return False, b""

    def feed_eof(self) -> None:
        """The connection is gone."""
        self._ended = True
        self._news.set()

    # ---- what we call ----

    async def receive(self) -> bytes | None:
        """What has come; None at the end."""
        while not self._arrived:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        data = b"".join(self._arrived)
        self._arrived.clear()
        if self._waiting > _MOST_WAITING and not self._ended:
            self._transport.resume_reading()
        self._waiting = 0
        return data

    async def send(self, data: bytes) -> None:
        """Waits while the peer does not read. Raises ConnectionError."""
        if self._ended or self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)
        await self._protocol._drain_helper()

    async def close(self) -> None:
        """What was sent still leaves."""
        self._transport.close()
