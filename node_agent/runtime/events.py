"""Runtime events to whoever listens: bounded, and a listener that is too slow is told to look for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from node_agent.runtime.types import RuntimeEvent

_MAX_WAITING = 1024


class EventQueues:
    """Fan-out. `put` never waits; a subscription that is full ends, as the interface says of lost events."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[RuntimeEvent | None]] = set()

    def put(self, event: RuntimeEvent) -> None:
        for queue in list(self._queues):
            if queue.qsize() < _MAX_WAITING:
                queue.put_nowait(event)
            else:
                self._end(queue)

    def subscribe(self) -> AsyncIterator[RuntimeEvent]:
        """Counts from this call on, not from the first look."""
        queue: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue()
        self._queues.add(queue)
        return self._drain(queue)

    def close(self) -> None:
        """End every subscription."""
        for queue in list(self._queues):
            self._end(queue)

    def _end(self, queue: asyncio.Queue[RuntimeEvent | None]) -> None:
        self._queues.discard(queue)
        queue.put_nowait(None)

    async def _drain(self, queue: asyncio.Queue[RuntimeEvent | None]) -> AsyncIterator[RuntimeEvent]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._queues.discard(queue)
