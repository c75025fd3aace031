"""A watch for a service of this process: the events of some keys as something to await.

Bounded like a client's stream: a reader that is behind counts as slow, and the hub lets it fall back to history.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from kvstore.mvcc.types import StoredEvent
from kvstore.mvcc.watch import WatchHub
from kvstore.mvcc.watch_batch import Batch
from kvstore.mvcc.watch_group import Watcher


class HistoryGone(Exception):
    """What the watch needed next was compacted: read the present and watch on from there."""


class LocalWatch:
    """A sink of the hub with one reader. Use as a context manager, so that it ends."""

    def __init__(self, hub: WatchHub) -> None:
        self._hub = hub
        self._events: deque[StoredEvent] = deque()
        self._watchers: list[Watcher] = []
        self._arrived = asyncio.Event()
        self._gone = False
        # Bytes that wait for the reader, as the hub asks of every sink.
        self.buffered = 0

    def add(self, key: bytes, start_revision: int, drop: Iterable[int] = (), end: bytes = b"") -> None:
        """Watch a key, or [key, end), from a main revision on; drop: event types to leave out."""
        self._watchers.append(self._hub.watch(self, len(self._watchers), key, end, start_revision, drop))

    async def next(self) -> StoredEvent:
        """The next event. Raises HistoryGone."""
        while not self._events:
            if self._gone:
                raise HistoryGone
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events.popleft()
        self.buffered -= len(event.kv)
        if not self._events:
            self._hub.drained(self)
        return event

    def close(self) -> None:
        """End the watch."""
        for watcher in self._watchers:
            self._hub.cancel(watcher)
        self._watchers.clear()
        self._hub.forget(self)

    def __enter__(self) -> LocalWatch:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    # ---- from the hub

    def deliver(self, watcher: Watcher, batch: Batch) -> None:
        """Events of a watcher."""
        self._events.extend(batch.events)
        self.buffered += sum(len(event.kv) for event in batch.events)
        self._arrived.set()

    def hasten(self) -> None:
        """There is no way to go."""

    def compacted(self, watcher: Watcher, revision: int) -> None:
        """The watcher is over."""
        self._gone = True
        self._arrived.set()

    def progress(self, revision: int) -> None:
        """Nobody asks for it."""
