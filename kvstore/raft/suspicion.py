"""When a follower takes its leader for gone before the election timeout is over.

A leader is heard every heartbeat. Where it has always been heard in time, six heartbeats that are missing tell as much
as ten. So a follower has *patience*: six tenths of the election timeout, but six heartbeats at least. When it is at an
end the follower asks for pre-votes. It grants them a heartbeat earlier: members tick at moments of their own, and the
first of them need not wait for the last. A pre-vote takes a quorum, so a healthy leader is not disturbed by one
follower that hears nothing; one that nobody hears is replaced while it stalls, not after.

What stalls now and then must not change leaders each time. Every gap makes patience three times as long as the gap, up
to a whole election timeout, and so does a suspicion that was wrong: the same leader is heard again. Patience shrinks by
a tick for every election timeout in which the leader is heard in time. It does not count without pre-votes, whose
campaigns harm nobody. Only ticks are counted: a follower that stalls itself misses them as it misses its leader, and
suspects nobody for it.
"""

from __future__ import annotations

from kvstore.raft.state import Raft

GAP_TIMES = 3


def heard(r: Raft) -> None:
    """The leader is there, after election_elapsed ticks."""
    if r.suspected_term == r.term:
        _lose_trust(r, r.config.election_ticks)
    elif GAP_TIMES * r.election_elapsed > r.config.patience_ticks:
        _lose_trust(r, GAP_TIMES * r.election_elapsed)
    r.suspected_term = 0


def _lose_trust(r: Raft, ticks: int) -> None:
    r.calm_ticks = 0
    r.patience = max(r.patience, min(ticks, r.config.election_ticks))


def tick(r: Raft) -> None:
    """A tick of a follower has passed."""
    if not r.leader or GAP_TIMES * r.election_elapsed > r.config.patience_ticks:
        return
    r.calm_ticks += 1
    if r.calm_ticks >= r.config.election_ticks:
        r.calm_ticks = 0
        r.patience = max(r.patience - 1, r.config.patience_ticks)


def at_an_end(r: Raft) -> bool:
    """Whether the leader has been silent for too long."""
    if not r.leader or not r.config.pre_vote or r.election_elapsed < r.patience:
        return False
    r.suspected_term = r.term
    return True
