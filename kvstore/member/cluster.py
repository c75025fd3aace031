"""Who is in the cluster: member ids, names and URLs, kept in the table `members` beside the data.

Ids are made as etcd makes them (server/etcdserver/api/membership): a member's from its peer URLs and the cluster
token, the cluster's from its members', each the first 8 bytes of a SHA-1, so that every founding member computes the
same ones without asking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from kvstore.mvcc.types import Tables
from kvstore.pb.etcd_pb2 import Member as MemberInfo
from kvstore.raft.types import ConfState


def member_id(peer_urls: Iterable[str], token: str) -> int:
    """The id of a founding member."""
    text = "".join(sorted(peer_urls)) + token
    return int.from_bytes(hashlib.sha1(text.encode()).digest()[:8], "big")


def cluster_id(member_ids: Iterable[int]) -> int:
    """The id of the cluster that these members found."""
    joined = b"".join(i.to_bytes(8, "big") for i in sorted(member_ids))
    return int.from_bytes(hashlib.sha1(joined).digest()[:8], "big")


class Cluster:
    """The members as this member has applied them; one row of the table a member."""

    def __init__(self, identity: int, tables: Tables) -> None:
        self.id = identity
        self._table = tables.table("members")
        self.members: dict[int, MemberInfo] = {}
        self.load()

    @staticmethod
    def founders(peers: Mapping[str, list[str]], token: str) -> dict[int, MemberInfo]:
        """The members that --initial-cluster names, by id."""
        found: dict[int, MemberInfo] = {}
        for name, urls in peers.items():
            identity = member_id(urls, token)
            found[identity] = MemberInfo(ID=identity, name=name, peerURLs=sorted(urls))
        return found

    def load(self) -> None:
        """Read the table again, after start or after a snapshot took its place."""
        self.members = {}
        for key, value in self._table.scan():
            self.members[int.from_bytes(key, "big")] = MemberInfo.FromString(value)

    def put(self, member: MemberInfo) -> None:
        """Add or change a member."""
        self._table.put(member.ID.to_bytes(8, "big"), member.SerializeToString(deterministic=True))
        self.members[member.ID] = member

    def remove(self, identity: int) -> None:
        """Forget a member; unknown ids are ignored."""
        self._table.delete(identity.to_bytes(8, "big"))
        self.members.pop(identity, None)

    def set_attributes(self, identity: int, name: str, client_urls: Iterable[str]) -> None:
        """What a member publishes about itself once it runs."""
        known = self.members.get(identity)
        if known is None:
            return
        member = MemberInfo()
        member.CopyFrom(known)
        member.name = name
        del member.clientURLs[:]
        member.clientURLs.extend(client_urls)
        self.put(member)

    def conf_state(self) -> ConfState:
        """The configuration that Raft starts from in a new cluster."""
        voters = tuple(sorted(i for i, m in self.members.items() if not m.isLearner))
        learners = tuple(sorted(i for i, m in self.members.items() if m.isLearner))
        return ConfState(voters=voters, learners=learners)
