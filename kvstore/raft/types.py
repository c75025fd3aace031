"""What goes into Raft and what comes out of it, with the field names of proto/raft.proto.

Plain values: nothing here has behaviour beyond saying what it is. Entries, messages and Readys are made on the hot
path and are therefore ordinary slotted classes, but nobody changes one after it was handed over; the rest are frozen.
A member id, a term and an index are never negative; 0 stands for "none".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple


class EntryKind(IntEnum):
    """What an entry's data is."""

    NORMAL = 0
    CONF_CHANGE = 1


class MessageKind(IntEnum):
    """What a message asks or answers."""

    UNSPECIFIED = 0
    PROPOSE = 1
    APPEND = 2
    APPEND_REPLY = 3
    VOTE = 4
    VOTE_REPLY = 5
    PRE_VOTE = 6
    PRE_VOTE_REPLY = 7
    HEARTBEAT = 8
    HEARTBEAT_REPLY = 9
    SNAPSHOT = 10
    READ_INDEX = 11
    READ_INDEX_REPLY = 12
    TRANSFER_LEADER = 13
    TIMEOUT_NOW = 14


# The context of an append that only carries a commit index to a follower that has acknowledged all before it:
# an answer would say nothing new. Without it there is none, which at one request in flight halves the messages.
COMMIT_ONLY = b"commit"


class Role(IntEnum):
    """What a member is at the moment."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


# Asked for a hundred times a batch: a name of a module costs a tenth of an enumeration's member.
LEADER: Final = Role.LEADER
CANDIDATE: Final = Role.CANDIDATE
CONF_CHANGE: Final = EntryKind.CONF_CHANGE
APPEND: Final = MessageKind.APPEND
APPEND_REPLY: Final = MessageKind.APPEND_REPLY
PROPOSE: Final = MessageKind.PROPOSE


class ConfChangeKind(IntEnum):
    """What happens to one member."""

    ADD_VOTER = 0
    ADD_LEARNER = 1
    REMOVE = 2


class Transition(IntEnum):
    """How a change of membership is made."""

    AUTO = 0  # simple if at most one voter changes, else joint and left by itself
    JOINT_IMPLICIT = 1  # joint, left by itself
    JOINT_EXPLICIT = 2  # joint, left by an empty change


@dataclass(slots=True)
class Entry:
    """One log entry: a batch of client requests, or a change of membership."""

    term: int
    index: int
    kind: int = EntryKind.NORMAL
    data: bytes = b""


def size_of(entries: list[Entry]) -> int:
    """Bytes of data in these entries. Hot: mostly there is one."""
    return len(entries[0].data) if len(entries) == 1 else sum([len(entry.data) for entry in entries])


class HardState(NamedTuple):
    """What a member must find again after a crash. `commit` may be older than what it had known."""

    term: int = 0
    vote: int = 0
    commit: int = 0


@dataclass(slots=True, frozen=True)
class ConfState:
    """Who is in the cluster. `voters_outgoing` is not empty exactly while a joint configuration is in force.

    learners_next: members that still vote in the outgoing half and become learners when it is left.
    auto_leave: the leader leaves the joint configuration by itself.
    """

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


@dataclass(slots=True, frozen=True)
class SnapshotMeta:
    """The point a snapshot stands at: the last index in it, that index's term and the membership as of it."""

    index: int = 0
    term: int = 0
    conf_state: ConfState = ConfState()


@dataclass(slots=True, frozen=True)
class ConfChangeSingle:
    """A change of one member."""

    kind: ConfChangeKind
    member_id: int


@dataclass(slots=True, frozen=True)
class ConfChange:
    """A change of membership. Without changes it leaves a joint configuration.

    context: the application's own bytes; they come back with the committed entry.
    """

    changes: tuple[ConfChangeSingle, ...] = ()
    transition: Transition = Transition.AUTO
    context: bytes = b""


@dataclass(slots=True)
class Message:
    """What one member says to another.

    log_term, index: of the entry that precedes `entries` (APPEND), of the sender's last entry (VOTE, PRE_VOTE), of
    the entry a follower refused or stored (APPEND_REPLY).
    reject_hint: where the leader should try next (APPEND_REPLY that rejects); log_term is then that entry's term.
    commit: what the sender knows to be committed (APPEND, HEARTBEAT, and with that entry's log_term a refused vote).
    context: READ_INDEX's, or why a campaign was started.
    """

    kind: MessageKind
    to: int = 0
    from_: int = 0
    term: int = 0
    log_term: int = 0
    index: int = 0
    entries: list[Entry] = field(default_factory=list)
    commit: int = 0
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""
    snapshot: SnapshotMeta | None = None


@dataclass(slots=True, frozen=True)
class SoftState:
    """What the application may want to know and nobody has to save. leader: 0 if unknown."""

    leader: int
    role: Role


@dataclass(slots=True, frozen=True)
class ReadState:
    """The read with that context may be served once `index` is applied."""

    context: bytes
    index: int


@dataclass(slots=True)
class Ready:
    """What the application has to do now. Several Readys may be on their way to the disk; they are saved in order.

    snapshot: install it before anything else of this Ready is saved; entries and committed are then empty.
    snapshot_message: the message that brought it.
    entries: append them to the log, over any that stand at the same or a higher index.
    hard_state: write it behind the entries, if it is not None.
    must_sync: entries, term or vote changed: saved() must wait for the disk.
    messages: may leave at once.
    messages_after_save: promise something that is in this Ready or in one before it: may leave with saved().
    committed: apply them in order, then call applied(); all of them are in this member's own log already.
    """

    number: int
    soft_state: SoftState | None
    hard_state: HardState | None
    must_sync: bool
    entries: list[Entry]
    snapshot: SnapshotMeta | None
    snapshot_message: Message | None
    messages: list[Message]
    messages_after_save: list[Message]
    committed: list[Entry]
    read_states: list[ReadState]


@dataclass(slots=True, frozen=True)
class PeerStatus:
    """What a leader knows of one member. match, next: log indexes; state: probe, replicate or snapshot."""

    match: int
    next: int
    state: str
    recent_active: bool
    learner: bool
    paused: bool
    pending_snapshot: int


@dataclass(slots=True, frozen=True)
class Status:
    """A picture of one member for people and metrics; `progress` is empty unless it leads."""

    id: int
    term: int
    vote: int
    leader: int
    role: Role
    commit: int
    applied: int
    last_index: int
    transferee: int
    conf_state: ConfState
    progress: dict[int, PeerStatus]
