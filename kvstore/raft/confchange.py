"""Changes of membership as functions from one membership to the next (Raft dissertation, 4.1 and 4.3).

A simple change moves at most one voter; anything bigger goes through a joint configuration: enter_joint, then
leave_joint. Each function raises ConfChangeError instead of giving a membership that could not elect or commit safely.
"""

from __future__ import annotations

from dataclasses import replace

from kvstore.invariant import invariant
from kvstore.raft.tracker import Membership
from kvstore.raft.types import ConfChange, ConfChangeKind, ConfChangeSingle, Transition


class ConfChangeError(Exception):
    """The change does not fit the membership in force."""


def leaves_joint(change: ConfChange) -> bool:
    """Whether the change is the empty one."""
    return not change.changes


def enters_joint(change: ConfChange) -> bool:
    """Whether the change goes through a joint configuration."""
    return change.transition is not Transition.AUTO or len(change.changes) > 1


def apply(membership: Membership, change: ConfChange) -> Membership:
    """The membership after the change. Raises ConfChangeError."""
    if leaves_joint(change):
        return leave_joint(membership)
    if enters_joint(change):
        return enter_joint(membership, change)
    return simple(membership, change)


def simple(membership: Membership, change: ConfChange) -> Membership:
    """Change at most one voter, at once. Raises ConfChangeError."""
    if membership.joint:
        raise ConfChangeError("a joint configuration must be left before the next change")
    after = _changed(membership, change)
    invariant(len(membership.voters ^ after.voters) <= 1, "more than one voter changes only jointly")
    return after


def enter_joint(membership: Membership, change: ConfChange) -> Membership:
    """From now on both the old and the new voters have to agree. Raises ConfChangeError."""
    if membership.joint:
        raise ConfChangeError("a joint configuration must be left before the next change")
    if not membership.voters:
        raise ConfChangeError("a cluster without voters cannot change its membership jointly")
    before = replace(membership, outgoing=membership.voters)
    return replace(_changed(before, change), auto_leave=change.transition is not Transition.JOINT_EXPLICIT)


def leave_joint(membership: Membership) -> Membership:
    """Only the new voters decide; who was to become a learner becomes one. Raises ConfChangeError."""
    if not membership.joint:
        raise ConfChangeError("there is no joint configuration to leave")
    return Membership(voters=membership.voters, learners=membership.learners | membership.learners_next)


def _changed(membership: Membership, change: ConfChange) -> Membership:
    for single in change.changes:
        if single.member_id > 0:
            membership = _STEPS[single.kind](membership, single)
    if not membership.voters:
        raise ConfChangeError("the last voter cannot be removed")
    membership.check()
    return membership


def _add_voter(membership: Membership, change: ConfChangeSingle) -> Membership:
    member = frozenset((change.member_id,))
    return replace(
        membership,
        voters=membership.voters | member,
        learners=membership.learners - member,
        learners_next=membership.learners_next - member,
    )


def _add_learner(membership: Membership, change: ConfChangeSingle) -> Membership:
    member = frozenset((change.member_id,))
    without = _remove(membership, change)
    if member <= without.outgoing:  # it votes there until the joint configuration is left
        return replace(without, learners_next=without.learners_next | member)
    return replace(without, learners=without.learners | member)


def _remove(membership: Membership, change: ConfChangeSingle) -> Membership:
    member = frozenset((change.member_id,))
    return replace(
        membership,
        voters=membership.voters - member,
        learners=membership.learners - member,
        learners_next=membership.learners_next - member,
    )


_STEPS = {
    ConfChangeKind.ADD_VOTER: _add_voter,
    ConfChangeKind.ADD_LEARNER: _add_learner,
    ConfChangeKind.REMOVE: _remove,
}
