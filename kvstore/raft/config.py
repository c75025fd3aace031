"""The knobs of one Raft member.

Time is counted in ticks; how long one lasts is the owner's affair (100 ms at etcd's defaults). Chance comes in as
`randrange`, so that a seed decides a whole run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MIB = 1 << 20
PATIENCE_HEARTBEATS = 6
PATIENCE_TENTHS = 6


@dataclass(slots=True, frozen=True)
class Config:
    """Raises ValueError if the values contradict each other.

    id: this member, not 0.
    randrange: randrange(n) gives an int in [0, n); election timeouts are election_ticks + randrange(election_ticks).
    election_ticks: a follower that hears nothing for that long may campaign, a leader that hears no quorum steps down.
    heartbeat_ticks: between two heartbeats of a leader.
    max_inflight_messages, max_inflight_bytes: appends a leader sends to one follower ahead of its answers.
    max_message_bytes: entry data in one append; one entry always fits.
    max_uncommitted_bytes: entry data a leader takes on before it refuses proposals; 0: no limit.
    max_committed_bytes: entry data in Ready.committed; one entry always fits.
    pre_vote: ask before raising the term, so that a member that was cut off disturbs nobody (dissertation, 9.6).
    check_quorum: a leader that does not hear a quorum steps down, and votes are refused while a leader is heard
    (4.2.3).
    """

    id: int
    randrange: Callable[[int], int]
    election_ticks: int = 10
    heartbeat_ticks: int = 1
    max_inflight_messages: int = 256
    max_inflight_bytes: int = 64 * MIB
    max_message_bytes: int = MIB
    max_uncommitted_bytes: int = 256 * MIB
    max_committed_bytes: int = 16 * MIB
    pre_vote: bool = True
    check_quorum: bool = True

    @property
    def patience_ticks(self) -> int:
        """Ticks of silence after which a follower suspects a leader that it has always heard in time (suspicion.py)."""
        least = PATIENCE_HEARTBEATS * self.heartbeat_ticks
        return min(self.election_ticks, max(least, self.election_ticks * PATIENCE_TENTHS // 10))

    def __post_init__(self) -> None:
        if self.id <= 0:
            raise ValueError("a member's id must be greater than 0")
        if self.heartbeat_ticks <= 0:
            raise ValueError("heartbeat_ticks must be greater than 0")
        if self.election_ticks <= self.heartbeat_ticks:
            raise ValueError("election_ticks must be greater than heartbeat_ticks")
        if self.max_inflight_messages <= 0:
            raise ValueError("max_inflight_messages must be greater than 0")
