"""Who waits for Raft: requests that go into the log, reads, and changes of the membership.

All three end in one of three ways: answered by what is applied, given up when their time is over, or told that the
member stops. Invariant: once the member stops, nobody is added, so whom `close` answers are the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kvstore.auth.types import Identity
from kvstore.errors import EtcdError, error
from kvstore.member.consensus.changes import ChangeQueue
from kvstore.member.consensus.proposals import Done, Proposal, ProposalQueue
from kvstore.member.consensus.reads import ReadDone, ReadQueue, Serve, count_reads
from kvstore.member.requests import RequestKind, sign
from kvstore.pb import etcd_pb2 as pb

_new = tuple.__new__  # a third of what the class itself takes

if TYPE_CHECKING:
    from kvstore.member.member import Member

READ_RETRY_SECONDS = 0.5


class Waiting:
    """One member's. `done` callbacks run on its loop."""

    def __init__(self, member: Member, first_sequence: int) -> None:
        """first_sequence: higher than any that an earlier life of this member gave."""
        self._member = member
        self._loop = member.loop
        self._timeout = member.config.request_timeout
        self.proposals = ProposalQueue(member.id, first_sequence)
        self.reads = ReadQueue(first_sequence, READ_RETRY_SECONDS)
        self.changes = ChangeQueue(member.id, first_sequence)
        self.failed_proposals = 0
        self.failed_reads = 0

    def propose(self, kind: int, body: bytes, request: Any, done: Done, identity: Identity | None = None) -> None:
        """Put a request into the log; identity: who made it, while auth is on.

        `done(result, None)` when it is applied here, `done(None, error)` otherwise. Raises TOO_MANY_REQUESTS,
        STOPPED.
        """
        member = self._member
        if member.stopping:
            raise error("STOPPED")
        if identity is not None:
            kind, body = sign(kind, body, identity)
        self.proposals.add(_new(Proposal, (kind, body, request, done, self._loop.time() + self._timeout)))
        member.driver.wake()

    def propose_all(self, kind: int, bodies: Sequence[bytes], dones: Sequence[Done]) -> None:
        """propose() for several that need nothing but their bytes, once can_propose() says so."""
        self.proposals.add_all(kind, bodies, dones, self._loop.time() + self._timeout)
        self._member.driver.wake()

    def can_propose(self, count: int, size: int) -> bool:
        """Whether propose() would raise for none of so many requests with so many bytes in all."""
        return not self._member.stopping and self.proposals.has_room(count, size)

    def propose_change(self, requests: Sequence[tuple[int, bytes]], done: Done) -> None:
        """Put a change of membership into the log: of one member, or a joint one of several (membership.py).

        `done(None, None)` when it is applied here, `done(None, error)` otherwise. Raises TOO_MANY_REQUESTS, STOPPED.
        """
        member = self._member
        if member.stopping:
            raise error("STOPPED")
        self.changes.add(requests, done, self._loop.time() + self._timeout)
        member.driver.wake()

    def linearizable(self, done: ReadDone) -> None:
        """`done(None)` once what is applied here is at least as new as this moment.

        Raises TOO_MANY_REQUESTS, STOPPED.
        """
        member = self._member
        if member.stopping:
            raise error("STOPPED")
        self.reads.add(self._loop.time() + self._timeout, done)
        member.driver.wake()

    def gather(self, serve: Serve, item: Any) -> None:
        """linearizable() for requests of one kind: `serve(items, None)` for all of them that waited together. Hot.

        Raises TOO_MANY_REQUESTS, STOPPED.
        """
        member = self._member
        if member.stopping:
            raise error("STOPPED")
        if not self.reads.join(serve, item):
            # Who joins comes no later than the next tick, and none must be told too early that its time is over.
            patience = self._timeout + member.config.heartbeat_interval / 1000
            self.reads.gather(self._loop.time() + patience, serve, item)
            member.driver.wake()

    def gather_all(self, serve: Serve, items: Sequence[Any]) -> bool:
        """gather() for each of them; False, and nothing done, if it would raise for one."""
        if self._member.stopping or not self.reads.has_room(len(items)):
            return False
        self.gather(serve, items[0])
        self.reads.join_all(serve, items[1:])
        return True

    def raise_alarm(self, request: pb.AlarmRequest, done: Callable[[], None]) -> None:
        """Put an alarm into the log; `done` when it is on, or could not be put there and is to be tried again."""
        try:
            self.propose(RequestKind.ALARM, request.SerializeToString(), request, lambda result, problem: done())
        except EtcdError:
            done()

    def expire(self, now: float) -> None:
        """Tell those whose time is over (of the loop)."""
        late = self.proposals.expire(now) + self.proposals.overdue(now)
        reads = self.reads.expire(now)
        changes = self.changes.expire(now)
        if not late and not reads and not changes:
            return
        problem = error("TIMEOUT" if self._member.leader_id else "TIMEOUT_LEADER_FAIL")
        self.failed_proposals += len(late)
        self.failed_reads += count_reads(reads)
        _tell(problem, [proposal.done for proposal in late], reads, changes)

    def close(self) -> None:
        """Tell all of them that the member stops."""
        proposals = [proposal.done for proposal in self.proposals.drain()]
        _tell(error("STOPPED"), proposals, self.reads.drain(), self.changes.drain())


def _tell(problem: EtcdError, proposals: Sequence[Done], reads: Sequence[ReadDone], changes: Sequence[Done]) -> None:
    for done in proposals:
        done(None, problem)
    for confirmed in reads:
        confirmed(problem)
    for changed in changes:
        changed(None, problem)
