"""Elections: many candidates, one leader at a time, and everybody can see who.

    election = client.election("name", ttl=10)
    await election.campaign("host-1")
    … client.txn().when(election.fenced()).then(…) …
    await election.resign()

As with locks (lock.py), only what is written under `fenced()` is safe from a leader that was paused and does not know
yet that it was replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from types import TracebackType
from typing import Self

from kvstore.client.claim import Claim
from kvstore.client.errors import Compacted, LeaseLost, NoElectionLeader
from kvstore.client.kv import KV
from kvstore.client.patience import patiently
from kvstore.client.requests import Bytes, to_bytes
from kvstore.client.session import Session
from kvstore.client.watch import Watch, Watches
from kvstore.pb import etcd_pb2 as pb


class Election(Claim):
    """One candidate's (or observer's) view of a named election. Get one from client.election()."""

    def __init__(self, kv: KV, watches: Watches, session: Session, name: Bytes, *, own_session: bool) -> None:
        """As Claim's."""
        super().__init__(kv, watches, session, name, own_session=own_session)
        self._kv = kv
        self._watches = watches
        self._elected = False

    @property
    def is_leader(self) -> bool:
        """Whether we were elected and our lease is alive by this machine's clock."""
        return self._elected and self._place.standing

    async def campaign(self, value: Bytes = b"", *, lead_under: Session | None = None) -> Self:
        """Stand for election with a value and wait until elected. Raises LeaseLost; then no candidacy is left.

        lead_under: a session that the leadership hangs on instead of the candidacy's. So those who only wait may have
        a long lease, seldom renewed, and who leads a short one. The election closes it as it does its own.
        """
        try:
            await self._place.enter(to_bytes(value))
            await self._place.wait_first()
            if lead_under is not None:
                await self._change_session(lead_under)
        except BaseException:
            await asyncio.shield(self._place.abandon())
            raise
        self._elected = True
        return self

    async def _change_session(self, session: Session) -> None:
        before = self._place.session
        try:
            await self._place.move(session)
        except BaseException:
            await asyncio.shield(session.close())
            raise
        if self._own_session:
            # Nothing hangs on its lease any more.
            await before.close()
        self._own_session = True

    async def proclaim(self, value: Bytes) -> None:
        """Change the leader's value without another election. Raises LeaseLost if we do not lead."""
        if not self._elected or not await self._place.update(to_bytes(value)):
            self._elected = False
            raise LeaseLost(self.session.lease_id)

    async def resign(self) -> None:
        """Give up the leadership or the candidacy; nothing without one. Raises as Lock.release."""
        self._elected = False
        await self._place.leave()

    async def close(self) -> None:
        """Resign, and end the session if it is ours alone."""
        self._elected = False
        await self._abandon()

    async def leader(self) -> pb.KeyValue:
        """The leader's key and value. Raises NoElectionLeader when there is none."""
        answer = await self._first()
        if not answer.kvs:
            raise NoElectionLeader("the election has no leader")
        return answer.kvs[0]

    async def observe(self) -> AsyncIterator[pb.RangeResponse]:
        """Every leader and every value it proclaims from now on, the present one first; never ends by itself.

        Each is a range answer with one key-value and the header of its revision. Of leaders that follow each other
        faster than they can be read, some may be left out, never the last.
        """
        while True:
            answer = await patiently(self._first)
            if answer.kvs:
                yield pb.RangeResponse(header=answer.header, kvs=answer.kvs)
                async for later in self._proclaimed(answer.kvs[0].key, answer.header.revision + 1):
                    yield later
            else:
                await patiently(partial(self._candidate, answer.header.revision + 1))

    async def _proclaimed(self, key: bytes, revision: int) -> AsyncIterator[pb.RangeResponse]:
        """The values that one leader proclaims from the revision on, until it is gone."""
        with contextlib.suppress(Compacted):
            async with await patiently(partial(self._following, key, revision)) as watch:
                async for response in watch.responses():
                    for event in response.events:
                        if event.type != pb.Event.PUT:
                            return
                        yield pb.RangeResponse(header=response.header, kvs=[event.kv])

    async def _following(self, key: bytes, revision: int) -> Watch:
        """A watch that has started, and goes on by itself from there; one that came too late says so to its reader."""
        watch = self._watches.watch(key, start_revision=revision)
        try:
            return await watch.start()
        except Compacted:
            return watch
        except BaseException:
            await watch.aclose()
            raise

    async def _candidate(self, revision: int) -> None:
        """Wait until somebody stands for election."""
        watch = self._watches.watch(self._place.prefix, prefix=True, start_revision=revision, ignore=["delete"])
        with contextlib.suppress(Compacted):
            async with watch:
                await anext(watch)

    async def _first(self) -> pb.RangeResponse:
        return await self._kv.range(self._place.prefix, prefix=True, sort_by="create", order="ascend", limit=1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(self.close())
