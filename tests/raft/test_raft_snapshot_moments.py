"""Moments between: hearing of a snapshot and its being in place, being removed and having learned of it."""

from __future__ import annotations

from raft_alone import Alone, entries
from raft_memory_log import MemoryLog

from kvstore.raft.codec import decode_conf_change, encode_conf_change
from kvstore.raft.config import Config
from kvstore.raft.node import RawNode
from kvstore.raft.types import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    Ready,
    Role,
    SnapshotMeta,
)

CONF = ConfState(voters=(1, 2, 3))


def change(kind: ConfChangeKind, member: int) -> bytes:
    return encode_conf_change(ConfChange((ConfChangeSingle(kind, member),)))


class Member:
    """Member 1 behind an index; its owner applies when the test says so."""

    def __init__(self) -> None:
        self.log = MemoryLog(CONF, 1, 1)
        self.raw = RawNode(Config(id=1, randrange=lambda n: 0), self.log, applied=1)

    def hear(self, kind: MessageKind, term: int = 1, **what: object) -> None:
        self.raw.step(Message(kind, to=1, from_=2, term=term, **what))  # type: ignore[arg-type]

    def ready(self) -> Ready:
        """The next one, saved."""
        ready = self.raw.ready()
        self.log.write(ready)
        self.log.sync()
        self.raw.saved(ready)
        return ready


def test_what_was_committed_before_a_snapshot_is_applied_to_the_membership_of_before() -> None:
    """It was applied to the snapshot's, which has it already or something newer, and nothing put that right again."""
    member = Member()
    added = Entry(1, 2, EntryKind.CONF_CHANGE, change(ConfChangeKind.ADD_VOTER, 5))
    member.hear(MessageKind.APPEND, log_term=1, index=1, entries=[added], commit=2)
    member.ready()
    waiting = member.ready().committed
    assert [entry.index for entry in waiting] == [2]
    # By now 5 was removed again.
    member.hear(MessageKind.SNAPSHOT, snapshot=SnapshotMeta(100, 1, CONF))
    assert member.raw.apply_conf_change(decode_conf_change(waiting[0].data)).voters == (1, 2, 3, 5)
    member.raw.applied(2)
    assert member.ready().snapshot == SnapshotMeta(100, 1, CONF)
    assert member.raw.conf_state == CONF


def test_with_a_snapshot_no_more_is_said_to_be_committed_than_it_has() -> None:
    """After a crash the log ended before what it said was committed, and the member never started again."""
    member = Member()
    member.hear(MessageKind.SNAPSHOT, term=5, snapshot=SnapshotMeta(100, 5, CONF))
    more = entries([5, 5], first=101)
    member.hear(MessageKind.APPEND, term=5, log_term=5, index=100, entries=more, commit=102)
    first = member.ready()
    assert (first.snapshot, first.entries) == (SnapshotMeta(100, 5, CONF), [])
    assert first.hard_state == HardState(5, 0, 100)
    then = member.ready()
    assert (then.entries, then.hard_state) == (more, HardState(5, 0, 102))


def test_who_learns_while_it_campaigns_that_it_was_removed_does_not_go_on() -> None:
    """It won, and was left half a leader."""
    alone = Alone((1, 2, 3, 4), terms=(1, 1), pre_vote=True, hard=HardState(1, 0, 2))
    removed = Entry(1, 3, EntryKind.CONF_CHANGE, change(ConfChangeKind.REMOVE, 1))
    alone.step(MessageKind.APPEND, 3, 1, log_term=1, index=2, entries=[removed], commit=2)
    alone.node.peer_lost(3)
    assert alone.node.role is Role.PRE_CANDIDATE
    alone.step(MessageKind.PRE_VOTE_REPLY, 4, 1, reject=True, commit=3, log_term=1)  # and says what is committed
    assert alone.node.conf_state.voters == (2, 3, 4)
    for peer in (2, 3):
        alone.step(MessageKind.PRE_VOTE_REPLY, peer, 2)
    assert (alone.node.role, alone.node.term) == (Role.FOLLOWER, 1)
