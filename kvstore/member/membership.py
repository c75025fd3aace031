"""What changes of membership do to the table of members, and when they are refused.

Pure: from the members and the requests of one change to the members after it, or an error; every member comes to the
same end at the same entry. Who asks for a change looks at more than that first (reconfigure.py).

    MEMBER_ADD     u32 the most learners that may be | Member     the limit travels along: members may run with others
    MEMBER_REMOVE  Member, of which only the id counts
    MEMBER_PROMOTE Member, of which only the id counts
    MEMBER_UPDATE  Member: id and peer URLs; an ordinary request, for Raft knows no addresses

Source: etcd's server/etcdserver/api/membership, ValidateConfigurationChange.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterable, Mapping

from kvstore.errors import error
from kvstore.member.cluster import Cluster
from kvstore.member.requests import BatchError, RequestKind
from kvstore.pb.etcd_pb2 import Member as MemberInfo
from kvstore.raft.types import ConfChangeKind, ConfChangeSingle

Members = dict[int, MemberInfo]

_LIMIT = struct.Struct("<I")


def encode_add(member: MemberInfo, max_learners: int) -> bytes:
    """The body of a MEMBER_ADD."""
    return _LIMIT.pack(max_learners) + member.SerializeToString()


def encode_id(identity: int) -> bytes:
    """The body of a MEMBER_REMOVE or MEMBER_PROMOTE."""
    return MemberInfo(ID=identity).SerializeToString()


def raft_change(kind: int, body: bytes) -> ConfChangeSingle:
    """What a request is to Raft."""
    if kind == RequestKind.MEMBER_ADD:
        member, _ = _decode_add(body)
        what = ConfChangeKind.ADD_LEARNER if member.isLearner else ConfChangeKind.ADD_VOTER
        return ConfChangeSingle(what, member.ID)
    identity = MemberInfo.FromString(body).ID
    if kind == RequestKind.MEMBER_REMOVE:
        return ConfChangeSingle(ConfChangeKind.REMOVE, identity)
    return ConfChangeSingle(ConfChangeKind.ADD_VOTER, identity)


def members_after(cluster: Cluster, requests: Iterable[tuple[int, bytes]]) -> Members:
    """The members once all requests of one change are applied.

    Raises MEMBER_NOT_FOUND, MEMBER_EXISTS, PEER_URL_EXISTS, TOO_MANY_LEARNERS, MEMBER_NOT_LEARNER,
    MEMBER_NOT_ENOUGH_STARTED (nobody could vote any more); then nothing of the change is to be applied.
    """
    members = dict(cluster.members)
    for kind, body in requests:
        step = _STEPS.get(kind)
        if step is None:
            raise BatchError(f"a change of membership holds a request of kind {kind}")
        step(members, cluster.removed, body)
    if all(member.isLearner for member in members.values()):
        raise error("MEMBER_NOT_ENOUGH_STARTED")
    return members


def members_updated(cluster: Cluster, update: MemberInfo) -> Members:
    """The members once one has other peer URLs. Raises MEMBER_NOT_FOUND, PEER_URL_EXISTS."""
    members = dict(cluster.members)
    known = _known(members, cluster.removed, update.ID)
    _check_urls(members, update)
    after = _copy(known)
    del after.peerURLs[:]
    after.peerURLs.extend(update.peerURLs)
    members[update.ID] = after
    return members


def _add(members: Members, removed: Container[int], body: bytes) -> None:
    member, max_learners = _decode_add(body)
    if member.ID in removed:
        raise error("MEMBER_NOT_FOUND")
    if member.ID in members:
        raise error("MEMBER_EXISTS")
    _check_urls(members, member)
    if member.isLearner and sum(m.isLearner for m in members.values()) >= max_learners:
        raise error("TOO_MANY_LEARNERS")
    members[member.ID] = member


def _remove(members: Members, removed: Container[int], body: bytes) -> None:
    del members[_known(members, removed, MemberInfo.FromString(body).ID).ID]


def _promote(members: Members, removed: Container[int], body: bytes) -> None:
    known = _known(members, removed, MemberInfo.FromString(body).ID)
    if not known.isLearner:
        raise error("MEMBER_NOT_LEARNER")
    after = _copy(known)
    after.isLearner = False
    members[known.ID] = after


_STEPS: Mapping[int, Callable[[Members, Container[int], bytes], None]] = {
    RequestKind.MEMBER_ADD: _add,
    RequestKind.MEMBER_REMOVE: _remove,
    RequestKind.MEMBER_PROMOTE: _promote,
}


def _decode_add(body: bytes) -> tuple[MemberInfo, int]:
    if len(body) < _LIMIT.size:
        raise BatchError("a request to add a member is cut")
    return MemberInfo.FromString(body[_LIMIT.size :]), _LIMIT.unpack_from(body)[0]


def _known(members: Members, removed: Container[int], identity: int) -> MemberInfo:
    if identity in removed or identity not in members:
        raise error("MEMBER_NOT_FOUND")
    return members[identity]


def _check_urls(members: Members, member: MemberInfo) -> None:
    """No other member may be at one of its peer URLs."""
    taken = {url for other in members.values() if other.ID != member.ID for url in other.peerURLs}
    if not taken.isdisjoint(member.peerURLs):
        raise error("PEER_URL_EXISTS")


def _copy(member: MemberInfo) -> MemberInfo:
    after = MemberInfo()
    after.CopyFrom(member)
    return after
