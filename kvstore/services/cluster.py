"""The Cluster service: who the members are. Changing them is issue 7's."""

from __future__ import annotations

from functools import partial

from kvstore.errors import EtcdError
from kvstore.member.member import Member
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.guard import check_leader, parse
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer


def register(server: GrpcServer, member: Member) -> None:
    """Serve MemberList."""
    server.unary("/etcdserverpb.Cluster/MemberList", partial(_member_list, member))


def _member_list(member: Member, call: Call, message: bytes) -> None:
    request = parse(pb.MemberListRequest, message)
    check_leader(member, call)

    def done(problem: EtcdError | None) -> None:
        if problem is not None:
            call.fail(problem.code, problem.message)
            return
        members = sorted(member.cluster.members.values(), key=lambda m: m.ID)
        header = pb.ResponseHeader.FromString(member.header())
        call.reply(pb.MemberListResponse(header=header, members=members).SerializeToString())

    if request.linearizable:
        member.linearizable(done)
    else:
        done(None)
