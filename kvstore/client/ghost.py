"""Entries in a line of keys that nobody stands for: what to do when it is not known whether they are, or will be, made.

An attempt to enter the line that was given up may be carried out much later, by a member that hung, when its owner has
long left: a lock that nobody holds. So the key is watched from then on, and removed when it appears, until the session
enters the line again (then the attempt fails, for the key is there) or is over (then it fails for want of a lease).
Faults assumed: as in place.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Protocol

from kvstore.client.errors import ClientError
from kvstore.client.kv import KV
from kvstore.client.patience import patiently
from kvstore.client.txn import create_revision, delete
from kvstore.client.watch import Watches


class Lasting(Protocol):
    """What ends some day: a session."""

    async def unless_lost(self, work: Coroutine[Any, Any, None]) -> None: ...


class Ghost:
    """One key that may appear by itself as long as a session lasts."""

    def __init__(self, kv: KV, watches: Watches, session: Lasting, key: bytes) -> None:
        self._kv = kv
        self._watches = watches
        self._session = session
        self._key = key
        self._task: asyncio.Task[None] | None = None
        # The create revision of an entry whose removal has no answer yet, or 0.
        self._removing = 0
        self._over = False

    def begin(self) -> None:
        """Keep the key out of the store from now on: its owner has left the line."""
        if not self._over and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def pause(self) -> None:
        """Let the key be: its owner is about to enter. Raises what a repeatable write does.

        A removal that was begun is brought to its end, or it could come late and hit an entry that was taken over.
        """
        await self._stop()
        if self._removing:
            await self._remove(self._removing)

    async def end(self) -> None:
        """Stop for good: the session is over."""
        self._over = True
        await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        # LeaseLost, after which nothing can appear any more; or a refusal that asking again would only repeat.
        with contextlib.suppress(ClientError):
            await self._session.unless_lost(self._keep_out())

    async def _keep_out(self) -> None:
        while True:
            await patiently(self._look)

    async def _look(self) -> None:
        """Remove the key if it is there, otherwise wait until it appears."""
        found = await self._kv.range(self._key, keys_only=True)
        if found.kvs:
            await self._remove(found.kvs[0].create_revision)
            return
        async with self._watches.watch(self._key, start_revision=found.header.revision + 1, ignore=["delete"]) as watch:
            await anext(watch)

    async def _remove(self, revision: int) -> None:
        self._removing = revision
        same = create_revision(self._key) == revision
        await self._kv.txn().when(same).then(delete(self._key)).commit(repeatable=True)
        self._removing = 0
