"""A work queue for asyncio: keys in, each to one worker at a time, with delays and rate limits (queue_core.py)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Generic, TypeVar

from control.client.queue_core import QueueCore

K = TypeVar("K", bound=Hashable)


class QueueClosed(Exception):
    """The queue was closed; workers end."""


class WorkQueue(Generic[K]):
    """Used inside one event loop. Workers: `async with queue.next() as key: …`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, monotonic."""
        self._clock = clock
        self._core: QueueCore[K] = QueueCore(clock())
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._changed = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        """Keys that are ready."""
        return len(self._core)

    @property
    def idle(self) -> bool:
        """Whether nothing is ready, at work or delayed."""
        return self._core.idle

    def add(self, key: K) -> None:
        """Have the key worked on as soon as possible."""
        self._core.add(key)
        self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key worked on in that many seconds, or earlier if that was asked for."""
        self._core.add_after(key, seconds, self._clock())
        self._wake()

    def add_rate_limited(self, key: K) -> float:
        """Have the key worked on later, the later the more often it failed since forget(). The delay in seconds."""
        delay = self._core.add_rate_limited(key, self._clock())
        self._wake()
        return delay

    def forget(self, key: K) -> None:
        """The key was dealt with: its next failure is its first."""
        self._core.forget(key)

    def failures(self, key: K) -> int:
        """How often the key failed since forget()."""
        return self._core.failures(key)

    @contextlib.asynccontextmanager
    async def next(self) -> AsyncIterator[K]:
        """The next key, waited for; it counts as being worked on inside the block. Raises QueueClosed."""
        key = await self._next()
        try:
            yield key
        finally:
            self._core.done(key)
            self._wake()

    async def _next(self) -> K:
        while True:
            if self._closed:
                raise QueueClosed
            self._core.advance(self._clock())
            key = self._core.take()
            if key is not None:
                if len(self._core):
                    # Another waiter may have slept through the wake-up that we used.
                    self._changed.set()
                return key
            self._changed.clear()
            self._set_timer()
            await self._changed.wait()

    def _wake(self) -> None:
        if len(self._core):
            self._changed.set()
        self._set_timer()

    def _set_timer(self) -> None:
        """Wake up when the earliest delayed key is due."""
        due = self._core.next_due()
        if due is None or (self._timer is not None and self._timer_due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(max(due - self._clock(), 0), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._core.advance(self._clock())
        self._wake()

    def close(self) -> None:
        """Wake all workers with QueueClosed; keys that are waiting are dropped."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._changed.set()
