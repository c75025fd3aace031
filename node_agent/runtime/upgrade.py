"""HTTP/1.1 requests that turn a connection into a stream: SPDY of CRI runtimes, Docker's hijacked connections.

Written here because aiohttp gives no connection away after a 101 that is not a WebSocket's, and the Docker SDK may
lose bytes that came with the answer's headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from node_agent.runtime.errors import RuntimeUnavailable

_SECONDS = 30.0
_MAX_HEAD = 64 << 10
_MAX_BODY = 64 << 10
BUFFER = 256 << 10

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """The server answered, but with no stream."""

    status: int
    message: str

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"


async def open_upgraded(
    address: str, path: str, headers: Mapping[str, str], body: bytes = b"", host: str = "localhost"
) -> Streams:
    """POST to `address` (`unix:/path` or `host:port`); the connection after the server has said 101 (or Docker's 200).

    Raises Refused, RuntimeUnavailable.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await _connect(address)
            lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            await _answered(reader)
            return reader, writer
    except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as problem:
        if writer is not None:
            writer.close()
        raise RuntimeUnavailable(f"{address} gives no stream: {problem or type(problem).__name__}") from problem
    except BaseException:
        if writer is not None:
            writer.close()
        raise


async def _connect(address: str) -> Streams:
    if address.startswith("unix:"):
        return await asyncio.open_unix_connection(address.removeprefix("unix:"), limit=BUFFER)
    parts = urlsplit(f"//{address}")
    return await asyncio.open_connection(parts.hostname, parts.port, limit=BUFFER)


async def _answered(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n"))[:_MAX_HEAD].decode("latin-1")
    status = int(head.split(" ", 2)[1])
    if status == 101 or (status == 200 and "raw-stream" in head):
        return
    sized = [line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("content-length:")]
    body = await reader.read(min(int(sized[0]), _MAX_BODY)) if sized else b""
    raise Refused(status, body.decode("utf-8", "replace").strip() or head.splitlines()[0])
