"""Do the members hold the same? Each hashes its history at one revision, the leader compares, and CORRUPT tells
everybody.

Three occasions, as in etcd: before a member serves anybody (it does not start if it differs), every so often while it
leads (at its own revision), and after compactions (at the compacted revision, where every member has to agree and
where the least is left to read). Who is behind, ahead in compactions, or does not answer is passed over: the next
round asks again. A hash is made in slices between the turns of the loop.
Faults assumed: rot that the disk did not notice, a file that somebody changed, a bug; the leader's own copy too may be
the damaged one, so after a compaction the majority decides who is named, and nobody in particular if there is none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from kvstore.errors import Code, EtcdError
from kvstore.member.awaited import linearizable
from kvstore.member.config import ConfigError, parse_url
from kvstore.mvcc.results import HashResult
from kvstore.pb import etcd_pb2 as pb
from kvstore.pb import raft_pb2
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

if TYPE_CHECKING:
    from kvstore.member.member import Member

log = logging.getLogger(__name__)

HASH_PATH = "/fluyt.raft.Raft/HashKV"
CONNECT_SECONDS = 1.0
ITEMS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class PeerHash:
    """One member's answer. revision: where it stood when it answered."""

    member: int
    revision: int
    compact_revision: int
    hash: int


class Corruption:
    """Both ends of the comparison, for one member."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._tasks: set[asyncio.Task[None]] = set()
        self._compaction_checked = -1

    # ---- life

    def register(self, server: GrpcServer) -> None:
        """Serve HashKV on the peer port."""
        server.unary(HASH_PATH, self._serve)

    def start(self) -> None:
        """Begin the checks that the configuration asks for."""
        config = self._member.config
        if config.corrupt_check_time:
            self._spawn(self._every(config.corrupt_check_time, self.check))
        if config.compact_hash_check:
            self._spawn(self._every(config.compact_hash_check_time, self.check_compaction))

    def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._member.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _every(self, seconds: float, check: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            if not self._member.is_leader:
                continue
            try:
                await check()
            except EtcdError as problem:  # no quorum, or a compaction came between: the next round asks again
                log.warning("comparing the members' hashes: %s", problem)

    # ---- the checks

    async def check_before_serving(self) -> None:
        """Compare with whoever answers. Raises ConfigError if this member differs from one at the same revision."""
        mine = await self._hash(0)
        for peer in await self._peers(mine.hash_revision):
            if peer.compact_revision == mine.compact_revision and peer.hash != mine.hash:
                raise ConfigError(
                    f"{self._member.id:x} found data inconsistency with peers: at revision {mine.hash_revision} its"
                    f" hash is {mine.hash}, that of member {peer.member:x} is {peer.hash}; if the others agree, remove"
                    " this member and add it again with an empty --data-dir"
                )
        log.info("initial corruption checking passed; no corruption")

    async def check(self) -> None:
        """As leader: compare every follower with ourselves, at our revision. Raises EtcdError."""
        mine = await self._hash(0)
        peers = await self._peers(mine.hash_revision)
        await linearizable(self._member)
        again = await self._hash(mine.hash_revision)
        if again.compact_revision == mine.compact_revision and again.hash != mine.hash:
            self._alarm(self._member.id, f"its hash at revision {mine.hash_revision} changed")
            return
        revision, compacted = self._member.store.revision, self._member.store.compacted_revision
        for peer in peers:
            reason = _difference(mine, peer, revision, compacted)
            if reason:
                self._alarm(peer.member, reason)
                return
        log.debug("the members agree at revision %d; asked: %d", mine.hash_revision, len(peers))

    async def check_compaction(self) -> None:
        """As leader: compare all members at the last compacted revision, once each. Raises EtcdError."""
        compacted = self._member.store.compacted_revision
        if compacted <= self._compaction_checked:
            return
        mine = await self._hash(compacted)
        peers = [peer for peer in await self._peers(compacted) if peer.compact_revision == compacted]
        for member, reason in minority({self._member.id: mine.hash, **{peer.member: peer.hash for peer in peers}}):
            self._alarm(member, f"{reason} at the compacted revision {compacted}")
        if len(peers) == len(self._member.cluster.members) - 1:
            self._compaction_checked = compacted

    def _alarm(self, member: int, reason: str) -> None:
        log.error("member %x is corrupt: %s: raising the CORRUPT alarm", member, reason)
        if self._member.alarms.has(member, pb.CORRUPT):
            return
        request = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=member, alarm=pb.CORRUPT)
        self._member.raise_alarm(request, lambda: None)

    # ---- our hash

    async def _hash(self, revision: int) -> HashResult:
        """Up to a main revision, 0 for the current one. Raises COMPACTED, FUTURE_REVISION."""
        store = self._member.store
        if revision == store.compacted_revision:
            return await _sliced(store.compaction_hash_slices(revision, ITEMS_AT_ONCE))
        return await _sliced(store.hash_kv_slices(revision, ITEMS_AT_ONCE))

    def _serve(self, call: Call, message: bytes) -> None:
        self._spawn(self._answer(call, message))

    async def _answer(self, call: Call, message: bytes) -> None:
        member = self._member
        try:
            query = raft_pb2.HashKVQuery.FromString(message)
            if query.cluster_id != member.cluster.id:
                raise EtcdError(Code.FAILED_PRECONDITION, "cluster ID mismatch")
            found = await self._hash(query.revision)
        except (EtcdError, DecodeError) as problem:
            if not call.closed:
                call.fail(getattr(problem, "code", Code.INVALID_ARGUMENT), str(problem))
            return
        if not call.closed:
            reply = raft_pb2.HashKVReply(
                member_id=member.id,
                revision=member.store.revision,
                compact_revision=found.compact_revision,
                hash=found.hash,
            )
            call.reply(reply.SerializeToString())

    # ---- the others'

    async def _peers(self, revision: int) -> list[PeerHash]:
        """The hashes of all other members that can say theirs at that revision."""
        query = raft_pb2.HashKVQuery(cluster_id=self._member.cluster.id, revision=revision)
        members = self._member.cluster.members
        asked = [self._ask(info, query.SerializeToString()) for i, info in members.items() if i != self._member.id]
        return [answer for answer in await asyncio.gather(*asked) if answer is not None]

    async def _ask(self, info: pb.Member, query: bytes) -> PeerHash | None:
        """Through each of its URLs until one answers."""
        problem: Exception | None = None
        for url in info.peerURLs:
            address = parse_url(url, "initial-cluster")
            try:
                channel = await self._member.dialer.connect(
                    address, timeout=CONNECT_SECONDS, on_lost=lambda problem: None
                )
                try:
                    answer = await channel.unary(HASH_PATH, query, self._member.config.request_timeout)
                finally:
                    channel.close()
                reply = raft_pb2.HashKVReply.FromString(answer)
                return PeerHash(reply.member_id, reply.revision, reply.compact_revision, reply.hash)
            except (OSError, EtcdError, TimeoutError, DecodeError) as failure:
                problem = failure
        log.info("no hash from member %x: %s", info.ID, problem)
        return None


def _difference(mine: HashResult, peer: PeerHash, revision: int, compacted: int) -> str:
    """What is wrong with a follower; "" for nothing. revision, compacted: the leader's, read after it answered."""
    if peer.revision > revision:
        return f"it is at revision {peer.revision}, the leader at {revision}"
    if peer.compact_revision > compacted:
        return f"it is compacted to {peer.compact_revision}, the leader to {compacted}"
    if peer.compact_revision == mine.compact_revision and peer.hash != mine.hash:
        return f"its hash at revision {mine.hash_revision} is {peer.hash}, the leader's {mine.hash}"
    return ""


def minority(hashes: dict[int, int]) -> list[tuple[int, str]]:
    """Whom to name, and why, when the members (by id) gave these hashes: 0 if no hash has a majority of them."""
    groups: dict[int, list[int]] = {}
    for member, value in hashes.items():
        groups.setdefault(value, []).append(member)
    if len(groups) < 2:
        return []
    value, largest = max(groups.items(), key=lambda group: len(group[1]))
    if len(largest) * 2 <= len(hashes):
        return [(0, "the members differ, and none of their hashes has a majority")]
    return [
        (member, f"its hash is {other}, that of the majority {value}")
        for other, members in groups.items()
        if other != value
        for member in members
    ]


async def _sliced(slices: Iterator[HashResult | None]) -> HashResult:
    """One slice, then a turn for everybody else."""
    for found in slices:
        if found is not None:
            return found
        await asyncio.sleep(0)
    raise AssertionError("a hash ends with its result")
