"""The shell at work in a term, with a client that notes what is written. No informer runs: tests say what is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from control.api.schema import Object
from control.client.client import Client
from control.elected.process import Forever
from control.scheduler.shell import MOST_WRITES, Scheduler


class NotingClient:
    """Writes → notes of them: "bind p", "patch pods/p", "delete pods/p"."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.patches: list[Object] = []
        # What a write ends with, by its note; None: well.
        self.refuse: Callable[[str], Exception | None] = lambda _note: None
        # While this is not set, nothing is answered.
        self.answers = asyncio.Event()
        self.answers.set()

    def fenced(self, _fence: Any) -> NotingClient:
        return self

    async def create(self, _resource: str, _obj: Object, *, name: str, **_options: Any) -> Object:
        return await self._answered(f"bind {name}")

    async def patch(self, resource: str, name: str, patch: Object, **_options: Any) -> Object:
        self.patches.append(patch)
        return await self._answered(f"patch {resource}/{name}")

    async def delete(self, resource: str, name: str, **_options: Any) -> Object:
        return await self._answered(f"delete {resource}/{name}")

    async def _answered(self, note: str) -> Object:
        self.notes.append(note)
        await asyncio.sleep(0)
        problem = self.refuse(note)
        if problem is not None:
            raise problem
        await self.answers.wait()
        return {}


class AtWork:
    """A scheduler, its client, its clock (which stands still until it is set), and the events that it told."""

    def __init__(self) -> None:
        self.client = NotingClient()
        self.now = 0.0
        self.told: list[tuple[str, str, str]] = []  # name, reason, message
        self.scheduler = Scheduler(
            cast(Client, self.client), self._tell, frozenset({"default-scheduler"}), clock=lambda: self.now
        )
        self.model = self.scheduler.model

    def _tell(self, about: Object, _kind: str, reason: str, message: str) -> None:
        self.told.append((about["metadata"]["name"], reason, message))

    def hear(self, old: Object | None, new: Object | None) -> None:
        """Of a pod or of a node."""
        is_pod = "namespace" in (new or old or {})["metadata"]
        self.scheduler._hear(self.model.pod_changed if is_pod else self.model.node_changed, old, new)

    def later(self, now: float) -> None:
        """The clock is set."""
        self.now = now
        self.scheduler._news.set()

    @asynccontextmanager
    async def term(self) -> AsyncIterator[asyncio.Task[None]]:
        """A term that is lost when the block ends."""
        term = Forever(asyncio.Event())
        work = asyncio.create_task(self.scheduler.serve(term))
        try:
            yield work
        finally:
            term.lost.set()
            await work

    async def until(self, condition: Callable[[], object], reason: str) -> None:
        """Wait for a condition; 10 seconds at most."""
        try:
            async with asyncio.timeout(10):
                while not condition():
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise AssertionError(f"never: {reason}; {self.client.notes}") from None

    async def rest(self) -> None:
        """Until nothing is due and nothing is being written."""

        def idle() -> bool:
            queue = self.model.queue
            return self.slots == MOST_WRITES and not queue.in_hand() and not queue.count("active")

        await self.until(idle, "rest")

    @property
    def slots(self) -> int:
        """How many writes more may be under way."""
        return self.scheduler._room._value
