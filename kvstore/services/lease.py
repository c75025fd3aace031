"""etcdserverpb.Lease: grant, revoke, keep alive, time to live, list.

Grants and revokes go through the log. Renewals and the time left are the leader's alone to say, and the member passes
them on to it. Follows etcd's Lease RPCs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from kvstore.errors import EtcdError, error
from kvstore.member.requests import RequestKind
from kvstore.mvcc.lease import MAX_TTL
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.access import identify, require_user
from kvstore.services.guard import check_leader, parse, refuse_learner
from kvstore.services.keep_alive import KeepAliveStream, Renewals
from kvstore.services.leader_guard import LeaderGuard

if TYPE_CHECKING:
    from kvstore.member.member import Member
    from kvstore.wire.grpc.call import Call
    from kvstore.wire.server import GrpcServer


def random_id() -> int:
    """A positive int64 that no other member draws."""
    return SystemRandom().randrange(1, 1 << 63)


class LeaseService:
    """The handlers of one member."""

    def __init__(self, member: Member, draw_id: Callable[[], int] = random_id) -> None:
        """draw_id: gives the id of a lease whose client asked for none in particular."""
        self.member = member
        self.guard = LeaderGuard(member)
        self._draw_id = draw_id
        self._renewals = Renewals(member)

    def register(self, server: GrpcServer) -> None:
        """Serve the methods of etcdserverpb.Lease."""
        for name, handler in {
            "LeaseGrant": self.grant,
            "LeaseRevoke": self.revoke,
            "LeaseTimeToLive": self.time_to_live,
            "LeaseLeases": self.leases,
        }.items():
            server.unary(f"/etcdserverpb.Lease/{name}", handler)
        server.stream("/etcdserverpb.Lease/LeaseKeepAlive", self.keep_alive)

    # ---- through the log

    def grant(self, call: Call, message: bytes) -> None:
        """LeaseGrant; the id is chosen here, so that the log says which."""
        request = parse(pb.LeaseGrantRequest, message)
        self._check(call)
        if request.TTL > MAX_TTL:
            raise error("LEASE_TTL_TOO_LARGE")
        if not request.ID:
            request.ID = self._draw_id()
            message = request.SerializeToString()
        self.member.check_space(len(message))

        def done(ttl: Any, problem: EtcdError | None) -> None:
            if problem is not None:
                call.fail(problem.code, problem.message)
            else:
                self._reply(call, pb.LeaseGrantResponse(ID=request.ID, TTL=ttl))

        self.member.propose(RequestKind.LEASE_GRANT, message, request, done, call.user)

    def revoke(self, call: Call, message: bytes) -> None:
        """LeaseRevoke; the lease's keys go with it."""
        request = parse(pb.LeaseRevokeRequest, message)
        self._check(call)

        def done(revision: Any, problem: EtcdError | None) -> None:
            if problem is not None:
                call.fail(problem.code, problem.message)
            else:
                call.reply(self.member.header_field(revision))

        self.member.propose(RequestKind.LEASE_REVOKE, message, request, done, call.user)

    # ---- questions

    def time_to_live(self, call: Call, message: bytes) -> None:
        """LeaseTimeToLive: the leader says how long; the keys are read here, after everything applied so far."""
        request = parse(pb.LeaseTimeToLiveRequest, message)
        self._check(call)
        if request.keys:
            self.member.linearizable(partial(self._ask_leader, call, request))
        else:
            self._ask_leader(call, request, None)

    def _ask_leader(self, call: Call, request: pb.LeaseTimeToLiveRequest, problem: EtcdError | None) -> None:
        if problem is not None:
            call.fail(problem.code, problem.message)
        else:
            self.member.lease_time_to_live(request.ID, partial(self._answer_time_to_live, call, request))

    def _answer_time_to_live(
        self, call: Call, request: pb.LeaseTimeToLiveRequest, times: Any, problem: EtcdError | None
    ) -> None:
        if problem is not None:
            call.fail(problem.code, problem.message)
            return
        if times is None:
            self._reply(call, pb.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1))
            return
        left, granted = times
        keys = self.member.lessor.keys(request.ID) if request.keys else []
        try:
            if keys:
                self.member.checks.lease_read(identify(self.member, call), request.ID)
        except EtcdError as refused:
            call.fail(refused.code, refused.message)
            return
        self._reply(call, pb.LeaseTimeToLiveResponse(ID=request.ID, TTL=left, grantedTTL=granted, keys=keys))

    def leases(self, call: Call, message: bytes) -> None:
        """LeaseLeases: every lease that was granted before the request."""
        parse(pb.LeaseLeasesRequest, message)
        self._check(call)

        def done(problem: EtcdError | None) -> None:
            if problem is not None:
                call.fail(problem.code, problem.message)
                return
            try:
                found = self._visible_leases(call)
            except EtcdError as refused:
                call.fail(refused.code, refused.message)
                return
            self._reply(call, pb.LeaseLeasesResponse(leases=[pb.LeaseStatus(ID=id) for id in found]))

        self.member.linearizable(done)

    def _visible_leases(self, call: Call) -> list[int]:
        """Every lease, for who may read all keys that hang on leases. Raises what the checks raise."""
        found = self.member.lessor.leases()
        if self.member.auth.enabled:
            identity = require_user(self.member, call)
            for lease in found:
                self.member.checks.lease_read(identity, lease)
        return found

    def keep_alive(self, call: Call) -> KeepAliveStream:
        """LeaseKeepAlive. Raises NO_LEADER, NOT_SUPPORTED_FOR_LEARNER."""
        self.guard.admit(call)
        return KeepAliveStream(self._renewals, call, partial(self.guard.release, call))

    def _check(self, call: Call) -> None:
        check_leader(self.member, call)
        refuse_learner(self.member)

    def _reply(self, call: Call, rest: Any) -> None:
        # Two encodings of one message may be joined: the header is field 1 of every response.
        call.reply(self.member.header_field(self.member.store.revision) + rest.SerializeToString())
