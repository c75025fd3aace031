"""What the passing of time does (Raft paper, 5.2; dissertation, 6.2 for check-quorum)."""

from __future__ import annotations

from kvstore.raft import election, replication, suspicion
from kvstore.raft.state import Raft
from kvstore.raft.types import Role


def tick(r: Raft) -> None:
    """One tick has passed."""
    r.election_elapsed += 1
    election.forget_favourite(r)
    if r.role is Role.LEADER:
        _tick_leader(r)
        return
    suspicion.tick(r)
    if suspicion.at_an_end(r) or r.election_elapsed >= r.election_timeout:
        r.election_elapsed = 0
        r.haste = max(0, r.haste - 1)
        r.leader = 0  # also for who must not campaign: what it passes on would be lost
        election.campaign(r)


def _tick_leader(r: Raft) -> None:
    if r.election_elapsed >= r.config.election_ticks:
        r.election_elapsed = 0
        _check_quorum(r)
        r.transferee = 0  # it had its time
    if r.role is not Role.LEADER:
        return
    r.heartbeat_elapsed += 1
    if r.heartbeat_elapsed >= r.config.heartbeat_ticks:
        r.heartbeat_elapsed = 0
        replication.heartbeat(r)


def _check_quorum(r: Raft) -> None:
    """A leader that heard no quorum for so long may be deposed: its clients should look for another."""
    if r.config.check_quorum and not r.tracker.quorum_active():
        r.become_follower(r.term, 0)
        return
    for _, progress in r.tracker.peers:
        progress.recent_active = False
