"""Locks: one holder at a time, across machines.

    async with client.lock("name", ttl=10) as lock:
        await client.txn().when(lock.fenced()).then(put("result", "…")).commit()

A lock in a distributed store cannot stop a holder that was paused from going on: its lease may be over, and another
may hold the lock, before it notices. What makes it safe is the fence: `lock.fenced()` is a compare that fails once
the lock is lost, `lock.token` a number that grows from holder to holder, for systems outside the store.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from kvstore.client.claim import Claim
from kvstore.pb import etcd_pb2 as pb


class Lock(Claim):
    """A named lock. Get one from client.lock(); it can be taken again after it was released."""

    _held = False

    @property
    def header(self) -> pb.ResponseHeader:
        """The header of the answer that gave us the lock."""
        return self._place.header

    @property
    def held(self) -> bool:
        """Whether it was taken and its lease is alive by this machine's clock."""
        return self._held and self._place.standing

    async def acquire(self, timeout: float | None = None) -> Self:
        """Wait for the lock. Raises TimeoutError after `timeout` seconds, LeaseLost; then nothing is left behind."""
        try:
            async with asyncio.timeout(timeout):
                await self._place.enter(b"")
                await self._place.wait_first()
        except BaseException:
            await asyncio.shield(self._give_up())
            raise
        self._held = True
        return self

    async def release(self) -> None:
        """Let the next one have it; nothing without a lock.

        Raises what a read does without a store. Then it is let go of when there is one again, or with the end of its
        lease; releasing it once more is harmless and tells.
        """
        self._held = False
        try:
            await self._place.leave()
        finally:
            if self._own_session:
                await self.session.close()

    async def _give_up(self) -> None:
        self._held = False
        await self._abandon()

    async def __aenter__(self) -> Self:
        return await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(self._give_up())
