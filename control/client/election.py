"""Fenced leader election among processes that do the same work: one acts, the others stand by.

    async for leadership in Elector(store, "controllers", "host-1").terms():
        client = api.fenced(leadership.fence)
        … work until leadership.lost is set, then ask for the next term …

Invariants: a term's fence holds in the store exactly as long as nobody else can be elected; `lost` is set no later than
the store lets the lease go, by this machine's monotonic clock (after a pause of the process: as soon as the loop runs).
A write that goes out in between is refused by the API server, because it compares the fence. Faults assumed: this
process is killed, paused, cut off; store members die. Source: docs/design/0010, "Fence"; docs/fencing.md.

A clean stop revokes the lease. Of those before it in the line, the leader among them, a candidate notices the death by
their lifelines (lifeline.py), or by the kernel where they ran on the same machine (process_mark.py), as a process's own
predecessor did; all else by the lease. Only the leader's is short: each renewal is a round of the store's quorum, and
those who stand by are most of the candidates.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from control.client import lifeline
from control.client.cause import Fence
from control.client.lifeline import Address, Lifeline, NoVerdict
from control.client.process_mark import is_gone, own_mark
from kvstore.backoff import delays
from kvstore.client import AsyncClient, ClientError, create_revision, delete
from kvstore.client.election import Election
from kvstore.pb import etcd_pb2 as pb

log = logging.getLogger(__name__)

T = TypeVar("T")

PREFIX: Final = "/fluyt/leaders/"
# Seconds; the shortest lease that a store with etcd's usual election timeout grants.
TTL: Final = 2
# Of those who stand by: nobody waits for one of them to fall silent, unless the leader does within the same seconds.
STANDBY_TTL: Final = 10


class Leadership:
    """One term. Over when `lost` is set; `fence` goes with every write."""

    def __init__(self, election: Election, name: str) -> None:
        self.name = name
        self.fence = Fence(election.key.decode(), election.token)
        self.lost = asyncio.Event()
        self._election = election

    @property
    def valid(self) -> bool:
        """Whether the term can still be counted on; asks the clock, so it is right at once after a pause."""
        return not self.lost.is_set() and self._election.is_leader


class Elector:
    """One candidate for one role, as often as it takes."""

    def __init__(self, store: AsyncClient, name: str, identity: str, *, ttl: int = TTL, address: str = "") -> None:
        """name: of the role ("controllers", "scheduler"). identity: what others see of the leader. ttl: seconds,
        of the leader's lease.

        address: of this machine, where other candidates reach it; "": that from which it reaches the store.
        """
        self.name = name
        self.identity = identity
        self._store = store
        self._ttl, self._standby = ttl, max(ttl, STANDBY_TTL)
        self._address = address

    async def terms(self) -> AsyncIterator[Leadership]:
        """Each term that we are elected for. Asking for the next one ends the last (it is resigned if not lost);
        closing the iterator (aclose, or cancelling who waits in it) gives up the candidacy at once.
        """
        pauses = delays()
        while True:
            # Leaving closes the election first: whoever is next sees a resignation, not a death.
            async with self._line() as value, self._store.election(PREFIX + self.name, self._standby) as election:
                try:
                    await self._campaign(election, value)
                    pauses = delays()
                    leadership = Leadership(election, self.name)
                    log.info("%s: %s leads from revision %d on", self.name, self.identity, leadership.fence.revision)
                    async with _watched(self._store, election, leadership):
                        yield leadership
                except ClientError as problem:
                    log.warning("%s: the election cannot go on: %s", self.name, problem)
            await asyncio.sleep(next(pauses))

    @contextlib.asynccontextmanager
    async def _line(self) -> AsyncIterator[str]:
        """The value to stand for election with, true as long as the block runs."""
        host = self._address or await lifeline.own_address(self._store.settings.endpoints)
        line = Lifeline(host)
        found: dict[str, Any] = {"identity": self.identity, "process": own_mark()}
        try:
            if host:
                address = await line.open()
                found |= {"host": address.host, "port": address.port, "word": address.word}
        except OSError as problem:
            log.warning("%s: others will notice our end by the lease only: %s", self.name, problem)
        try:
            yield json.dumps(found)
        finally:
            line.close()

    async def _campaign(self, election: Election, value: str) -> None:
        haste = asyncio.create_task(self._remove_the_dead(election))
        try:
            await election.campaign(value, lead_under=self._store.session(self._ttl))
        finally:
            haste.cancel()
            await asyncio.gather(haste, return_exceptions=True)

    async def _remove_the_dead(self, election: Election) -> None:
        """While we wait: delete the key of everybody before us whose process is certainly gone. Nobody comes before us
        any more once we stand in the line.
        """
        pauses = delays()
        while not election.token:
            await asyncio.sleep(next(pauses))
        look = partial(self._store.get_prefix, PREFIX + self.name + "/")
        line = await _insist(f"{self.name}: who is before us cannot be looked at", look)
        async with asyncio.TaskGroup() as group:
            for candidate in line.kvs:
                if candidate.create_revision < election.token:
                    group.create_task(self._follow(candidate))

    async def _follow(self, candidate: pb.KeyValue) -> None:
        """Return when this candidate's key is gone, by us or by others."""
        key, created = candidate.key.decode(), candidate.create_revision
        # Goes on whatever the store says: of who is gone by then, another visit could not tell that it ever was there.
        dead = asyncio.create_task(_dead(candidate.value))
        try:
            await _insist(f"{key} cannot be followed", partial(self._until_gone, key, created, dead))
        finally:
            dead.cancel()
            await asyncio.gather(dead, return_exceptions=True)

    async def _until_gone(self, key: str, created: int, dead: asyncio.Task[None]) -> None:
        gone = asyncio.create_task(_deleted(self._store, key, created))
        try:
            await asyncio.wait((gone, dead), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return await gone
            log.info("%s: the process is gone that stands before us: %s", self.name, key)
            same = create_revision(key) == created
            await self._store.txn().when(same).then(delete(key)).commit(repeatable=True)
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


async def _insist(complaint: str, ask: Callable[[], Awaitable[T]]) -> T:
    """The result of ask(), asked again after every refusal of the store, and when its history was compacted."""
    pauses = delays()
    while True:
        try:
            return await ask()
        except ClientError as problem:
            log.info("%s: %s", complaint, problem)
        await asyncio.sleep(next(pauses))


async def _dead(value: bytes) -> None:
    """Return once the process that a value names is certainly gone; never when that cannot be told."""
    try:
        found = json.loads(value)
        mark = found.get("process") or {}
        if is_gone(mark):
            return
        try:
            await lifeline.wait_gone(Address(str(found["host"]), int(found["port"]), str(found["word"])))
        except NoVerdict:
            # It may have gone after the first question and before the visit, which then found nobody it knew.
            if not is_gone(mark):
                raise
    except (NoVerdict, ValueError, TypeError, KeyError, AttributeError):
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _watched(store: AsyncClient, election: Election, leadership: Leadership) -> AsyncIterator[None]:
    """Sets `lost` when the lease is, or when somebody took our key away."""
    key, created = leadership.fence.key, leadership.fence.revision
    tasks = [
        asyncio.create_task(election.wait_lost()),
        asyncio.create_task(_insist(f"{key} cannot be watched", partial(_deleted, store, key, created))),
    ]
    for task in tasks:
        task.add_done_callback(lambda done: None if done.cancelled() else leadership.lost.set())
    try:
        yield
    finally:
        leadership.lost.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _deleted(store: AsyncClient, key: str, created: int) -> None:
    """Return once the key that was created at that revision is deleted. Raises Compacted: ask again.

    It may have stood for longer than the store keeps history, so what is still to come begins at a read of it.
    """
    found = await store.range(key, keys_only=True)
    if not found.kvs or found.kvs[0].create_revision != created:
        return
    async with store.watch(key, start_revision=found.header.revision + 1, ignore=["put"]) as watch:
        await anext(watch)
