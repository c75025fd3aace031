"""Exec, attach and port-forward through the URL that a CRI runtime gives for them: SPDY/3.1.

WebSocket would be simpler, but containerd 1.6 and 1.7 offer no more than v4.channel.k8s.io, which cannot close stdin.
Backpressure: while nobody reads the output, the connection is not read either.
Source: the remote command and port-forward protocols of Kubernetes (streams named by the header `streamtype`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from node_agent.runtime.cri.spdy_client import SpdyBroken, SpdyClient
from node_agent.runtime.errors import NotRunning, RuntimeUnavailable, Unsupported
from node_agent.runtime.refusals import refusal_code
from node_agent.runtime.streams import Channel
from node_agent.runtime.upgrade import Refused, open_upgraded

_REMOTE_COMMAND = "v4.channel.k8s.io"
_PORT_FORWARD = "portforward.k8s.io"
_PIECE = 64 << 10
_WAITING = 32
_MAX_ERROR = 64 << 10
_ERROR_SECONDS = 1.0
_INTERRUPT_AND_END = b"\x03\x04"


async def connect(url: str, protocol: str) -> SpdyConnection:
    """Raises NotRunning, RuntimeUnavailable, Unsupported."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise Unsupported(
            f"the runtime serves streams by {parts.scheme}: turn its TLS streaming off, it is on loopback"
        )
    headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": protocol}
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        reader, writer = await open_upgraded(parts.netloc, path, headers, host=parts.netloc)
    except Refused as problem:
        raise NotRunning(f"the runtime refuses the stream: {problem}") from problem
    return SpdyConnection(reader, writer)


class SpdyConnection:
    """`receive` hands the bytes of each stream to its sink, which may make it wait."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._spdy = SpdyClient()

    async def open(self, headers: Mapping[str, str], *, ended: bool = False) -> int:
        stream = self._spdy.open(headers, ended=ended)
        await self._flush()
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Raises ConnectionError."""
        self._spdy.send(stream, data, end=end)
        await self._flush()

    async def _flush(self) -> None:
        self._writer.write(self._spdy.take())
        await self._writer.drain()

    async def receive(self, sink: Callable[[int, bytes, bool], Awaitable[None]]) -> None:
        """Until the runtime closes the connection. `sink(stream, data, ended)`."""
        try:
            while data := await self._reader.read(_PIECE):
                for event in self._spdy.feed(data):
                    await sink(event.stream, event.data, event.ended)
                await self._flush()
        except (OSError, SpdyBroken):
            return

    def close(self) -> None:
        self._writer.close()


class CriStream:
    """Exec or attach; see streams.ProcessStream. `code` finds the exit code when the error stream does not say it."""

    def __init__(self, connection: SpdyConnection, code: Callable[[], Awaitable[int]], *, interactive: bool) -> None:
        self._interactive = interactive
        self._connection = connection
        self._code = code
        self._numbers: dict[int, str] = {}
        self._by_name: dict[str, int] = {}
        self._out: asyncio.Queue[tuple[Channel, bytes] | None] = asyncio.Queue(_WAITING)
        self._error = bytearray()
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pump: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, url: str, *, tty: bool, stdin: bool, attached: bool = False, code: Callable[[], Awaitable[int]]
    ) -> CriStream:
        """Raises NotRunning, RuntimeUnavailable."""
        stream = cls(await connect(url, _REMOTE_COMMAND), code, interactive=tty and not attached)
        names = ["error", *(["stdin"] if stdin else []), "stdout", *(["resize"] if tty else ["stderr"])]
        try:
            for name in names:
                number = await stream._connection.open({"streamtype": name})
                stream._numbers[number], stream._by_name[name] = name, number
        except OSError as problem:
            stream._connection.close()
            raise RuntimeUnavailable(f"the runtime closed the stream: {problem}") from problem
        stream._pump = asyncio.create_task(stream._run())
        return stream

    async def _run(self) -> None:
        await self._connection.receive(self._sink)
        try:
            self._settle(await self._exit_code())
        except Exception as problem:
            if not self._ended.done():
                self._ended.set_exception(RuntimeUnavailable(f"the exit code is not known: {problem}"))
                self._ended.exception()
        await self._out.put(None)

    async def _sink(self, stream: int, data: bytes, ended: bool) -> None:
        name = self._numbers.get(stream, "")
        if name == "error":
            self._error += data[: _MAX_ERROR - len(self._error)]
        elif name in ("stdout", "stderr") and data:
            await self._out.put((Channel.STDOUT if name == "stdout" else Channel.STDERR, data))

    async def _exit_code(self) -> int:
        if not self._error:
            return await self._code()
        code, message = exit_of(bytes(self._error))
        if message:
            await self._out.put((Channel.STDERR, message.encode() + b"\n"))
        return code if code >= 0 else await self._code()

    def _settle(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    async def read(self) -> tuple[Channel, bytes] | None:
        item = await self._out.get()
        if item is None:
            self._out.put_nowait(None)
        return item

    async def write(self, data: bytes) -> None:
        await self._send("stdin", data)

    async def close_stdin(self) -> None:
        await self._send("stdin", b"", end=True)

    async def resize(self, columns: int, rows: int) -> None:
        await self._send("resize", json.dumps({"Width": columns, "Height": rows}).encode() + b"\n")

    async def _send(self, name: str, data: bytes, *, end: bool = False) -> None:
        number = self._by_name.get(name)
        if number is not None:
            with contextlib.suppress(OSError):
                await self._connection.send(number, data, end=end)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        """The CRI has no way to kill what was exec'd: what has a terminal hears Ctrl-C there, the rest runs on."""
        if self._interactive and not self._ended.done():
            await self._send("stdin", _INTERRUPT_AND_END)
        if self._pump is not None:
            self._pump.cancel()
        self._connection.close()
        if not self._ended.done():
            self._ended.cancel()


def exit_of(error: bytes) -> tuple[int, str]:
    """(exit code or -1: success or not said, what went wrong before there was one) of the last word on the error
    stream.
    """
    try:
        status: dict[str, Any] = json.loads(error)
    except ValueError:
        text = error.decode("utf-8", "replace")
        return refusal_code(text), text
    if status.get("status") == "Success":
        return -1, ""
    causes = (status.get("details") or {}).get("causes") or []
    codes = [cause.get("message", "") for cause in causes if cause.get("reason") == "ExitCode"]
    if codes and str(codes[0]).isdecimal():
        return int(codes[0]), ""
    message = str(status.get("message", "the command failed"))
    return refusal_code(message), message


class CriPort:
    """Port-forward; see streams.ByteStream."""

    def __init__(self, connection: SpdyConnection, data: int, error: int) -> None:
        self._connection = connection
        self._data, self._error = data, error
        self._in: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self._problem = bytearray()
        self._over = False
        self._error_ended = asyncio.Event()
        self._pump = asyncio.create_task(self._run())

    @classmethod
    async def open(cls, url: str, port: int) -> CriPort:
        """Raises NotRunning, RuntimeUnavailable. That nobody listens is known by the first read or write only."""
        connection = await connect(url, _PORT_FORWARD)
        about = {"port": str(port), "requestid": "0"}
        try:
            error = await connection.open({"streamtype": "error", **about}, ended=True)
            data = await connection.open({"streamtype": "data", **about})
        except OSError as problem:
            connection.close()
            raise RuntimeUnavailable(f"the runtime closed the stream: {problem}") from problem
        return cls(connection, data, error)

    async def _run(self) -> None:
        await self._connection.receive(self._sink)
        self._error_ended.set()
        await self._in.put(b"")

    async def _sink(self, stream: int, data: bytes, ended: bool) -> None:
        if stream == self._error:
            self._problem += data[: _MAX_ERROR - len(self._problem)]
            if ended:
                self._error_ended.set()
        elif stream == self._data:
            if data:
                await self._in.put(data)
            if ended:
                await self._in.put(b"")

    async def read(self) -> bytes:
        data = b"" if self._over else await self._in.get()
        if not data:
            self._over = True
            with contextlib.suppress(TimeoutError):  # what went wrong is said on the other stream, before or after
                await asyncio.wait_for(self._error_ended.wait(), _ERROR_SECONDS)
            if self._problem:
                raise ConnectionError(self._problem.decode("utf-8", "replace"))
        return data

    async def write(self, data: bytes) -> None:
        await self._connection.send(self._data, data)

    async def close_write(self) -> None:
        with contextlib.suppress(OSError):
            await self._connection.send(self._data, b"", end=True)

    async def close(self) -> None:
        self._pump.cancel()
        self._connection.close()
