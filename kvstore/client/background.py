"""One event loop in a thread of its own, on which every blocking client of the process runs.

A single loop, because gRPC's asyncio side polls one queue for the whole process. The thread is a daemon: a program
that forgets to close its clients still ends. A forked child starts its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_running: tuple[int, asyncio.AbstractEventLoop] | None = None


def _loop() -> asyncio.AbstractEventLoop:
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            loop = asyncio.new_event_loop()
            loop.set_exception_handler(_report)
            threading.Thread(target=loop.run_forever, name="fluyt-client", daemon=True).start()
            _running = (os.getpid(), loop)
        return _running[1]


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """As usual, but for gRPC's poller, which trips over its own wake-ups when a second loop uses gRPC, too."""
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of the coroutine, run on the background loop. Whatever ends the wait (Ctrl-C) cancels the work.

    There is no timeout here, on purpose: it could drop a result that comes at the same moment. `within` has one.
    """
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    finally:
        future.cancel()


async def within(timeout: float | None, work: Coroutine[Any, Any, T]) -> T:
    """The result of the coroutine; TimeoutError, with the coroutine cancelled, after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        return await work


def make(factory: Callable[[], T]) -> T:
    """What the factory returns when it is called on the background loop."""

    async def call() -> T:
        return factory()

    return run(call())
