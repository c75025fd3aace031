"""The Cluster service: who the members are, and changing them.

What a change may not do is decided in kvstore/member (reconfigure.py, strict.py, membership.py). Headers carry no
revision here, as etcd's do not.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from google.protobuf.message import Message

from kvstore.member.awaited import linearizable
from kvstore.member.member import Member
from kvstore.pb import etcd_pb2 as pb
from kvstore.services import tasks
from kvstore.services.guard import check_leader, parse, refuse_learner
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

Handler = Callable[[bytes], Coroutine[Any, Any, Message]]


class ClusterService:
    """The handlers of one member."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def register(self, server: GrpcServer) -> None:
        """Serve the methods of etcdserverpb.Cluster."""
        for name, handler in {
            "MemberList": self.member_list,
            "MemberAdd": self.member_add,
            "MemberRemove": self.member_remove,
            "MemberUpdate": self.member_update,
            "MemberPromote": self.member_promote,
        }.items():
            server.unary(f"/etcdserverpb.Cluster/{name}", self._unary(handler))

    def _unary(self, handler: Handler) -> Callable[[Call, bytes], None]:
        async def encoded(message: bytes) -> bytes:
            return (await handler(message)).SerializeToString()

        def handle(call: Call, message: bytes) -> None:
            refuse_learner(self._member)
            check_leader(self._member, call)
            tasks.run(self._member, call, encoded(message))

        return handle

    async def member_list(self, message: bytes) -> pb.MemberListResponse:
        """MemberList."""
        if parse(pb.MemberListRequest, message).linearizable:
            await linearizable(self._member)
        return pb.MemberListResponse(header=self._header(), members=self._members())

    async def member_add(self, message: bytes) -> pb.MemberAddResponse:
        """MemberAdd."""
        request = parse(pb.MemberAddRequest, message)
        added = await self._member.reconfigurer.add(request.peerURLs, request.isLearner)
        return pb.MemberAddResponse(header=self._header(), member=added, members=self._members())

    async def member_remove(self, message: bytes) -> pb.MemberRemoveResponse:
        """MemberRemove."""
        await self._member.reconfigurer.remove(parse(pb.MemberRemoveRequest, message).ID)
        return pb.MemberRemoveResponse(header=self._header(), members=self._members())

    async def member_update(self, message: bytes) -> pb.MemberUpdateResponse:
        """MemberUpdate."""
        request = parse(pb.MemberUpdateRequest, message)
        await self._member.reconfigurer.update(request.ID, request.peerURLs)
        return pb.MemberUpdateResponse(header=self._header(), members=self._members())

    async def member_promote(self, message: bytes) -> pb.MemberPromoteResponse:
        """MemberPromote."""
        await self._member.reconfigurer.promote(parse(pb.MemberPromoteRequest, message).ID)
        return pb.MemberPromoteResponse(header=self._header(), members=self._members())

    def _members(self) -> list[pb.Member]:
        return sorted(self._member.cluster.members.values(), key=lambda m: m.ID)

    def _header(self) -> pb.ResponseHeader:
        header = pb.ResponseHeader.FromString(self._member.header())
        header.ClearField("revision")
        return header
