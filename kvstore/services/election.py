"""v3electionpb.Election: campaigns, proclamations, and watching who leads, for clients that cannot do the recipe.

Campaign answers once the candidate's key is first in the queue of the election's name; the leader is who holds it. A
candidate that goes away while it waits leaves the queue; one whose lease ends while it waits is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kvstore.errors import EtcdError
from kvstore.member.member import Member
from kvstore.mvcc.types import DELETE, PUT
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.guard import check_leader, parse, refuse_learner
from kvstore.services.local_store import LocalStore, key_value
from kvstore.services.local_watch import HistoryGone, LocalWatch
from kvstore.services.place import KeyLost, Place, Queue, found, lease_lost, plain, session
from kvstore.services.tasks import TaskStream, run
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

PREFIX = "/v3electionpb.Election/"
NOT_LEADER = "election: not leader"
NO_LEADER = "election: no leader"
MISSING_LEADER = '"leader" field must be provided'
# Bytes unread by an observer at which the next leader waits; of several, it then sees the last.
OBSERVER_BOUND = 64 * 1024


class ElectionService:
    """The handlers of one member."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def register(self, server: GrpcServer) -> None:
        """Serve the methods of v3electionpb.Election."""
        server.unary(PREFIX + "Campaign", self.campaign)
        server.unary(PREFIX + "Proclaim", self.proclaim)
        server.unary(PREFIX + "Leader", self.leader)
        server.unary(PREFIX + "Resign", self.resign)
        server.stream(PREFIX + "Observe", self.observe)

    # ---- candidates

    def campaign(self, call: Call, message: bytes) -> None:
        """Campaign: answered when the candidate leads."""
        request = parse(pb.CampaignRequest, message)
        self._check(call)
        run(self._member, call, self._campaign(LocalStore(self._member, call), request))

    async def _campaign(self, store: LocalStore, request: pb.CampaignRequest) -> bytes:
        try:
            lease = await session(store, request.lease)
            place, entered = await Place.enter(store, Queue.named(request.name), lease, request.value)
            if not entered.succeeded:
                await self._stand_again(place, key_value(found(entered.results[0])[0]).value, request.value)
            await self._wait(place)
        except EtcdError as problem:
            raise plain(problem) from None
        leader = pb.LeaderKey(name=request.name, key=place.key, rev=place.create_revision, lease=lease)
        return pb.CampaignResponse(header=store.header(entered.revision), leader=leader).SerializeToString()

    async def _stand_again(self, place: Place, old: bytes, new: bytes) -> None:
        """The lease stands already, perhaps with another value."""
        if old == new:
            return
        try:
            updated = await place.update(new)
        except BaseException:
            place.abandon()
            raise
        if not updated.succeeded:
            raise plain(NOT_LEADER)

    async def _wait(self, place: Place) -> None:
        try:
            await place.wait_first()
        except KeyLost:
            raise lease_lost() from None
        except asyncio.CancelledError:
            place.abandon()
            raise

    def proclaim(self, call: Call, message: bytes) -> None:
        """Proclaim: the leader changes its value."""
        request = parse(pb.ProclaimRequest, message)
        self._check(call)
        run(self._member, call, self._proclaim(LocalStore(self._member, call), request))

    async def _proclaim(self, store: LocalStore, request: pb.ProclaimRequest) -> bytes:
        try:
            place = await self._resume(store, request)
            result = await place.update(request.value)
        except EtcdError as problem:
            raise plain(problem) from None
        if not result.succeeded:
            raise plain(NOT_LEADER)
        return pb.ProclaimResponse(header=store.header(result.revision)).SerializeToString()

    def resign(self, call: Call, message: bytes) -> None:
        """Resign: the next candidate leads. Of a leadership that is lost already, nothing is left to resign."""
        request = parse(pb.ResignRequest, message)
        self._check(call)
        run(self._member, call, self._resign(LocalStore(self._member, call), request))

    async def _resign(self, store: LocalStore, request: pb.ResignRequest) -> bytes:
        try:
            place = await self._resume(store, request)
            result = await place.leave()
        except EtcdError as problem:
            raise plain(problem) from None
        return pb.ResignResponse(header=store.header(result.revision)).SerializeToString()

    async def _resume(self, store: LocalStore, request: pb.ProclaimRequest | pb.ResignRequest) -> Place:
        if not request.HasField("leader"):
            raise plain(MISSING_LEADER)
        leader = request.leader
        lease = await session(store, leader.lease)
        return Place(store, Queue.named(leader.name), leader.key, leader.rev, lease)

    # ---- observers

    def leader(self, call: Call, message: bytes) -> None:
        """Leader: who leads now."""
        request = parse(pb.LeaderRequest, message)
        self._check(call)
        run(self._member, call, self._leader(LocalStore(self._member, call), request))

    async def _leader(self, store: LocalStore, request: pb.LeaderRequest) -> bytes:
        try:
            result = await store.range(Queue.named(request.name).first())
        except EtcdError as problem:
            raise plain(problem) from None
        if not result.kvs:
            raise plain(NO_LEADER)
        kv = key_value(result.kvs[0])
        return pb.LeaderResponse(header=store.header(result.revision), kv=kv).SerializeToString()

    def observe(self, call: Call) -> _ObserveStream:
        """Observe: every leader and what it proclaims, the present one first."""
        self._check(call)
        return _ObserveStream(self._member, call)

    def _check(self, call: Call) -> None:
        check_leader(self._member, call)
        refuse_learner(self._member)


class _ObserveStream(TaskStream):
    """One observer. The newest leader is always sent; of those before, a slow observer may miss some."""

    def message(self, data: bytes) -> None:
        """The request; there is one."""
        if not self._asked:
            request = parse(pb.LeaderRequest, data)
            self._begin(self._run(Queue.named(request.name)))

    async def _run(self, queue: Queue) -> None:
        store = LocalStore(self._member, self._call)
        try:
            async for revision, kv in leaders(store, queue):
                await self._room(OBSERVER_BOUND)
                response = pb.LeaderResponse(header=store.header(revision), kv=key_value(kv))
                self._call.send(response.SerializeToString())
        except EtcdError as problem:
            self._call.fail_with(plain(problem))
        except Exception as fault:
            self._call.fail_with(fault)


async def leaders(store: LocalStore, queue: Queue) -> AsyncIterator[tuple[int, bytes]]:
    """(revision, encoded key-value) of every leader and every value it proclaims; never ends by itself."""
    while True:
        now = await store.range(queue.first())
        if not now.kvs:
            await _candidate(store, queue, now.revision + 1)
            continue
        leader = now.kvs[0]
        yield now.revision, leader
        with LocalWatch(store.member.watches) as watch:
            watch.add(key_value(leader).key, now.revision + 1)
            try:
                while (event := await watch.next()).type != DELETE:
                    yield event.revision >> 32, event.kv
            except HistoryGone:
                continue


async def _candidate(store: LocalStore, queue: Queue, revision: int) -> None:
    """Wait until somebody stands for election."""
    with LocalWatch(store.member.watches) as watch:
        watch.add(queue.prefix, revision, drop=[DELETE], end=queue.end)
        try:
            while (await watch.next()).type != PUT:
                continue
        except HistoryGone:
            return
