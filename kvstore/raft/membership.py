"""Changes of membership as entries of the log (Raft dissertation, 4).

At most one change is under way: a leader proposes the next only after it has applied the last, so that it knows what
it changes. A change takes effect when it is applied, not when it is appended; hence a member does not campaign while
it has an unapplied one, or it could count votes of a majority that is none any more.
"""

from __future__ import annotations

from kvstore.raft import confchange, reads, replication, transfer
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
    if r.transferee or r.pending_conf_index > r.log.applied or not _fits(r.tracker.membership, change):
        return False
    r.pending_conf_index = replication.append(r, EntryKind.CONF_CHANGE, data)
    return True


def _fits(membership: Membership, change: ConfChange) -> bool:
    try:
        confchange.apply(membership, change)
    except confchange.ConfChangeError:
        return False
    return True


def apply(r: Raft, change: ConfChange) -> ConfState:
    """A committed change takes effect; the membership after it.

    One that does not fit is without effect: after a restart, entries may be applied again to a membership that has
    them.
    """
    try:
        after = confchange.apply(r.tracker.membership, change)
    except confchange.ConfChangeError:
        return r.tracker.membership.conf_state
    r.tracker.switch(after, r.log.last_index)
    if r.role is Role.LEADER:
        _lead_on(r)
    return after.conf_state


def _lead_on(r: Raft) -> None:
    """A leader's membership changed: quorums may be smaller now, there may be new followers, it may be out itself."""
    if r.transferee not in r.tracker.membership.voters:
        r.transferee = 0
    replication.advance_commit(r)
    reads.confirm(r)
    r.appends_due = True
    if r.id not in r.tracker.membership.all_voters:
        _step_down(r)


def _step_down(r: Raft) -> None:
    """Who does not vote does not lead. Tell the others that the change is committed, and let the best of them take
    over.
    """
    replication.flush(r)
    best = max(sorted(r.tracker.membership.voters), key=lambda voter: r.tracker.progress[voter].match)
    transfer.hand_over(r, best)
    r.become_follower(r.term, 0)


def leave_when_due(r: Raft) -> None:
    """A joint configuration that is to be left by itself is left once it is applied."""
    membership = r.tracker.membership
    if r.role is Role.LEADER and membership.auto_leave and not r.transferee and r.pending_conf_index <= r.log.applied:
        r.pending_conf_index = replication.append(r, EntryKind.CONF_CHANGE, b"")
