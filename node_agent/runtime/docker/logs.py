"""From Docker's own logs to files in the CRI's format: one task per running container, and none after its end.

Docker keeps the lines (json-file), so nothing is lost while the agent or the engine is away: the follower begins
anew after the last line that it wrote, which it finds by its time stamp (the pieces of a long line have one in common,
so those are counted). A rotated log goes on in the new file; see reopen.
An engine may end a stream that follows a container before the last lines of one that has just ended: they are asked for
once more when it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from datetime import datetime
from pathlib import Path

from node_agent.runtime.docker.engine import Engine
from node_agent.runtime.docker.multiplex import Demultiplexer
from node_agent.runtime.errors import NotFound, RuntimeFault
from node_agent.runtime.streams import Channel

_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d+))?Z")
_TAIL = 64 << 10
_MAX_LINE = 16 * 1024
_PAUSE = 0.5
_NAMES = {Channel.STDOUT: b"stdout", Channel.STDERR: b"stderr"}


class LogFollower:
    """`path` empty: the container has no log."""

    def __init__(self, engine: Engine, container: str, path: str, *, tty: bool) -> None:
        self._engine = engine
        self._container = container
        self._path = Path(path)
        self._tty = tty
        self._descriptor = -1
        # The time of the last message that was written, and how many had it.
        self._last = b""
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._last, self._count = _last_stamp(self._path)
            self.reopen()
            self._task = asyncio.create_task(self._follow(), name=f"log of {self._container[:12]}")

    def reopen(self) -> None:
        """Raises OSError."""
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o640)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor

    async def finished(self, seconds: float) -> None:
        """Until everything that an ended container said is in the file, or for so long."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._task), seconds)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    async def _follow(self) -> None:
        while True:
            try:
                await self._copy(follow=True)
                await self._ended()
                await self._copy(follow=False)
                return
            except NotFound:
                return
            except RuntimeFault:
                await asyncio.sleep(_PAUSE)

    async def _ended(self) -> None:
        """Until the container does not run any more."""
        path = f"/containers/{self._container}/wait"
        async for _ in self._engine.follow(path, {"condition": "not-running"}, "POST"):
            pass

    async def _copy(self, *, follow: bool) -> None:
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1" if follow else "0"}
        if self._last:
            query["since"] = _unix(self._last)
        written = _Written(self._last, self._count)
        pieces = Demultiplexer(raw=self._tty, whole=True)
        rest = b""
        async for data in self._engine.follow(f"/containers/{self._container}/logs", query):
            for channel, piece in pieces.feed(data):
                if self._tty:  # no heads: messages are lines
                    *whole, rest = (rest + piece).split(b"\n")
                    for line in whole:
                        self._write(channel, line + b"\n", written)
                else:
                    self._write(channel, piece, written)
        if rest:
            self._write(Channel.STDOUT, rest + b"\n", written)

    def _write(self, channel: Channel, message: bytes, written: _Written) -> None:
        """One message: a line, or 16 KiB of a longer one, behind its time. What was written before is passed over."""
        match = _STAMP.match(message)
        if match is None:
            return
        stamp = _nine_digits(match)
        if written.holds(stamp):
            return
        self._count = self._count + 1 if stamp == self._last else 1
        self._last = stamp
        text = message[match.end() + 1 :]
        line = text.removesuffix(b"\n")
        pieces = [line[at : at + _MAX_LINE] for at in range(0, max(1, len(line)), _MAX_LINE)]
        flags = [b"P"] * (len(pieces) - 1) + [b"F" if text.endswith(b"\n") else b"P"]
        name = _NAMES[channel]
        rows = (b"%s %s %s %s\n" % (stamp, name, flag, piece) for flag, piece in zip(flags, pieces, strict=True))
        with contextlib.suppress(OSError):  # a full disk costs lines, never the container
            os.write(self._descriptor, b"".join(rows))


class _Written:
    """What an earlier copy has written: everything before a time, and so many messages of it."""

    def __init__(self, last: bytes, count: int) -> None:
        self._last = last
        self._count = count

    def holds(self, stamp: bytes) -> bool:
        """Whether the next message, of that time, is among it."""
        if stamp == self._last and self._count:
            self._count -= 1
            return True
        return stamp < self._last


def _nine_digits(match: re.Match[bytes]) -> bytes:
    """Docker leaves zeros at the end away; with all nine digits, stamps can be compared as they are."""
    whole, _, fraction = match.group()[:-1].partition(b".")
    return whole + b"." + fraction.ljust(9, b"0") + b"Z"


def _unix(stamp: bytes) -> str:
    """Docker's `since`: seconds and nanoseconds since 1970."""
    whole, _, fraction = stamp.rstrip(b"Z").decode().partition(".")
    return f"{int(datetime.fromisoformat(whole + '+00:00').timestamp())}.{fraction or '0'}"


def _last_stamp(path: Path) -> tuple[bytes, int]:
    """Of the last line of the file, and how many lines at its end have it; empty without one."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return b"", 0
    if not lines or not _STAMP.match(lines[-1]):
        return b"", 0
    stamp = lines[-1].split(b" ", 1)[0]
    return stamp, sum(line.startswith(stamp + b" ") for line in lines)
