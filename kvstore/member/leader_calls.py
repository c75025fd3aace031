"""Questions that only the leader can answer: how long a lease has left, and its renewal.

A follower asks the leader over one channel that it keeps open; while no leader is known, or it has just changed, it
waits and asks again, as etcd does, until the request's time is up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvstore.errors import Code, EtcdError, error
from kvstore.member.config import parse_url
from kvstore.pb import raft_pb2
from kvstore.wire.channel import Channel
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

if TYPE_CHECKING:
    from kvstore.member.member import Member

RENEW_PATH = "/fluyt.raft.Raft/RenewLease"
TTL_PATH = "/fluyt.raft.Raft/LeaseTimeToLive"
RETRY_SECONDS = 0.05
CALL_SECONDS = 1.0

Answer = Callable[[Any, EtcdError | None], None]


class LeaderCalls:
    """Both ends of the leader-only calls."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._channel: Channel | None = None
        self._channel_peer = 0
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- asking ----

    def renew(self, lease: int, done: Answer) -> None:
        """done(TTL, None); TTL 0 for an unknown lease."""
        self._ask(
            self._renew_here, RENEW_PATH, raft_pb2.RenewLeaseRequest(ID=lease), raft_pb2.RenewLeaseReply, _renewed, done
        )

    def time_to_live(self, lease: int, done: Answer) -> None:
        """done((left, granted) or None, None), in seconds."""
        request = raft_pb2.LeaseTimeToLiveQuery(ID=lease)
        self._ask(self._time_to_live_here, TTL_PATH, request, raft_pb2.LeaseTimeToLiveReply, _time_to_live, done)

    def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._channel is not None:
            self._channel.close()

    def _ask(
        self, here: Callable[[int], Any], path: str, request: Any, reply: Any, read: Callable[[Any], Any], done: Answer
    ) -> None:
        if self._member.is_leader:
            try:
                answer = here(request.ID)
            except EtcdError as problem:
                if problem.message != error("NOT_LEADER").message:
                    done(None, problem)
                    return
            else:
                done(answer, None)
                return
        task = self._member.loop.create_task(self._ask_leader(here, path, request, reply, read, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_leader(
        self, here: Callable[[int], Any], path: str, request: Any, reply: Any, read: Callable[[Any], Any], done: Answer
    ) -> None:
        until = self._member.loop.time() + self._member.config.request_timeout
        while self._member.loop.time() < until:
            try:
                if self._member.is_leader:
                    answer = here(request.ID)
                else:
                    channel = await self._to_leader()
                    answer = read(
                        reply.FromString(await channel.unary(path, request.SerializeToString(), CALL_SECONDS))
                    )
            except (EtcdError, OSError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            done(answer, None)
            return
        done(None, error("TIMEOUT" if self._member.leader_id else "NO_LEADER"))

    async def _to_leader(self) -> Channel:
        async with self._connecting:
            leader = self._member.leader_id
            info = self._member.cluster.members.get(leader)
            if info is None:
                raise error("NO_LEADER")
            if self._channel is not None and self._channel_peer == leader:
                return self._channel
            address = parse_url(info.peerURLs[0], "initial-cluster")
            self._channel = await Channel.connect(address.host, address.port, timeout=CALL_SECONDS, on_lost=self._lost)
            self._channel_peer = leader
            return self._channel

    def _lost(self, problem: BaseException | None) -> None:
        self._channel, self._channel_peer = None, 0

    # ---- answering ----

    def register(self, server: GrpcServer) -> None:
        """Serve the calls on the peer port."""
        server.unary(RENEW_PATH, self._serve_renew)
        server.unary(TTL_PATH, self._serve_time_to_live)

    def _serve_renew(self, call: Call, message: bytes) -> None:
        request = raft_pb2.RenewLeaseRequest.FromString(message)
        self._must_lead()
        call.reply(raft_pb2.RenewLeaseReply(TTL=self._renew_here(request.ID)).SerializeToString())

    def _serve_time_to_live(self, call: Call, message: bytes) -> None:
        request = raft_pb2.LeaseTimeToLiveQuery.FromString(message)
        self._must_lead()
        left, granted = self._time_to_live_here(request.ID) or (-1, 0)
        call.reply(raft_pb2.LeaseTimeToLiveReply(TTL=left, grantedTTL=granted).SerializeToString())

    def _must_lead(self) -> None:
        if not self._member.is_leader:
            raise error("NOT_LEADER")

    def _renew_here(self, lease: int) -> int:
        try:
            return self._member.lessor.renew(lease, self._member.loop.time())
        except EtcdError as problem:
            if problem.code == Code.NOT_FOUND:
                return 0
            raise

    def _time_to_live_here(self, lease: int) -> tuple[int, int] | None:
        return self._member.lessor.time_to_live(lease, self._member.loop.time())


def _renewed(reply: raft_pb2.RenewLeaseReply) -> int:
    return reply.TTL


def _time_to_live(reply: raft_pb2.LeaseTimeToLiveReply) -> tuple[int, int] | None:
    return None if reply.TTL < 0 else (reply.TTL, reply.grantedTTL)
