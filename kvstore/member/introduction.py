"""Tells the cluster this member's name and client URLs, again and again until it has worked.

A member that joins waits for its snapshot: who has said its name counts as one that can help with a quorum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvstore.errors import EtcdError
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb

if TYPE_CHECKING:
    from kvstore.member.member import Member

LOOK_SECONDS = 0.05
RETRY_SECONDS = 1.0


def introduce(member: Member) -> None:
    """Begin; it ends by itself, at the latest when the member stops."""
    if member.stopping:
        return
    if not member.state.applied_index:
        member.loop.call_later(LOOK_SECONDS, introduce, member)
        return
    known = member.cluster.members.get(member.id)
    urls = member.config.advertise_client_urls
    if known is not None and known.name == member.config.name and list(known.clientURLs) == urls:
        return
    mine = pb.Member(ID=member.id, name=member.config.name, clientURLs=urls)

    def done(result: Any, problem: EtcdError | None) -> None:
        if problem is not None and not member.stopping:
            member.loop.call_later(RETRY_SECONDS, introduce, member)

    member.propose(RequestKind.MEMBER_ATTRIBUTES, mine.SerializeToString(), mine, done)
