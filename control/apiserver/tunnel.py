"""Upgraded connections, passed through byte by byte: exec, attach, port-forward, and whatever a proxied server speaks.

The client's request goes on to the backend as it came, without its credentials; when the backend switches protocols,
so do we, and from then on neither side's bytes are looked at. So every WebSocket subprotocol (and SPDY) works that the
two ends agree on. Both directions have flow control: who reads slowly holds the other side back.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Any, Final

from control.api.status import bad_request, service_unavailable
from control.apiserver.agents import dialed
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.request import TOKEN_PROTOCOL, Headers

HEAD_BYTES: Final = 64 << 10
BODY_BYTES: Final = 1 << 20
CONNECT_SECONDS: Final = 10.0
HEAD_SECONDS: Final = 30.0
_HIGH: Final = 256 << 10
_CHUNK: Final = 64 << 10
# Who the client is was our business; what the connection is like is told anew.
_NOT_PASSED: Final = frozenset({"authorization", "host", "cookie", "proxy-authorization", "content-length"})
_NOT_PASSED_PREFIXES: Final = ("impersonate-", "fluyt-", "x-remote-")
_PROTOCOLS: Final = "sec-websocket-protocol"


def passed_on(headers: Headers) -> dict[str, str]:
    """What a backend gets to see of a request's headers: nothing that says, or proves, who the client is."""
    kept = {
        name: value
        for name, value in headers.items()
        if name not in _NOT_PASSED and not name.startswith(_NOT_PASSED_PREFIXES)
    }
    protocols = [word.strip() for word in kept.pop(_PROTOCOLS, "").split(",")]
    spoken = [word for word in protocols if word and not word.startswith(TOKEN_PROTOCOL)]
    return {**kept, _PROTOCOLS: ", ".join(spoken)} if spoken else kept


def is_upgrade(headers: Mapping[str, str]) -> bool:
    """Whether the client wants to leave HTTP."""
    words = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    return "upgrade" in words and bool(headers.get("upgrade"))


async def tunnel(
    call: Call, host: str, port: int, target: str, context: ssl.SSLContext | None, server_name: str = ""
) -> Answer:
    """Pass the request on to host:port as `target` (path and query). StatusError 400: no upgrade; 503: no backend."""
    if not is_upgrade(call.headers):
        raise bad_request("Upgrade request required")
    reader, writer = await _connect(host, port, context, server_name)
    try:
        writer.write(_head(call, host, port, target))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
        if not _switches(head):
            return await _refused(head, reader, writer)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as problem:
        writer.close()
        raise service_unavailable(f"error dialing backend: {problem or type(problem).__name__}") from None
    except BaseException:
        writer.close()
        raise
    connection = call.scope["extensions"]["fluyt.connection"]
    return Answer(101, takeover=lambda: _run(connection, head, reader, writer))


async def _connect(
    host: str, port: int, context: ssl.SSLContext | None, server_name: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = (server_name or host) if context is not None else None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection(host, port, ssl=context, limit=HEAD_BYTES, server_hostname=name)
    except (OSError, TimeoutError) as problem:
        raise service_unavailable(f"error dialing backend: {dialed(problem, host, port)}") from None


def _head(call: Call, host: str, port: int, target: str) -> bytes:
    lines = [f"{call.info.method} {target} HTTP/1.1", f"Host: {host}:{port}"]
    lines += [f"{name}: {value}" for name, value in passed_on(call.headers).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _switches(head: bytes) -> bool:
    parts = head.split(b" ", 2)
    return len(parts) > 1 and parts[0].startswith(b"HTTP/1.") and parts[1] == b"101"


async def _refused(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
    """What the backend says instead of switching."""
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    words = first.split(" ", 2)
    if len(words) < 2 or not words[1].isdigit() or not 200 <= int(words[1]) <= 599:
        raise service_unavailable("the backend's answer is no HTTP")
    length = fields.get("content-length", "")
    wanted = min(int(length), BODY_BYTES) if length.isdigit() else BODY_BYTES
    body = b""
    with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError):
        if length.isdigit():
            body = await asyncio.wait_for(reader.readexactly(wanted), HEAD_SECONDS)
        else:
            body = await asyncio.wait_for(reader.read(wanted), HEAD_SECONDS)
    writer.close()
    return Answer(int(words[1]), body, fields.get("content-type", "text/plain").encode())


async def _run(connection: Any, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends: then the other is ended, too."""
    lost = asyncio.Event()
    backward = _Backward(connection, writer)
    early = connection.take_over(backward.feed, lost.set)
    connection.transport.write(head)
    if early:
        backward.feed(early)
    forward = asyncio.create_task(_forward(reader, connection))
    ended = asyncio.create_task(lost.wait())
    try:
        await asyncio.wait((forward, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (forward, ended, backward.drain):
            if task is not None:
                task.cancel()
        writer.close()
        connection.transport.close()


async def _forward(reader: asyncio.StreamReader, connection: Any) -> None:
    """Backend to client."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            connection.transport.write(data)
            if connection.flow.write_paused:
                await connection.flow.drain()


class _Backward:
    """Client to backend; reading from the client pauses while the backend takes nothing."""

    def __init__(self, connection: Any, writer: asyncio.StreamWriter) -> None:
        self._connection, self._writer = connection, writer
        self.drain: asyncio.Task[None] | None = None

    def feed(self, data: bytes) -> None:
        if self._writer.is_closing():
            return
        self._writer.write(data)
        if self.drain is None and self._writer.transport.get_write_buffer_size() > _HIGH:
            self._connection.flow.pause_reading()
            self.drain = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        with contextlib.suppress(OSError):
            await self._writer.drain()
        self.drain = None
        self._connection.flow.resume_reading()
