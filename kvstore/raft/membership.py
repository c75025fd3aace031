"""Changes of membership as entries of the log (Raft dissertation, 4).

At most one change is under way: a leader proposes the next only after it has applied the last, so that it knows what
it changes. A change takes effect when it is applied, not when it is appended; hence a member does not campaign while
it has an unapplied one, or it could count votes of a majority that is none any more.
"""

from __future__ import annotations

from kvstore.raft import confchange, reads, replication
from kvstore.raft.state import Raft
from kvstore.raft.tracker import Membership
from kvstore.raft.types import ConfChange, ConfState, EntryKind, Role

PAGE_BYTES = 1 << 20


def unapplied_change(r: Raft) -> bool:
    """Whether a committed change of membership is still to be applied here."""
    lo, end = r.log.applied + 1, r.log.committed + 1
    while lo < end:
        page = r.log.slice(lo, end, PAGE_BYTES)
        if any(entry.kind == EntryKind.CONF_CHANGE for entry in page):
            return True
        lo = page[-1].index + 1
    return False


def propose(r: Raft, change: ConfChange, data: bytes) -> bool:
    """A leader takes on a change, `data` being its encoding. False if it is not the time for it or it does not fit."""
    after = _after(r.tracker.membership, change)
    if after is None or not r.takes_proposals or r.pending_conf_index > r.log.applied:
        return False
    _append(r, data, after)
    return True


def _append(r: Raft, data: bytes, after: Membership) -> None:
    r.pending_conf_index = replication.append(r, EntryKind.CONF_CHANGE, data)
    if r.id not in after.all_voters:
        # Nothing comes behind it: with a longer log than those who remain, this member could not vote for them.
        r.leaving_index = r.pending_conf_index


def _after(membership: Membership, change: ConfChange) -> Membership | None:
    try:
        return confchange.apply(membership, change)
    except confchange.ConfChangeError:
        return None


def apply(r: Raft, change: ConfChange) -> ConfState:
    """A committed change takes effect; the membership after it.

    One that does not fit is without effect: after a restart, it may come again to a membership that has it.
    """
    after = _after(r.tracker.membership, change)
    if after is None:
        return r.tracker.membership.conf_state
    r.tracker.switch(after, r.log.last_index)
    if r.role is Role.LEADER:
        _lead_on(r)
    elif r.role in (Role.PRE_CANDIDATE, Role.CANDIDATE) and r.id not in after.all_voters:
        r.become_follower(r.term, 0)  # it campaigns for an office that it may not hold
    return after.conf_state


def _lead_on(r: Raft) -> None:
    """A leader's membership changed: quorums may be smaller now, there may be new followers, it may be out itself."""
    if r.transferee not in r.tracker.membership.voters:
        r.transferee = 0
    replication.advance_commit(r)
    reads.confirm(r)
    r.appends_due = True
    if r.id not in r.tracker.membership.all_voters:
        r.leaving_index = r.leaving_index or r.last_change_index
        replication.heartbeat(r)


def on_applied(r: Raft) -> None:
    """More was applied: a joint configuration that is to be left by itself is left once it is itself applied."""
    if r.role is not Role.LEADER or r.pending_conf_index > r.log.applied:
        return
    membership = r.tracker.membership
    if r.leaving_index and r.id in membership.all_voters:
        r.leaving_index = 0  # the owner has rejected the change
    if membership.auto_leave and r.takes_proposals:
        _append(r, b"", confchange.leave_joint(membership))
