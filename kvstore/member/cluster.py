"""Who is in the cluster: member ids, names and URLs, kept in the table `members` beside the data.

Ids are made as etcd makes them (server/etcdserver/api/membership): a member's from its peer URLs and the cluster
token, the cluster's from its members', each the first 8 bytes of a SHA-1, so that every founding member computes the
same ones without asking. A member that is added later gets one from its peer URLs and the time.

Invariants: an id in `members_removed` is never in `members` again; a row changes only when a log entry is applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

from kvstore.mvcc.types import Tables
from kvstore.pb.etcd_pb2 import Member as MemberInfo
from kvstore.raft.types import ConfState

# In the table `meta`: set once the members are no longer those that founded the cluster.
_CHANGED = b"membership_changed"
# There, too: ids of those who go when the joint configuration in force is left.
_LEAVING = b"members_leaving"


def member_id(peer_urls: Iterable[str], token: str) -> int:
    """The id of a founding member."""
    text = "".join(sorted(peer_urls)) + token
    return int.from_bytes(hashlib.sha1(text.encode()).digest()[:8], "big")


def added_member_id(peer_urls: Iterable[str], seconds: int) -> int:
    """The id of a member that is added at that time (seconds since 1970)."""
    return member_id(peer_urls, str(seconds))


def cluster_id(member_ids: Iterable[int]) -> int:
    """The id of the cluster that these members found."""
    joined = b"".join(i.to_bytes(8, "big") for i in sorted(member_ids))
    return int.from_bytes(hashlib.sha1(joined).digest()[:8], "big")


class Cluster:
    """The members as this member has applied them; one row of the table a member."""

    def __init__(self, identity: int, tables: Tables) -> None:
        self.id = identity
        self._table = tables.table("members")
        self._gone = tables.table("members_removed")
        self._named = tables.table("meta")
        self.members: dict[int, MemberInfo] = {}
        self.removed: set[int] = set()
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
        """Read the tables again, after start or after a snapshot took their place."""
        self.members = {_id(key): MemberInfo.FromString(value) for key, value in self._table.scan()}
        self.removed = {_id(key) for key, _ in self._gone.scan()}

    def put(self, member: MemberInfo) -> None:
        """Add or change a member."""
        self._table.put(_key(member.ID), member.SerializeToString(deterministic=True))
        self.members[member.ID] = member

    def remove(self, identity: int) -> None:
        """Forget a member, and remember that it is gone for good; unknown ids are ignored."""
        if self.members.pop(identity, None) is not None:
            self._table.delete(_key(identity))
            self._gone.put(_key(identity), b"removed")
            self.removed.add(identity)

    def switch(self, members: Mapping[int, MemberInfo], leaving: Collection[int] = frozenset()) -> None:
        """Make these the members: what differs is written, who is missing is removed for good.

        leaving: who of them votes only until the joint configuration is left.
        """
        for gone in self.members.keys() - members.keys():
            self.remove(gone)
        for identity, member in members.items():
            if self.members.get(identity) != member:
                self.put(member)
        self._named.put(_CHANGED, b"1")
        self._named.put(_LEAVING, b"".join(map(_key, sorted(leaving))))

    @property
    def leaving(self) -> set[int]:
        """Who goes when the joint configuration in force is left."""
        stored = self._named.get(_LEAVING) or b""
        return {_id(stored[at : at + 8]) for at in range(0, len(stored), 8)}

    @property
    def changed(self) -> bool:
        """Whether members were added, removed or moved since the founding: start-up flags may name others then."""
        return self._named.get(_CHANGED) is not None

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

    @property
    def voters(self) -> list[MemberInfo]:
        """Every member with a vote."""
        return [m for m in self.members.values() if not m.isLearner]

    def conf_state(self) -> ConfState:
        """The configuration that the table speaks of."""
        return conf_state_of(self.members.values())


def conf_state_of(members: Iterable[MemberInfo]) -> ConfState:
    """The configuration, not a joint one, of these members."""
    everybody = sorted((m.ID, m.isLearner) for m in members)
    return ConfState(
        voters=tuple(i for i, learner in everybody if not learner),
        learners=tuple(i for i, learner in everybody if learner),
    )


def _key(identity: int) -> bytes:
    return identity.to_bytes(8, "big")


def _id(key: bytes) -> int:
    return int.from_bytes(key, "big")
