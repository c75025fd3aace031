"""Questions that only the leader can answer: how long a lease has left, and its renewal.

The leader answers once a quorum has confirmed that it leads and it has applied what was committed before the question:
a leader that was paused renews nothing that its successor has revoked, and a new one knows every lease that was
granted. A renewal needs no round of its own shortly after one: any later leader gives every lease its whole time and an
election timeout more, so what is promised within a part of that timeout holds whoever leads by then (docs/design/0023).

A lease of which a checkpoint stands in the log has it taken back there first (lease_resets.py).

A follower asks the leader over one channel that it keeps open; while there is no leader, or another one, it
asks again, as etcd does, until the request's time is up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from kvstore.errors import Code, EtcdError, error
from kvstore.member.awaited import settle
from kvstore.member.config import parse_url
from kvstore.member.consensus.reads import ReadQueue
from kvstore.member.lease_resets import LeaseResets
from kvstore.pb import raft_pb2
from kvstore.wire.channel import Channel
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

if TYPE_CHECKING:
    from kvstore.member.member import Member

RETRY_SECONDS = 0.05
CALL_SECONDS = 1.0
# Of the election timeout: so long after a quorum has spoken a leader renews without asking. A new leader adds all of
# it to every lease (Duties.lead); the other half is for clocks, and for members that are set up differently.
SURE_PART = 0.5

Answer = Callable[[Any, EtcdError | None], None]


class _Question(NamedTuple):
    """path: of the call on the peer port. here: the leader's answer. encode, decode: the answer on the wire."""

    path: str
    here: Callable[[int], Any]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


class LeaderCalls:
    """Both ends of the leader-only calls."""

    def __init__(self, member: Member, reads: ReadQueue) -> None:
        self._member = member
        self._reads = reads
        self._channel: Channel | None = None
        self._channel_peer = 0
        self._connecting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._resets = LeaseResets(member)
        self._sure = SURE_PART * member.config.election_timeout / 1000
        self._renew = _Question("/fluyt.raft.Raft/RenewLease", self._renew_here, _encode_renewed, _decode_renewed)
        self._ttl = _Question("/fluyt.raft.Raft/LeaseTimeToLive", self._ttl_here, _encode_ttl, _decode_ttl)

    # ---- asking ----

    def renew(self, lease: int, done: Answer) -> None:
        """done(TTL, None); TTL 0 for an unknown lease."""
        if ttl := self.renew_at_once(lease):
            done(ttl, None)
        else:
            self._ask(self._renew, lease, done)

    def renew_at_once(self, lease: int) -> int:
        """The TTL, if this member leads for sure and knows the lease; else 0, and it must be asked for. Hot."""
        now = self._sure_at()
        return (self._member.lessor.renew_known(lease, now) or 0) if now is not None else 0

    def renew_run(self, leases: Sequence[int]) -> list[int]:
        """renew_at_once() of leases whose answers leave together, up to the first that must be asked for; the TTLs."""
        now = self._sure_at()
        return self._member.lessor.renew_run(leases, now) if now is not None else []

    def _sure_at(self) -> float | None:
        """Now, if this member leads for sure, so that it may renew."""
        member = self._member
        # Not the loop's time, which stands still during a turn, and for as long as the process does.
        now = time.monotonic()
        if member.leader_id != member.id or now - self._reads.confirmed_at > self._sure or not member.driver.settled:
            return None
        return now

    def time_to_live(self, lease: int, done: Answer) -> None:
        """done((left, granted) or None, None), in seconds."""
        self._ask(self._ttl, lease, done)

    def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._channel is not None:
            self._channel.close()

    def _ask(self, question: _Question, lease: int, done: Answer) -> None:
        def here(answer: Any, problem: EtcdError | None) -> None:
            if problem is None:
                done(answer, None)
            else:
                elsewhere()

        def elsewhere() -> None:
            task = self._member.loop.create_task(self._ask_leader(question, lease, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        if self._member.is_leader:
            self._answer(question, lease, here)
        else:
            elsewhere()

    async def _ask_leader(self, question: _Question, lease: int, done: Answer) -> None:
        member = self._member
        until = member.loop.time() + member.config.request_timeout
        while member.loop.time() < until and not member.stopping:
            try:
                answer = await self._once(question, lease)
            except (EtcdError, OSError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            done(answer, None)
            return
        done(None, error("TIMEOUT" if member.leader_id else "NO_LEADER"))

    async def _once(self, question: _Question, lease: int) -> Any:
        if not self._member.is_leader:
            channel = await self._to_leader()
            request = raft_pb2.RenewLeaseRequest(ID=lease).SerializeToString()
            return question.decode(await channel.unary(question.path, request, CALL_SECONDS))
        found: asyncio.Future[Any] = self._member.loop.create_future()
        self._answer(question, lease, partial(settle, found))
        return await found

    async def _to_leader(self) -> Channel:
        async with self._connecting:
            leader = self._member.leader_id
            info = self._member.cluster.members.get(leader)
            if info is None:
                raise error("NO_LEADER")
            if self._channel is not None and self._channel_peer == leader:
                return self._channel
            address = parse_url(info.peerURLs[0], "initial-cluster")
            self._channel = await self._member.dialer.connect(address, timeout=CALL_SECONDS, on_lost=self._lost)
            self._channel_peer = leader
            return self._channel

    def _lost(self, problem: BaseException | None) -> None:
        self._channel, self._channel_peer = None, 0

    # ---- answering ----

    def register(self, server: GrpcServer) -> None:
        """Serve the calls on the peer port."""
        for question in (self._renew, self._ttl):
            server.unary(question.path, partial(self._serve, question))

    def _serve(self, question: _Question, call: Call, message: bytes) -> None:
        def done(answer: Any, problem: EtcdError | None) -> None:
            if problem is None:
                call.reply(question.encode(answer))
            else:
                call.fail(problem.code, problem.message)

        # Both requests are a lease id in field 1.
        lease = raft_pb2.RenewLeaseRequest.FromString(message).ID
        if question is self._renew and (ttl := self.renew_at_once(lease)):
            done(ttl, None)
        else:
            self._answer(question, lease, done)

    def _answer(self, question: _Question, lease: int, done: Answer) -> None:
        if not self._member.is_leader:
            done(None, error("NOT_LEADER"))
            return
        try:
            self._member.linearizable(partial(self._confirmed, question, lease, done))
        except EtcdError as refused:
            done(None, refused)

    def _confirmed(self, question: _Question, lease: int, done: Answer, problem: EtcdError | None) -> None:
        if problem is None and not self._member.is_leader:
            problem = error("NOT_LEADER")
        if problem is None and question is self._renew and self._must_reset(lease):
            self._resets.reset(lease, partial(self._was_reset, question, lease, done))
            return
        try:
            answer = question.here(lease) if problem is None else None
        except EtcdError as refused:
            problem = refused
        done(answer if problem is None else None, problem)

    def _must_reset(self, lease: int) -> bool:
        return self._member.lessor.must_reset(lease, self._member.loop.time())

    def _was_reset(self, question: _Question, lease: int, done: Answer, problem: EtcdError | None) -> None:
        if problem is not None:
            done(None, problem)
        else:
            self._answer(question, lease, done)  # time has gone by: it is confirmed anew that we lead

    def _renew_here(self, lease: int) -> int:
        try:
            return self._member.lessor.renew(lease, self._member.loop.time())
        except EtcdError as problem:
            if problem.code == Code.NOT_FOUND:
                return 0
            raise

    def _ttl_here(self, lease: int) -> tuple[int, int] | None:
        return self._member.lessor.time_to_live(lease, self._member.loop.time())


def _encode_renewed(ttl: int) -> bytes:
    return raft_pb2.RenewLeaseReply(TTL=ttl).SerializeToString()


def _decode_renewed(data: bytes) -> int:
    return raft_pb2.RenewLeaseReply.FromString(data).TTL


def _encode_ttl(found: tuple[int, int] | None) -> bytes:
    left, granted = found or (-1, 0)
    return raft_pb2.LeaseTimeToLiveReply(TTL=left, grantedTTL=granted).SerializeToString()


def _decode_ttl(data: bytes) -> tuple[int, int] | None:
    reply = raft_pb2.LeaseTimeToLiveReply.FromString(data)
    return None if reply.TTL < 0 else (reply.TTL, reply.grantedTTL)
