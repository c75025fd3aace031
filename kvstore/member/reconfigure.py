"""Who asks for changes of membership: the Cluster service's requests, checked and put into the log.

Any member takes them; what it finds unsafe by what it sees itself is refused (strict.py), the rest goes into the log
and is judged once more when it is applied (membership.py). Only the leader knows how far a learner is, so a promotion
is decided there: other members pass it on, and answer when they have applied it themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from kvstore.errors import Code, EtcdError, error
from kvstore.member import strict
from kvstore.member.awaited import linearizable, settle
from kvstore.member.cluster import added_member_id
from kvstore.member.config import ConfigError, parse_url
from kvstore.member.membership import encode_add, encode_id
from kvstore.member.requests import RequestKind
from kvstore.pb import raft_pb2
from kvstore.pb.etcd_pb2 import Member as MemberInfo
from kvstore.raft.types import Role
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

if TYPE_CHECKING:
    from kvstore.member.member import Member

PROMOTE_PATH = "/fluyt.raft.Raft/PromoteMember"
RETRY_SECONDS = 0.05
CONNECT_SECONDS = 1.0


class Reconfigurer:
    """Changes of membership that clients of this member ask for. Every method returns once the change is applied here.

    All raise MEMBER_NOT_FOUND, PEER_URL_EXISTS and their like as membership.py does, TIMEOUT, STOPPED,
    TOO_MANY_REQUESTS; a change that timed out may yet be made.
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._serving: set[asyncio.Task[None]] = set()

    async def add(self, peer_urls: Sequence[str], learner: bool) -> MemberInfo:
        """Make room for a member; what the table says of it. Raises MEMBER_BAD_URLS and what check_add raises."""
        urls = checked_urls(peer_urls)
        added = MemberInfo(ID=added_member_id(urls, int(time.time())), peerURLs=urls, isLearner=learner)
        config = self._member.config
        if config.strict_reconfig_check:
            strict.check_add(self._member.cluster, self._health(), added)
        await self._change(RequestKind.MEMBER_ADD, encode_add(added, config.max_learners))
        return added

    async def remove(self, identity: int) -> None:
        """Take a member out for good. Raises what check_remove raises."""
        if self._member.config.strict_reconfig_check:
            strict.check_remove(self._member.cluster, self._health(), identity)
        await self._change(RequestKind.MEMBER_REMOVE, encode_id(identity))

    async def update(self, identity: int, peer_urls: Sequence[str]) -> None:
        """Change where the others find a member. Raises MEMBER_BAD_URLS."""
        member = self._member
        request = MemberInfo(ID=identity, peerURLs=checked_urls(peer_urls))
        applied: asyncio.Future[Any] = member.loop.create_future()
        member.propose(RequestKind.MEMBER_UPDATE, request.SerializeToString(), request, partial(settle, applied))
        await applied

    async def promote(self, identity: int) -> None:
        """Give a learner its vote. Raises LEARNER_NOT_READY, MEMBER_NOT_LEARNER, NO_LEADER."""
        member = self._member
        until = member.loop.time() + member.config.request_timeout
        while not await self._try_promote(identity):
            if member.loop.time() >= until:
                raise error("TIMEOUT" if member.leader_id else "NO_LEADER")
            await asyncio.sleep(RETRY_SECONDS)

    async def _try_promote(self, identity: int) -> bool:
        """False if there was no leader to ask, or it went while it was asked."""
        member = self._member
        if member.stopping:
            raise error("STOPPED")
        if member.raw.role is Role.LEADER:  # not is_leader, which hears of another one a little later
            await self._promote_here(identity)
            return True
        if not member.leader_id:
            return False
        try:
            await self._ask_leader(identity)
        except (OSError, TimeoutError):
            return False
        except EtcdError as problem:
            if problem.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED) or problem.message == _NOT_LEADER:
                return False
            raise
        await self._caught_up()
        return True

    async def _promote_here(self, identity: int) -> None:
        member = self._member
        progress = member.raw.status().progress
        known = member.cluster.members.get(identity)
        if identity in progress and known is not None and known.isLearner:
            strict.check_caught_up(progress[identity].match, progress[member.id].match)
        if member.config.strict_reconfig_check:
            strict.check_promote(member.cluster)
        await self._change(RequestKind.MEMBER_PROMOTE, encode_id(identity))

    async def _ask_leader(self, identity: int) -> None:
        member = self._member
        leader = member.cluster.members.get(member.leader_id)
        if leader is None:
            raise error("NO_LEADER")
        address = parse_url(leader.peerURLs[0], "initial-cluster")
        channel = await member.dialer.connect(address, timeout=CONNECT_SECONDS, on_lost=lambda problem: None)
        try:
            request = raft_pb2.PromoteRequest(ID=identity).SerializeToString()
            await channel.unary(PROMOTE_PATH, request, member.config.request_timeout)
        finally:
            channel.close()

    async def _caught_up(self) -> None:
        """What the leader has made of it is applied here, too."""
        await linearizable(self._member)

    async def _change(self, kind: int, body: bytes) -> None:
        applied: asyncio.Future[Any] = self._member.loop.create_future()
        self._member.propose_change([(kind, body)], partial(settle, applied))
        await applied

    def _health(self) -> strict.Health:
        now = self._member.loop.time()
        return strict.Health(self._member.id, {i: now - since for i, since in self._member.links.up_since().items()})

    # ---- for other members ----

    def register(self, server: GrpcServer) -> None:
        """Serve PromoteMember on the peer port."""
        server.unary(PROMOTE_PATH, self._serve)

    def _serve(self, call: Call, message: bytes) -> None:
        if self._member.raw.role is not Role.LEADER:
            raise error("NOT_LEADER")
        identity = raft_pb2.PromoteRequest.FromString(message).ID
        task = self._member.loop.create_task(self._answer(call, identity))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _answer(self, call: Call, identity: int) -> None:
        try:
            await self._promote_here(identity)
        except Exception as fault:
            call.fail_with(fault)
        else:
            call.reply(raft_pb2.PromoteReply().SerializeToString())


def checked_urls(peer_urls: Sequence[str]) -> list[str]:
    """The URLs in order, as they are stored. Raises MEMBER_BAD_URLS for none, and for such as no peer could be at."""
    urls = []
    for url in (u.strip() for u in peer_urls):
        try:
            parse_url(url, "peer-urls")
        except ConfigError:
            raise error("MEMBER_BAD_URLS") from None
        if url.endswith("/"):
            raise error("MEMBER_BAD_URLS")
        scheme, _, address = url.partition("://")
        urls.append(f"{scheme.lower()}://{address}")
    if not urls:
        raise error("MEMBER_BAD_URLS")
    return sorted(urls)


_NOT_LEADER = error("NOT_LEADER").message
