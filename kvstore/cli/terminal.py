"""Reading what a user types, or pipes in: values, lines, passwords. Ctrl-C ends every one of these reads at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from kvstore.cli.exits import INVALID_INPUT, CommandError

_CHUNK = 1 << 16


@contextmanager
def blocking() -> Iterator[None]:
    """Around a read that holds the event loop up: Ctrl-C ends it, instead of waiting for the loop to come round."""
    handler = signal.getsignal(signal.SIGINT)
    # A process in the background ignores it, and goes on doing so.
    if callable(handler):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if _cancelled():
            # It came just before: asyncio has noted it for the loop's next turn, which would be long in coming.
            raise KeyboardInterrupt
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.cancelling() > 0


@contextmanager
def input_stream() -> Iterator[BinaryIO]:
    """Stdin, to be read without the event loop. CommandError where it is closed."""
    source = _stdin()
    with blocking():
        yield source


def _stdin() -> BinaryIO:
    # Python has none when the descriptor was closed at its start (<&-).
    if sys.stdin is None:
        raise CommandError("cannot read stdin: it is closed", INVALID_INPUT)
    return sys.stdin.buffer


async def stdin_lines() -> AsyncIterator[str]:
    """The lines on stdin without their ends. CommandError where it is closed.

    Read in a thread that nobody waits for: one of asyncio's own would have to end before the process may.
    """
    descriptor = _stdin().fileno()
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def tell(line: bytes | None) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: the process ends.
            loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=_read_lines, args=(descriptor, tell), daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line.decode("utf-8", "surrogateescape")


def _read_lines(descriptor: int, tell: Callable[[bytes | None], None]) -> None:
    """Tell every line, then None. By the descriptor: who holds sys.stdin's lock aborts a process that ends."""
    rest = b""
    with contextlib.suppress(OSError):
        while data := os.read(descriptor, _CHUNK):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                tell(line)
    if rest:
        tell(rest)
    tell(None)
