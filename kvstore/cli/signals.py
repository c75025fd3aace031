"""Waiting for Ctrl-C or SIGTERM without being torn out of what must be put in order first."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stop:
    """`async with Stop() as stop:` turns SIGINT and SIGTERM into an event for the length of the block."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def __aenter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._event.set)
        return self

    async def __aexit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)

    @property
    def came(self) -> bool:
        """Whether there has been a signal."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Return at the first signal."""
        await self._event.wait()

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
