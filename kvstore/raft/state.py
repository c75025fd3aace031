"""The state of one Raft member, and the few things every part of the algorithm does with it.

What each kind of message does is in the modules named after the subject (election, replication, following, reads,
transfer, membership); step.py chooses among them. All of them change this one object and nothing else.

Faults assumed: messages may be lost, repeated, delayed and reordered; members stop and come back with what they had
saved. Not assumed: members that lie, and disks that lose what they had confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass

from kvstore.invariant import invariant
from kvstore.raft.config import Config
from kvstore.raft.log import RaftLog
from kvstore.raft.storage import LogStorage
from kvstore.raft.tracker import Membership, Tracker
from kvstore.raft.types import ConfState, Message, MessageKind, ReadState, Role

# Promises about what is on this member's disk, and requests for votes: a member that forgot in a crash which term it
# campaigned in, or with which log, could count old answers to itself for a log it no longer has.
AFTER_SAVE = frozenset((MessageKind.APPEND_REPLY, MessageKind.VOTE, MessageKind.VOTE_REPLY))
# Passed on for clients: good in whatever term they arrive.
WITHOUT_TERM = frozenset((MessageKind.PROPOSE, MessageKind.READ_INDEX))
# A voter whose leader's connection broke tries so often again before it waits for whole timeouts.
HASTY_CAMPAIGNS = 2
# The first time after so many heartbeats: after the best candidate has had its time (election.py).
HASTY_HEARTBEATS = 3


@dataclass(slots=True)
class HeldRead:
    """A read that waits for its round: who asked (0: this member), with what, and the commit index it has to see."""

    from_: int
    context: bytes
    index: int
    round: int


class Raft:
    """Invariants: term and commit never fall; a vote stays for its term; only a leader has a transferee."""

    def __init__(self, config: Config, storage: LogStorage, applied: int, conf_state: ConfState | None = None) -> None:
        hard, at_snapshot = storage.initial_state()
        conf_state = at_snapshot if conf_state is None else conf_state
        self.config = config
        self.id = config.id
        self.term = hard.term
        self.vote = hard.vote
        self.saved_commit = hard.commit  # the commit index that a restart would find
        self.last_change_index = 0  # the last change of membership that was handed out to be applied
        self.log = RaftLog(storage, hard.commit, applied)
        self.tracker = Tracker(config)
        self.tracker.switch(Membership.of(conf_state), self.log.last_index)

        self.role = Role.FOLLOWER
        self.leader = 0
        self.transferee = 0
        # Ticks since: a follower heard its leader or a candidate campaigned; a leader last checked its quorum.
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = 0
        # The best candidate that asked for a pre-vote just now (last term, last index, id), and for how long it counts.
        self.favourite: tuple[int, int, int] | None = None
        self.favourite_ticks = 0
        # Campaigns that follow one upon the other before a whole timeout does: the leader's connection broke.
        self.haste = 0
        # So many ticks of silence make a follower suspect its leader, for so many it was heard in time, and the term
        # whose leader was suspected (suspicion.py).
        self.patience = config.patience_ticks
        self.calm_ticks = 0
        self.suspected_term = 0
        # The leader asked this member to take over, and it has changes of membership to apply first.
        self.campaign_postponed = False

        # Leader only.
        self.uncommitted_bytes = 0
        self.pending_conf_index = 0  # no further change of membership before this index is applied
        self.leaving_index = 0  # where the change stands that takes away our own vote
        self.first_own = 0  # the first entry of our own term: those behind it are, too
        self.appends_due = False  # something may have to be sent to followers
        self.asked: frozenset[int] | None = None  # who is written to at once; None: everybody
        self.read_round = 0
        self.read_round_sent = 0
        self.read_acks: dict[int, int] = {}
        self.held_reads: list[HeldRead] = []

        # Out, collected by the next Ready.
        self.messages: list[Message] = []
        self.messages_after_save: list[Message] = []
        self.read_states: list[ReadState] = []

        invariant(self.log.last_term <= self.term, "the log holds an entry of a term that was never saved as ours")
        self.reset(self.term)

    @property
    def promotable(self) -> bool:
        """Whether this member may campaign: it votes, and it is not about to replace its log by a snapshot."""
        return self.id in self.tracker.membership.all_voters and self.log.snapshot is None

    @property
    def takes_proposals(self) -> bool:
        """Whether a leader is there to stay, as far as it knows."""
        return not self.transferee and not self.leaving_index

    @property
    def hears_leader(self) -> bool:
        """Whether votes are refused because the leader was heard lately (4.2.3).

        A leader hears its followers within an election timeout, a follower its leader within its patience: less a
        heartbeat where that is short (suspicion.py).
        """
        limit = self.config.election_ticks if self.role is Role.LEADER else self.patience
        if limit < self.config.election_ticks:
            limit -= self.config.heartbeat_ticks
        return self.config.check_quorum and self.leader != 0 and self.election_elapsed < limit

    @property
    def committed_in_term(self) -> bool:
        """Whether a leader's commit index is known to cover everything committed before its term (Raft paper, 8)."""
        return self.log.committed >= self.first_own

    def send(self, message: Message) -> None:
        """Put a message into the next Ready, with sender and, unless it has one, term."""
        message.from_ = self.id
        if message.term == 0 and message.kind not in WITHOUT_TERM:
            message.term = self.term
        if message.kind in AFTER_SAVE:
            self.messages_after_save.append(message)
        else:
            self.messages.append(message)

    def reset(self, term: int) -> None:
        """Forget everything that belongs to a role; with a new term also the vote."""
        if term != self.term:
            invariant(term > self.term, "a term never falls")
            self.term = term
            self.vote = 0
        self.leader = 0
        self.transferee = 0
        self.campaign_postponed = False
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self._draw_timeout()
        self.tracker.reset(self.log.last_index)
        self.uncommitted_bytes = 0
        self.pending_conf_index = self.leaving_index = 0
        self.appends_due = False
        self.asked = None
        self.read_round = self.read_round_sent = 0
        self.read_acks = {}
        self.held_reads = []

    def _draw_timeout(self) -> None:
        ticks = self.config.election_ticks
        if self.haste:
            ticks = min(ticks, HASTY_HEARTBEATS * self.config.heartbeat_ticks << HASTY_CAMPAIGNS - self.haste)
        self.election_timeout = ticks + self.config.randrange(ticks)

    def calm_down(self) -> None:
        """There is a leader again: from now on only a whole timeout makes this member campaign."""
        self.haste = 0
        self._draw_timeout()

    def become_follower(self, term: int, leader: int) -> None:
        """Follow `leader`, 0 if it is not known yet."""
        self.reset(term)
        self.role = Role.FOLLOWER
        self.leader = leader

    def become_pre_candidate(self) -> None:
        """Ask whether a campaign could be won. Neither term nor vote change."""
        invariant(self.role is not Role.LEADER, "a leader does not campaign")
        self.role = Role.PRE_CANDIDATE
        self.leader = 0
        self.tracker.votes = {}
        self.election_elapsed = 0
        self._draw_timeout()

    def stand_back(self) -> None:
        """Let a better candidate win; it has this one's timeout for it."""
        self.role = Role.FOLLOWER

    def become_candidate(self) -> None:
        """Campaign in a new term, with a vote for oneself that counts once it is saved."""
        invariant(self.role is not Role.LEADER, "a leader does not campaign")
        self.reset(self.term + 1)
        self.role = Role.CANDIDATE
        self.vote = self.id
