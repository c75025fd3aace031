"""A picture of one member, for people and metrics."""

from __future__ import annotations

from kvstore.raft.progress import Progress
from kvstore.raft.state import Raft
from kvstore.raft.types import PeerStatus, Role, Status


def status_of(r: Raft) -> Status:
    """How the member stands; a leader's status shows its followers."""
    return Status(
        id=r.id,
        term=r.term,
        vote=r.vote,
        leader=r.leader,
        role=r.role,
        commit=r.log.committed,
        applied=r.log.applied,
        last_index=r.log.last_index,
        transferee=r.transferee,
        conf_state=r.tracker.membership.conf_state,
        progress={m: _peer(r, m, p) for m, p in r.tracker.progress.items()} if r.role is Role.LEADER else {},
    )


def _peer(r: Raft, member: int, progress: Progress) -> PeerStatus:
    own = member == r.id
    return PeerStatus(
        match=progress.match,
        next=progress.next,
        state=progress.state.value,
        recent_active=own or progress.recent_active,
        learner=progress.learner,
        paused=not own and progress.paused,
        pending_snapshot=progress.pending_snapshot,
    )
