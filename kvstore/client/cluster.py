"""The members of the cluster: list, add, remove, update, promote."""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.client import rpcs
from kvstore.client.transport import Transport
from kvstore.pb import etcd_pb2 as pb


class Cluster:
    """The cluster calls of a client. Changes raise MaybeApplied when their fate is unknown; MemberNotFound."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, *, linearizable: bool = True) -> pb.MemberListResponse:
        """Every member. linearizable False: as the asked member knows them, which works without a leader, too."""
        return await self._transport.unary(rpcs.MEMBER_LIST, pb.MemberListRequest(linearizable=linearizable))

    async def add(self, peer_urls: Sequence[str], *, learner: bool = False) -> pb.MemberAddResponse:
        """Make room for a member that listens there; a learner does not vote until it is promoted."""
        return await self._transport.unary(rpcs.MEMBER_ADD, pb.MemberAddRequest(peerURLs=peer_urls, isLearner=learner))

    async def remove(self, member_id: int) -> pb.MemberRemoveResponse:
        """Take a member out of the cluster for good."""
        return await self._transport.unary(rpcs.MEMBER_REMOVE, pb.MemberRemoveRequest(ID=member_id))

    async def update(self, member_id: int, peer_urls: Sequence[str]) -> pb.MemberUpdateResponse:
        """Change where the other members find this one."""
        return await self._transport.unary(rpcs.MEMBER_UPDATE, pb.MemberUpdateRequest(ID=member_id, peerURLs=peer_urls))

    async def promote(self, member_id: int) -> pb.MemberPromoteResponse:
        """Give a learner that has caught up its vote."""
        return await self._transport.unary(rpcs.MEMBER_PROMOTE, pb.MemberPromoteRequest(ID=member_id))
