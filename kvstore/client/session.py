"""A session: a lease that is kept alive as long as its owner lives, and a word on when it is lost.

What hangs on a session (a lock, a leadership) is over for its owner the moment `alive` turns false, which is never
later than the moment the store lets the lease go. `alive` asks the clock, so it is right at once after a pause of the
whole process, before any task of it has run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from kvstore.client.errors import ClientError, LeaseLost
from kvstore.client.ghost import Ghost
from kvstore.client.lease import KeepAlive, Leases
from kvstore.client.together import Together
from kvstore.invariant import invariant

T = TypeVar("T")


class Session:
    """One lease, renewed in the background from start() to close()."""

    def __init__(self, leases: Leases, ttl: int, lease_id: int = 0) -> None:
        """ttl: seconds after which the store gives up on an owner that is silent."""
        self._leases = leases
        self._wanted = (ttl, lease_id)
        self._renewals: KeepAlive | None = None
        self._task: asyncio.Task[None] | None = None
        self._starting = Together(self._begin)
        self._lost = asyncio.Event()
        # Keys that may appear under the lease though nobody stands for them; kept here, for they outlive a claim.
        self.ghosts: dict[bytes, Ghost] = {}
        self.lease_id = 0
        # As granted, which may be more than was asked for.
        self.ttl = 0

    @property
    def alive(self) -> bool:
        """Whether the lease can still be counted on."""
        renewals = self._renewals
        if renewals is None or renewals.lost_at is None or self._lost.is_set():
            return False
        return time.monotonic() < renewals.lost_at

    async def start(self) -> Self:
        """Grant the lease and begin to renew it; nothing if that is done. After close(), a new lease.

        Whoever starts it at the same time shares one lease. Raises as Leases.grant.
        """
        if self._task is None:
            await self._starting.result()
        return self

    async def _begin(self) -> None:
        asked = time.monotonic()
        granted = await self._leases.grant(*self._wanted)
        if self._lost.is_set():
            # A new one: what is left of the lease before may still tell the old one.
            self._lost = asyncio.Event()
        self.lease_id, self.ttl = granted.ID, granted.TTL
        self._renewals = self._leases.keep_alive(granted.ID, ttl=granted.TTL, since=asked)
        self._task = asyncio.create_task(self._renew(self._renewals, self._lost))

    async def _renew(self, renewals: KeepAlive, lost: asyncio.Event) -> None:
        try:
            async for _ in renewals:
                pass
        except ClientError:
            # LeaseLost, or a refusal (permission, wrong password) that renewing again would only repeat.
            pass
        finally:
            # However renewing ended: nobody keeps the lease any more.
            lost.set()
            await renewals.aclose()

    async def wait_lost(self) -> None:
        """Return once the lease is lost."""
        await self._lost.wait()

    async def unless_lost(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled with LeaseLost if the lease is lost before it is done."""
        task = asyncio.create_task(work)
        lost = asyncio.create_task(self.wait_lost())
        try:
            await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise LeaseLost(self.lease_id)
        finally:
            for each in (task, lost):
                each.cancel()
            await asyncio.gather(task, lost, return_exceptions=True)

    def check(self) -> None:
        """Raise LeaseLost unless the session is alive."""
        invariant(self._task is not None, "a session is used before it was started")
        if not self.alive:
            raise LeaseLost(self.lease_id)

    async def close(self) -> None:
        """Stop renewing and revoke the lease, which deletes its keys. If the store cannot be reached, time will."""
        await self._starting.settled()
        task, self._task = self._task, None
        if task is None:
            return
        lease_id, ghosts, self.ghosts = self.lease_id, self.ghosts, {}
        self._lost.set()
        task.cancel()
        await asyncio.gather(task, *(ghost.end() for ghost in ghosts.values()), return_exceptions=True)
        with contextlib.suppress(ClientError):
            await self._leases.revoke(lease_id)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
