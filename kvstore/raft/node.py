"""One Raft member for its owner: messages, ticks and requests in, Readys out. Same input, same output.

The owner takes each Ready and, in this order: appends `entries` and `hard_state` to its log; sends `messages`; applies
`committed` and calls `applied`; and, once what it appended is behind fdatasync, calls `saved` and sends
`messages_after_save`. It need not wait for one before it takes the next: ready() hands out only what is new.
saved(n) also stands for every Ready before n.
"""

from __future__ import annotations

from collections import deque

from kvstore.invariant import InvariantViolation
from kvstore.raft import codec, election, membership, reads, replication, transfer
from kvstore.raft import step as stepping
from kvstore.raft import ticks as ticking
from kvstore.raft.config import Config
from kvstore.raft.state import Raft
from kvstore.raft.status import status_of
from kvstore.raft.storage import LogStorage
from kvstore.raft.tracker import Membership
from kvstore.raft.types import (
    CANDIDATE,
    CONF_CHANGE,
    LEADER,
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    ReadState,
    Ready,
    Role,
    SnapshotMeta,
    SoftState,
    Status,
)


class RawNode:
    """A member of a Raft group. Not thread-safe; nothing in it blocks."""

    def __init__(self, config: Config, log: LogStorage, applied: int = 0, conf_state: ConfState | None = None) -> None:
        """applied: what the state machine has applied already. conf_state: the membership as of there.

        Without one it is log.initial_state()'s, which is right where nothing was applied behind the log's snapshot.

        Raises InvariantViolation if the log contradicts itself.
        """
        self._raft = Raft(config, log, applied, conf_state)
        self._hard = log.initial_state()[0]
        self._soft = SoftState(0, Role.FOLLOWER)
        self._number = 0
        self._saved = 0
        # Hard states on their way to the disk, by their Ready's number.
        self._hard_writes: deque[tuple[int, HardState]] = deque()

    # ---- in ----

    def step(self, message: Message) -> None:
        """A message from another member."""
        stepping.step(self._raft, message)

    def tick(self) -> None:
        """A tick of the clock has passed."""
        ticking.tick(self._raft)

    def propose(self, data: bytes) -> bool:
        """Propose an entry; a follower passes it on. False if it was dropped: no leader, one that is
        leaving, or too much uncommitted.

        True promises nothing yet: the entry is accepted when it comes back in Ready.committed.
        """
        r = self._raft
        if r.role is not LEADER:
            return self._forward(EntryKind.NORMAL, data)
        if not r.takes_proposals or not replication.take_on(r, len(data)):
            return False
        replication.append(r, EntryKind.NORMAL, data)
        return True

    def propose_conf_change(self, change: ConfChange) -> bool:
        """Propose a change of membership. False if it was dropped: as in `propose`, or another is under way, or it
        does not fit.

        A follower passes it on; if the leader drops it then, nobody is told.
        """
        r = self._raft
        data = codec.encode_conf_change(change)
        if r.role is LEADER:
            return membership.propose(r, change, data)
        return self._forward(EntryKind.CONF_CHANGE, data)

    def _forward(self, kind: EntryKind, data: bytes) -> bool:
        r = self._raft
        if not r.leader:
            return False
        r.send(Message(MessageKind.PROPOSE, to=r.leader, entries=[Entry(0, 0, kind, data)]))
        return True

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """A committed change takes effect: to be called when its entry is applied. The membership after it.

        An owner that rejects a change does not call it. One that does not fit the membership is without effect.
        """
        return membership.apply(self._raft, change)

    def read_index(self, context: bytes) -> bool:
        """Ask for an index that a linearizable read has to wait for; it comes as a ReadState with the same context.

        False if there is no leader to ask. The answer may be lost with a message or a leader: ask again then.
        """
        r = self._raft
        if r.role is LEADER:
            reads.request(r, r.id, context)
        elif r.leader:
            r.send(Message(MessageKind.READ_INDEX, to=r.leader, context=context))
        else:
            return False
        return True

    def transfer_leader(self, transferee: int) -> None:
        """Ask the leader, wherever it is, to hand over to a voter. Watch soft_state for the outcome."""
        r = self._raft
        if r.role is LEADER:
            transfer.request(r, transferee)
        elif r.leader:
            r.send(Message(MessageKind.TRANSFER_LEADER, to=r.leader, index=transferee))

    def campaign(self) -> bool:
        """Campaign now. False if this member leads already or must not."""
        return election.campaign(self._raft)

    def peer_lost(self, peer: int) -> None:
        """The connection to a peer broke, on either side. A voter that lost its leader asks for pre-votes now."""
        election.on_peer_lost(self._raft, peer)

    def peer_connected(self, peer: int) -> None:
        """A connection to a peer was made: a leader says that it leads, instead of with the next heartbeat only."""
        replication.greet(self._raft, peer)

    def report_unreachable(self, peer: int) -> None:
        """A message to a peer could not be delivered."""
        replication.on_unreachable(self._raft, peer)

    def report_snapshot(self, peer: int, ok: bool) -> None:
        """Sending a snapshot to a peer ended."""
        replication.on_snapshot_report(self._raft, peer, ok)

    # ---- out ----

    def has_ready(self) -> bool:
        """Whether ready() has something to hand out. Hot: asked more often than there is, so all in one."""
        r, log = self._raft, self._raft.log
        if r.role is LEADER and (r.appends_due or r.read_round > r.read_round_sent):
            self._flush()
        if r.messages or r.messages_after_save or r.read_states or log.handed < log.last_index:
            return True
        if log.applying < log.committed and log.applicable > log.applying:
            return True
        if log.snapshot is not None and log.has_unwritten:
            return True
        hard, soft = self._hard, self._soft
        return (
            log.committed != hard.commit
            or r.term != hard.term
            or r.vote != hard.vote
            or soft.leader != r.leader
            or soft.role is not r.role
        )

    def has_news(self) -> bool:
        """Whether has_ready() is worth asking; a leader's messages are not made yet, so that more may go with them."""
        r = self._raft
        return r.appends_due or r.read_round > r.read_round_sent or self.has_ready()

    def ready(self) -> Ready:
        """What the owner has to do now, each thing once."""
        r = self._raft
        if r.role is LEADER:
            self._flush()
        self._number += 1
        voted = r.term != self._hard.term or r.vote != self._hard.vote
        entries, snapshot = r.log.hand_out(self._number)
        if snapshot is not None:
            # Not sooner: until now the owner may have applied what was committed before.
            r.tracker.switch(Membership.of(snapshot.conf_state), r.log.last_index)
        committed = r.log.take_committed(r.config.max_committed_bytes)
        changed = bool(committed) and self._note_committed(committed)
        ready = Ready(
            self._number,
            self.take_news(),
            self._take_hard(r.log.committed if snapshot is None else min(r.log.committed, snapshot.index)),
            voted or changed or bool(entries) or snapshot is not None,  # must_sync
            entries,
            snapshot,
            r.log.snapshot_message if snapshot is not None else None,
            r.messages,
            r.messages_after_save,
            committed,
            r.read_states,
        )
        if ready.must_sync:
            self._hard_writes.append((self._number, self._hard))
        r.messages, r.messages_after_save, r.read_states = [], [], []
        return ready

    def take_news(self) -> SoftState | None:
        """`soft_state` of the next Ready, which then comes without it; for an owner that takes no Ready for long."""
        changed = self._soft.leader != self._raft.leader or self._soft.role is not self._raft.role
        return self._take_soft() if changed else None

    def ask(self, peers: frozenset[int] | None) -> None:
        """Whom a leader's messages to store entries, or to learn what is committed, are made for from here on.

        The others get them when they are asked (again), all in one message, or when they lack too much; and all do in
        a new term, until this is called. None: everybody.
        """
        r = self._raft
        if r.role is LEADER:
            r.appends_due = r.appends_due or peers is None
            r.asked = peers

    def take_messages(self) -> list[Message]:
        """`messages` of the next Ready, which then comes without them; none if that has a soft state to tell first."""
        r, soft = self._raft, self._soft
        if soft.leader != r.leader or soft.role is not r.role:
            return []
        if r.role is LEADER:
            self._flush()
        messages, r.messages = r.messages, []
        return messages

    def take_ahead(self) -> tuple[list[Entry], list[ReadState]]:
        """A leader's `committed` and `read_states` of the next Ready, which then comes without them.

        For an owner who would do nothing before these, so that they need not wait for the messages of that Ready.
        Nothing while there may be changes of membership among them: they are to come with a commit index to be saved.
        """
        r = self._raft
        if r.role is not LEADER or r.pending_conf_index > r.log.applied:
            return [], []
        committed = r.log.take_committed(r.config.max_committed_bytes)
        if committed:
            replication.on_committed(r, committed)
        states, r.read_states = r.read_states, []
        return committed, states

    def _note_committed(self, committed: list[Entry]) -> bool:
        """Entries are handed out to be applied. Whether there are changes of membership among them.

        Then the commit index goes to the disk at once: a member that forgot that a change is committed might wait for
        votes of members that are gone.
        """
        replication.on_committed(self._raft, committed)
        changed = False
        for entry in committed:  # mostly one: no frame for it
            if entry.kind == CONF_CHANGE:
                self._raft.last_change_index = entry.index
                changed = True
        return changed

    def _flush(self) -> None:
        """What a leader has to say goes among the messages."""
        r = self._raft
        if r.appends_due:
            replication.flush(r)
        if r.read_round > r.read_round_sent:  # a round of reads has begun
            replication.heartbeat(r)

    def _take_hard(self, commit: int) -> HardState | None:
        """commit: no more than is in the log once this Ready is, or the log would not open again."""
        r, hard = self._raft, self._hard
        if commit == hard.commit and r.term == hard.term and r.vote == hard.vote:
            return None
        self._hard = HardState(r.term, r.vote, commit)
        return self._hard

    def _take_soft(self) -> SoftState:
        self._soft = SoftState(self._raft.leader, self._raft.role)
        return self._soft

    def saved(self, ready: Ready) -> None:
        """What was handed out in this Ready, and in those before it, is on disk (a snapshot: installed).

        For a Ready that a later one stood for already it changes nothing.
        """
        r = self._raft
        if ready.number > self._number:
            raise InvariantViolation("only what was handed out can have been saved")
        if ready.number <= self._saved:
            return
        self._saved = ready.number
        if r.log.saved_to(ready.number):
            replication.on_saved(r)
        while self._hard_writes and self._hard_writes[0][0] <= ready.number:
            _, hard = self._hard_writes.popleft()
            r.saved_commit = hard.commit
            if r.role is CANDIDATE:
                election.own_vote_saved(r, hard)

    def applied(self, index: int) -> None:
        """The state machine has applied everything up to index."""
        r = self._raft
        r.log.applied_to(index)
        membership.on_applied(r)
        if r.campaign_postponed:
            r.campaign_postponed = False
            election.on_timeout_now(r)

    # ---- to look at ----

    @property
    def id(self) -> int:
        """This member's id."""
        return self._raft.id

    @property
    def term(self) -> int:
        """The current term."""
        return self._raft.term

    @property
    def leader(self) -> int:
        """Who leads the current term, 0 if unknown."""
        return self._raft.leader

    @property
    def role(self) -> Role:
        """What this member is."""
        return self._raft.role

    @property
    def commit(self) -> int:
        """The last index known to be committed."""
        return self._raft.log.committed

    @property
    def has_entries(self) -> bool:
        """Whether the next Ready has something to store."""
        return self._raft.log.has_unwritten

    @property
    def awaited_snapshot(self) -> SnapshotMeta | None:
        """The snapshot that takes the log's place, from when it is wanted until it is installed."""
        return self._raft.log.snapshot

    @property
    def appends_due(self) -> bool:
        """Whether a leader may have entries, or a commit index, to send."""
        return self._raft.appends_due

    @property
    def uncommitted_bytes(self) -> int:
        """Bytes of data that a leader has proposed and not handed out to be applied."""
        return self._raft.uncommitted_bytes

    @property
    def last_index(self) -> int:
        """The last index of the log, saved or not."""
        return self._raft.log.last_index

    @property
    def applied_index(self) -> int:
        """What `applied` was last told."""
        return self._raft.log.applied

    @property
    def quorum(self) -> tuple[frozenset[int], int]:
        """The other voters, and how many of them a commit needs beside this member.

        All of them where that is not one number: in a joint configuration, or if this member has no vote.
        """
        return self._raft.tracker.others

    @property
    def conf_state(self) -> ConfState:
        """The membership in force."""
        return self._raft.tracker.membership.conf_state

    def status(self) -> Status:
        """A picture of this member; a leader's shows its followers."""
        return status_of(self._raft)
