"""Work that is done once for all who want it at the same time, such as a login.

Invariants: nobody waits longer for another's work than they would have waited for their own, since each may give up
alone; the work is cancelled only when nobody waits for it any more; how it ends, with a result or a failure, is told
to all who waited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Together(Generic[T]):
    """One piece of work, done anew whenever it is wanted while it is not under way."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._run: _Run[T] | None = None

    async def result(self) -> T:
        """The result of the work that is under way, or is begun for this."""
        run = self._run
        # One that was cancelled may still be on its way to its end; nobody joins it any more.
        if run is None or run.task.done() or run.task.cancelling():
            run = self._run = _Run(asyncio.create_task(self._work()))
        return await run.result()

    async def settled(self) -> None:
        """Return once no work is under way."""
        while self._run is not None and not self._run.task.done():
            await asyncio.wait((self._run.task,))


class _Run(Generic[T]):
    """The work, once, and how many wait for it."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        # A failure is told to those who wait, if there are any.
        task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        self._waiting = 0

    async def result(self) -> T:
        self._waiting += 1
        try:
            # This wait, unlike that for the task itself, may be cancelled without cancelling the task.
            await asyncio.wait((self.task,))
            return self.task.result()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.task.cancel()
