"""Waiting for Ctrl-C or SIGTERM without being torn out of what must be put in order first."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def cleared_up() -> Iterator[None]:
    """For work without an event loop: SIGTERM ends it by an exception, as Ctrl-C does, so that it can clear up."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Stop:
    """`async with Stop() as stop:` turns SIGINT and SIGTERM into an event for the length of the block."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        # The last signal that came; 0: none did.
        self.number = 0

    async def __aenter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._note, number)
        return self

    async def __aexit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _note(self, number: int) -> None:
        self.number = number
        self._event.set()

    @property
    def came(self) -> bool:
        """Whether there has been a signal."""
        return self._event.is_set()

    @property
    def code(self) -> int:
        """The exit code of a command that the signal ended, as shells report it."""
        return 128 + self.number

    async def wait(self) -> None:
        """Return at the first signal."""
        await self._event.wait()

    async def next(self) -> int:
        """The next signal that comes, or one that nobody has taken yet."""
        await self._event.wait()
        self._event.clear()
        return self.number

    async def unless(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`; None, with `work` cancelled, when a signal comes first."""
        task, stopped = asyncio.create_task(work), asyncio.create_task(self.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)
