"""Exec and attach over connections that Docker has handed over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from node_agent.runtime.docker.multiplex import Demultiplexer
from node_agent.runtime.errors import RuntimeFault, RuntimeUnavailable
from node_agent.runtime.streams import Channel
from node_agent.runtime.upgrade import Streams

_PIECE = 64 << 10


class DockerStream:
    """See streams.ProcessStream. `code` waits for the exit code; `hang_up` ends what nobody wants any more."""

    def __init__(
        self,
        streams: Streams,
        *,
        tty: bool,
        code: Callable[[], Awaitable[int]],
        resize: Callable[[int, int], Awaitable[None]],
        hang_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._reader, self._writer = streams
        self._pieces = Demultiplexer(raw=tty)
        self._ready: list[tuple[Channel, bytes]] = []
        self._over = False
        self._code, self._resize, self._hang_up = code, resize, hang_up

    async def read(self) -> tuple[Channel, bytes] | None:
        while not self._ready:
            data = b"" if self._over else await self._received()
            if not data:
                self._over = True
                return None
            self._ready = self._pieces.feed(data)[::-1]
        return self._ready.pop()

    async def _received(self) -> bytes:
        try:
            return await self._reader.read(_PIECE)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write(data)
            await self._writer.drain()

    async def close_stdin(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            if not self._writer.is_closing():
                self._writer.write_eof()

    async def resize(self, columns: int, rows: int) -> None:
        with contextlib.suppress(RuntimeFault):
            await self._resize(columns, rows)

    async def wait(self) -> int:
        while not self._over and await self.read() is not None:
            continue
        return await self._code()

    async def close(self) -> None:
        self._writer.close()
        if not self._over:
            with contextlib.suppress(RuntimeFault, asyncio.TimeoutError):
                await self._hang_up()


async def settled(look: Callable[[], Awaitable[int | None]], looks: int = 100) -> int:
    """An exit code that is there a moment after the stream has ended. Raises RuntimeUnavailable."""
    for _ in range(looks):
        code = await look()
        if code is not None:
            return code
        await asyncio.sleep(0.05)
    raise RuntimeUnavailable("the stream ended, but the exit code is not known")
