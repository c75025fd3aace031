"""Strict reconfiguration: a change of membership that could cost the cluster its quorum is refused before it is made.

Pure: from the table of members and for how long each peer has been connected. Raft itself would take such a change;
the cluster would only find out afterwards that nothing commits any more. `--strict-reconfig-check=false` does without.

Source: etcd's server/etcdserver (mayAddMember, mayRemoveMember, mayPromoteMember) and its membership package.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvstore.errors import error
from kvstore.member.cluster import Cluster
from kvstore.pb.etcd_pb2 import Member as MemberInfo

# A peer counts as healthy once it has been connected for so long.
HEALTHY_SECONDS = 5.0
# The part of the leader's log that a learner must have before it gets a vote.
READY_PART = 0.9


class Health:
    """How this member sees the others."""

    def __init__(self, own_id: int, connected: Mapping[int, float]) -> None:
        """connected: for how many seconds each peer that can be reached has been connected."""
        self._own_id = own_id
        self._connected = connected

    def healthy(self, identity: int) -> bool:
        """Whether the member has been there for a while; this one itself always."""
        return identity == self._own_id or self._connected.get(identity, 0.0) >= HEALTHY_SECONDS

    def down(self, identity: int) -> bool:
        """Whether another member cannot be reached now."""
        return identity != self._own_id and identity not in self._connected


def check_add(cluster: Cluster, health: Health, member: MemberInfo) -> None:
    """Raises MEMBER_NOT_ENOUGH_STARTED, UNHEALTHY."""
    voters = cluster.voters
    alone = len(voters) == 1 and _started(voters) == 1
    # One member that runs may always get a second: that is how a cluster grows from one.
    if not member.isLearner and not alone:
        _check_started(_started(voters), len(voters) + 1)
    if not all(health.healthy(voter.ID) for voter in voters):
        raise error("UNHEALTHY")


def check_remove(cluster: Cluster, health: Health, identity: int) -> None:
    """Raises MEMBER_NOT_ENOUGH_STARTED, UNHEALTHY."""
    leaving = cluster.members.get(identity)
    if leaving is not None and leaving.isLearner:
        return
    voters = cluster.voters
    rest = [voter for voter in voters if identity != voter.ID]
    _check_started(_started(rest), len(rest))
    if health.down(identity):
        return  # it is not what keeps the quorum
    active = sum(health.healthy(voter.ID) for voter in voters)
    if active - 1 < 1 + (len(voters) - 1) // 2:
        raise error("UNHEALTHY")


def check_promote(cluster: Cluster) -> None:
    """Raises MEMBER_NOT_ENOUGH_STARTED."""
    voters = cluster.voters
    _check_started(_started(voters) + 1, len(voters) + 1)


def check_caught_up(match: int, leader_match: int) -> None:
    """A learner has `match` of the leader's entries. Raises LEARNER_NOT_READY."""
    if match < leader_match * READY_PART:
        raise error("LEARNER_NOT_READY")


def _started(members: list[MemberInfo]) -> int:
    """How many have published their name, and so have run."""
    return sum(bool(member.name) for member in members)


def _check_started(started: int, members: int) -> None:
    if started < members // 2 + 1:
        raise error("MEMBER_NOT_ENOUGH_STARTED")
