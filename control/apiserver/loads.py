"""A cache on its way from the store: what is kept for it meanwhile, and who waits for it. The feed does the work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from control.apiserver.watch_cache import WatchCache
from kvstore.pb import etcd_pb2 as pb


@dataclass(slots=True, eq=False)
class Load:
    """A cache that is being filled. events: what came since its read began; task: None while the watch is down."""

    cache: WatchCache
    events: list[pb.Event] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    # Why the last try failed.
    trouble: str = ""
    _waiters: list[asyncio.Future[Exception | None]] = field(default_factory=list)

    async def wait(self) -> None:
        """Until the cache is filled. Raises what a try fails with meanwhile, though another one follows."""
        waiter: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        problem = await waiter
        if problem is not None:
            raise problem

    def tell(self, problem: Exception | None = None) -> None:
        """Wake who waits. None: the cache is filled."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(problem)

    def stop(self) -> None:
        """What its task reads counts for nothing any more."""
        if self.task is not None:
            self.task.cancel()
            self.task = None
