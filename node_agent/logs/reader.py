"""Reading a container's log as `kubectl logs` asks for it, also while it grows and is rotated.

Faults assumed: the file is renamed and made anew while it is read (what is left of the old one comes first), the last
record is half written, records are damaged (left out), the reader is slow (nothing is buffered beyond one block).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from node_agent.logs.lines import Line, parse, sortable
from node_agent.logs.tail import offset_of_last

_BLOCK = 64 << 10
_LONGEST_RECORD = 1 << 20
# Seconds between looks at a log that does not grow.
_QUICK, _SLOW = 0.05, 0.5


@dataclass(frozen=True, slots=True)
class LogOptions:
    """since: RFC 3339 in UTC, "" for all. tail: last lines only, None for all. limit: bytes of output, 0 for any
    number. stream: "stdout", "stderr" or "All"."""

    follow: bool = False
    tail: int | None = None
    since: str = ""
    timestamps: bool = False
    limit: int = 0
    stream: str = "All"


async def read_log(path: Path, options: LogOptions, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Pieces of output, each at most a block or so. running(): whether the container may still write.

    Raises FileNotFoundError.
    """
    left = options.limit or None
    printer = _Printer(options)
    async for data in _blocks(path, options, running):
        piece = printer.feed(data)
        if left is not None:
            piece = piece[:left]
            left -= len(piece)
        if piece:
            yield piece
        if left == 0:
            return


async def _blocks(path: Path, options: LogOptions, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(_open, path, options.tail)
    pause = _QUICK
    try:
        while True:
            ends = not options.follow or not running()
            data = await asyncio.to_thread(file.read, _BLOCK)
            if data:
                pause = _QUICK
                yield data
                continue
            following = _following(path, file)
            if following is not None:
                old, file = file, following
                with old:
                    # Nobody writes to it any more, but somebody may have since it was read last.
                    while data := await asyncio.to_thread(old.read, _BLOCK):
                        yield data
                continue
            if ends:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _SLOW)
    finally:
        file.close()


def _open(path: Path, tail: int | None) -> BinaryIO:
    file = path.open("rb", buffering=0)
    if tail is not None:
        file.seek(offset_of_last(file, tail))
    return file


def _following(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The file that took the place of a rotated one."""
    try:
        now, then = os.stat(path), os.fstat(file.fileno())
    except OSError:
        return None
    if (now.st_dev, now.st_ino) == (then.st_dev, then.st_ino):
        return None
    return path.open("rb", buffering=0)


class _Printer:
    """Records in, output out."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._since = sortable(options.since.encode()) if options.since else b""
        self._rest = b""
        self._begins: dict[bytes, bool] = {}

    def feed(self, data: bytes) -> bytes:
        records = (self._rest + data).split(b"\n")
        self._rest = records.pop()
        if len(self._rest) > _LONGEST_RECORD:
            self._rest = b""
        return b"".join(self._shown(record) for record in records)

    def _shown(self, record: bytes) -> bytes:
        line = parse(record)
        if line is None or not self._wanted(line):
            return b""
        begins = self._begins.get(line.stream, True)
        self._begins[line.stream] = line.whole
        return line.shown(self._options.timestamps, begins)

    def _wanted(self, line: Line) -> bool:
        if self._options.stream != "All" and line.stream.decode() != self._options.stream.lower():
            return False
        return not self._since or sortable(line.time) >= self._since
