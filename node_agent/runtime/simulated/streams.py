"""Streams into simulated containers: an exec that answers, an attachment that waits, a port that says hello."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from node_agent.runtime.streams import Channel
from node_agent.runtime.types import ExecResult

_MAX_ECHO = 1 << 20


class ScriptedStream:
    """An exec'd command whose answer is known, or (attach) nothing at all until the container ends."""

    def __init__(self, result: Callable[[], Awaitable[ExecResult]], *, echo: bool = False) -> None:
        self._task = asyncio.ensure_future(result())
        self._out: asyncio.Queue[tuple[Channel, bytes] | None] = asyncio.Queue(maxsize=64)
        self._echo = echo
        self._said = False
        self._ended = False

    async def read(self) -> tuple[Channel, bytes] | None:
        if self._echo:
            return await self._out.get()
        if self._ended:
            return None
        result = await self._outcome()
        if result.stdout and not self._said:
            self._said = True
            self._ended = not result.stderr
            return Channel.STDOUT, result.stdout
        self._ended = True
        return (Channel.STDERR, result.stderr) if result.stderr else None

    async def _outcome(self) -> ExecResult:
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():
                return ExecResult(137, b"", b"")
            raise

    async def write(self, data: bytes) -> None:
        if self._echo:
            for at in range(0, min(len(data), _MAX_ECHO), 65536):
                await self._out.put((Channel.STDOUT, data[at : at + 65536]))

    async def close_stdin(self) -> None:
        if self._echo:
            await self._out.put(None)

    async def resize(self, columns: int, rows: int) -> None:
        """It has no terminal."""

    async def wait(self) -> int:
        return (await self._outcome()).exit_code

    async def close(self) -> None:
        self._task.cancel()


class GreetingStream:
    """A port that answers any request with its sandbox's name, as a small web server would."""

    def __init__(self, name: str) -> None:
        body = f"{name}\n".encode()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._answer = head.encode() + body
        self._seen = b""
        self._asked = asyncio.Event()

    async def read(self) -> bytes:
        await self._asked.wait()
        answer, self._answer = self._answer, b""
        return answer

    async def write(self, data: bytes) -> None:
        self._seen = (self._seen + data)[-4096:]
        if b"\r\n\r\n" in self._seen:
            self._asked.set()

    async def close_write(self) -> None:
        self._asked.set()

    async def close(self) -> None:
        self._asked.set()
