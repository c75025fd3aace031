"""The membership in force, and what is known about each member.

Invariants (checked by `Membership.check`): a member is voter or learner of the incoming half, never both; who is to
become a learner (learners_next) still votes in the outgoing half; a simple configuration has neither outgoing voters
nor learners_next.
"""

from __future__ import annotations

from dataclasses import dataclass

from kvstore.invariant import invariant
from kvstore.raft.config import Config
from kvstore.raft.progress import Inflights, Progress
from kvstore.raft.quorum import Vote, joint_index, joint_vote
from kvstore.raft.types import ConfState


@dataclass(slots=True, frozen=True)
class Membership:
    """Who votes, who only listens (Raft dissertation, 4.3)."""

    voters: frozenset[int] = frozenset()
    outgoing: frozenset[int] = frozenset()
    learners: frozenset[int] = frozenset()
    learners_next: frozenset[int] = frozenset()
    auto_leave: bool = False

    @classmethod
    def of(cls, state: ConfState) -> Membership:
        """The membership a ConfState writes down."""
        return cls(
            frozenset(state.voters),
            frozenset(state.voters_outgoing),
            frozenset(state.learners),
            frozenset(state.learners_next),
            state.auto_leave,
        )

    @property
    def conf_state(self) -> ConfState:
        """Written down, every set in order."""
        return ConfState(
            voters=tuple(sorted(self.voters)),
            learners=tuple(sorted(self.learners)),
            voters_outgoing=tuple(sorted(self.outgoing)),
            learners_next=tuple(sorted(self.learners_next)),
            auto_leave=self.auto_leave,
        )

    @property
    def joint(self) -> bool:
        """Whether a joint configuration is in force."""
        return bool(self.outgoing)

    @property
    def all_voters(self) -> frozenset[int]:
        """Voters of either half."""
        return self.voters | self.outgoing

    @property
    def members(self) -> frozenset[int]:
        """Everyone a leader sends to."""
        return self.voters | self.outgoing | self.learners

    def check(self) -> None:
        """Raise InvariantViolation unless the module's invariants hold."""
        invariant(not self.learners & self.all_voters, "a learner must not vote")
        invariant(
            self.learners_next <= self.outgoing, "who is to become a learner must still vote in the outgoing half"
        )
        invariant(not self.learners_next & self.voters, "who is to become a learner must not vote in the incoming half")
        invariant(
            self.joint or not (self.learners_next or self.auto_leave),
            "only a joint configuration has something to leave",
        )


class Tracker:
    """Membership, progress and votes. `progress` is in order of id: that makes runs repeatable."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.membership = Membership()
        self.progress: dict[int, Progress] = {}
        self.votes: dict[int, bool] = {}
        # What every append needs to know, worked out once per change of membership.
        self.peers: list[tuple[int, Progress]] = []
        # The other voters, and how many of them a commit needs; all where two halves must agree, or without our vote.
        self.others: tuple[frozenset[int], int] = (frozenset(), 0)
        # Those who vote, and those who do in the outgoing half.
        self._halves: tuple[list[Progress], list[Progress]] = ([], [])

    def switch(self, membership: Membership, last_index: int) -> None:
        """Put another membership in force; members that stay keep their progress."""
        membership.check()
        known, self.progress = self.progress, {}
        for member in sorted(membership.members):
            progress = known.get(member) or self._new(last_index + 1)
            progress.learner = member in membership.learners
            self.progress[member] = progress
        self._set(membership)

    def reset(self, last_index: int) -> None:
        """A new term: nothing is known about anybody."""
        self.votes = {}
        self.progress = {member: self._new(last_index + 1) for member in sorted(self.membership.members)}
        self._set(self.membership)

    def _new(self, next_index: int) -> Progress:
        config = self._config
        return Progress(next_index, Inflights(config.max_inflight_messages, config.max_inflight_bytes))

    def _set(self, membership: Membership) -> None:
        self.membership = membership
        for member in membership.learners:
            self.progress[member].learner = True
        own = self._config.id
        self.peers = [(member, p) for member, p in self.progress.items() if member != own]
        others = membership.all_voters - {own}
        self._halves = (
            [self.progress[voter] for voter in membership.voters],
            [self.progress[voter] for voter in membership.outgoing],
        )
        simple = own in membership.voters and not membership.joint
        self.others = (others, len(membership.voters) // 2 if simple else len(others))

    @property
    def single(self) -> bool:
        """Whether one voter decides alone."""
        return len(self.membership.voters) == 1 and not self.membership.outgoing

    def committed(self) -> int:
        """The highest index that a quorum has saved."""
        voters, outgoing = self._halves
        return joint_index([p.match for p in voters], [p.match for p in outgoing] if outgoing else ())

    def vote_result(self) -> Vote:
        """How the campaign stands."""
        return joint_vote(self.membership.voters, self.membership.outgoing, self.votes)

    def quorum_active(self) -> bool:
        """Whether a quorum was heard from since the flags were last cleared; we hear ourselves."""
        active = {m: p.recent_active or m == self._config.id for m, p in self.progress.items() if not p.learner}
        return joint_vote(self.membership.voters, self.membership.outgoing, active) is Vote.WON
